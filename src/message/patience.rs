//! How long a call waits.

use super::flags::Flags;
use crate::sys::{self, Errno, How, Readiness, Result, Time};
use libc::c_int;

/// The time that a call has, of all its system calls together: that of the socket (SO_RCVTIMEO,
/// SO_SNDTIMEO). The kernel counts it anew for each system call and for each buffer of a long one.
/// So a call that may take several makes them without waiting, and waits here in between. Where
/// the socket has no time the kernel waits itself.
///
/// The time is asked for, and the clock read, when there is something to wait for.
pub struct Patience {
    sock: c_int,
    flags: Flags,
    until_ready_to: Readiness,
    limit: Limit,
    looks: u32,
    /// It waits here in any case.
    polls: bool,
}

/// How often a socket is believed to be ready, and is not in the end, before the kernel waits after
/// all: another may have been faster, or a byte out of band have come.
const LOOKS: u32 = 64;

#[derive(Clone, Copy)]
enum Limit {
    Unknown,
    /// The kernel waits for as long as it takes.
    None,
    /// It waits here: until then, or for as long as it takes.
    Until(Option<Time>),
    /// The last call without waiting has been made.
    Over,
}

impl Patience {
    pub fn new(sock: c_int, flags: Flags, until_ready_to: Readiness) -> Patience {
        Patience { sock, flags, until_ready_to, limit: Limit::Unknown, looks: 0, polls: false }
    }

    /// That of a call which knows between its system calls what has been transferred, and is to know
    /// it when its thread is cancelled: in one that waits, the C library would lose that.
    pub fn polling(sock: c_int, flags: Flags, until_ready_to: Readiness) -> Patience {
        Patience { polls: true, ..Patience::new(sock, flags, until_ready_to) }
    }

    /// How to make the next system call of several.
    pub fn how(&self) -> How {
        match self.limit {
            Limit::None => self.flags.how(),
            _ => sys::DONTWAIT,
        }
    }

    /// Something has been transferred: the socket was ready.
    pub fn moved(&mut self) {
        self.looks = 0;
    }

    /// How to make a system call again that has failed: after the wait, if it is to wait. Returns
    /// the error that the call is to end with.
    #[cold]
    pub fn again(&mut self, error: Errno, how: How) -> Result<How> {
        match error {
            Errno::INTR if !self.flags.intr() => {}
            Errno::AGAIN if how & sys::DONTWAIT != 0 && !self.flags.dontwait() => {}
            error => return Err(error),
        }
        if self.flags.dontwait() {
            return Ok(sys::DONTWAIT);
        }
        if let Limit::Unknown = self.limit {
            self.limit = self.ask(error)?;
        }
        match self.limit {
            Limit::Until(end) => self.wait(end),
            Limit::Over => Err(Errno::AGAIN),
            _ => Ok(sys::WAIT),
        }
    }

    /// A datagram takes one buffer, so the kernel's time is that of all of it; and poll(2) does not
    /// tell of the queue of a receiver that is not connected. What waits here in any case is a
    /// stream.
    fn kernel_waits(&self) -> bool {
        let sends = matches!(self.until_ready_to, Readiness::Send);
        sends && !self.polls && sys::socket_type(self.sock) != Ok(libc::SOCK_STREAM)
    }

    fn ask(&self, error: Errno) -> Result<Limit> {
        match (sys::is_nonblocking(self.sock), error) {
            (true, Errno::AGAIN) => Err(error),
            (true, _) => Ok(Limit::None),
            (false, _) => Ok(match sys::timeout(self.sock, self.until_ready_to) {
                Some(time) => Limit::Until(Some(sys::now().after(time))),
                None if self.polls => Limit::Until(None),
                None => Limit::None,
            }),
        }
    }

    fn wait(&mut self, end: Option<Time>) -> Result<How> {
        match self.poll(end) {
            Ok(true) if self.polls || self.looks < LOOKS => {
                self.looks = self.looks.wrapping_add(1);
                Ok(sys::DONTWAIT)
            }
            Ok(true) => Ok(sys::WAIT),
            // There can be room for less than poll(2) waits for.
            Ok(false) => {
                self.limit = Limit::Over;
                Ok(sys::DONTWAIT)
            }
            // Then the kernel waits, if there is time.
            Err(Errno::INVAL) => match end {
                Some(end) if sys::now() >= end => Err(Errno::AGAIN),
                _ => Ok(sys::WAIT),
            },
            Err(error) => Err(error),
        }
    }

    /// Waits in poll(2); -EINVAL where that cannot be: it looks at no more descriptors than
    /// RLIMIT_NOFILE, which is 0 in some sandboxes.
    fn poll(&self, end: Option<Time>) -> Result<bool> {
        if self.kernel_waits() {
            return Err(Errno::INVAL);
        }
        loop {
            match sys::wait(self.sock, self.until_ready_to, end) {
                Err(Errno::INTR) if !self.flags.intr() => {}
                outcome => return outcome,
            }
        }
    }
}
