//! Control data of system calls that are made elsewhere: by io_uring, an event loop, or another
//! language's runtime.

use super::control::{Messages, Writer};
use super::descriptors::{self, Slots};
use super::receive::{sort, Received};
use crate::sys::{self, ucred, Errno, Result};
use libc::c_int;

/// Puts together what is attached to one message, in memory of the caller's; returns how much of it
/// was used.
pub fn encode(mut memory: Writer, fds: &[c_int], creds: Option<&ucred>) -> Result<usize> {
    if fds.len() > sys::MAX_FDS {
        return Err(Errno::TOOBIG);
    }
    if let Some(creds) = creds {
        memory.append_creds(creds)?;
    }
    memory.append_fds(fds)?;
    Ok(memory.used())
}

/// What a recvmsg(2) has left: control data that came with so many bytes, its flags, and how long
/// the name is that it came from.
pub struct Left<'a> {
    pub control: &'a [u8],
    pub bytes: usize,
    pub flags: c_int,
    pub namelen: usize,
}

impl Left<'_> {
    /// Takes it apart: descriptors go to the slots, or are closed, and those are close-on-exec.
    ///
    /// Afterwards nobody can tell any more why something was discarded: that descriptors took all
    /// the room there was is likely where as many came as were expected.
    pub fn decode(&self, slots: &mut Slots) -> Received {
        let mut received = sort(Messages::new(self.control), slots, self.bytes);
        (received.namelen, received.data_cut) = (self.namelen, self.flags & libc::MSG_TRUNC != 0);
        if self.flags & libc::MSG_CTRUNC != 0 {
            match slots.free() {
                0 => received.surplus = true,
                _ => received.lost = received.lost.or(Some(Errno::IO)),
            }
        }
        if self.flags & libc::MSG_CMSG_CLOEXEC == 0 {
            slots.close_on_exec();
        }
        received
    }

    /// Closes all that came.
    pub fn discard(&self) {
        descriptors::discard(Messages::new(self.control));
    }
}
