//! The payload of a call, and how far it has gone.

use crate::arrays;
use crate::errno::{Errno, Result};
use crate::sys::MAX_FDS;
use core::mem::MaybeUninit;
use core::{ptr, slice};
use libc::{c_void, iovec};

/// The most buffers a payload has (IOV_MAX, sendmsg(2)).
const MOST_BUFFERS: usize = 1024;

/// How many buffers a part of a payload is described with: the most that it spans.
const PARTS: usize = 16;

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

/// Memory to describe a part of a payload in. It is not cleared.
pub struct Parts([MaybeUninit<iovec>; PARTS]);

impl Parts {
    #[inline(always)]
    pub fn new() -> Parts {
        const UNFILLED: MaybeUninit<iovec> = MaybeUninit::uninit();
        Parts([UNFILLED; PARTS])
    }
}

impl<'a> Payload<'a> {
    /// One buffer; or, where `data` is NULL and `len` is 0, a marker byte for each message that
    /// `nfds` descriptors take: a stream drops descriptors that come with no byte (unix(7)).
    /// `iov` is memory to describe it in.
    #[inline(always)]
    pub fn flat(
        iov: &'a mut iovec,
        data: *mut c_void,
        len: usize,
        nfds: usize,
        marker: &'a mut u8,
    ) -> Result<Payload<'a>> {
        if data.is_null() && len == 0 {
            return Ok(Payload::markers(iov, nfds, marker));
        }
        if data.is_null() || len == 0 || len > isize::MAX as usize {
            return Err(Errno::INVAL);
        }
        *iov = iovec { iov_base: data, iov_len: len };
        Ok(Payload { iov: slice::from_ref(iov), done: 0, left: len, markers: false })
    }

    /// Buffers; or, where there is none, marker bytes, as above.
    ///
    /// # Safety
    /// `buffers` is NULL, or `count` buffer descriptions are there.
    pub unsafe fn scattered(
        iov: &'a mut iovec,
        buffers: *const iovec,
        count: usize,
        nfds: usize,
        marker: &'a mut u8,
    ) -> Result<Payload<'a>> {
        if buffers.is_null() && count == 0 {
            return Ok(Payload::markers(iov, nfds, marker));
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
        Ok(Payload { iov, done: 0, left, markers: false })
    }

    /// A marker byte for each message that so many descriptors take.
    pub fn markers(iov: &'a mut iovec, nfds: usize, marker: &'a mut u8) -> Payload<'a> {
        let marker: *mut u8 = marker;
        *iov = iovec { iov_base: marker as *mut c_void, iov_len: 1 };
        Payload { iov: slice::from_ref(iov), done: 0, left: messages_for(nfds), markers: true }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.left
    }

    /// What to send or fill next: all that is left.
    #[inline(always)]
    pub fn window<'b>(&'b self, parts: &'b mut Parts) -> Window {
        if self.done == 0 && !self.markers {
            return Window { iov: self.iov.as_ptr(), count: self.iov.len(), len: self.left };
        }
        self.part(usize::MAX, parts)
    }

    /// What to send or fill next: up to `limit` bytes, or as many as the parts describe.
    #[cold]
    pub fn part<'b>(&'b self, limit: usize, parts: &'b mut Parts) -> Window {
        if self.markers {
            return Window { iov: self.iov.as_ptr(), count: 1, len: 1 };
        }
        let mut done = self.done;
        let mut count = 0;
        let mut len: usize = 0;
        let buffers = self.iov.iter().filter(|buffer| buffer.iov_len > 0);
        for (part, buffer) in parts.0.iter_mut().zip(buffers) {
            let base = (buffer.iov_base as *mut u8).wrapping_add(done) as *mut c_void;
            let here = buffer.iov_len.saturating_sub(done).min(limit.saturating_sub(len));
            part.write(iovec { iov_base: base, iov_len: here });
            len = len.saturating_add(here);
            count += 1;
            done = 0;
            if len == limit {
                break;
            }
        }
        Window { iov: parts.0.as_ptr() as *const iovec, count, len }
    }

    /// Whether a part describes all that is left.
    pub fn fits_parts(&self) -> bool {
        self.iov.len() <= PARTS
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

/// Memory to describe a buffer in, that describes none yet.
pub fn no_buffer() -> iovec {
    iovec { iov_base: ptr::null_mut(), iov_len: 0 }
}

/// How many messages it takes to carry so many descriptors: one where there is none.
pub fn messages_for(nfds: usize) -> usize {
    if nfds <= MAX_FDS {
        return 1;
    }
    (nfds - 1) / MAX_FDS + 1
}
