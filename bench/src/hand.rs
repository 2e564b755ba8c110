//! The floor: the system calls, made by hand, and nothing else.
//!
//! It is what a program does that knows exactly what comes: a control buffer of just that size,
//! which is not zeroed, and one look at what was received. All is inlined, so that the number of
//! descriptors is a constant where the caller's is.

use std::mem::{self, MaybeUninit};
use std::os::fd::RawFd;
use std::ptr;

/// The most that one message carries.
pub const MOST: usize = 253;

/// Room for the header and the most descriptors, aligned as the header.
type Control = MaybeUninit<[u64; 2 + MOST.div_ceil(2)]>;

const fn len_of(fds: usize) -> usize {
    mem::size_of::<libc::cmsghdr>() + fds * mem::size_of::<RawFd>()
}

const fn space_of(fds: usize) -> usize {
    len_of(fds).next_multiple_of(mem::size_of::<usize>())
}

/// Sends all of the data, the descriptors with its first byte.
#[inline(always)]
pub fn send(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    let mut control = Control::uninit();
    let mut part = libc::iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    // SAFETY: the control buffer has room for so many descriptors, and what the message refers to
    // lives until the call is over.
    let mut sent = unsafe {
        let header = control.as_mut_ptr().cast::<libc::cmsghdr>();
        (*header).cmsg_len = len_of(fds.len());
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        ptr::copy_nonoverlapping(fds.as_ptr(), header.add(1).cast(), fds.len());
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = header.cast();
        message.msg_controllen = space_of(fds.len());
        libc::sendmsg(sock, &message, libc::MSG_NOSIGNAL)
    };
    assert!(sent > 0, "sendmsg: {}", std::io::Error::last_os_error());
    while (sent as usize) < data.len() {
        let rest = &data[sent as usize..];
        // SAFETY: the rest is there to be read.
        let more =
            unsafe { libc::send(sock, rest.as_ptr().cast(), rest.len(), libc::MSG_NOSIGNAL) };
        assert!(more > 0, "send: {}", std::io::Error::last_os_error());
        sent += more;
    }
}

/// Receives that many descriptors and bytes.
#[inline(always)]
pub fn receive(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
    let mut control = Control::uninit();
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: what the message refers to lives until the call is over; the kernel has filled in
    // as much of the control buffer as is looked at.
    let mut received = unsafe {
        let header = control.as_mut_ptr().cast::<libc::cmsghdr>();
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = header.cast();
        message.msg_controllen = space_of(fds.len());
        let received = libc::recvmsg(sock, &mut message, libc::MSG_CMSG_CLOEXEC);
        assert!(
            received > 0
                && message.msg_flags & libc::MSG_CTRUNC == 0
                && message.msg_controllen >= len_of(fds.len())
                && (*header).cmsg_len == len_of(fds.len())
                && (*header).cmsg_level == libc::SOL_SOCKET
                && (*header).cmsg_type == libc::SCM_RIGHTS,
            "recvmsg: {}",
            std::io::Error::last_os_error()
        );
        ptr::copy_nonoverlapping(header.add(1).cast(), fds.as_mut_ptr(), fds.len());
        received
    };
    while (received as usize) < data.len() {
        let rest = &mut data[received as usize..];
        // SAFETY: the rest is there to be written to.
        let more = unsafe { libc::recv(sock, rest.as_mut_ptr().cast(), rest.len(), 0) };
        assert!(more > 0, "recv: {}", std::io::Error::last_os_error());
        received += more;
    }
}

/// Closes each.
///
/// # Safety
/// They have been received.
#[inline(always)]
pub unsafe fn close(fds: &[MaybeUninit<RawFd>]) {
    for fd in fds {
        libc::close(fd.assume_init());
    }
}
