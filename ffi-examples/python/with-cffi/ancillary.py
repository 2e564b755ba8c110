# SPDX-License-Identifier: MIT OR Apache-2.0
"""Files and credentials over Unix sockets: libancillary, with cffi.

A process hands an open file to another over a Unix socket, and tells who it is:

    listener = ancillary.listen("/run/example", replace=True)     # one process
    sock, _ = listener.accept()
    data, (file,) = ancillary.receive(sock, 1, 4096)
    print(data, file.readall())

    sock = ancillary.connect("/run/example")                      # another
    with open("/etc/hostname", "rb") as file:
        ancillary.send(sock, [file], b"a name")

Sockets are those of Python, of any type (stream, seqpacket, datagram); what is sent is anything
with a method fileno, or a number. What is received are unbuffered files (io.FileIO), close-on-exec,
at the position that they have at the sender's, which shares it. io.BufferedReader and its kin make
others of them. Or they are sockets (kind=socket.socket).

Errors are OSError with its subclasses, made from what the function of the library has returned:
socket.timeout (TimeoutError since Python 3.10), BlockingIOError, BrokenPipeError, and with errno
E2BIG (more files than there is room for), EMFILE (more than the process can have open), ENOMSG (a
message without an identity). A number that C has no room for is an OverflowError.

Nothing is lost unnoticed, and nothing leaks: what comes and cannot be handed over is closed before
the error is raised. That also holds when the handler of a signal raises, at whatever moment: then
each descriptor is closed, and closed once. (Not all of that holds for the sockets that gevent and
eventlet make, which are made of others.)

On a Channel messages travel whole, each with its files, also where a stream cuts them:

    with ancillary.Channel(sock) as channel:
        channel.send(OPENED, request, b"a name", [file])
        with channel.receive() as answer:
            print(answer.id, answer.data)

Waiting is as with the methods of sockets. Their timeouts hold, for the whole of a call. Other
threads run meanwhile, and so do the handlers of signals, after which the call goes on (PEP 475).
gevent and eventlet, having put their own sockets in the place of Python's, run what else they have
to do; import this module after that. connect and listen do not block either: where another process
is not ready they try again each hundredth of a second, for as long as socket.getdefaulttimeout().

A socket is not to be closed while another thread is in a call with it. After a fork the child has
its own descriptors for the same open files, as with all of Python's.

It needs Python 3.8 or newer, cffi, the module _ancillary that build_ancillary.py makes, and
libancillary.so.1 where the system's loader looks for it.
"""

import collections
import errno
import fcntl
import functools
import io
import itertools
import os
import select
import socket
import time
from typing import NamedTuple

import _socket
from _ancillary import ffi

_lib = ffi.dlopen("libancillary.so.1")

_DONTWAIT = _lib.ANCILLARY_DONTWAIT
_INTR = _lib.ANCILLARY_INTR
_WAITALL = _lib.ANCILLARY_WAITALL
_LOSSLESS = _lib.ANCILLARY_LOSSLESS
_REPLACE = _lib.ANCILLARY_REPLACE
_PASSCRED = _lib.ANCILLARY_PASSCRED
_PASSPIDFD = _lib.ANCILLARY_PASSPIDFD
_NORIGHTS = _lib.ANCILLARY_NORIGHTS
_MORE = _lib.ANCILLARY_MORE
_TAKE = _lib.ANCILLARY_TAKE

PLAIN = _lib.ANCILLARY_FORMAT_PLAIN
IMSG = _lib.ANCILLARY_FORMAT_IMSG
IMSG_OLD = _lib.ANCILLARY_FORMAT_IMSG_OLD

_POLLIN, _POLLOUT = 1, 4

_NULL = ffi.NULL


def _ints(values):
    return ffi.new("int[]", values)


def _sizes(values):
    return ffi.new("size_t[]", values)


def _buffer(size):
    return ffi.new("char[]", size)


def _creds():
    return ffi.new("struct ancillary_creds *")


def _behind(array, count):
    """A pointer to what is behind so many elements of an array."""
    return array + count


