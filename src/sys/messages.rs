//! sendmsg(2) and recvmsg(2).

use super::errno::{checked, Result};
use core::ptr::addr_of_mut;
use libc::{c_int, c_void, iovec, msghdr};

/// Who a process is, as the kernel tells it and is told, and control data with it.
pub use libc::{ucred, SCM_CREDENTIALS};

/// Control data with a pidfd. Linux 6.5; not in every version of the libc crate that the library
/// builds with.
pub const SCM_PIDFD: c_int = 4;

/// How a system call is to be made: MSG_DONTWAIT and the like.
pub type How = c_int;
pub const WAIT: How = 0;
pub const DONTWAIT: How = libc::MSG_DONTWAIT;
pub const PEEK: How = libc::MSG_PEEK;
/// Descriptors received are close-on-exec.
pub const CLOEXEC: How = libc::MSG_CMSG_CLOEXEC;

/// Writes a message header: a place that C has not initialised will do.
///
/// # Safety
/// The place may be written to.
#[inline(always)]
pub unsafe fn write_header(
    place: *mut msghdr,
    (name, namelen): (*const u8, usize),
    (iov, iovlen): (*const iovec, usize),
    (control, controllen): (*mut u8, usize),
) {
    // SAFETY: the place may be written to. With all fields written, a msghdr is initialised: it is
    // plain integers and pointers, and padding.
    unsafe {
        // That of musl is fields, a part of what the kernel takes for lengths. musl's sendmsg
        // clears them, but one in front of it may not.
        #[cfg(target_env = "musl")]
        place.write_bytes(0, 1);
        addr_of_mut!((*place).msg_name).write(name as *mut c_void);
        addr_of_mut!((*place).msg_namelen).write(namelen as _);
        addr_of_mut!((*place).msg_iov).write(iov as *mut iovec);
        addr_of_mut!((*place).msg_iovlen).write(iovlen as _);
        addr_of_mut!((*place).msg_control).write(control as *mut c_void);
        addr_of_mut!((*place).msg_controllen).write(controllen as _);
        addr_of_mut!((*place).msg_flags).write(0);
    }
}

/// sendmsg(2), once. Never raises SIGPIPE.
///
/// # Safety
/// The header is initialised, and all that it points to can be read.
#[inline(always)]
pub unsafe fn send(sock: c_int, header: *const msghdr, how: How) -> Result<usize> {
    // SAFETY: the header is initialised and what it points to can be read; nothing is written.
    checked(|| unsafe { libc::sendmsg(sock, header, libc::MSG_NOSIGNAL | how) }).map(|n| n as usize)
}

/// recvmsg(2), once.
///
/// # Safety
/// The header is initialised, and all that it points to can be written to.
#[inline(always)]
pub unsafe fn receive(sock: c_int, header: *mut msghdr, how: How) -> Result<usize> {
    // SAFETY: the header is initialised, and what it points to can be written to.
    checked(|| unsafe { libc::recvmsg(sock, header, how) }).map(|n| n as usize)
}

/// A byte of memory that can be read and not written to: a receive into it fails (EFAULT).
pub fn wall() -> iovec {
    static READ_ONLY: u8 = 0;
    iovec { iov_base: &READ_ONLY as *const u8 as *mut c_void, iov_len: 1 }
}
