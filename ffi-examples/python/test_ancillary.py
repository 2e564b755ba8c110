"""What the wrappers promise beyond what pass.py shows."""

import os
import select
import signal
import socket
import tempfile
import threading
import unittest

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
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

        receiving = threading.Event()
        thread = threading.Thread(target=send)
        previous = signal.signal(signal.SIGUSR1, handler)
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
        send = lambda *_: ancillary.send(self.theirs, [0], b"data")
        data, files = self.receive_with_signal(send, 1, 10)
        self.assertEqual((data, len(files)), (b"data", 1))
        files[0].close()

    def test_a_call_that_waits_for_all_goes_on_after_a_signal(self):
        def handler(*_):
            ancillary.send(self.theirs, [0], b"more")
            self.theirs.close()

        ancillary.send(self.theirs, [0] * 300)
        data, files = self.receive_with_signal(handler, 301, 10, whole=True)
        self.assertEqual((data, len(files)), (b"\0\0more", 301))
        for file in files:
            file.close()

    def test_what_has_come_is_closed_when_a_handler_raises(self):
        def handler(*_):
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

    def test_timeouts_hold(self):
        self.ours.settimeout(0.01)
        with self.assertRaises(TimeoutError):
            ancillary.receive(self.ours, 1, 10)
        with self.assertRaises(TimeoutError):
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

    def test_descriptors_can_become_something_else(self):
        ancillary.send(self.theirs, [self.theirs])
        _, (other,) = ancillary.receive(self.ours, 1, 1, wrap=lambda fd: socket.socket(fileno=fd))
        with other:
            other.send(b"data")
            self.assertEqual(self.ours.recv(10), b"data")

    def test_what_has_come_is_closed_when_it_cannot_be_handed_over(self):
        def wrap(fd):
            if made:
                raise Interrupted
            made.append(fd)
            return ancillary.as_file(fd)

        made = []
        ancillary.send(self.theirs, [0, 1, 2])
        with self.assertRaises(Interrupted):
            ancillary.receive(self.ours, 3, 1, wrap=wrap)

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


if __name__ == "__main__":
    unittest.main()
