//! The floor as functions of a shared library, `floor.c`.

use libc::{c_int, c_void, size_t, ssize_t};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

macro_rules! functions {
    ($($send:ident)*; $($receive:ident)*) => {
        #[link(name = "floor")]
        extern "C" {
            $(fn $send(
                sock: c_int,
                fds: *const c_int,
                count: size_t,
                data: *const c_void,
                len: size_t,
            ) -> ssize_t;)*
            $(fn $receive(
                sock: c_int,
                fds: *mut c_int,
                count: *mut size_t,
                data: *mut c_void,
                len: size_t,
            ) -> ssize_t;)*
        }
    };
}

functions! {
    floor_send floor_send_keeping;
    floor_receive floor_receive_keeping floor_receive_peeking
}

/// Which of the functions are called.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    Plain,
    /// `errno` is read before.
    Keeping,
    /// The same, and the receiver looks at the message before it takes it.
    Peeking,
}

/// Sends all of the data, the descriptors with its first byte.
#[inline(always)]
pub fn send(manner: Manner, sock: RawFd, fds: &[RawFd], data: &[u8]) {
    let send = if manner == Manner::Plain { floor_send } else { floor_send_keeping };
    // SAFETY: both are as long as is said.
    let sent = unsafe { send(sock, fds.as_ptr(), fds.len(), data.as_ptr().cast(), data.len()) };
    assert!(sent == data.len() as ssize_t, "sendmsg: {}", io::Error::last_os_error());
}

/// Receives that many descriptors and bytes.
#[inline(always)]
pub fn receive(manner: Manner, sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
    let receive = match manner {
        Manner::Plain => floor_receive,
        Manner::Keeping => floor_receive_keeping,
        Manner::Peeking => floor_receive_peeking,
    };
    let mut came = fds.len();
    // SAFETY: both are as long as is said.
    let received = unsafe {
        let slots = fds.as_mut_ptr().cast();
        receive(sock, slots, &mut came, data.as_mut_ptr().cast(), data.len())
    };
    assert!(
        received == data.len() as ssize_t && came == fds.len(),
        "recvmsg: {received}, {came} descriptors"
    );
}
