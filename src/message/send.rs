//! Sending: one message, or as many as it takes.

use super::carrier::Carrier;
use super::flags::Flags;
use super::patience::Patience;
use super::payload::{messages_for, Parts, Payload};
use crate::sys::{self, ucred, Errno, How, Readiness, Result, MAX_FDS};
use libc::c_int;

/// A call that sends a payload with descriptors, and credentials if there are any.
pub struct Sender<'a> {
    pub sock: c_int,
    pub flags: Flags,
    pub payload: Payload<'a>,
    pub fds: &'a [c_int],
    pub creds: Option<ucred>,
    /// Where to, on a socket that is not connected.
    pub name: Option<&'a [u8]>,
}

impl Sender<'_> {
    /// Sends all, and returns how many bytes of the payload went.
    ///
    /// Mostly there are descriptors for one message, and a system call takes everything.
    #[inline(always)]
    pub fn send(self) -> Result<usize> {
        let all = self.payload.left();
        if self.creds.is_some()
            || !(1..=MAX_FDS).contains(&self.fds.len())
            || !self.payload.fits_buffer()
        {
            return self.send_any();
        }
        let how = self.flags.how();
        let mut carrier = <Carrier>::new();
        let mut control = carrier.writer();
        control.append_fds(self.fds)?;
        let controllen = control.used();
        match carrier.send(self.sock, self.name, self.payload.whole(), controllen, how) {
            Ok(sent) if sent == all => Ok(sent),
            outcome => self.go_on(outcome, how),
        }
    }

    /// The same, of whatever is to go: in one place, for calls that are rare or seldom usual.
    #[cold]
    #[inline(never)]
    pub fn send_any(self) -> Result<usize> {
        self.check()?;
        let how = match self.payload.fits_buffer() && self.fds.len() <= MAX_FDS {
            true => self.flags.how(),
            false => sys::DONTWAIT,
        };
        match self.send_piece(how) {
            Ok(sent) if sent == self.payload.left() => Ok(sent),
            outcome => self.go_on(outcome, how),
        }
    }

    /// Whether what no single message of a stream carries can go.
    ///
    /// An empty message: on a stream it would lose what is attached. More descriptors than one
    /// message carries: on a stream, with a byte of payload for each message.
    fn check(&self) -> Result<()> {
        if self.payload.is_possible() && self.fds.len() <= MAX_FDS {
            return Ok(());
        }
        if self.payload.left() > isize::MAX as usize {
            return Err(Errno::INVAL);
        }
        let stream = sys::socket_type(self.sock)? == libc::SOCK_STREAM;
        if self.fds.len() > MAX_FDS && !stream {
            return Err(Errno::TOOBIG);
        }
        if stream && self.payload.left() < messages_for(self.fds.len()) {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// The next message, or what is left of one, with one system call.
    ///
    /// Descriptors that do not fit one message are split: byte i of the payload carries those from
    /// MAX_FDS * i onwards, and the last message carries the rest of the payload. Credentials travel
    /// with the first.
    pub fn send_piece(&self, how: How) -> Result<usize> {
        let (mut carrier, mut parts) = (<Carrier>::new(), Parts::new());
        let mut control = carrier.writer();
        if let Some(creds) = &self.creds {
            control.append_creds(creds)?;
        }
        let last = self.fds.len() <= MAX_FDS;
        control.append_fds(if last { self.fds } else { self.batch() })?;
        let controllen = control.used();
        let window = match last {
            true => self.payload.window(&mut parts),
            false => self.payload.part(1, &mut parts),
        };
        carrier.send(self.sock, self.name, window, controllen, how)
    }

    /// The descriptors of the next message.
    fn batch(&self) -> &[c_int] {
        self.fds.get(..self.fds.len().min(MAX_FDS)).unwrap_or_default()
    }

    /// Goes on behind a system call that did not send everything.
    #[cold]
    #[inline(never)]
    fn go_on(mut self, mut outcome: Result<usize>, mut how: How) -> Result<usize> {
        let mut patience = Patience::new(self.sock, self.flags, Readiness::Send);
        let mut sent: usize = 0;
        loop {
            let again = match outcome {
                Ok(n) => {
                    let whole = self.went(n);
                    patience.moved();
                    sent = sent.saturating_add(n);
                    if self.payload.left() == 0 || n == 0 {
                        return Ok(sent);
                    }
                    // A short count of a call that waits means that a signal, or SO_SNDTIMEO, ended
                    // the wait: of one that does not, that it would have had to.
                    match whole {
                        true => Ok(patience.how()),
                        false if how & sys::DONTWAIT == 0 => patience.again(Errno::INTR, how),
                        false => patience.again(Errno::AGAIN, how),
                    }
                }
                Err(error) => patience.again(error, how),
            };
            how = match again {
                Ok(how) => how,
                // The next call reports the error: it is the socket's, not this message's.
                Err(_) if sent > 0 => return Ok(sent),
                Err(error) => return Err(error),
            };
            outcome = self.send_piece(how);
        }
    }

    /// Moves past what the kernel has taken. When it takes a part of a message it takes all its
    /// control data, so what is left of it goes without any: sent along again, its descriptors would
    /// arrive twice. Returns whether a message went whole.
    fn went(&mut self, n: usize) -> bool {
        let last = self.fds.len() <= MAX_FDS;
        self.fds = self.fds.get(MAX_FDS..).unwrap_or_default();
        self.creds = None;
        self.payload.advance(n);
        !last || self.payload.left() == 0
    }
}
