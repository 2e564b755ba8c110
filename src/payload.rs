//! The payload of a call, and how far it has gone.

use crate::errno::{Errno, Result};
use crate::sys::MAX_FDS;
use core::slice;
use libc::{c_void, iovec};

/// Payload bytes, in the caller's buffers, that are still to be sent or received.
pub struct Payload<'a> {
    iov: &'a [iovec],
    /// How many bytes of the first buffer are done.
    done: usize,
    /// How many bytes are left in all.
    left: usize,
    /// The one buffer is a marker byte, and serves for each of the bytes left.
    markers: bool,
}

/// What one system call may send or fill: `count` buffers, `len` bytes in all.
pub struct Window {
    pub iov: *const iovec,
    pub count: usize,
    pub len: usize,
}

impl<'a> Payload<'a> {
    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// What to send or fill next: all that is left, or up to `limit` bytes of it. A part of a
    /// buffer is described in `part`.
    #[inline(always)]
    pub fn window<'b>(&'b self, limit: usize, part: &'b mut iovec) -> Window {
        if self.markers {
            return Window { iov: self.iov.as_ptr(), count: 1, len: 1 };
        }
        if self.done == 0 && limit >= self.left {
            return Window { iov: self.iov.as_ptr(), count: self.iov.len(), len: self.left };
        }
        self.part(limit, part)
    }

    #[cold]
    fn part(&self, limit: usize, part: &mut iovec) -> Window {
        if let Some(first) = self.iov.first() {
            part.iov_base = (first.iov_base as *mut u8).wrapping_add(self.done) as *mut c_void;
            part.iov_len = first.iov_len.saturating_sub(self.done).min(limit);
        }
        Window { iov: part, count: 1, len: part.iov_len }
    }

    /// Moves past `n` bytes.
    #[inline(always)]
    pub fn advance(&mut self, n: usize) {
        self.left = self.left.saturating_sub(n);
        if self.left > 0 && !self.markers {
            self.skip(n);
        }
    }

    #[cold]
    fn skip(&mut self, mut n: usize) {
        while let Some((first, rest)) = self.iov.split_first() {
            let here = first.iov_len.saturating_sub(self.done);
            if n < here {
                self.done = self.done.saturating_add(n);
                return;
            }
            n = n.saturating_sub(here);
            self.done = 0;
            self.iov = rest;
        }
    }
}

/// The `data` and `len` of a flat call.
pub struct Flat {
    iov: iovec,
    len: usize,
    markers: bool,
}

impl Flat {
    /// Without a buffer there is one marker byte for each message that `nfds` descriptors take,
    /// at `marker`: a stream drops descriptors that come with no byte (unix(7)).
    #[inline(always)]
    pub fn new(data: *mut c_void, len: usize, nfds: usize, marker: *mut u8) -> Result<Flat> {
        if data.is_null() && len == 0 {
            let iov = iovec { iov_base: marker as *mut c_void, iov_len: 1 };
            return Ok(Flat { iov, len: messages_for(nfds), markers: true });
        }
        if data.is_null() || len == 0 || len > isize::MAX as usize {
            return Err(Errno::INVAL);
        }
        Ok(Flat { iov: iovec { iov_base: data, iov_len: len }, len, markers: false })
    }

    #[inline(always)]
    pub fn payload(&self) -> Payload<'_> {
        Payload { iov: slice::from_ref(&self.iov), done: 0, left: self.len, markers: self.markers }
    }
}

/// How many messages it takes to carry so many descriptors: one where there is none.
pub fn messages_for(nfds: usize) -> usize {
    if nfds <= MAX_FDS {
        return 1;
    }
    (nfds - 1) / MAX_FDS + 1
}
