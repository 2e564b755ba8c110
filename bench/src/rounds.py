"""Rounds of send, receive and close with Python's own functions, as many as a line of standard
input asks for; answers each line with the nanoseconds they took."""

import os
import socket
import sys
import time

kind, count = int(sys.argv[1]), int(sys.argv[2])
here, there = socket.socketpair(socket.AF_UNIX, kind)
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]


def rounds(number):
    for _ in range(number):
        socket.send_fds(here, [b"\0"], files)
        _, fds, _, _ = socket.recv_fds(there, 1, count)
        for fd in fds:
            os.close(fd)


for line in sys.stdin:
    number = int(line)
    start = time.perf_counter_ns()
    rounds(number)
    print(time.perf_counter_ns() - start, flush=True)
