"""Answers messages with socket.recvmsg and socket.sendmsg, whose control data the library puts
together and takes apart: each payload in upper case, with a new file for each descriptor."""

import ctypes
import os
import socket
import struct
import tempfile

MOST = 253
HEADER = struct.Struct("@Nii")

library = ctypes.CDLL("libancillary.so.1")
library.ancillary_control_size.restype = ctypes.c_size_t
library.ancillary_control_size.argtypes = [ctypes.c_size_t]
library.ancillary_decode.restype = ctypes.c_ssize_t
library.ancillary_decode.argtypes = [
    ctypes.c_void_p,
    ctypes.c_ssize_t,
    ctypes.c_void_p,
    ctypes.c_uint,
]
library.ancillary_encode.argtypes = [ctypes.c_void_p, ctypes.c_void_p]


class Header(ctypes.Structure):
    """struct msghdr, as glibc has it."""

    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Buffer(ctypes.Structure):
    """struct iovec."""

    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Message(ctypes.Structure):
    """struct ancillary_msg."""

    _fields_ = [
        ("size", ctypes.c_size_t),
        ("iov", ctypes.c_void_p),
        ("iovlen", ctypes.c_size_t),
        ("fds", ctypes.c_void_p),
        ("nfds", ctypes.c_size_t),
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_size_t),
        ("creds", ctypes.c_int * 3),
        ("pidfd", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("error", ctypes.c_int),
    ]


def decoded(messages, flags, n):
    """The descriptors in what recvmsg returned, which had the headers taken off."""
    control = b"".join(
        (HEADER.pack(socket.CMSG_LEN(len(content)), level, kind) + content).ljust(
            socket.CMSG_SPACE(len(content)), b"\0"
        )
        for level, kind, content in messages
    )
    memory = ctypes.create_string_buffer(control, max(len(control), 1))
    fds = (ctypes.c_int * MOST)()
    msg = Message(size=ctypes.sizeof(Message), fds=ctypes.addressof(fds), nfds=MOST)
    header = Header(control=ctypes.addressof(memory), controllen=len(control), flags=flags)
    assert library.ancillary_decode(ctypes.byref(header), n, ctypes.byref(msg), 0) == n
    assert msg.flags == 0 and header.controllen == 0
    return fds[: msg.nfds]


def encoded(descriptors):
    """What sendmsg takes, which puts the headers on."""
    memory = ctypes.create_string_buffer(library.ancillary_control_size(MOST))
    fds = (ctypes.c_int * MOST)(*descriptors)
    any_byte = Buffer(base=ctypes.addressof(memory), len=1)
    msg = Message(
        size=ctypes.sizeof(Message),
        iov=ctypes.addressof(any_byte),
        iovlen=1,
        fds=ctypes.addressof(fds),
        nfds=len(descriptors),
    )
    header = Header(control=ctypes.addressof(memory), controllen=len(memory))
    assert library.ancillary_encode(ctypes.byref(header), ctypes.byref(msg)) == 0
    control, messages = memory.raw[: header.controllen], []
    while control:
        length, level, kind = HEADER.unpack_from(control)
        content = control[socket.CMSG_LEN(0) : length]
        messages.append((level, kind, content))
        control = control[socket.CMSG_SPACE(len(content)) :]
    return messages


def answer_to(fd):
    answer = tempfile.TemporaryFile(buffering=0)
    answer.write(b"answer to " + os.pread(fd, 100, 0))
    os.close(fd)
    return answer


link = socket.socket(fileno=0)
while True:
    data, messages, flags, _ = link.recvmsg(65536, library.ancillary_control_size(MOST))
    if not data:
        break
    answers = [answer_to(fd) for fd in decoded(messages, flags, len(data))]
    sent = link.sendmsg([data.upper()], encoded([answer.fileno() for answer in answers]))
    assert sent == len(data)
    for answer in answers:
        answer.close()
