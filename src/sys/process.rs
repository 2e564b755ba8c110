//! The calling process and thread.

use libc::{c_char, c_int, ucred};

/// The process that calls, as it would be shown to the receiver of a message: with its real ids.
pub fn own_creds() -> ucred {
    // SAFETY: these take nothing and cannot fail.
    unsafe { ucred { pid: libc::getpid(), uid: libc::getuid(), gid: libc::getgid() } }
}

pub fn own_pid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpid() as u32 }
}

/// strnlen(3).
///
/// # Safety
/// A string is there, or as many bytes as are looked at.
pub unsafe fn string_length(start: *const c_char, most: usize) -> usize {
    // SAFETY: a string is there, or `most` bytes, and no more of them are read.
    unsafe { libc::strnlen(start, most) }
}

/// Runs what must not be left half done: a thread that is cancelled (pthread_cancel(3)) in it
/// ends behind it.
#[inline(always)]
pub fn uncancelled<T>(run: impl FnOnce() -> T) -> T {
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    let before = set_cancel_state(PTHREAD_CANCEL_DISABLE);
    let result = run();
    set_cancel_state(before);
    result
}

/// pthread_setcancelstate(3); returns what it was.
#[inline(always)]
fn set_cancel_state(state: c_int) -> c_int {
    extern "C" {
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
    let mut before: c_int = 0;
    // SAFETY: the place for the old state is ours.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}
