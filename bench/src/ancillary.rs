//! This library, through its C functions.

use libc::{c_int, c_uint, c_void, iovec, size_t, ssize_t};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::RawFd;
use std::ptr;

#[repr(C)]
struct Creds {
    pid: libc::pid_t,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

#[repr(C)]
struct Msg {
    size: size_t,
    iov: *mut iovec,
    iovlen: size_t,
    fds: *mut c_int,
    nfds: size_t,
    creds: Creds,
    pidfd: c_int,
    flags: c_uint,
    error: c_int,
}

pub const WAITALL: c_uint = 1 << 2;
pub const LOSSLESS: c_uint = 1 << 3;

#[link(name = "ancillary")]
extern "C" {
    fn ancillary_send_fd(sock: c_int, fd: c_int) -> c_int;
    fn ancillary_recv_fd(sock: c_int) -> c_int;
    fn ancillary_send_fds(
        sock: c_int,
        fds: *const c_int,
        nfds: size_t,
        data: *const c_void,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t;
    fn ancillary_recv_fds(
        sock: c_int,
        fds: *mut c_int,
        nfds: *mut size_t,
        data: *mut c_void,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t;
    fn ancillary_close_fds(fds: *mut c_int, nfds: size_t);
    fn ancillary_send_msg(sock: c_int, msg: *const Msg, flags: c_uint) -> ssize_t;
    fn ancillary_recv_msg(sock: c_int, msg: *mut Msg, flags: c_uint) -> ssize_t;
}

#[inline(always)]
pub fn send_fd(sock: RawFd, fd: RawFd) {
    // SAFETY: no memory is involved.
    let result = unsafe { ancillary_send_fd(sock, fd) };
    assert!(result == 0, "ancillary_send_fd: {}", io::Error::from_raw_os_error(-result));
}

#[inline(always)]
pub fn receive_fd(sock: RawFd) -> RawFd {
    // SAFETY: no memory is involved.
    let fd = unsafe { ancillary_recv_fd(sock) };
    assert!(fd >= 0, "ancillary_recv_fd: {}", io::Error::from_raw_os_error(-fd));
    fd
}

#[inline(always)]
pub fn send(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    // SAFETY: both are as long as is said.
    let sent = unsafe {
        ancillary_send_fds(sock, fds.as_ptr(), fds.len(), data.as_ptr().cast(), data.len(), 0)
    };
    assert!(sent == data.len() as ssize_t, "ancillary_send_fds: {sent}");
}

/// Receives that many descriptors and bytes.
#[inline(always)]
pub fn receive(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8], flags: c_uint) {
    let mut came = fds.len();
    // SAFETY: both are as long as is said.
    let received = unsafe {
        let slots = fds.as_mut_ptr().cast();
        ancillary_recv_fds(sock, slots, &mut came, data.as_mut_ptr().cast(), data.len(), flags)
    };
    assert!(
        received == data.len() as ssize_t && came == fds.len(),
        "ancillary_recv_fds: {received}, {came} descriptors"
    );
}

#[inline(always)]
pub fn close(fds: &mut [MaybeUninit<RawFd>]) {
    // SAFETY: it is as long as is said.
    unsafe { ancillary_close_fds(fds.as_mut_ptr().cast(), fds.len()) }
}

#[inline(always)]
fn message(part: &mut iovec, fds: *mut RawFd, count: usize) -> Msg {
    // SAFETY: a plain structure, for which all zeros are a value.
    let unused = unsafe { mem::zeroed() };
    Msg { size: mem::size_of::<Msg>(), iov: part, iovlen: 1, fds, nfds: count, ..unused }
}

#[inline(always)]
pub fn send_msg(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    let mut part = iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    let message = message(&mut part, fds.as_ptr() as *mut _, fds.len());
    // SAFETY: what the message refers to is there to be read.
    let sent = unsafe { ancillary_send_msg(sock, ptr::addr_of!(message), 0) };
    assert!(sent == data.len() as ssize_t, "ancillary_send_msg: {sent}");
}

#[inline(always)]
pub fn receive_msg(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
    let mut part = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut message = message(&mut part, fds.as_mut_ptr().cast(), fds.len());
    // SAFETY: what the message refers to is there to be written to.
    let received = unsafe { ancillary_recv_msg(sock, ptr::addr_of_mut!(message), 0) };
    assert!(
        received == data.len() as ssize_t && message.nfds == fds.len(),
        "ancillary_recv_msg: {received}, {} descriptors",
        message.nfds
    );
}

/// Receives as many descriptors as come in a message, closes them, and says how many.
pub fn receive_up_to(sock: RawFd, fds: &mut [RawFd]) -> usize {
    let mut came = fds.len();
    // SAFETY: it is as long as is said; for the payload a marker byte is received.
    unsafe {
        let received = ancillary_recv_fds(sock, fds.as_mut_ptr(), &mut came, ptr::null_mut(), 0, 0);
        assert!(received == 1, "ancillary_recv_fds: {received}");
        ancillary_close_fds(fds.as_mut_ptr(), fds.len());
    }
    came
}
