//! What a caller may ask of a call.

use crate::constants::{ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL};
use crate::errno::{Errno, Result};
use libc::c_uint;

/// Flags of one call, all of them known to it.
#[derive(Clone, Copy)]
pub struct Flags(c_uint);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const SEND: c_uint = ANCILLARY_DONTWAIT | ANCILLARY_INTR;
    pub const RECEIVE: c_uint = ANCILLARY_DONTWAIT | ANCILLARY_INTR | ANCILLARY_WAITALL;

    pub fn parse(bits: c_uint, known: c_uint) -> Result<Flags> {
        if bits & !known != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Flags(bits))
    }

    pub fn dontwait(self) -> bool {
        self.0 & ANCILLARY_DONTWAIT != 0
    }

    pub fn intr(self) -> bool {
        self.0 & ANCILLARY_INTR != 0
    }

    pub fn waitall(self) -> bool {
        self.0 & ANCILLARY_WAITALL != 0
    }

    /// Whether a system call that failed so is made again.
    pub fn retry_after(self, error: Errno) -> bool {
        error == Errno::INTR && !self.intr()
    }
}
