//! Results inside, and the one place that turns them into C return values.

use crate::sys;
use core::num::NonZeroI32;
use libc::{c_int, ssize_t};

/// An error number of errno(3): positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(NonZeroI32);

pub type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub const ACCES: Errno = Errno::new(libc::EACCES);
    pub const ADDRINUSE: Errno = Errno::new(libc::EADDRINUSE);
    pub const AGAIN: Errno = Errno::new(libc::EAGAIN);
    pub const CONNREFUSED: Errno = Errno::new(libc::ECONNREFUSED);
    pub const EXIST: Errno = Errno::new(libc::EEXIST);
    pub const FAULT: Errno = Errno::new(libc::EFAULT);
    pub const INTR: Errno = Errno::new(libc::EINTR);
    pub const INVAL: Errno = Errno::new(libc::EINVAL);
    pub const ISDIR: Errno = Errno::new(libc::EISDIR);
    pub const MFILE: Errno = Errno::new(libc::EMFILE);
    pub const MSGSIZE: Errno = Errno::new(libc::EMSGSIZE);
    pub const NAMETOOLONG: Errno = Errno::new(libc::ENAMETOOLONG);
    pub const NFILE: Errno = Errno::new(libc::ENFILE);
    pub const NODATA: Errno = Errno::new(libc::ENODATA);
    pub const NOENT: Errno = Errno::new(libc::ENOENT);
    pub const NOMSG: Errno = Errno::new(libc::ENOMSG);
    pub const NOSYS: Errno = Errno::new(libc::ENOSYS);
    pub const NOTCONN: Errno = Errno::new(libc::ENOTCONN);
    pub const PERM: Errno = Errno::new(libc::EPERM);
    pub const PIPE: Errno = Errno::new(libc::EPIPE);
    pub const PROTOTYPE: Errno = Errno::new(libc::EPROTOTYPE);
    pub const RANGE: Errno = Errno::new(libc::ERANGE);
    pub const TOOBIG: Errno = Errno::new(libc::E2BIG);

    /// An error number; 0 is none, and stands for any error here.
    pub const fn new(number: c_int) -> Errno {
        match NonZeroI32::new(number) {
            Some(number) => Errno(number),
            // SAFETY: it is not 0.
            None => Errno(unsafe { NonZeroI32::new_unchecked(libc::EINVAL) }),
        }
    }

    pub fn number(self) -> c_int {
        self.0.get()
    }

    /// What the C function that has just failed left in `errno`.
    #[inline(always)]
    pub fn last() -> Errno {
        // SAFETY: the location belongs to this thread and lives as long as it.
        Errno::new(unsafe { *sys::errno_location() })
    }
}

/// A value that a C function returns when it succeeds, 0 or more; negative values are errors.
pub trait CValue {
    type C;
    fn to_size(self) -> ssize_t;
    fn from_size(value: ssize_t) -> Self::C;
}

impl CValue for () {
    type C = c_int;
    fn to_size(self) -> ssize_t {
        0
    }
    fn from_size(value: ssize_t) -> c_int {
        value as c_int
    }
}

impl CValue for c_int {
    type C = c_int;
    fn to_size(self) -> ssize_t {
        self as ssize_t
    }
    fn from_size(value: ssize_t) -> c_int {
        value as c_int
    }
}

impl CValue for usize {
    type C = ssize_t;
    fn to_size(self) -> ssize_t {
        self as ssize_t
    }
    fn from_size(value: ssize_t) -> ssize_t {
        value
    }
}

/// The value of a result, or the negative error number.
#[inline(always)]
fn to_size<T: CValue>(result: Result<T>) -> ssize_t {
    match result {
        Ok(value) => value.to_size(),
        Err(error) => (error.number() as ssize_t).wrapping_neg(),
    }
}

/// A count, or a negative error number, as C returns it: in a register, where a Result takes
/// memory.
#[derive(Clone, Copy)]
pub struct Packed(ssize_t);

impl Packed {
    #[inline(always)]
    pub fn new(result: Result<usize>) -> Packed {
        Packed(to_size(result))
    }

    #[inline(always)]
    pub fn result(self) -> Result<usize> {
        if self.0 < 0 {
            return Err(Errno::new(self.0.wrapping_neg() as c_int));
        }
        Ok(self.0 as usize)
    }
}

/// `errno` as a call from C finds it.
#[derive(Clone, Copy)]
pub struct Before(c_int);

impl Before {
    #[inline(always)]
    pub fn now() -> Before {
        // SAFETY: the location belongs to this thread and lives as long as it.
        Before(unsafe { *sys::errno_location() })
    }

    /// Turns a result into what C gets: the value, with `errno` as it was; or the negative error
    /// number, with that number in `errno`.
    #[inline(always)]
    pub fn returning<T: CValue>(self, result: Result<T>) -> T::C {
        T::from_size(self.leave(to_size(result)))
    }

    /// A call that succeeds has to put `errno` back where one that was retried, or a probe that
    /// failed as expected, may have overwritten it.
    #[inline(never)]
    fn leave(self, value: ssize_t) -> ssize_t {
        let after = if value < 0 { value.wrapping_neg() as c_int } else { self.0 };
        // SAFETY: the location belongs to this thread and lives as long as it.
        unsafe { *sys::errno_location() = after };
        value
    }
}

/// Makes a call for C.
#[inline(always)]
pub fn returning<T: CValue>(call: impl FnOnce() -> Result<T>) -> T::C {
    let before = Before::now();
    before.returning(call())
}

/// Makes a call that returns nothing to C and leaves `errno` as it was.
pub fn keeping(call: impl FnOnce()) {
    returning(|| {
        call();
        Ok(())
    });
}
