# SPDX-License-Identifier: MIT OR Apache-2.0
"""Whether the wrappers wait as the sockets of gevent or eventlet do: the others go on meanwhile.

    python test_event_loops.py gevent|eventlet
"""

import sys
import warnings

if sys.argv[1] == "gevent":
    from gevent import monkey

    monkey.patch_all()
else:
    # It warns of itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    import eventlet

    eventlet.monkey_patch()

import errno
import os
import socket
import threading
import unittest

import ancillary


class Test(unittest.TestCase):
    def setUp(self):
        self.name = f"@ancillary-{os.getpid()}"
        self.listener = ancillary.listen(self.name)
        self.ours = ancillary.connect(self.name)
        self.theirs, _ = self.listener.accept()
        # Whoever hung would hang without an end, and all others with him.
        self.done = []

    def tearDown(self):
        for sock in self.listener, self.ours, self.theirs:
            sock.close()

    def beside(self, *steps):
        """Do each of these in a thread of the loop: the first has to wait for the last."""
        threads = [threading.Thread(target=lambda step=step: self.done.append(step()))
                   for step in steps]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(self.done), len(steps))

    def test_receiving_waits(self):
        received = []
        self.beside(
            lambda: received.append(ancillary.receive(self.ours, 1, 10)),
            lambda: ancillary.send(self.theirs, [0], b"data"),
        )
        data, (file,) = received[0]
        file.close()
        self.assertEqual(data, b"data")

    def test_sending_waits(self):
        data, received = b"x" * (1 << 20), []

        def receive_all():
            have = b""
            while len(have) < len(data):
                have += ancillary.receive(self.ours, 0, 1 << 16)[0]
            received.append(have)

        def send_all():
            sent = 0
            while sent < len(data):
                sent += ancillary.send(self.theirs, [], data[sent:])

        self.beside(send_all, receive_all)
        self.assertEqual(received, [data])

    def test_connecting_waits(self):
        self.listener.listen(0)
        self.beside(
            lambda: [ancillary.connect(self.name).close() for _ in range(3)],
            lambda: [self.listener.accept()[0].close() for _ in range(3)],
        )

    def test_timeouts_hold(self):
        self.ours.settimeout(0.01)
        with self.assertRaises(socket.timeout):
            ancillary.receive(self.ours, 1, 10)

    def test_what_comes_can_be_sockets_of_the_loop(self):
        ancillary.send(self.theirs, [self.theirs])
        _, (other,) = ancillary.receive(self.ours, 1, 1, kind=socket.socket)
        self.assertIs(type(other), socket.socket)
        other.close()
        for _ in range(3):
            before = os.listdir("/proc/self/fd")
            ancillary.send(self.theirs, [self.theirs, 0, self.theirs])
            with self.assertRaises(OSError) as raised:
                ancillary.receive(self.ours, 3, 1, kind=socket.socket)
            self.assertEqual(raised.exception.errno, errno.ENOTSOCK)
            self.assertEqual(os.listdir("/proc/self/fd"), before)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