def _content(data, size):
    return ffi.buffer(data, size)[:]


def _channel(format, flags, *memory):
    """A channel of four arrays."""
    channel = ffi.new("struct ancillary_channel *", {
        "size": ffi.sizeof("struct ancillary_channel"), "sock": -1, "flags": flags,
        "format": format,
    })
    channel.in_data, channel.in_fds, channel.out_data, channel.out_fds = memory
    channel.in_size, channel.in_nfds, channel.out_size, channel.out_nfds = map(len, memory)
    return channel


def _frame(type, id, data, fds):
    """A frame that refers to its data and its descriptors, which its caller keeps."""
    return ffi.new("struct ancillary_frame *", {
        "type": type, "id": id, "data": ffi.from_buffer(data), "len": len(data),
        "fds": fds, "nfds": len(fds),
    })


# ---- What follows is the same with ctypes and with cffi ------------------------------------------


class Creds(NamedTuple):
    """The identity of a process."""

    pid: int
    uid: int
    gid: int


def listen(path, type=socket.SOCK_STREAM, mode=0o600, replace=False, **options):
    """Make a socket that others connect to.

    A path that begins with @ is an abstract name, which needs no file. The file of any other gets
    the permissions of mode, less the umask, and stays when the socket is closed; with replace, one
    that nobody listens on gives way. If the folder stays locked, by flock(2), for five seconds of
    that, it is an OSError (EBUSY).

    Options, which accepted sockets inherit and which hold for the first message already: creds
    (the identity of the sender comes with each message, as with pass_creds), pidfd (so does a
    pidfd, for who receives with other functions) and rights=False (files are refused: sending them
    is a PermissionError). One that the kernel does not have is an OSError.
    """
    flags = _flags(**options) | (_REPLACE if replace else 0)
    arguments = [_encoded(path)], _ints([type]), _ints([mode]), [flags]
    # As long as the library waits for the lock where it may.
    return _make_socket(_lib.ancillary_listen, *arguments, patience=5)


def connect(path, type=socket.SOCK_STREAM, **options):
    """Make a socket and connect it, within the default timeout, with the options of listen."""
    arguments = [_encoded(path)], _ints([type]), [_flags(**options)]
    return _make_socket(_lib.ancillary_connect, *arguments)


def max_files():
    """How many files one message carries. More of them take several on a stream."""
    return _lib.ancillary_max_fds()


def send(sock, files, data=b""):
    """Send files, or descriptors, with data, and return how many bytes have gone.

    As with socket.send, it can be less than all on a stream that does not block, or after a signal;
    max_files() of the files have gone with each of these bytes, as long as there are any. Without
    data, bytes of zero are sent. The files stay the caller's to close, also at once.
    """
    # Files that nothing else refers to stay open until they are sent.
    files, data = list(files), _as_bytes(data)
    fds = _ints([file if isinstance(file, int) else file.fileno() for file in files])

    def call(flags):
        return _lib.ancillary_send_fds(
            sock.fileno(), fds, len(files), data or _NULL, len(data), flags
        )

    return _transfer(call, sock, _POLLOUT, _deadline(sock.gettimeout()))


def receive(sock, room, size, whole=False, lossless=False, kind=None):
    """Receive up to size bytes with up to room files, and return the bytes and the files.

    No bytes mean that the peer has closed. More files than room, or than the process can have open,
    are an OSError, and gone; with lossless the message stays queued then, and can be received when
    there is room for it. With whole, it goes on until the peer has closed or size bytes have come.
    If it ends earlier with what has come, because of a timeout or of a message that has to stay
    queued, the next call raises that error.

    Files are unbuffered, and open for what the sender has them open for. With kind socket.socket
    they are sockets, and it is an OSError if one is something else. What Python makes no file of,
    a directory, is an OSError as well.
    """
    fds, count, data = _slots(room), _sizes([0]), _buffer(size)
    flags = (_WAITALL if whole else 0) | (_LOSSLESS if lossless else 0)
    have = got = 0

    def call(waiting):
        count[0] = room - got
        return _lib.ancillary_recv_fds(
            sock.fileno(), _behind(fds, got), count, _behind(data, have), size - have,
            flags | waiting,
        )

    with _Closing(_lib.ancillary_close_fds, fds, room):
        deadline = _deadline(sock.gettimeout())
        while True:
            try:
                result = _transfer(call, sock, _POLLIN, deadline)
            except OSError as error:
                # These take nothing of what is queued.
                if have and (lossless or isinstance(error, (BlockingIOError, socket.timeout))):
                    break
                raise
            have, got = have + result, got + count[0]
            # A call that waits for all comes back after a signal with what it has.
            if not whole or result == 0 or have == size or sock.type != socket.SOCK_STREAM:
                break
        return _content(data, have), _handed_over(fds, got, kind or io.FileIO)


