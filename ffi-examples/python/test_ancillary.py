# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the wrappers promise beyond what pass.py shows."""

import errno
import fcntl
import inspect
import io
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest
import warnings
from contextlib import contextmanager

import ancillary


def descriptors():
    return os.listdir("/proc/self/fd")


def main_thread_sleeps():
    with open(f"/proc/self/task/{os.getpid()}/stat", encoding="ascii") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class Interrupted(Exception):
    pass


class Test(unittest.TestCase):
    def setUp(self):
        self.before = descriptors()
        self.ours, self.theirs = socket.socketpair()

    def tearDown(self):
        self.ours.close()
        self.theirs.close()
        self.assertEqual(descriptors(), self.before)

    def receive_with_signal(self, handler, *arguments, **options):
        """Receives, and gets a signal when it has taken what is there and waits for more."""

        def send():
            receiving.wait()
            while select.select([self.ours], [], [], 0)[0] or not main_thread_sleeps():
                pass
            # One that comes just before the call waits does not end the wait.
            while not handled.locked():
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
                time.sleep(0.01)

        def handle_first(*_):
            if handled.acquire(blocking=False):
                handler()

        receiving, handled = threading.Event(), threading.Lock()
        thread = threading.Thread(target=send)
        previous = signal.signal(signal.SIGUSR1, handle_first)
        try:
            thread.start()
            receiving.set()
            return ancillary.receive(self.ours, *arguments, **options)
        finally:
            thread.join()
            signal.signal(signal.SIGUSR1, previous)

    def test_other_threads_run_while_a_call_waits(self):
        received = []
        thread = threading.Thread(target=lambda: received.append(self.receive_null()))
        thread.start()
        with open(os.devnull, "rb") as null:
            ancillary.send(self.theirs, [null], b"data")
        thread.join()
        self.assertEqual(received, [b"data"])

    def receive_null(self):
        data, (file,) = ancillary.receive(self.ours, 1, 10)
        with file:
            self.assertEqual(file.read(), b"")
        return data

    def test_a_call_goes_on_after_a_signal(self):
        # Nothing would come without the handler.
        send = lambda: ancillary.send(self.theirs, [0], b"data")
        data, files = self.receive_with_signal(send, 1, 10)
        self.assertEqual((data, len(files)), (b"data", 1))
        files[0].close()

    def test_a_call_that_waits_for_all_goes_on_after_a_signal(self):
        def handler():
            ancillary.send(self.theirs, [0], b"more")
            self.theirs.close()

        ancillary.send(self.theirs, [0] * 300)
        data, files = self.receive_with_signal(handler, 301, 10, whole=True)
        self.assertEqual((data, len(files)), (b"\0\0more", 301))
        for file in files:
            file.close()

    def test_what_has_come_is_closed_when_a_handler_raises(self):
        def handler():
            raise Interrupted

        ancillary.send(self.theirs, [0] * 300, b"some")
        with self.assertRaises(Interrupted):
            self.receive_with_signal(handler, 301, 10, whole=True)

    def test_files_may_be_made_while_they_are_taken(self):
        ancillary.send(self.theirs, (select.epoll() for _ in range(2)))
        for file in ancillary.receive(self.ours, 2, 1)[1]:
            file.close()

    def test_data_is_what_is_like_bytes(self):
        for data in b"data", bytearray(b"data"), memoryview(b"a date")[2:]:
            ancillary.send(self.theirs, [], data)
            self.assertEqual(self.ours.recv(10), bytes(data))
        for call in (lambda: ancillary.send(self.theirs, [], "data"),
                     lambda: ancillary.send_creds(self.theirs, "data")):
            with self.assertRaises(TypeError):
                call()

    def test_numbers_are_not_cut(self):
        for number in 1 << 31, 1 << 32, (1 << 32) + 1, 1 << 64, -(1 << 31) - 1:
            with self.assertRaises(OverflowError):
                ancillary.send(self.theirs, [number], b"data")
        self.assertEqual(select.select([self.ours], [], [], 0)[0], [])
        for options in {"mode": 1 << 32}, {"type": (1 << 32) + socket.SOCK_STREAM}:
            with self.assertRaises(OverflowError):
                ancillary.listen("@ancillary-cut", **options)
        with self.assertRaises(OverflowError):
            ancillary.connect("@ancillary-cut", type=(1 << 32) + socket.SOCK_STREAM)
        with self.assertRaises(ValueError):
            ancillary.receive(self.ours, -1, 10)

    def test_timeouts_hold(self):
        self.ours.settimeout(0.01)
        with self.assertRaises(socket.timeout):
            ancillary.receive(self.ours, 1, 10)
        with self.assertRaises(socket.timeout):
            while True:
                ancillary.send(self.ours, [], b"x" * 10000)
        self.ours.settimeout(0)
        with self.assertRaises(BlockingIOError):
            ancillary.receive(self.ours, 1, 10)

    def test_sending_can_go_on_where_it_stopped(self):
        def receive():
            _, files = ancillary.receive(self.ours, 600, 1)
            for file in files:
                file.close()
            return len(files)

        # In a full queue of small messages there is room for one more with each that is taken.
        self.theirs.settimeout(0)
        with self.assertRaises(BlockingIOError):
            while True:
                ancillary.send(self.theirs, [], b"x")
        files, data, stops, received = [0] * 600, b"abc", 0, 0
        while data:
            try:
                sent = ancillary.send(self.theirs, files, data)
                files, data = files[sent * ancillary.max_files():], data[sent:]
            except BlockingIOError:
                stops += 1
                received += receive()
        self.assertGreater(stops, 1)
        self.theirs.shutdown(socket.SHUT_WR)
        while self.ours.recv(1, socket.MSG_PEEK):
            received += receive()
        self.assertEqual(received, 600)

    def test_files_are_opened_as_the_sender_has_them(self):
        with tempfile.NamedTemporaryFile() as file:
            with open(file.name, "rb") as reader, open(file.name, "wb") as writer:
                ancillary.send(self.theirs, [reader, writer, file])
            _, files = ancillary.receive(self.ours, 3, 1)
            self.assertEqual([file.mode for file in files], ["rb", "wb", "rb+"])
            for file in files:
                file.close()

    def test_descriptors_can_become_sockets(self):
        ancillary.send(self.theirs, [self.theirs])
        _, (other,) = ancillary.receive(self.ours, 1, 1, kind=socket.socket)
        with other:
            self.assertEqual((other.family, other.type), (socket.AF_UNIX, socket.SOCK_STREAM))
            other.send(b"data")
            self.assertEqual(self.ours.recv(10), b"data")

    def test_what_has_come_is_closed_when_it_cannot_be_handed_over(self):
        folder = os.open("/", os.O_RDONLY)
        ancillary.send(self.theirs, [0, self.theirs, folder])
        os.close(folder)
        with self.assertRaises(IsADirectoryError):
            ancillary.receive(self.ours, 3, 1)
        ancillary.send(self.theirs, [self.theirs, 0, self.theirs])
        with self.assertRaises(OSError) as raised:
            ancillary.receive(self.ours, 3, 1, kind=socket.socket)
        self.assertEqual(raised.exception.errno, errno.ENOTSOCK)

    def test_without_loss_what_there_is_no_room_for_stays_queued(self):
        ancillary.send(self.theirs, [], b"first")
        ancillary.send(self.theirs, [0, 0], b"second")
        self.assertEqual(ancillary.receive(self.ours, 1, 11, whole=True, lossless=True),
                         (b"first", []))
        for call in (lambda: ancillary.receive(self.ours, 1, 6, lossless=True),
                     lambda: ancillary.receive_creds(self.ours, 6, lossless=True)):
            with self.assertRaises(OSError) as raised:
                call()
            self.assertEqual(raised.exception.errno, errno.E2BIG)
        data, files = ancillary.receive(self.ours, 2, 6, whole=True, lossless=True)
        self.assertEqual((data, len(files)), (b"second", 2))
        for file in files:
            file.close()

    def test_what_has_come_in_time_is_not_lost(self):
        ancillary.send(self.theirs, [0], b"data")
        self.ours.settimeout(0.01)
        data, files = ancillary.receive(self.ours, 1, 10, whole=True)
        self.assertEqual((data, len(files)), (b"data", 1))
        files[0].close()

    def test_the_time_runs_from_the_beginning_of_a_call(self):
        def dribble():
            with self.assertRaises(BrokenPipeError):
                while True:
                    ancillary.send(self.theirs, [], b"x")
                    time.sleep(0.01)

        thread = threading.Thread(target=dribble)
        thread.start()
        self.ours.settimeout(0.1)
        data, _ = ancillary.receive(self.ours, 0, 100000, whole=True)
        self.assertLess(len(data), 100)
        self.ours.close()
        thread.join()

    def test_the_other_side_cannot_have_a_call_block(self):
        for timeout, error in (0.01, socket.timeout), (0, BlockingIOError):
            self.ours.settimeout(timeout)
            # As who shares the socket can.
            os.set_blocking(self.ours.fileno(), True)
            with self.assertRaises(error):
                ancillary.receive(self.ours, 1, 10)

    def test_it_waits_when_an_event_loop_has_made_the_descriptor_non_blocking(self):
        os.set_blocking(self.ours.fileno(), False)
        send = lambda: ancillary.send(self.theirs, [], b"data")
        self.assertEqual(self.receive_with_signal(send, 1, 10), (b"data", []))

    def test_the_time_limit_of_the_kernel_holds(self):
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 10000))
        with self.assertRaises(BlockingIOError):
            ancillary.receive(self.ours, 1, 10)

    def test_connecting_has_the_default_timeout(self):
        name = f"@ancillary-{os.getpid()}"
        with ancillary.listen(name) as listener:
            # With that there is room for one that is not accepted.
            listener.listen(0)
            socket.setdefaulttimeout(0.01)
            try:
                with ancillary.connect(name), self.assertRaises(socket.timeout):
                    ancillary.connect(name)
            finally:
                socket.setdefaulttimeout(None)

    def test_listening_does_not_wait_for_ever_for_a_lock(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            # Nobody listens there any more.
            ancillary.listen(path).close()
            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                with self.assertRaises(OSError) as raised:
                    ancillary.listen(path, replace=True)
            finally:
                os.close(lock)
            self.assertEqual(raised.exception.errno, errno.EBUSY)
            ancillary.listen(path, replace=True).close()

    def test_options_hold_for_the_first_message(self):
        name = f"@ancillary-{os.getpid()}"
        with ancillary.listen(name, creds=True) as listener, ancillary.connect(name) as sock:
            ancillary.send(sock, [], b"data")
            with listener.accept()[0] as accepted:
                data, sender = ancillary.receive_creds(accepted, 10)
                self.assertEqual((data, sender.pid), (b"data", os.getpid()))
                with self.assertRaises(TypeError):
                    ancillary.connect(name, credentials=True)
            try:
                refusing = ancillary.connect(name, rights=False, creds=True)
            except OSError as error:
                # Linux has it since 6.16.
                self.assertEqual(error.errno, errno.ENOPROTOOPT)
                return
            with refusing, listener.accept()[0] as accepted:
                with self.assertRaises(PermissionError):
                    ancillary.send(accepted, [0])
                ancillary.send(accepted, [], b"data")
                self.assertEqual(ancillary.receive_creds(refusing, 10)[1].pid, os.getpid())

    def test_names_are_not_cut(self):
        for function in ancillary.connect, ancillary.listen:
            with self.assertRaises(ValueError):
                function("/tmp/name\0more")

    def test_sockets_have_names_that_are_abstract(self):
        name = f"@ancillary-{os.getpid()}"
        with ancillary.listen(name) as listener, ancillary.connect(name) as sock:
            self.assertEqual(ancillary.peer(sock).pid, os.getpid())
            self.assertEqual(sock.getpeername(), b"\0" + os.fsencode(name[1:]))
            listener.accept()[0].close()


class Channels(unittest.TestCase):
    def setUp(self):
        self.before = descriptors()
        self.ours, self.theirs = self.pair()

    def tearDown(self):
        self.ours.close()
        self.theirs.close()
        self.assertEqual(descriptors(), self.before)

    def pair(self, **options):
        """Connects two channels, with small buffers, for up to 300 files."""
        socks = socket.socketpair()
        for sock in socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        options = {"files": 300, **options}
        return [ancillary.Channel(sock, **options) for sock in socks]

    def test_messages_come_whole_with_their_files(self):
        cases = [(b"", 0, False), (b"", 1, False), (b"a" * 20000, 2, False), (b"", 300, True),
                 (bytearray(b"abc"), 300, True), (memoryview(b"a date")[2:], 0, True)]

        def send():
            for i, (data, files, take) in enumerate(cases):
                self.theirs.send(i, 1 << 31, data, [0] * files, take=take)

        thread = threading.Thread(target=send)
        thread.start()
        for i, (data, files, _) in enumerate(cases):
            with self.ours.receive() as message:
                came = (message.type, message.id, message.data, len(message.files))
                self.assertEqual(came, (i, 1 << 31, bytes(data), files))
                self.assertTrue(all(isinstance(file, io.FileIO) for file in message.files))
                self.assertFalse(any(os.get_inheritable(file.fileno()) for file in message.files))
            self.assertTrue(all(file.closed for file in message.files))
        thread.join()
        self.theirs.close()
        self.assertIsNone(self.ours.receive())
        self.assertIsNone(self.ours.receive())

    def test_imsg_is_understood_in_both_layouts(self):
        for layout in ancillary.IMSG, ancillary.IMSG_OLD:
            self.tearDown()
            self.ours, self.theirs = self.pair(format=layout, files=1)
            self.theirs.send(1, 2, b"data", [0])
            with self.ours.receive() as message:
                self.assertEqual(message[:3] + message[4:], (1, 2, b"data", os.getpid()))
                self.assertEqual(len(message.files), 1)
            with self.assertRaises(OSError) as raised:
                self.theirs.send(1, 2, b"data", [0, 0], take=True)
            self.assertIn(raised.exception.errno, (errno.E2BIG, errno.EMSGSIZE))

    def test_what_may_wait_goes_with_the_next(self):
        for sent in 1, 2:
            self.theirs.send(sent, files=[0], more=True, take=True)
        # There is one of the channel for each, until it has gone.
        self.assertEqual(len(descriptors()), len(self.before) + 4)
        self.assertEqual(self.theirs.events(), select.POLLIN | select.POLLOUT)
        self.theirs.flush()
        self.assertEqual(self.theirs.events(), select.POLLIN)
        for sent in 1, 2:
            with self.ours.receive() as message:
                self.assertEqual((message.type, len(message.files)), (sent, 1))

    def test_files_that_are_taken_stay_the_callers_as_well(self):
        with open(os.devnull, "rb") as null:
            self.theirs.send(0, files=[null], take=True)
            self.assertEqual(null.read(), b"")
        with self.ours.receive() as message:
            self.assertEqual(message.files[0].read(), b"")

    def test_a_message_that_cannot_go_is_not_taken_and_can_be_sent_again(self):
        self.theirs.sock.settimeout(0)
        self.ours.sock.settimeout(0)
        with self.assertRaises(BlockingIOError):
            self.ours.receive()
        sent = received = refused = 0
        while received < 300:
            if sent < 300:
                try:
                    take = sent % 2 == 0
                    self.theirs.send(sent, files=[0], data=b"x" * 9000, take=take)
                    sent += 1
                    continue
                except BlockingIOError:
                    refused += 1
            # Part of one is there, or all.
            try:
                with self.ours.receive() as message:
                    came = (message.type, len(message.data), len(message.files))
                    self.assertEqual(came, (received, 9000, 1))
                    received += 1
            except BlockingIOError:
                try:
                    self.theirs.flush()
                except BlockingIOError:
                    pass
        self.assertGreater(refused, 1)

    def test_the_other_end_may_gather_the_files_of_many_messages(self):
        ours, theirs = map(ancillary.Channel, socket.socketpair(), [65536] * 2, [1, 253])
        with ours, theirs:
            # One sendmsg has all of these, as far as that can carry them.
            for sent in range(300):
                theirs.send(sent, files=[0], more=True, take=True)
            theirs.send(300, files=[0, 0], more=True, take=True)
            theirs.send(301, files=[0], take=True)
            for sent in range(300):
                with ours.receive() as message:
                    self.assertEqual((message.type, len(message.files)), (sent, 1))
            with self.assertRaises(OSError) as raised:
                ours.receive()
            self.assertEqual(raised.exception.errno, errno.E2BIG)
            with ours.receive() as message:
                self.assertEqual((message.type, len(message.files)), (301, 1))

    def test_timeouts_hold(self):
        self.ours.sock.settimeout(0.01)
        with self.assertRaises(socket.timeout):
            self.ours.receive()
        with self.assertRaises(socket.timeout):
            while True:
                self.ours.send(0, data=b"x" * 60000, files=[0], take=True)

    def test_the_end_within_a_message_is_an_error(self):
        self.theirs.sock.send(struct.pack("=IHHII", 20, 0, 0, 1, 2) + b"abc")
        self.theirs.close()
        for _ in range(2):
            with self.assertRaises(OSError) as raised:
                self.ours.receive()
            self.assertEqual(raised.exception.errno, errno.EPROTO)
        with self.assertRaises(BrokenPipeError):
            self.ours.send(0)

    def test_what_the_channel_holds_is_closed_with_it(self):
        for _ in range(3):
            self.theirs.send(0, files=[0] * 3, more=True, take=True)
        self.theirs.flush()
        self.theirs.send(0, files=[0] * 3, more=True, take=True)
        # Of these the channel has the next, too.
        with self.ours.receive():
            pass
        self.assertGreater(len(descriptors()), len(self.before) + 2)
        self.ours.close()
        self.theirs.close()
        self.assertEqual(descriptors(), self.before)
        take = {"files": [0], "more": True, "take": True}
        for call in self.ours.receive, self.ours.flush, lambda: self.ours.send(0, **take):
            with self.assertRaises(OSError) as raised:
                call()
            self.assertEqual(raised.exception.errno, errno.EBADF)
        # Nor does one stay that nobody has closed.
        channels = self.pair()
        channels[0].send(0, files=[0] * 3, more=True, take=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            channels.clear()
        self.assertEqual(descriptors(), self.before)

    def test_what_fails_leaves_nothing(self):
        with self.assertRaises(OSError) as raised:
            self.theirs.send(0, files=[0] * 301, take=True)
        self.assertEqual(raised.exception.errno, errno.EMSGSIZE)
        with self.assertRaises(OSError) as raised:
            self.theirs.send(0, files=[0, 0, -1], take=True)
        self.assertEqual(raised.exception.errno, errno.EBADF)
        with self.assertRaises(TypeError):
            self.theirs.send(0, data="text")
        # The rest of the channel is as it was, also behind one that cannot be handed over.
        self.theirs.send(0, files=[0, self.theirs, 0])
        self.theirs.send(1, files=[self.theirs])
        with self.assertRaises(OSError) as raised:
            self.ours.receive(kind=socket.socket)
        self.assertEqual(raised.exception.errno, errno.ENOTSOCK)
        with self.ours.receive(kind=socket.socket) as message:
            self.assertEqual((message.type, len(message.files)), (1, 1))

    def test_numbers_are_not_cut(self):
        for number in -1, 1 << 32, (1 << 32) + 1:
            for numbers in (number, 0), (0, number):
                with self.assertRaises(OverflowError):
                    self.theirs.send(*numbers)
            with self.assertRaises(OverflowError):
                ancillary.Channel(self.ours.sock, format=number)
        with self.assertRaises(OverflowError):
            self.theirs.send(0, files=[1 << 32])
        with self.assertRaises(ValueError):
            ancillary.Channel(self.ours.sock, files=-1)
        self.assertEqual(select.select([self.ours], [], [], 0)[0], [])

    def test_without_loss_files_for_which_there_is_no_number_stay_queued(self):
        self.tearDown()
        self.ours, self.theirs = self.pair(lossless=True)
        self.theirs.send(0, files=[0] * 3)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.ours.fileno(), hard))
        try:
            with self.assertRaises(OSError) as raised:
                self.ours.receive()
            self.assertEqual(raised.exception.errno, errno.EMFILE)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with self.ours.receive() as message:
            self.assertEqual(len(message.files), 3)


