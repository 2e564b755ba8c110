//! How much there can be of what.

use core::mem::size_of;
use libc::{sa_family_t, sockaddr_un};

/// The most descriptors that the kernel takes for one message, over all its control messages
/// together (SCM_MAX_FD, unix(7)).
pub const SCM_MAX_FD: usize = 253;

/// The most that one message is sent with.
#[cfg(not(all(target_env = "musl", target_pointer_width = "64")))]
pub const MAX_FDS: usize = SCM_MAX_FD;

/// On 64-bit systems sendmsg(3) of musl, up to its version 1.2.3, copies the control data to clear
/// the padding in it, and takes 1024 bytes at most.
#[cfg(all(target_env = "musl", target_pointer_width = "64"))]
pub const MAX_FDS: usize = SCM_MAX_FD - 1;

/// The most buffers a payload has (IOV_MAX, sendmsg(2)).
pub const IOV_MAX: usize = 1024;

/// The longest path with its zero byte, path_resolution(7).
pub const PATH_MAX: usize = libc::PATH_MAX as usize;

/// The longest name of a socket, unix(7).
pub const ADDRESS_MAX: usize = size_of::<sockaddr_un>() - size_of::<sa_family_t>();
