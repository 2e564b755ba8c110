//! What may be asked of a transfer, with the values that C has for it.

use crate::sys::{self, How};
use libc::c_uint;

/// Flags of one call, all of them known to it.
#[derive(Clone, Copy)]
pub struct Flags(c_uint);

impl Flags {
    /// This call does not wait.
    pub const DONTWAIT: c_uint = libc::MSG_DONTWAIT as c_uint;
    /// A stream is received until the payload is whole.
    pub const WAITALL: c_uint = libc::MSG_WAITALL as c_uint;
    /// A signal ends the wait.
    pub const INTR: c_uint = 1 << 19;
    /// What cannot be delivered whole stays queued.
    pub const LOSSLESS: c_uint = 1 << 20;
    /// What always holds here, and may be asked for.
    pub const ALWAYS: c_uint = (libc::MSG_NOSIGNAL | libc::MSG_CMSG_CLOEXEC) as c_uint;
    /// Of the older library alone: descriptors received are not close-on-exec.
    const OPEN_ON_EXEC: c_uint = 1 << 31;

    pub const NONE: Flags = Flags(0);
    pub const OF_OLDER_LIBRARY: Flags = Flags(Flags::OPEN_ON_EXEC);

    /// Of bits that are known to the call.
    #[inline(always)]
    pub fn known(bits: c_uint) -> Flags {
        Flags(bits)
    }

    #[inline(always)]
    fn has(self, bits: c_uint) -> bool {
        self.0 & bits != 0
    }

    /// The same, of a call that is not made again: not behind a wait, nor behind a signal.
    pub fn once(self) -> Flags {
        Flags(self.0 | Flags::DONTWAIT | Flags::INTR)
    }

    #[inline(always)]
    pub fn dontwait(self) -> bool {
        self.has(Flags::DONTWAIT)
    }

    pub fn intr(self) -> bool {
        self.has(Flags::INTR)
    }

    pub fn waitall(self) -> bool {
        self.has(Flags::WAITALL)
    }

    #[inline(always)]
    pub fn lossless(self) -> bool {
        self.has(Flags::LOSSLESS)
    }

    /// Whether a receive is one system call that says how all of it ends.
    #[inline(always)]
    pub fn single(self) -> bool {
        !self.has(Flags::WAITALL | Flags::LOSSLESS)
    }

    /// How a system call is to be made at first: as the caller says.
    #[inline(always)]
    pub fn how(self) -> How {
        (self.0 & Flags::DONTWAIT) as How
    }

    /// What a system call that receives is to be told beside that.
    #[inline(always)]
    pub fn cloexec(self) -> How {
        if self.has(Flags::OPEN_ON_EXEC) {
            return 0;
        }
        sys::CLOEXEC
    }
}
