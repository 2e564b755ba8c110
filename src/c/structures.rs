//! Structures that begin with their size, and can grow.

use super::arrays;
use crate::sys::{Errno, Result};
use core::mem::size_of;
use libc::size_t;

/// The largest that a structure can have grown to, in bytes.
const LARGEST: usize = 4096;

/// Whether a structure is there, and as large as this library knows it.
///
/// # Safety
/// `structure` is NULL, or as many bytes as it says are there.
#[inline(always)]
pub unsafe fn is_current<T>(structure: *const T) -> bool {
    // SAFETY: there is a size at least, which is the first of all fields.
    !structure.is_null() && unsafe { structure.cast::<size_t>().read() } == size_of::<T>()
}

/// Whether a structure is one that this library serves: what it does not know of a larger one is
/// all zero.
///
/// # Safety
/// `structure` is NULL, or as many bytes as it says are there.
#[inline(always)]
pub unsafe fn check_size<T>(structure: *const T) -> Result<()> {
    // SAFETY: so many bytes are there, or it is NULL, as the caller promises.
    match unsafe { is_current(structure) || has_grown(structure.cast(), size_of::<T>()) } {
        true => Ok(()),
        false => Err(Errno::INVAL),
    }
}

/// # Safety
/// `structure` is NULL, or as many bytes as it says are there.
#[cold]
#[inline(never)]
unsafe fn has_grown(structure: *const size_t, known: usize) -> bool {
    if structure.is_null() {
        return false;
    }
    // SAFETY: there is a size at least, as the caller promises.
    let size = unsafe { structure.read() };
    if !(known..=LARGEST).contains(&size) {
        return false;
    }
    // SAFETY: so many bytes are there, as the caller promises.
    let bytes = unsafe { arrays::lent(structure.cast::<u8>(), size) }.unwrap_or_default();
    bytes.get(known..).unwrap_or_default().iter().all(|byte| *byte == 0)
}
