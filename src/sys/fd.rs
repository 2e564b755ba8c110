//! Descriptors as the operating system knows them: numbers in a table.

use super::errno::{checked, keeping_errno, Errno, Result};
use super::process::uncancelled;
use core::mem::forget;
use libc::{c_int, c_uint};

/// A descriptor of the library's own, closed when it is no longer needed.
pub struct Fd(c_int);

impl Fd {
    /// What a function of the C library returns that makes a descriptor.
    #[inline(always)]
    pub fn made(call: impl FnOnce() -> c_int) -> Result<Fd> {
        checked(call).map(Fd)
    }

    pub fn number(&self) -> c_int {
        self.0
    }

    /// Hands it to the caller, whose it is from then on.
    pub fn give_away(self) -> c_int {
        let fd = self.0;
        forget(self);
        fd
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close_run(self.0, self.0);
    }
}

/// Whether there is a descriptor of this number.
pub fn is_open(fd: c_int) -> bool {
    // SAFETY: fcntl takes any number for this command.
    checked(|| unsafe { libc::fcntl(fd, libc::F_GETFD) }).is_ok()
}

/// Duplicates a descriptor, close-on-exec, to the first free number from `least` on.
pub fn duplicate(fd: c_int, least: c_int) -> Result<c_int> {
    // SAFETY: fcntl takes any number; what it returns is the caller's.
    match checked(|| unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) }) {
        // There cannot be such numbers.
        Err(Errno::INVAL) => Err(Errno::MFILE),
        result => result,
    }
}

/// Whether the process has no number left for another descriptor like `any`.
#[cold]
pub fn table_is_full(any: c_int) -> bool {
    // SAFETY: fcntl takes any number; what it returns is ours.
    Fd::made(|| unsafe { libc::fcntl(any, libc::F_DUPFD_CLOEXEC, 0) }).is_err()
}

/// Makes a descriptor close-on-exec.
pub fn close_on_exec(fd: c_int) {
    // SAFETY: fcntl takes any numbers for this command.
    let _ = checked(|| unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) });
}

/// Closes the descriptors `first` to `last`, all of which the caller owns.
///
/// close(2) gives the number back whatever it returns, so there is nothing to report. It is a
/// cancellation point (pthreads(7)), and a thread that ended there would leave it open.
pub fn close_run(first: c_int, last: c_int) {
    if last > first && close_range(first, last).is_ok() {
        return;
    }
    keeping_errno(|| {
        uncancelled(|| {
            for fd in first..=last {
                // SAFETY: the caller owns the descriptor and does not use it afterwards.
                unsafe { libc::close(fd) };
            }
        })
    });
}

/// close_range(2), since Linux 5.9; fails where it is missing or forbidden. The C library's
/// function of that name is younger than the system call, so this goes by number.
fn close_range(first: c_int, last: c_int) -> Result<()> {
    let no_flags: c_uint = 0;
    // SAFETY: the caller of close_run owns all descriptors in the range.
    checked(|| unsafe {
        libc::syscall(libc::SYS_close_range, first as c_uint, last as c_uint, no_flags)
    })?;
    Ok(())
}
