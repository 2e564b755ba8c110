"""Files and credentials over Unix sockets: libancillary, with ctypes.

Sockets are socket.socket objects, and errors are OSError with its subclasses. Timeouts of sockets
hold. While a call waits, other threads run, and so do the handlers of signals, after which the call
goes on (PEP 475).
"""

import ctypes
import errno
import fcntl
import io
import os
import select
import socket
from typing import NamedTuple

_INTR = 1 << 1
_WAITALL = 1 << 2
_REPLACE = 1 << 4

_lib = ctypes.CDLL("libancillary.so.1")


class _Creds(ctypes.Structure):
    _fields_ = [("pid", ctypes.c_int), ("uid", ctypes.c_uint), ("gid", ctypes.c_uint)]


_int, _unsigned, _size, _ssize = ctypes.c_int, ctypes.c_uint, ctypes.c_size_t, ctypes.c_ssize_t
_string, _pointer, _creds = ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(_Creds)

for _name, _result, *_arguments in [
    ("listen", _int, _string, _int, _unsigned, _unsigned),
    ("connect", _int, _string, _int, _unsigned),
    ("send_fds", _ssize, _int, _pointer, _size, _pointer, _size, _unsigned),
    ("recv_fds", _ssize, _int, _pointer, ctypes.POINTER(_size), _pointer, _size, _unsigned),
    ("close_fds", None, _pointer, _size),
    ("max_fds", _size),
    ("set_passcred", _int, _int, _int),
    ("send_creds", _ssize, _int, _creds, _pointer, _size, _unsigned),
    ("recv_creds", _ssize, _int, _creds, _pointer, _size, _unsigned),
    ("peer_creds", _int, _int, _creds),
]:
    _function = getattr(_lib, "ancillary_" + _name)
    _function.restype, _function.argtypes = _result, _arguments


class Creds(NamedTuple):
    """The identity of a process."""

    pid: int
    uid: int
    gid: int


def listen(path, type=socket.SOCK_STREAM, mode=0o600, replace=False):
    """Makes a socket that others connect to; with replace, in the place of a dead one."""
    flags = _INTR | (_REPLACE if replace else 0)
    fd = _call(lambda: _lib.ancillary_listen(_encoded(path), type, mode, flags))
    return socket.socket(fileno=fd)


def connect(path, type=socket.SOCK_STREAM):
    """Makes a socket and connects it."""
    fd = _call(lambda: _lib.ancillary_connect(_encoded(path), type, _INTR))
    return socket.socket(fileno=fd)


def max_files():
    """How many files one message carries. More of them take several on a stream."""
    return _lib.ancillary_max_fds()


def send(sock, files, data=b""):
    """Sends files, or descriptors, with data, and returns how many bytes have gone.

    As with socket.send, it can be less than all on a stream that does not block, or after a signal;
    max_files() of the files have gone with each of these bytes, as long as there are any. Without
    data, bytes of zero are sent.
    """
    # Files that nothing else refers to stay open until they are sent.
    files, data = list(files), _bytes(data)
    fds = [file if isinstance(file, int) else file.fileno() for file in files]
    array = (_int * len(fds))(*fds)
    return _call(
        lambda: _lib.ancillary_send_fds(
            sock.fileno(), array, len(fds), data or None, len(data), _INTR
        ),
        sock, select.POLLOUT,
    )


def as_file(fd):
    """An unbuffered file for a descriptor, opened for what the sender has it open for."""
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return io.FileIO(fd, {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "r+"}[access])


def receive(sock, room, size, whole=False, wrap=as_file):
    """Receives up to room files with up to size bytes, and returns the bytes and the files.

    No bytes mean that the peer has closed. With whole, it receives until the peer has closed or
    size bytes have come. More files than room, or than the process can have open, are an OSError.
    What wrap makes of a descriptor owns it, and has a method close: for sockets,
    lambda fd: socket.socket(fileno=fd).
    """
    # In the array also what has come when the handler of a signal raises is found, and closed.
    fds = (_int * room)(*[-1] * room)
    data = (ctypes.c_char * size)()
    count = _size()
    flags = _INTR | (_WAITALL if whole else 0)

    def receive_more():
        count.value = room - got
        return _lib.ancillary_recv_fds(
            sock.fileno(), ctypes.byref(fds, got * ctypes.sizeof(_int)), count,
            ctypes.byref(data, have), size - have, flags,
        )

    have = got = 0
    files = []
    try:
        while True:
            result = _call(receive_more, sock, select.POLLIN)
            have, got = have + result, got + count.value
            # A call that waits for all comes back after a signal with what it has.
            if not whole or result == 0 or have == size:
                break
        files.extend(map(wrap, fds[:got]))
        return data[:have], files
    except BaseException:
        # The files own the first of them.
        owned = len(files)
        rest = ctypes.byref(fds, owned * ctypes.sizeof(_int))
        _lib.ancillary_close_fds(rest, room - owned)
        for file in files:
            file.close()
        raise


def pass_creds(sock, on=True):
    """Asks for the sender's identity with each message that the socket receives."""
    _call(lambda: _lib.ancillary_set_passcred(sock.fileno(), on))


def send_creds(sock, data=b""):
    """Sends data with this process's identity, and returns how many bytes have gone."""
    data = _bytes(data)
    return _call(
        lambda: _lib.ancillary_send_creds(sock.fileno(), None, data or None, len(data), _INTR),
        sock, select.POLLOUT,
    )


def receive_creds(sock, size):
    """Receives up to size bytes, and returns them with the identity of their sender.

    No bytes mean that the peer has closed; the identity is that of nobody then.
    """
    creds = _Creds()
    data = (ctypes.c_char * size)()
    have = _call(
        lambda: _lib.ancillary_recv_creds(sock.fileno(), creds, data, size, _INTR),
        sock, select.POLLIN,
    )
    return data[:have], Creds(creds.pid, creds.uid, creds.gid)


def peer(sock):
    """The identity of the process on the other end."""
    creds = _Creds()
    _call(lambda: _lib.ancillary_peer_creds(sock.fileno(), creds))
    return Creds(creds.pid, creds.uid, creds.gid)


def _bytes(data):
    """What is like bytes, as socket.send takes it, and not a string."""
    return memoryview(data).tobytes()


def _encoded(path):
    path = os.fsencode(path)
    if b"\0" in path:
        raise ValueError("embedded null byte")
    return path


def _call(function, sock=None, events=0):
    """Calls a function until it is neither interrupted nor early, and raises its error."""
    while True:
        result = function()
        if result >= 0:
            return result
        if result == -errno.EAGAIN and sock is not None and sock.gettimeout():
            # Python has made the socket non-blocking, to wait so.
            waiting = select.poll()
            waiting.register(sock, events)
            if not waiting.poll(sock.gettimeout() * 1000):
                raise socket.timeout("timed out")  # TimeoutError, since Python 3.10
        elif result != -errno.EINTR:
            raise OSError(-result, os.strerror(-result))
