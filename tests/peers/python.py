"""Answers messages with socket.recv_fds and socket.send_fds: each payload in upper case, with a new
file for each descriptor."""

import os
import socket
import tempfile


def answer_to(fd):
    answer = tempfile.TemporaryFile(buffering=0)
    answer.write(b"answer to " + os.pread(fd, 100, 0))
    os.close(fd)
    return answer


link = socket.socket(fileno=0)
while True:
    data, fds, flags, _ = socket.recv_fds(link, 65536, 253)
    if not data:
        break
    assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
    answers = [answer_to(fd) for fd in fds]
    sent = socket.send_fds(link, [data.upper()], [answer.fileno() for answer in answers])
    assert sent == len(data)
    for answer in answers:
        answer.close()
