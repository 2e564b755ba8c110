//! Time, and waiting for a socket.

use super::errno::{checked, Errno, Result};
use core::mem::MaybeUninit;
use libc::{c_int, c_short, pollfd, timespec, timeval};

/// A time of the clock that only goes forward, or a length of it. It is not counted in nanoseconds
/// alone: to divide so large a number is a function that a machine of 32 bits does not have.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub struct Time {
    seconds: i64,
    /// Less than a second, and not negative.
    nanoseconds: i32,
}

const SECOND: i32 = 1_000_000_000;

impl Time {
    pub const fn seconds(seconds: i64) -> Time {
        Time { seconds, nanoseconds: 0 }
    }

    pub const fn milliseconds(milliseconds: i32) -> Time {
        let (seconds, rest) = ((milliseconds / 1000) as i64, milliseconds % 1000);
        Time { seconds, nanoseconds: rest.wrapping_mul(1_000_000) }
    }

    pub fn from_timeval(time: &timeval) -> Time {
        let nanoseconds = (time.tv_usec as i32).wrapping_mul(1000);
        Time { seconds: time.tv_sec as i64, nanoseconds }
    }

    pub fn after(self, length: Time) -> Time {
        let seconds = self.seconds.saturating_add(length.seconds);
        let nanoseconds = self.nanoseconds.wrapping_add(length.nanoseconds);
        if nanoseconds < SECOND {
            return Time { seconds, nanoseconds };
        }
        let nanoseconds = nanoseconds.wrapping_sub(SECOND);
        Time { seconds: seconds.saturating_add(1), nanoseconds }
    }

    /// Whole milliseconds until then, rounded up: who waits so long has waited long enough. At most
    /// what an int holds.
    fn milliseconds_until(self, end: Time) -> c_int {
        let seconds = end.seconds.saturating_sub(self.seconds).max(-1);
        if seconds >= i64::from(c_int::MAX / 1000) {
            return c_int::MAX;
        }
        let rest = end.nanoseconds.wrapping_sub(self.nanoseconds);
        let rest = rest.wrapping_add(999_999).div_euclid(1_000_000);
        (seconds as c_int).wrapping_mul(1000).wrapping_add(rest).max(0)
    }
}

/// CLOCK_MONOTONIC, which Linux has always had.
pub fn now() -> Time {
    let now = read(libc::CLOCK_MONOTONIC);
    Time { seconds: now.tv_sec as i64, nanoseconds: now.tv_nsec as i32 }
}

/// Whole seconds since a time of the clock that files go by; it can be set.
pub fn seconds_since(time: i64) -> i64 {
    (read(libc::CLOCK_REALTIME).tv_sec as i64).saturating_sub(time)
}

/// clock_gettime(2).
fn read(clock: libc::clockid_t) -> timespec {
    let mut now = MaybeUninit::<timespec>::zeroed();
    // SAFETY: the place is ours to write to; all zero is a time as well.
    unsafe {
        let _ = checked(|| libc::clock_gettime(clock, now.as_mut_ptr()));
        now.assume_init()
    }
}

/// What a socket is waited for.
#[derive(Clone, Copy)]
pub enum Readiness {
    Receive,
    Send,
}

/// After so many milliseconds whoever waits to send, for as long as it takes, looks again: poll(2)
/// does not tell that nothing can be sent any more, which sendmsg(2) does, where there is no room
/// (shutdown(2) with SHUT_WR, or of the peer with SHUT_RD; unix_poll(), Linux 6.18).
const LOOK: c_int = 1000;

/// Waits for a socket until a time, if there is one; false: that has come. A signal ends the wait.
pub fn wait(sock: c_int, ready_to: Readiness, end: Option<Time>) -> Result<bool> {
    let events: c_short = match ready_to {
        Readiness::Receive => libc::POLLIN,
        Readiness::Send => libc::POLLOUT,
    };
    let mut one = pollfd { fd: sock, events, revents: 0 };
    loop {
        let left = match (end, ready_to) {
            (Some(end), _) => now().milliseconds_until(end),
            (None, Readiness::Send) => LOOK,
            (None, Readiness::Receive) => -1,
        };
        if left == 0 {
            return Ok(false);
        }
        // SAFETY: there is one, ours to write to.
        match checked(|| unsafe { libc::poll(&mut one, 1, left) })? {
            0 if end.is_none() => return Ok(true),
            // Or so much of it as an int of milliseconds holds, which is 24 days.
            0 => {}
            // Closed meanwhile: another call would be made for another file.
            _ if one.revents & libc::POLLNVAL != 0 => return Err(Errno::BADF),
            _ => return Ok(true),
        }
    }
}

/// Waits for nothing but a time to pass. A signal ends the wait.
pub fn pause(length: Time) -> Result<()> {
    let none = core::ptr::null_mut();
    // SAFETY: there are none.
    checked(|| unsafe { libc::poll(none, 0, Time::seconds(0).milliseconds_until(length)) })?;
    Ok(())
}
