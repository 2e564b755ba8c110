//! What the library says of itself.

use crate::sys;
use libc::c_char;

/// The version of the library, a string such as "1.0.0".  It is constant; do not
/// free it.  Never fails.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr() as *const c_char
}

/// The most descriptors that one message carries: ANCILLARY_MAX_FDS of the
/// library in use.  ancillary_send_fds() on a stream takes more and splits
/// them; on seqpacket and datagram sockets it is the limit.  Never fails.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_max_fds() -> usize {
    sys::MAX_FDS
}