class Interruptions(unittest.TestCase):
    """Exceptions that come from outside: of signal handlers, and of what else can raise anywhere."""

    def setUp(self):
        # What nobody has got any more is closed when it goes.
        warnings.simplefilter("ignore", ResourceWarning)
        self.name = f"@ancillary-{os.getpid()}"
        self.listener = ancillary.listen(self.name)
        self.listener.settimeout(0)
        self.folder, self.null = os.open("/", os.O_RDONLY), os.open(os.devnull, os.O_RDONLY)
        self.before = descriptors()

    def tearDown(self):
        os.close(self.folder)
        os.close(self.null)
        self.listener.close()

    def calls(self):
        """What makes objects of descriptors, each with what it needs, as context managers."""

        @contextmanager
        def receive(other=None, **options):
            ours, theirs = socket.socketpair()
            with ours, theirs:
                ancillary.send(theirs, [theirs, other or theirs, theirs], b"data")
                yield lambda: close_all(ancillary.receive(ours, 3, 4, **options)[1])

        @contextmanager
        def make(function, name):
            yield lambda: function(name).close()

        @contextmanager
        def channels(act):
            ours, theirs = map(ancillary.Channel, socket.socketpair())
            with ours, theirs:
                theirs.send(0, files=[theirs, self.null, theirs])
                theirs.send(0, files=[theirs, self.null, theirs])
                yield lambda: act(ours)

        @contextmanager
        def held(act):
            """Channels with files that have come, and with some that wait to be sent."""
            ends = [ancillary.Channel(sock) for sock in socket.socketpair()]
            try:
                for more in True, False, True:
                    ends[1].send(0, files=[0] * 3, more=more, take=True)
                close_all(ends[0].receive().files)
                yield lambda: act(ends)
            finally:
                close_all(ends)

        @contextmanager
        def failing(call):
            """What fails by itself, and can be interrupted then as well."""
            with call as act:
                def fail():
                    with self.assertRaises(OSError):
                        act()
                yield fail

        def receive_twice(channel):
            for _ in range(2):
                close_all(channel.receive().files)

        def send_twice(channel):
            channel.send(0, files=[0] * 3, data=b"data", take=True, more=True)
            channel.send(0, files=[0] * 3, data=b"data", take=True)

        def send_too_many(channel):
            channel.send(0, files=[0] * 300, take=True)

        def send_none(channel):
            channel.send(0, files=[0, 0, -1], take=True)

        def receive_sockets(channel):
            close_all(channel.receive(kind=socket.socket).files)

        return (
            receive,
            lambda: channels(receive_twice),
            lambda: channels(send_twice),
            lambda: receive(whole=True, lossless=True),
            lambda: receive(kind=socket.socket),
            lambda: make(ancillary.connect, self.name),
            lambda: make(ancillary.listen, self.name + "more"),
            lambda: held(close_all),
            lambda: held(list.clear),
            lambda: failing(receive(self.folder)),
            lambda: failing(receive(self.null, kind=socket.socket)),
            lambda: failing(channels(receive_sockets)),
            lambda: failing(channels(send_too_many)),
            lambda: failing(channels(send_none)),
        )

    def interrupted(self, call, run):
        """Whether a call is interrupted: then other files are opened, and must stay open."""
        try:
            with call() as act:
                run(act)
        except Interrupted:
            # The traceback still refers to what the call had made.
            files = [open(os.devnull, "rb") for _ in range(8)]
            numbers = [file.fileno() for file in files]
        else:
            return False
        for file, number in zip(files, numbers):
            self.assertTrue(os.path.samestat(os.fstat(number), os.stat(os.devnull)))
            file.close()
        return True

    def test_at_every_moment(self):
        for call in self.calls():
            moment = 0
            while self.interrupted(call, lambda act, moment=moment: run_until(act, moment)):
                self.accept_all()
                self.assertEqual(descriptors(), self.before, moment)
                moment += 1
            self.accept_all()
            self.assertEqual(descriptors(), self.before)
            self.assertGreater(moment, 1)

    def test_when_a_file_has_just_been_made(self):
        class Slow(io.FileIO):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                raise Interrupted

        receive = self.calls()[0]
        self.assertTrue(self.interrupted(lambda: receive(kind=Slow), lambda act: act()))
        self.assertEqual(descriptors(), self.before)

    def test_at_random_moments_beside_other_threads(self):
        wanted = int(os.environ.get("ANCILLARY_TEST_INTERRUPTIONS", "1000"))
        seed = int(os.environ.get("ANCILLARY_TEST_SEED", random.randrange(1 << 32)))
        print(f"seed {seed}", file=sys.stderr)
        chance = random.Random(seed)
        stop, faults = threading.Event(), []
        threads = [threading.Thread(target=open_and_close, args=(stop, faults)) for _ in range(2)]
        alarm = Alarm(chance)
        previous = signal.signal(signal.SIGALRM, alarm.handle)
        try:
            for thread in threads:
                thread.start()
            calls, count = self.calls(), 0
            while count < wanted:
                count += self.interrupted(chance.choice(calls), alarm.during)
                self.accept_all()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(faults, [])
        self.assertEqual(descriptors(), self.before)

    def accept_all(self):
        while True:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return


