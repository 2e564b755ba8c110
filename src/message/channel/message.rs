//! A message that is to go: what stands around its payload, and its descriptors.

use super::format::{Wrapping, ALIGNMENT};
use crate::message::descriptors;
use core::mem;
use libc::c_int;

/// Descriptors of a message.
pub enum Carried<'a> {
    /// They stay the caller's, and so cannot wait.
    Borrowed(&'a [c_int]),
    /// They become the channel's when the message is taken.
    Taken(&'a mut [c_int]),
}

impl Carried<'_> {
    #[inline(always)]
    pub fn all(&self) -> &[c_int] {
        match self {
            Carried::Borrowed(fds) => fds,
            Carried::Taken(fds) => fds,
        }
    }
}

pub struct Message<'a> {
    pub wrapping: Wrapping,
    pub payload: &'a [u8],
    pub fds: Carried<'a>,
    /// Its descriptors may go with those of other messages.
    pub gathers: bool,
}

impl Message<'_> {
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.payload.len().saturating_add(self.wrapping.around())
    }

    #[inline(always)]
    pub fn nfds(&self) -> usize {
        self.fds.all().len()
    }

    #[inline(always)]
    pub fn borrows(&self) -> bool {
        matches!(self.fds, Carried::Borrowed([_, ..]))
    }

    #[inline(always)]
    pub fn parts(&self) -> [&[u8]; 3] {
        const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        let padding = ZEROS.get(..self.wrapping.padding).unwrap_or_default();
        [self.wrapping.header(), self.payload, padding]
    }

    /// The first so many of its descriptors have gone.
    pub fn gone(&mut self, count: usize) {
        match &mut self.fds {
            Carried::Borrowed(fds) => *fds = fds.get(count..).unwrap_or_default(),
            Carried::Taken(fds) => {
                let count = count.min(fds.len());
                let (gone, left) = mem::take(fds).split_at_mut(count);
                descriptors::close(gone);
                *fds = left;
            }
        }
    }
}
