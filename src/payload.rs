//! The payload of a call, and how far it has gone.

use crate::arrays;
use crate::errno::{Errno, Result};
use crate::sys::MAX_FDS;
use core::mem::MaybeUninit;
use libc::{c_void, iovec};

/// The most buffers a payload has (IOV_MAX, sendmsg(2)).
const MOST_BUFFERS: usize = 1024;

/// How many buffers a part of a payload is described with: the most that it spans.
const PARTS: usize = 16;

/// Payload bytes that are still to be sent or received.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    place: Place<'a>,
    /// How many bytes are left in all.
    left: usize,
}

#[derive(Clone, Copy)]
enum Place<'a> {
    /// The caller's one buffer: what is left of it begins here.
    Buffer(*mut c_void),
    /// The caller's buffers; so many bytes of the first are done.
    Buffers(&'a [iovec], usize),
    /// Nowhere: this byte is sent for each that is left, or it is received and dropped.
    Marker(u8),
}

/// What one system call may send or fill: `count` buffers, `len` bytes in all.
pub struct Window {
    pub iov: *const iovec,
    pub count: usize,
    pub len: usize,
}

/// Memory to describe a part of a payload in. It is not cleared.
pub struct Parts {
    iov: MaybeUninit<[iovec; PARTS]>,
    marker: MaybeUninit<u8>,
}

impl Parts {
    #[inline(always)]
    pub fn new() -> Parts {
        Parts { iov: MaybeUninit::uninit(), marker: MaybeUninit::uninit() }
    }
}

impl<'a> Payload<'a> {
    /// One buffer; or, where `data` is NULL and `len` is 0, a marker byte for each message that
    /// `nfds` descriptors take: a stream drops descriptors that come with no byte (unix(7)).
    #[inline(always)]
    pub fn flat(data: *mut c_void, len: usize, nfds: usize) -> Result<Payload<'a>> {
        if data.is_null() && len == 0 {
            return Ok(Payload::markers(nfds, 0));
        }
        if data.is_null() || len == 0 || len > isize::MAX as usize {
            return Err(Errno::INVAL);
        }
        Ok(Payload::buffer(data, len))
    }

    /// One buffer.
    pub fn buffer(data: *mut c_void, len: usize) -> Payload<'a> {
        Payload { place: Place::Buffer(data), left: len }
    }

    /// Buffers; or, where there is none, marker bytes, as above.
    ///
    /// # Safety
    /// `buffers` is NULL, or `count` buffer descriptions are there.
    #[inline(never)]
    pub unsafe fn scattered(
        buffers: *const iovec,
        count: usize,
        nfds: usize,
    ) -> Result<Payload<'a>> {
        if buffers.is_null() && count == 0 {
            return Ok(Payload::markers(nfds, 0));
        }
        if count > MOST_BUFFERS {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller's promise.
        let iov = unsafe { arrays::lent(buffers, count) }?;
        let mut left: usize = 0;
        for buffer in iov {
            left = left.saturating_add(buffer.iov_len);
        }
        if left == 0 || left > isize::MAX as usize {
            return Err(Errno::INVAL);
        }
        Ok(Payload { place: Place::Buffers(iov, 0), left })
    }

    /// A marker byte for each message that so many descriptors take.
    #[inline(always)]
    pub fn markers(nfds: usize, marker: u8) -> Payload<'a> {
        Payload { place: Place::Marker(marker), left: messages_for(nfds) }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// What to send or fill next: all that is left.
    pub fn window(&self, parts: &mut Parts) -> Window {
        match self.place {
            Place::Buffers(iov, 0) => {
                Window { iov: iov.as_ptr(), count: iov.len(), len: self.left }
            }
            _ => self.part(self.left, parts),
        }
    }

    /// What to send or fill next: up to `limit` bytes, or as many as the parts describe.
    #[inline(never)]
    pub fn part(&self, limit: usize, parts: &mut Parts) -> Window {
        let iov = parts.iov.as_mut_ptr() as *mut iovec;
        let one;
        let (buffers, mut done) = match self.place {
            Place::Buffers(buffers, done) => (buffers, done),
            Place::Buffer(start) => {
                one = [iovec { iov_base: start, iov_len: self.left }];
                (&one[..], 0)
            }
            Place::Marker(byte) => {
                let marker: *mut u8 = parts.marker.write(byte);
                one = [iovec { iov_base: marker as *mut c_void, iov_len: 1 }];
                (&one[..], 0)
            }
        };
        let mut window = Window { iov, count: 0, len: 0 };
        for buffer in buffers.iter().filter(|buffer| buffer.iov_len > 0).take(PARTS) {
            let base = (buffer.iov_base as *mut u8).wrapping_add(done) as *mut c_void;
            let left = limit.saturating_sub(window.len);
            let here = buffer.iov_len.saturating_sub(done).min(left);
            // SAFETY: there are not more than PARTS.
            unsafe { iov.add(window.count).write(iovec { iov_base: base, iov_len: here }) };
            window.len = window.len.saturating_add(here);
            window.count = window.count.wrapping_add(1);
            done = 0;
            if window.len == limit {
                break;
            }
        }
        window
    }

    /// Whether a part describes all that is left.
    pub fn fits_parts(&self) -> bool {
        !matches!(self.place, Place::Buffers(iov, _) if iov.len() > PARTS)
    }

    /// Moves past `n` bytes.
    #[inline(never)]
    pub fn advance(&mut self, mut n: usize) {
        self.left = self.left.saturating_sub(n);
        match &mut self.place {
            Place::Marker(_) => {}
            Place::Buffer(start) => *start = (*start as *mut u8).wrapping_add(n) as *mut c_void,
            Place::Buffers(iov, done) => {
                while let Some((first, rest)) = iov.split_first() {
                    let here = first.iov_len.saturating_sub(*done);
                    if n < here {
                        *done = done.saturating_add(n);
                        return;
                    }
                    n = n.saturating_sub(here);
                    *done = 0;
                    *iov = rest;
                }
            }
        }
    }
}

/// How many messages it takes to carry so many descriptors: one where there is none.
pub fn messages_for(nfds: usize) -> usize {
    if nfds <= MAX_FDS {
        return 1;
    }
    (nfds - 1) / MAX_FDS + 1
}