def pass_creds(sock, on=True):
    """Ask for the sender's identity with each message that the socket receives."""
    _check(_lib.ancillary_set_passcred(sock.fileno(), on))


def send_creds(sock, data=b""):
    """Send data with this process's identity, and return how many bytes have gone."""
    data = _as_bytes(data)

    def call(flags):
        return _lib.ancillary_send_creds(sock.fileno(), _NULL, data or _NULL, len(data), flags)

    return _transfer(call, sock, _POLLOUT, _deadline(sock.gettimeout()))


def receive_creds(sock, size, lossless=False):
    """Receive up to size bytes, and return them with the identity of their sender.

    No bytes mean that the peer has closed; the identity is that of nobody then. Files that come
    with them are an OSError; with lossless the message stays queued then.
    """
    creds, data = _creds(), _buffer(size)

    def call(flags):
        flags |= _LOSSLESS if lossless else 0
        return _lib.ancillary_recv_creds(sock.fileno(), creds, data, size, flags)

    have = _transfer(call, sock, _POLLIN, _deadline(sock.gettimeout()))
    return _content(data, have), _identity(creds[0])


def peer(sock):
    """Return the identity of the process on the other end."""
    creds = _creds()
    _check(_lib.ancillary_peer_creds(sock.fileno(), creds))
    return _identity(creds[0])


class Message(NamedTuple):
    """A message of a channel. Its files are the caller's to close, each or with the message."""

    type: int
    id: int
    data: bytes
    files: list
    pid: int = 0  # imsg: the process of the sender, as that says

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for file in self.files:
            file.close()


