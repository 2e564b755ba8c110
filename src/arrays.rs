//! Arrays that C hands over as a pointer and a count.

use crate::errno::{Errno, Result};
use core::mem::size_of;
use core::slice;
use libc::{c_char, c_int};

/// More elements than this cannot be meant: a process has no more descriptors, and no array is
/// larger than half of what can be addressed.
const fn most<T>() -> usize {
    let fit = isize::MAX as usize / size_of::<T>();
    if fit < c_int::MAX as usize {
        return fit;
    }
    c_int::MAX as usize
}

/// So many descriptors.
pub const MOST: usize = most::<c_int>();

/// An array to read.
///
/// # Safety
/// `start` is NULL, or `count` elements are there.
#[inline(always)]
pub unsafe fn lent<'a, T>(start: *const T, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() || count > most::<T>() {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller's promise; the count has just been checked.
    Ok(unsafe { slice::from_raw_parts(start, count) })
}

/// An array to fill.
///
/// # Safety
/// `start` is NULL, or `count` elements are there, which nothing else uses meanwhile.
#[inline(always)]
pub unsafe fn filled<'a, T>(start: *mut T, count: usize) -> Result<&'a mut [T]> {
    if count == 0 {
        return Ok(&mut []);
    }
    if start.is_null() || count > most::<T>() {
        return Err(Errno::INVAL);
    }
    // SAFETY: the caller's promise; the count has just been checked.
    Ok(unsafe { slice::from_raw_parts_mut(start, count) })
}

/// A string, with the zero byte at its end; -ENAMETOOLONG if it is longer than that.
///
/// # Safety
/// `start` is NULL, or a string is there.
pub unsafe fn string<'a>(start: *const c_char, most: usize) -> Result<&'a [u8]> {
    if start.is_null() {
        return Err(Errno::INVAL);
    }
    let mut len: usize = 0;
    loop {
        // SAFETY: the caller's promise; the string has not ended before.
        let byte = unsafe { *start.add(len) };
        len = len.wrapping_add(1);
        if byte == 0 {
            // SAFETY: so much has just been read.
            return Ok(unsafe { slice::from_raw_parts(start as *const u8, len) });
        }
        if len == most {
            return Err(Errno::NAMETOOLONG);
        }
    }
}
