//! Errors as values: how a call of the C library fails, and where C looks for the number.

use core::num::NonZeroUsize;
use libc::c_int;

/// An error number of errno(3): positive. As wide as a count, so that a result which is either takes
/// two registers and no memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(NonZeroUsize);

pub type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub const ACCES: Errno = Errno::new(libc::EACCES);
    pub const ADDRINUSE: Errno = Errno::new(libc::EADDRINUSE);
    pub const AGAIN: Errno = Errno::new(libc::EAGAIN);
    pub const BADMSG: Errno = Errno::new(libc::EBADMSG);
    pub const BADF: Errno = Errno::new(libc::EBADF);
    pub const BUSY: Errno = Errno::new(libc::EBUSY);
    pub const CONNREFUSED: Errno = Errno::new(libc::ECONNREFUSED);
    pub const EXIST: Errno = Errno::new(libc::EEXIST);
    pub const FAULT: Errno = Errno::new(libc::EFAULT);
    pub const INTR: Errno = Errno::new(libc::EINTR);
    pub const INVAL: Errno = Errno::new(libc::EINVAL);
    pub const IO: Errno = Errno::new(libc::EIO);
    pub const ISDIR: Errno = Errno::new(libc::EISDIR);
    pub const MFILE: Errno = Errno::new(libc::EMFILE);
    pub const MSGSIZE: Errno = Errno::new(libc::EMSGSIZE);
    pub const NAMETOOLONG: Errno = Errno::new(libc::ENAMETOOLONG);
    pub const NFILE: Errno = Errno::new(libc::ENFILE);
    pub const NOBUFS: Errno = Errno::new(libc::ENOBUFS);
    pub const NODATA: Errno = Errno::new(libc::ENODATA);
    pub const NOENT: Errno = Errno::new(libc::ENOENT);
    pub const NOMEM: Errno = Errno::new(libc::ENOMEM);
    pub const NOMSG: Errno = Errno::new(libc::ENOMSG);
    pub const NOSYS: Errno = Errno::new(libc::ENOSYS);
    pub const NOTCONN: Errno = Errno::new(libc::ENOTCONN);
    pub const PERM: Errno = Errno::new(libc::EPERM);
    pub const PIPE: Errno = Errno::new(libc::EPIPE);
    pub const PROTO: Errno = Errno::new(libc::EPROTO);
    pub const PROTOTYPE: Errno = Errno::new(libc::EPROTOTYPE);
    pub const RANGE: Errno = Errno::new(libc::ERANGE);
    pub const TOOBIG: Errno = Errno::new(libc::E2BIG);
    pub const TOOMANYREFS: Errno = Errno::new(libc::ETOOMANYREFS);

    /// An error number; 0 is none, and stands for any error here.
    pub const fn new(number: c_int) -> Errno {
        match NonZeroUsize::new(number as usize) {
            Some(number) => Errno(number),
            // SAFETY: it is not 0.
            None => Errno(unsafe { NonZeroUsize::new_unchecked(libc::EINVAL as usize) }),
        }
    }

    /// A count, or the error that a negative number in its place stands for.
    pub fn from_completion(result: isize) -> Option<Result<usize>> {
        // The kernel has no larger error numbers (MAX_ERRNO).
        match result {
            0.. => Some(Ok(result as usize)),
            -4095..=-1 => Some(Err(Errno::new(result.wrapping_neg() as c_int))),
            _ => None,
        }
    }

    pub fn number(self) -> c_int {
        self.0.get() as c_int
    }
}

/// What the functions of the C library return: negative where they have failed, and then `errno`
/// says why.
pub trait Returned: Copy {
    fn failed(self) -> bool;
}

macro_rules! returned {
    ($($integer:ty),*) => {$(
        impl Returned for $integer {
            #[inline(always)]
            fn failed(self) -> bool {
                self < 0
            }
        }
    )*};
}

returned!(i32, i64, isize);

/// Calls a function of the C library, and leaves `errno` as it was: a call that is made again after
/// a failure, or a probe that is expected to fail, is nothing that C is to see.
#[inline(always)]
pub fn checked<T: Returned>(call: impl FnOnce() -> T) -> Result<T> {
    let place = errno_location();
    // SAFETY: the location belongs to this thread and lives as long as it.
    let before = unsafe { *place };
    let result = call();
    if result.failed() {
        return Err(take_errno(before));
    }
    Ok(result)
}

/// Makes calls of which nobody asks how they end.
pub fn keeping_errno(calls: impl FnOnce()) {
    let place = errno_location();
    // SAFETY: the location belongs to this thread and lives as long as it.
    let before = unsafe { *place };
    calls();
    // SAFETY: as above.
    unsafe { *place = before };
}

/// The same, and made again after a signal: for what waits for nobody, and comes to the same when it
/// is done twice. A file system that is served by a process or over a network may let any of its
/// calls end so, having done nothing, or all of it.
#[inline(never)]
pub fn retried<T: Returned>(mut call: impl FnMut() -> T) -> Result<()> {
    loop {
        match checked(&mut call) {
            Err(Errno::INTR) => {}
            result => return result.map(|_| ()),
        }
    }
}

/// Reads what a function of the C library has left in `errno`, and puts back what was there.
#[cold]
#[inline(never)]
fn take_errno(before: c_int) -> Errno {
    let place = errno_location();
    // SAFETY: the location belongs to this thread and lives as long as it.
    Errno::new(unsafe { core::mem::replace(&mut *place, before) })
}

/// Sets `errno`, for C to see.
#[cold]
pub fn set_errno(error: Errno) {
    // SAFETY: the location belongs to this thread and lives as long as it.
    unsafe { *errno_location() = error.number() }
}

/// Where the calling thread keeps its `errno`.
#[inline(always)]
fn errno_location() -> *mut c_int {
    // SAFETY: takes nothing, and returns a location valid as long as the thread.
    unsafe { libc::__errno_location() }
}
