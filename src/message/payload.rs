//! The payload of a call, and how far it has gone.

use crate::sys::{Errno, Result, IOV_MAX, MAX_FDS};
use core::mem::MaybeUninit;
use libc::{c_void, iovec};

/// How many buffers a part of a payload is described with: the most that it spans.
const PARTS: usize = 16;

/// A payload of more bytes can go to several buffers of the kernel, for each of which it counts the
/// time of SO_SNDTIMEO anew: a buffer takes almost half of the least that SO_SNDBUF can be.
const ONE_BUFFER: usize = 2048;

/// Payload bytes that are still to be sent or received.
#[derive(Clone, Copy)]
pub struct Payload<'a> {
    /// The buffers left; so many bytes of the first are done.
    iov: &'a [iovec],
    done: usize,
    /// How many bytes are left in all.
    left: usize,
    /// The one byte in the buffer stands for each that is left, of several.
    marker: bool,
}

/// Buffers for one system call.
#[derive(Clone, Copy)]
pub struct Window {
    pub iov: *const iovec,
    pub count: usize,
    /// How many bytes these are.
    pub len: usize,
}

/// Memory to describe a part of a payload in. It is not initialised.
pub struct Parts([MaybeUninit<iovec>; PARTS + 1]);

impl Parts {
    #[inline(always)]
    pub fn new() -> Parts {
        Parts([MaybeUninit::uninit(); PARTS + 1])
    }

    #[inline(always)]
    fn start(&self) -> *const iovec {
        self.0.as_ptr().cast()
    }
}

/// Where the bytes of a buffer are that stand behind the first so many.
fn behind(buffer: &iovec, done: usize) -> *mut c_void {
    buffer.iov_base.cast::<u8>().wrapping_add(done).cast()
}

impl<'a> Payload<'a> {
    /// One buffer.
    #[inline(always)]
    pub fn flat(iov: &'a [iovec; 1]) -> Payload<'a> {
        let [buffer] = iov;
        Payload { iov, done: 0, left: buffer.iov_len, marker: false }
    }

    /// Any number of buffers.
    pub fn scattered(iov: &'a [iovec]) -> Result<Payload<'a>> {
        let mut left: usize = 0;
        for buffer in iov {
            left = left.saturating_add(buffer.iov_len);
        }
        if iov.len() > IOV_MAX {
            return Err(Errno::INVAL);
        }
        Ok(Payload { iov, done: 0, left, marker: false })
    }

    /// The byte in a buffer of one, for each message that so many descriptors take: a stream drops
    /// descriptors that come with no byte (unix(7)).
    #[inline(always)]
    pub fn markers(iov: &'a [iovec; 1], nfds: usize) -> Payload<'a> {
        let left = messages_for(nfds);
        Payload { iov, done: 0, left, marker: left > 1 }
    }

    /// How many bytes are left.
    #[inline(always)]
    pub fn left(&self) -> usize {
        self.left
    }

    /// Whether nothing of it is done, and something to be done, and one buffer of the kernel takes all.
    #[inline(always)]
    pub fn fits_buffer(&self) -> bool {
        !self.marker && self.left.wrapping_sub(1) < ONE_BUFFER
    }

    /// Whether it is a size that can be.
    #[inline(always)]
    pub fn is_possible(&self) -> bool {
        self.left as isize > 0
    }

    /// Whether it is the caller's buffers as they are, with something to be done.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        !self.marker && self.is_possible()
    }

    /// All of it, of which nothing is done.
    #[inline(always)]
    pub fn whole(&self) -> Window {
        Window { iov: self.iov.as_ptr(), count: self.iov.len(), len: self.left }
    }

    /// What to send or fill next: all that is left.
    #[inline(always)]
    pub fn window(&self, parts: &mut Parts) -> Window {
        if self.done == 0 && !self.marker {
            return self.whole();
        }
        self.part(self.left, parts)
    }

    /// What to send or fill next: up to `limit` bytes, or as many as the parts describe.
    #[inline(never)]
    pub fn part(&self, limit: usize, parts: &mut Parts) -> Window {
        let (mut count, mut len, mut done) = (0_usize, 0_usize, self.done);
        let buffers = self.iov.iter().filter(|buffer| buffer.iov_len > 0).take(PARTS);
        for (buffer, part) in buffers.zip(&mut parts.0) {
            let here = buffer.iov_len.saturating_sub(done).min(limit.saturating_sub(len));
            part.write(iovec { iov_base: behind(buffer, done), iov_len: here });
            count = count.wrapping_add(1);
            len = len.saturating_add(here);
            done = 0;
            if len == limit {
                break;
            }
        }
        Window { iov: parts.start(), count, len }
    }

    /// As `part`, of a payload in one buffer, of which nothing is done: mostly it is that.
    #[inline(always)]
    pub fn only(&self, limit: usize, parts: &mut Parts) -> Option<Window> {
        match *self.iov {
            [iovec { iov_base, iov_len }] if self.done == 0 => {
                let len = iov_len.min(limit);
                let [part, ..] = &mut parts.0;
                part.write(iovec { iov_base, iov_len: len });
                Some(Window { iov: parts.start(), count: 1, len })
            }
            _ => None,
        }
    }

    /// As `part`, with one buffer more behind it, which does not count.
    #[inline(always)]
    pub fn part_and(&self, last: iovec, parts: &mut Parts) -> Window {
        let window = match self.only(usize::MAX, parts) {
            Some(window) => window,
            None => self.part(usize::MAX, parts),
        };
        if let Some(part) = parts.0.get_mut(window.count) {
            part.write(last);
        }
        Window { count: window.count.wrapping_add(1), ..window }
    }

    /// Whether a part describes all that is left.
    pub fn fits_parts(&self) -> bool {
        self.iov.len() <= PARTS
    }

    /// Moves past `n` bytes.
    #[inline(never)]
    pub fn advance(&mut self, mut n: usize) {
        self.left = self.left.saturating_sub(n);
        if self.marker {
            return;
        }
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

/// How many messages it takes to carry so many descriptors: one where there is none.
pub fn messages_for(nfds: usize) -> usize {
    if nfds <= MAX_FDS {
        return 1;
    }
    (nfds - 1) / MAX_FDS + 1
}