class Channel:
    """One end of a connected stream socket, on which messages travel whole.

    It owns the socket, sock. size and files are how much data, and how many files, a message has at
    most, on either side; one that comes with more files is an OSError (E2BIG), and gone. The other
    end may be made for more of them. The format is PLAIN, the library's own, or IMSG or IMSG_OLD,
    that of OpenBSD and what it was before 2025: there a message has one file at most, and less than
    65520 bytes. With lossless, files that the process cannot have open stay queued: it is an
    OSError, and the message can be received later.

    It waits as the socket does. With the timeout 0 a message that cannot go is a BlockingIOError,
    or has been taken and waits: events() tells what to poll the channel for, which has a fileno, as
    selectors and asyncio want it. Receive until there is a BlockingIOError before polling.

    One thread at a time uses a channel, and no handler of a signal that may have interrupted it.
    """

    def __init__(self, sock, size=65536, files=253, format=PLAIN, lossless=False):
        self.sock = sock
        # A header, and up to a multiple of 8.
        room = (size + 16 + 7) // 8 * 8
        # The most of a message or of one sendmsg(2), which the other end fills with those of many,
        # and what comes with the next one.
        come = max(files, max_files()) + max_files()
        memory = _buffer(room), _slots(come), _buffer(room), _slots(files)
        self._files = files
        self._channel = _channel(format, _LOSSLESS if lossless else 0, *memory)
        self._held = _Closing(_lib.ancillary_channel_drop, self._channel, memory=memory)

    def send(self, type, id=0, data=b"", files=(), more=False, take=False):
        """Send a message.

        It has gone then, or waits in the channel, where the socket does not wait that long; if it
        raises, it has not been taken, unless the handler of a signal has raised. With more it may
        wait for the next one and go with it.

        Files, or descriptors, stay the caller's. Their message is taken only if they can go at
        once; with take it may wait, because the channel takes duplicates.
        """
        files, data, deadline = list(files), _as_bytes(data), _deadline(self.sock.gettimeout())
        numbers = [file if isinstance(file, int) else file.fileno() for file in files]
        fds = _slots(len(numbers)) if take else _ints(numbers)
        # The library writes -1 where it takes one.
        with _Closing(_lib.ancillary_close_fds, fds, len(numbers) if take else 0):
            if take:
                _in_one_step(map(fds.__setitem__, range(len(numbers)), map(os.dup, numbers)))
            frame = _frame(type, id, data, fds)
            flags = (_TAKE if take else 0) | (_MORE if more else 0)
            self._transfer(_lib.ancillary_channel_send, _POLLOUT, deadline, frame, flags)
        if not more:
            try:
                self._transfer(_lib.ancillary_channel_flush, _POLLOUT, deadline)
            except OSError:
                pass  # It has been taken. What goes wrong with it, the next call tells.

    def flush(self):
        """Send what waits."""
        deadline = _deadline(self.sock.gettimeout())
        self._transfer(_lib.ancillary_channel_flush, _POLLOUT, deadline)

    def receive(self, kind=None):
        """Receive the next message, with files of that kind, or None when the peer has closed."""
        frame = _frame(0, 0, b"", _ints([]))
        deadline = _deadline(self.sock.gettimeout())
        if not self._transfer(_lib.ancillary_channel_recv, _POLLIN, deadline, frame):
            return None
        came = frame[0]
        data = _content(came.data, came.len) if came.len else b""
        # They are the channel's, as long as they are in its memory.
        with _Closing(_lib.ancillary_close_fds, came.fds, came.nfds):
            _check(-errno.E2BIG if came.nfds > self._files else 0)
            files = _handed_over(came.fds, came.nfds, kind or io.FileIO)
        return Message(came.type, came.id, data, files, came.pid)

    def events(self):
        """What to poll for: select.POLLIN and select.POLLOUT or'ed together, 0 after the end."""
        return _check(_lib.ancillary_channel_events(self._channel))

    def fileno(self):
        """The descriptor of the socket, to be polled."""
        return self.sock.fileno()

    def close(self):
        """Close the socket, and what has come and not been received, or waits to be sent."""
        self._held.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _transfer(self, function, event, deadline, frame=None, flags=0):
        arguments = [self._channel] if frame is None else [self._channel, frame]

        def call(waiting):
            # Another file may have the number of a socket that is closed.
            self._channel[0].sock = self.sock.fileno()
            if self.sock.fileno() < 0:
                return -errno.EBADF
            return function(*arguments, flags | waiting)

        return _transfer(call, self.sock, event, deadline)


# The handler of a signal runs between any two steps of Python, and can raise. So a descriptor
# always has one owner, which closes it when it goes: C writes it to memory that has one before the
# call, and a single step moves it from there to the object that is handed over.


