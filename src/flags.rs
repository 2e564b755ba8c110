//! What a caller may ask of a call.

use crate::constants::{
    ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_LOSSLESS, ANCILLARY_REPLACE, ANCILLARY_WAITALL,
};
use crate::errno::{Errno, Result};
use crate::sys::{self, How};
use libc::c_uint;

/// Flags of one call, all of them known to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Flags(c_uint);

impl Flags {
    pub const NONE: Flags = Flags(0);
    /// Of the older library alone: descriptors received are not close-on-exec.
    pub const OPEN_ON_EXEC: Flags = Flags(1 << 31);
    pub const SEND: c_uint = ANCILLARY_DONTWAIT | ANCILLARY_INTR;
    pub const RECEIVE: c_uint =
        ANCILLARY_DONTWAIT | ANCILLARY_INTR | ANCILLARY_WAITALL | ANCILLARY_LOSSLESS;

    pub fn parse(bits: c_uint, known: c_uint) -> Result<Flags> {
        if bits & !known != 0 {
            return Err(Errno::INVAL);
        }
        Ok(Flags(bits))
    }

    /// Of bits that are known to the call.
    pub fn known(bits: c_uint) -> Flags {
        Flags(bits)
    }

    pub fn bits(self) -> c_uint {
        self.0
    }

    pub fn dontwait(self) -> bool {
        self.0 & ANCILLARY_DONTWAIT != 0
    }

    /// How a system call that sends is to be made.
    pub fn how(self) -> How {
        if self.dontwait() {
            sys::DONTWAIT
        } else {
            sys::WAIT
        }
    }

    /// How one that receives is to be made.
    pub fn how_to_receive(self) -> How {
        if self.0 & Flags::OPEN_ON_EXEC.0 != 0 {
            return self.how();
        }
        self.how() | sys::CLOEXEC
    }

    pub fn intr(self) -> bool {
        self.0 & ANCILLARY_INTR != 0
    }

    pub fn waitall(self) -> bool {
        self.0 & ANCILLARY_WAITALL != 0
    }

    pub fn replace(self) -> bool {
        self.0 & ANCILLARY_REPLACE != 0
    }

    pub fn lossless(self) -> bool {
        self.0 & ANCILLARY_LOSSLESS != 0
    }

    /// Makes a system call, again as long as signals interrupt it and that is not asked for.
    #[inline(always)]
    pub fn retrying<T>(self, mut call: impl FnMut() -> Result<T>) -> Result<T> {
        let first = call();
        self.going_on(first, call)
    }

    /// The same, where the call has been made once and this is what came of it.
    #[inline(always)]
    pub fn going_on<T>(
        self,
        mut result: Result<T>,
        mut call: impl FnMut() -> Result<T>,
    ) -> Result<T> {
        loop {
            match result {
                Err(Errno::INTR) if !self.intr() => result = call(),
                result => return result,
            }
        }
    }
}
