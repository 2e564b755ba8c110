# SPDX-License-Identifier: MIT OR Apache-2.0
"""Passes files between processes, as ../README.md says."""

import os
import sys
import tempfile
from contextlib import ExitStack

import ancillary

USAGE = """\
Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
       pass tell SOCKET N [PAYLOAD]
       pass hear SOCKET MAX [TIMES]"""

PAYLOAD_ROOM = 65536


def say(line, end=b"\n"):
    sys.stdout.buffer.write(line + end)
    sys.stdout.buffer.flush()


def attempt(command, action, *arguments):
    """Does something, tells why if it fails, and returns whether all of it went well."""
    try:
        return action(*arguments) is not False
    except OSError as error:
        print(f"{command}: {error.strerror}", file=sys.stderr, flush=True)
    except EOFError:
        print(f"{command}: The peer has closed", file=sys.stderr, flush=True)
    return False


def send_files(sock, count, payload):
    if count == 0:
        return ancillary.send_creds(sock, payload)
    with ExitStack() as files:
        return ancillary.send(sock, make_files(files, count), payload)


def make_files(opened, count):
    made = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
    for i, file in enumerate(made, 1):
        file.write(b"file %d of %d, made by %d\n" % (i, count, os.getpid()))
        # The receiver shares the position.
        file.seek(0)
    return made


def send_one(sock, count, payload):
    with sock:
        sent = send_files(sock, count, payload)
    say(b"sent %d descriptors, %d bytes" % (count, sent))


def send(path, count, payload=""):
    if payload != "-":
        return send_one(ancillary.connect(path), count, os.fsencode(payload))
    fine = True
    while True:
        with ancillary.connect(path) as sock:
            line = sys.stdin.buffer.readline()
            if not line:
                return fine
            fine &= attempt("send", send_one, sock, count, line.rstrip(b"\n"))


def tell(path, count, payload=""):
    payload, pid = os.fsencode(payload), os.getpid()
    sock = ancillary.connect(path)
    with ancillary.Channel(sock, PAYLOAD_ROOM, count) as channel, ExitStack() as files:
        channel.send(1, pid, payload, more=True)
        channel.send(2, pid, payload, make_files(files, count), more=True, take=True)
        channel.send(3, pid, more=True)
        channel.flush()
    say(b"sent %d descriptors, %d bytes" % (count, len(payload)))


def hear(sock, room):
    with ancillary.Channel(sock, PAYLOAD_ROOM, room) as channel:
        for message in iter(channel.receive, None):
            with message:
                count, length = len(message.files), len(message.data)
                say(b"message %d from %d: %d descriptors, %d bytes" %
                    (message.type, message.id, count, length))
                say(b"payload: " + message.data)
                for file in message.files:
                    say(file.readall(), end=b"")


def receive_files(sock, room):
    payload, files = ancillary.receive(sock, room, PAYLOAD_ROOM, whole=True)
    with ExitStack() as opened:
        for file in files:
            opened.enter_context(file)
        if not payload:
            raise EOFError
        say(b"received %d descriptors, %d bytes" % (len(files), len(payload)))
        say(b"payload: " + payload)
        for file in files:
            say(file.readall(), end=b"")


def receive_creds(sock):
    ancillary.pass_creds(sock)
    payload, sender = ancillary.receive_creds(sock, PAYLOAD_ROOM)
    if not payload:
        raise EOFError
    say(b"pid %d uid %d gid %d, %d bytes" % (*sender, len(payload)))
    say(b"payload: " + payload)


def serve(path, times, command, action, *arguments):
    fine = True
    with ancillary.listen(path, replace=True) as listener:
        try:
            for _ in range(times):
                with listener.accept()[0] as sock:
                    say(b"accepted")
                    fine &= attempt(command, action, sock, *arguments)
                say(b"done")
        finally:
            os.unlink(path)
    return fine


def peer(path):
    with ancillary.connect(path) as sock:
        say(b"pid %d uid %d gid %d" % ancillary.peer(sock))


def number(text):
    if not (text.isascii() and text.isdigit()):
        raise ValueError
    return int(text)


def main(command="", path=None, *rest):
    try:
        if path is None:
            raise ValueError
        if command == "send" and len(rest) in (1, 2):
            count, *payload = rest
            action = send, path, number(count), *payload
        elif command == "tell" and len(rest) in (1, 2):
            count, *payload = rest
            action = tell, path, number(count), *payload
        elif command in ("recv", "hear") and len(rest) in (1, 2):
            room, times = map(number, [*rest, "1"][:2])
            receive = hear if command == "hear" else receive_files
            action = serve, path, times, command, receive, room
        elif command == "creds" and len(rest) in (0, 1):
            action = serve, path, *(map(number, rest or "1")), command, receive_creds
        elif command == "peer" and not rest:
            action = peer, path
        else:
            raise ValueError
    except ValueError:
        print(USAGE, file=sys.stderr)
        return 2
    return 0 if attempt(command, *action) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
