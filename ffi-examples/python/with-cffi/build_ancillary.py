# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes _ancillary.py, for cffi's ABI mode, of the header that is installed: no compiler is needed.

    python build_ancillary.py DIRECTORY
"""

import os
import re
import subprocess
import sys

import cffi

SYSTEM = """
typedef int pid_t;
typedef unsigned int uid_t, gid_t, mode_t;
struct iovec { void *iov_base; size_t iov_len; };
"""


def installed_header():
    command = ["pkg-config", "--variable=includedir", "ancillary"]
    directory = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return os.path.join(directory.strip(), "ancillary.h")


def declarations(header):
    """What cffi understands of the header: its constants as numbers, types and functions."""
    flags = re.findall(r"^#define (\w+) \(1 << (\d+)\)", header, flags=re.M)
    numbers = re.findall(r"^#define \w+ \d+\n", header, flags=re.M)
    header = re.sub(r"^#ifdef __cplusplus.*?^#endif", "", header, flags=re.M | re.S)
    header = re.sub(r"^#(.*\\\n)*.*", "", header, flags=re.M)
    header = re.sub(r"ANCILLARY_MUST_CHECK|ANCILLARY_NONNULL\(\d\)", "", header)
    numbers += [f"#define {name} {1 << int(bit)}\n" for name, bit in flags]
    return "".join(numbers) + SYSTEM + header


if __name__ == "__main__":
    ffi = cffi.FFI()
    with open(installed_header(), encoding="ascii") as file:
        ffi.cdef(declarations(file.read()))
    ffi.set_source("_ancillary", None)
    ffi.compile(sys.argv[1])
