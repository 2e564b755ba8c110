//! What a caller may ask of a call.

use super::constants::{ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_LOSSLESS, ANCILLARY_WAITALL};
use crate::message::Flags;
use crate::sys::{Errno, Result};
use libc::c_uint;

/// Of a call that transfers: all that there are of one that sends.
pub const TRANSFER: c_uint = Flags::ALWAYS | ANCILLARY_DONTWAIT | ANCILLARY_INTR;
/// Of a call that receives.
pub const RECEIVE: c_uint = TRANSFER | ANCILLARY_WAITALL | ANCILLARY_LOSSLESS;

// What C asks for is told below as it is.
const _: () = {
    assert!(ANCILLARY_DONTWAIT == Flags::DONTWAIT);
    assert!(ANCILLARY_INTR == Flags::INTR);
    assert!(ANCILLARY_WAITALL == Flags::WAITALL);
    assert!(ANCILLARY_LOSSLESS == Flags::LOSSLESS);
};

/// Refuses bits that a call does not know.
#[inline(always)]
pub fn check(bits: c_uint, known: c_uint) -> Result<()> {
    if bits & !known != 0 {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// The flags of a transfer, which knows no others than these.
#[inline(always)]
pub fn parse(bits: c_uint, known: c_uint) -> Result<Flags> {
    check(bits, known)?;
    Ok(Flags::known(bits))
}
