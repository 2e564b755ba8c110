//! The one place that turns a result into what C gets.

use crate::sys::{self, Errno, Result};
use libc::{c_int, ssize_t};

/// What a C function returns when it succeeds: 0 or more. Negative values are errors.
pub trait Value {
    type C;
    fn to_c(self) -> Self::C;
    fn error(number: c_int) -> Self::C;
}

impl Value for () {
    type C = c_int;
    #[inline(always)]
    fn to_c(self) -> c_int {
        0
    }
    fn error(number: c_int) -> c_int {
        number.wrapping_neg()
    }
}

impl Value for c_int {
    type C = c_int;
    #[inline(always)]
    fn to_c(self) -> c_int {
        self
    }
    fn error(number: c_int) -> c_int {
        number.wrapping_neg()
    }
}

impl Value for usize {
    type C = ssize_t;
    #[inline(always)]
    fn to_c(self) -> ssize_t {
        self as ssize_t
    }
    fn error(number: c_int) -> ssize_t {
        number.wrapping_neg() as ssize_t
    }
}

/// Makes a call for C: its value, with `errno` as it was; or the negative error number, with that
/// number in `errno`.
#[inline(always)]
pub fn returning<T: Value>(call: impl FnOnce() -> Result<T>) -> T::C {
    match call() {
        Ok(value) => value.to_c(),
        Err(error) => failing::<T>(error),
    }
}

#[cold]
#[inline(never)]
fn failing<T: Value>(error: Errno) -> T::C {
    sys::set_errno(error);
    T::error(error.number())
}
