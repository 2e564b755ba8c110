"""Reads the header with Python's cffi (ABI mode), and passes a descriptor with the library.

    check-cffi.py HEADER LIBRARY

The header goes through the preprocessor alone, with its attributes blanked and the system's headers
empty: what they declare is told here.
"""

import os
import socket
import subprocess
import sys
import tempfile

import cffi

SYSTEM = """
typedef int pid_t;
typedef unsigned int uid_t, gid_t, mode_t;
struct iovec { void *iov_base; size_t iov_len; };
"""


def declarations(header):
    with tempfile.TemporaryDirectory() as empty:
        for name in ("stddef.h", "stdint.h", "sys/socket.h", "sys/types.h", "sys/uio.h"):
            path = os.path.join(empty, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        blank = ["-DANCILLARY_MUST_CHECK=", "-DANCILLARY_NONNULL(argument)="]
        return subprocess.run(
            ["cc", "-E", "-P", "-nostdinc", "-I", empty, *blank, header],
            check=True, capture_output=True, text=True,
        ).stdout


def main(header, library):
    ffi = cffi.FFI()
    ffi.cdef(SYSTEM + declarations(header))
    lib = ffi.dlopen(library)
    one, other = socket.socketpair()
    read, write = os.pipe()
    assert lib.ancillary_send_fd(one.fileno(), write) == 0
    received = lib.ancillary_recv_fd(other.fileno())
    assert received >= 0
    os.write(received, b"passed")
    assert os.read(read, 6) == b"passed"
    assert ffi.sizeof("struct ancillary_msg") == (80 if ffi.sizeof("void *") == 8 else 52)
    print("cffi reads the header, and a descriptor is passed with", ffi.string(lib.ancillary_version()).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
