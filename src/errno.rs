//! Results inside, and the one place that turns them into C return values.

use crate::sys;
use libc::{c_int, ssize_t};

/// An error number of errno(3): positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub c_int);

pub type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub const ACCES: Errno = Errno(libc::EACCES);
    pub const ADDRINUSE: Errno = Errno(libc::EADDRINUSE);
    pub const CONNREFUSED: Errno = Errno(libc::ECONNREFUSED);
    pub const EXIST: Errno = Errno(libc::EEXIST);
    pub const FAULT: Errno = Errno(libc::EFAULT);
    pub const INTR: Errno = Errno(libc::EINTR);
    pub const INVAL: Errno = Errno(libc::EINVAL);
    pub const ISDIR: Errno = Errno(libc::EISDIR);
    pub const MFILE: Errno = Errno(libc::EMFILE);
    pub const MSGSIZE: Errno = Errno(libc::EMSGSIZE);
    pub const NAMETOOLONG: Errno = Errno(libc::ENAMETOOLONG);
    pub const NFILE: Errno = Errno(libc::ENFILE);
    pub const NODATA: Errno = Errno(libc::ENODATA);
    pub const NOENT: Errno = Errno(libc::ENOENT);
    pub const NOMSG: Errno = Errno(libc::ENOMSG);
    pub const NOSYS: Errno = Errno(libc::ENOSYS);
    pub const NOTCONN: Errno = Errno(libc::ENOTCONN);
    pub const PERM: Errno = Errno(libc::EPERM);
    pub const PIPE: Errno = Errno(libc::EPIPE);
    pub const PROTOTYPE: Errno = Errno(libc::EPROTOTYPE);
    pub const RANGE: Errno = Errno(libc::ERANGE);
    pub const TOOBIG: Errno = Errno(libc::E2BIG);

    /// What the C function that has just failed left in `errno`.
    pub fn last() -> Errno {
        // SAFETY: the location belongs to this thread and lives as long as it.
        Errno(unsafe { *sys::errno_location() })
    }
}

/// A value that a C function returns when it succeeds.
pub trait CValue {
    /// The C type, in which negative values are errors.
    type C;
    fn into_c(self) -> Self::C;
    fn error(errno: Errno) -> Self::C;
}

impl CValue for () {
    type C = c_int;
    fn into_c(self) -> c_int {
        0
    }
    fn error(Errno(number): Errno) -> c_int {
        number.wrapping_neg()
    }
}

impl CValue for c_int {
    type C = c_int;
    fn into_c(self) -> c_int {
        self
    }
    fn error(errno: Errno) -> c_int {
        <()>::error(errno)
    }
}

impl CValue for usize {
    type C = ssize_t;
    fn into_c(self) -> ssize_t {
        self as ssize_t
    }
    fn error(errno: Errno) -> ssize_t {
        <()>::error(errno) as ssize_t
    }
}

/// Makes a call for C: returns its value and leaves `errno` as it was, or returns the negative
/// error number and leaves the number in `errno`.
///
/// A call that succeeds has to put `errno` back, because one that was retried, or a probe that
/// failed as expected, has overwritten it.
#[inline(always)]
pub fn returning<T: CValue>(call: impl FnOnce() -> Result<T>) -> T::C {
    let errno = sys::errno_location();
    // SAFETY: the location belongs to this thread, which runs all of this function.
    let before = unsafe { *errno };
    let (after, value) = match call() {
        Ok(value) => (before, value.into_c()),
        Err(error) => (error.0, T::error(error)),
    };
    // SAFETY: as above.
    unsafe { *errno = after };
    value
}

/// Makes a call that returns nothing to C and leaves `errno` as it was.
pub fn keeping(call: impl FnOnce()) {
    returning(|| {
        call();
        Ok(())
    });
}
