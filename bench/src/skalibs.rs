//! skalibs, opened when running: two of its functions have names that this library has as well.

use libc::{c_char, c_int};
use libloading::Library;
use std::os::fd::RawFd;

pub const FILE: &str = "libskarnet.so";

pub struct Skalibs {
    send: unsafe extern "C" fn(c_int, c_int, c_char) -> c_int,
    receive: unsafe extern "C" fn(c_int, c_char) -> c_int,
}

impl Skalibs {
    pub fn open() -> Result<Skalibs, libloading::Error> {
        // SAFETY: the functions have these types; the library stays until the end.
        unsafe {
            let library: &'static Library = Box::leak(Box::new(Library::new(FILE)?));
            Ok(Skalibs {
                send: *library.get(b"ancil_send_fd")?,
                receive: *library.get(b"ancil_recv_fd")?,
            })
        }
    }

    #[inline(always)]
    pub fn round(&self, here: RawFd, there: RawFd, fd: RawFd) {
        // SAFETY: no memory is involved.
        unsafe {
            assert!((self.send)(here, fd, 0) >= 0, "ancil_send_fd");
            let received = (self.receive)(there, 0);
            assert!(received >= 0, "ancil_recv_fd");
            libc::close(received);
        }
    }
}
