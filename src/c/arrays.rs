//! What C hands over as a pointer and a count.

use crate::message::Payload;
use crate::sys::{self, Errno, Result};
use core::mem::{size_of, MaybeUninit};
use core::{ptr, slice};
use libc::{c_char, c_int, c_void, iovec};

/// More elements than this cannot be meant: a process has no more descriptors, and no array is
/// larger than half of what can be addressed.
const fn most<T>() -> usize {
    let fit = isize::MAX as usize / size_of::<T>();
    if fit < c_int::MAX as usize {
        return fit;
    }
    c_int::MAX as usize
}

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
    // SAFETY: `count` elements are at `start`, which is not NULL, and no more than can be.
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
    // SAFETY: `count` elements are at `start`, which nothing else uses, and no more than can be.
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
    // SAFETY: a string is at `start`, which is not NULL.
    let len = unsafe { sys::string_length(start, most) };
    if len == most {
        return Err(Errno::NAMETOOLONG);
    }
    // SAFETY: so much of the string is there, with its zero byte.
    Ok(unsafe { slice::from_raw_parts(start as *const u8, len.saturating_add(1)) })
}

/// A payload in one buffer.
pub struct Flat {
    iov: [iovec; 1],
    marker: MaybeUninit<u8>,
}

impl Flat {
    #[inline(always)]
    pub fn new(data: *const c_void, len: usize) -> Flat {
        let iov = [iovec { iov_base: data as *mut c_void, iov_len: len }];
        Flat { iov, marker: MaybeUninit::uninit() }
    }

    /// The payload; or, where `data` is NULL and `len` is 0, a marker byte for each message that
    /// `nfds` descriptors take.
    #[inline(always)]
    pub fn payload(&mut self, nfds: usize) -> Result<Payload<'_>> {
        match self.iov {
            [iovec { iov_base, .. }] if !iov_base.is_null() => Ok(Payload::flat(&self.iov)),
            [iovec { iov_len: 0, .. }] => Ok(self.markers(0, nfds)),
            _ => Err(Errno::INVAL),
        }
    }

    /// Marker bytes of this value.
    #[cold]
    pub fn markers(&mut self, marker: u8, nfds: usize) -> Payload<'_> {
        let marker: *mut u8 = self.marker.write(marker);
        self.iov = [iovec { iov_base: marker as *mut c_void, iov_len: 1 }];
        Payload::markers(&self.iov, nfds)
    }

    /// Memory for marker bytes.
    pub fn none() -> Flat {
        Flat::new(ptr::null(), 0)
    }
}