class _Closing:
    """Owns what a function of C closes: at the latest when nothing refers to this object any more.

    The interpreter finds that function in the slot __del__, and no step of Python is part of the
    call. close() calls it earlier; it may be called again.
    """

    __slots__ = ("__del__", "close", "_needed")

    def __init__(self, function, *arguments, memory=None):
        # What the function works with is there until then, at the end of the program as well.
        self._needed = _lib, memory
        self.close = self.__del__ = functools.partial(function, *arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _in_one_step(*calls):
    """Make calls of functions that are written in C, without a step of Python between them."""
    collections.deque(itertools.chain(*calls), 0)


def _slots(count):
    """Memory for so many descriptors, of which there is none yet."""
    if count < 0:
        raise ValueError("room for a negative number of files")
    return _ints([-1] * count)


def _flags(creds=False, pidfd=False, rights=True):
    options = (_PASSCRED, creds), (_PASSPIDFD, pidfd), (_NORIGHTS, not rights)
    return _DONTWAIT | sum(flag for flag, on in options if on)


def _make_socket(function, *arguments, patience=float("inf")):
    """Call a function that returns a descriptor, and return a socket that owns it."""
    fds, end = _ints([-1]), time.monotonic() + patience

    def call(_):
        _in_one_step(map(fds.__setitem__, [0], map(function, *arguments)))
        if fds[0] == -errno.EAGAIN and time.monotonic() >= end:
            return -errno.EBUSY
        return fds[0]

    with _Closing(_lib.ancillary_close_fds, fds, 1):
        _transfer(call, None, 0, _deadline(socket.getdefaulttimeout()))
        return _handed_over(fds, 1, socket.socket)[0]


def _handed_over(fds, count, kind):
    """Objects of that kind, which have taken the descriptors out of an array."""
    owners = []
    try:
        for i in range(count):
            owner = kind.__new__(kind)
            _take(owner, fds, i, kind)
            owners.append(owner)
        return owners
    except BaseException:
        for owner in owners:
            owner.close()
        raise


def _take(owner, fds, i, kind):
    """Have an object take a descriptor, and leave -1 in its place."""
    fd, left = fds[i], map(fds.__setitem__, [i], [-1])
    if issubclass(kind, io.IOBase):
        access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        mode = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "r+"}[access]
        # Made first without owning the descriptor, because what a subclass adds can fail.
        kind.__init__(owner, fd, mode, False)
        _in_one_step(map(io.FileIO.__init__, [owner], [fd], [mode]), left)
    elif issubclass(kind, _socket.socket):
        # What is written in C owns it, whatever becomes of the rest.
        _in_one_step(map(_socket.socket.__init__, [owner], [-1], [-1], [-1], [fd]), left)
        kind.__init__(owner, -1, -1, -1, fd)
    else:
        # What gevent and eventlet have put in the place of sockets: it makes one of its own.
        try:
            kind.__init__(owner, -1, -1, -1, fd)
        finally:
            if _owns(owner, fd):
                _in_one_step(left)


def _owns(owner, fd):
    try:
        return owner.fileno() == fd
    except (AttributeError, RecursionError):
        return False  # It is not complete.


def _transfer(call, sock, event, deadline):
    """Make a call until it is neither interrupted nor too early, and return its result."""
    while True:
        # Also whether it blocks is the other side's to change, if that has been given the socket.
        result = call(_INTR if deadline is None else _INTR | _DONTWAIT)
        if result == -errno.EAGAIN and _waits(sock, deadline):
            _wait(sock, event, deadline)
        elif result != -errno.EINTR:
            return _check(result)


def _waits(sock, deadline):
    """Whether it is for Python to wait: not if the kernel has, for as long as SO_RCVTIMEO says."""
    if deadline is None:
        return sock is None or not os.get_blocking(sock.fileno())
    return deadline != 0


def _wait(sock, event, deadline):
    """Wait with functions that gevent and eventlet have put others in the place of."""
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise socket.timeout("timed out")  # TimeoutError, since Python 3.10
    if sock is None:
        # The kernel tells nobody when another process is ready for a connection.
        time.sleep(0.01)
    elif hasattr(select, "poll"):
        waiting = select.poll()
        waiting.register(sock, event)
        waiting.poll(None if left is None else left * 1000)
    else:
        reading = event == _POLLIN
        select.select([sock] if reading else [], [] if reading else [sock], [], left)


def _deadline(timeout):
    """When a call has to end: None for never, and 0 if it does not wait."""
    return timeout and time.monotonic() + timeout


def _check(result):
    """Return the result of a function of the library, or raise its error."""
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def _identity(creds):
    return Creds(creds.pid, creds.uid, creds.gid)


def _as_bytes(data):
    """What is like bytes, as socket.send takes it, and not a string."""
    return memoryview(data).tobytes()


def _encoded(path):
    path = os.fsencode(path)
    if b"\0" in path:
        raise ValueError("embedded null byte")
    return path
