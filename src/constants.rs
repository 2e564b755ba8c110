//! The constants of the header.

use libc::{c_int, c_uint};

/// Version of this header.  ancillary_version() tells that of the library a
/// program runs with.
pub const ANCILLARY_VERSION_MAJOR: c_int = 1;
pub const ANCILLARY_VERSION_MINOR: c_int = 0;
pub const ANCILLARY_VERSION_PATCH: c_int = 0;

/// The most descriptors that one message carries.  ancillary_max_fds() tells
/// that of the library a program runs with.
pub const ANCILLARY_MAX_FDS: c_int = 253;

/// Flag: this call does not wait.  Where it would, it fails with -EAGAIN.  The
/// socket itself is left as it is; one with O_NONBLOCK set never waits.
pub const ANCILLARY_DONTWAIT: c_uint = 1 << 0;

/// Flag: a signal whose handler runs while the call waits ends it with -EINTR,
/// if nothing has been transferred yet, and with what has been transferred
/// otherwise.  Without this flag the call goes on waiting (for all the time of
/// SO_RCVTIMEO or SO_SNDTIMEO again).
pub const ANCILLARY_INTR: c_uint = 1 << 1;

/// Flag for receiving on a stream: come back when all the payload asked for is
/// there, the peer has closed, or an error.  The descriptors of all its pieces
/// are collected.  On seqpacket and datagram sockets, where one call receives
/// one message, it changes nothing.
pub const ANCILLARY_WAITALL: c_uint = 1 << 2;