def close_all(files):
    for file in files:
        file.close()


def run_until(act, moment):
    """Raise in front of that step of an action, or of what it calls."""

    def trace(frame, event, _):
        nonlocal moment
        frame.f_trace_opcodes = True
        if event == "opcode":
            if moment == 0:
                raise Interrupted
            moment -= 1
        return trace

    # Python 3.12 looks at this alone.
    inspect.currentframe().f_trace_opcodes = True
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)


class Alarm:
    """Interrupts actions at random moments, and nothing else.

    A handler can run at any step of the main thread, however late. So it looks whether there is
    something to interrupt. It does so once, or a second time while the first is dealt with.
    """

    def __init__(self, chance):
        self.chance = chance
        self.left = 0

    def handle(self, *_):
        if self.left > 0:
            self.left -= 1
            if self.left > 0:
                signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(1e-6, 3e-5))
            raise Interrupted

    def during(self, act):
        self.left = self.chance.choice((1, 2))
        try:
            signal.setitimer(signal.ITIMER_REAL, self.chance.uniform(1e-6, 2e-4))
            act()
        finally:
            self.left = 0


def open_and_close(stop, faults):
    """Open files, and tell if somebody else closes one of them."""
    # The signals are to interrupt the system calls of the main thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    null = os.stat(os.devnull)
    while not stop.is_set():
        numbers = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
        time.sleep(1e-4)
        for number in numbers:
            try:
                if not os.path.samestat(os.fstat(number), null):
                    faults.append("another file")
                os.close(number)
            except OSError as error:
                faults.append(error)


if __name__ == "__main__":
    unittest.main()
