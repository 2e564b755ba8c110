//! The floor as functions of a shared library, `floor.c`.

use libc::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

#[link(name = "floor")]
extern "C" {
    fn floor_send(_: c_int, _: *const c_int, _: usize, _: *const u8, _: usize) -> isize;
    fn floor_send_keeping(_: c_int, _: *const c_int, _: usize, _: *const u8, _: usize) -> isize;
    fn floor_receive(_: c_int, _: *mut c_int, _: *mut usize, _: *mut u8, _: usize) -> isize;
    fn floor_receive_keeping(_: c_int, _: *mut c_int, _: *mut usize, _: *mut u8, _: usize)
        -> isize;
    fn floor_receive_peeking(_: c_int, _: *mut c_int, _: *mut usize, _: *mut u8, _: usize)
        -> isize;
}

type Send = unsafe extern "C" fn(c_int, *const c_int, usize, *const u8, usize) -> isize;
type Receive = unsafe extern "C" fn(c_int, *mut c_int, *mut usize, *mut u8, usize) -> isize;

/// The functions that are called. All is inlined, so that they are called directly.
pub struct Floor {
    send: Send,
    receive: Receive,
}

pub const PLAIN: Floor = Floor { send: floor_send, receive: floor_receive };

/// `errno` is as it was when they succeed.
pub const KEEPING: Floor = Floor { send: floor_send_keeping, receive: floor_receive_keeping };

/// The same, and the receiver looks at the message before it takes it.
pub const PEEKING: Floor = Floor { send: floor_send_keeping, receive: floor_receive_peeking };

impl Floor {
    /// Sends all of the data, the descriptors with its first byte.
    #[inline(always)]
    pub fn send(&self, sock: RawFd, fds: &[RawFd], data: &[u8]) {
        let (slots, bytes) = (fds.as_ptr(), data.as_ptr());
        // SAFETY: both are as long as is said.
        let sent = unsafe { (self.send)(sock, slots, fds.len(), bytes, data.len()) };
        assert!(sent == data.len() as isize, "sendmsg: {sent}, {}", io::Error::last_os_error());
    }

    /// Receives that many descriptors and bytes.
    #[inline(always)]
    pub fn receive(&self, sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
        let mut came = fds.len();
        let (slots, bytes) = (fds.as_mut_ptr().cast(), data.as_mut_ptr());
        // SAFETY: both are as long as is said.
        let received = unsafe { (self.receive)(sock, slots, &mut came, bytes, data.len()) };
        assert!(
            received == data.len() as isize && came == fds.len(),
            "recvmsg: {received}, {came} descriptors, {}",
            io::Error::last_os_error()
        );
    }
}
