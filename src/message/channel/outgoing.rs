//! Sending on a channel: what goes at once, what waits, and what an error ends.

use super::backlog::{self, Backlog};
use super::format::{plain, Format, Head};
use super::message::{Carried, Message};
use super::queue::Memory;
use crate::message::{Flags, Patience, Payload, Sender};
use crate::sys::{self, Errno, How, Readiness, Result, MAX_FDS};
use core::mem::{self, MaybeUninit};
use libc::{c_int, c_void, iovec};

/// What is kept between calls.
#[repr(C)]
pub struct State {
    backlog: backlog::State,
    ends: Ends,
}

#[repr(C)]
struct Ends {
    /// Why nothing is sent any more: an error number.
    over: u32,
    /// What went wrong with what waits, and may go another time: the next call tells.
    untold: u32,
}

impl State {
    /// Closes the descriptors of what waits in this memory.
    pub fn close(&mut self, fds: &mut [MaybeUninit<c_int>]) {
        self.backlog.close(fds);
    }

    /// Whether something is still to be sent.
    pub fn waits(&self) -> bool {
        !self.backlog.is_empty()
    }
}

pub struct Outgoing<'a> {
    sock: c_int,
    flags: Flags,
    backlog: Backlog<'a>,
    ends: &'a mut Ends,
}

impl<'a> Outgoing<'a> {
    #[inline(always)]
    pub fn new(
        sock: c_int,
        flags: Flags,
        memory: Memory<'a>,
        state: &'a mut State,
    ) -> Result<Outgoing<'a>> {
        let backlog = Backlog::new(memory, &mut state.backlog)?;
        Ok(Outgoing { sock, flags, backlog, ends: &mut state.ends })
    }

    /// The usual case of what `send` does with `more`: a plain message without descriptors, for which
    /// there is space where it is put.
    #[inline(always)]
    pub fn add_usual(&mut self, format: Format, head: Head, payload: &[u8]) -> Option<()> {
        let told = self.ends.over == 0 && self.ends.untold == 0;
        if !told || format != Format::PLAIN || head.nfds > 0 {
            return None;
        }
        self.backlog.put(&plain(head).ok()?, payload)
    }

    /// Sends a message, or takes it to wait; with `more` that is all.
    #[inline(always)]
    pub fn send(mut self, mut message: Message, more: bool) -> Result<()> {
        self.check(&message)?;
        if self.ends.untold != 0 {
            return Err(Errno::new(mem::take(&mut self.ends.untold) as c_int));
        }
        let mut patience = self.patience();
        if message.borrows() {
            self.flush_within(&mut patience)?;
            return self.send_at_once(&mut message, &mut patience);
        }
        if !self.backlog.fits(&message) {
            let flushed = self.flush_within(&mut patience);
            if self.ends.over != 0 || !self.backlog.fits(&message) {
                return flushed.and(Err(Errno::AGAIN));
            }
        }
        if self.backlog.is_empty() && !more {
            return self.send_at_once(&mut message, &mut patience);
        }
        self.backlog.append(&mut message, 0);
        if !more {
            self.flush_after(Ok(()), &mut patience);
        }
        Ok(())
    }

    /// The same error ever after.
    fn check_open(&self) -> Result<()> {
        match self.ends.over {
            0 => Ok(()),
            error => Err(Errno::new(error as c_int)),
        }
    }

    fn check(&self, message: &Message) -> Result<()> {
        self.check_open()?;
        let (most, most_fds) = self.backlog.capacity();
        if message.len() > most {
            return Err(Errno::MSGSIZE);
        }
        match &message.fds {
            Carried::Borrowed([]) => Ok(()),
            Carried::Borrowed(fds) if fds.len() > MAX_FDS => Err(Errno::TOOBIG),
            Carried::Taken(fds) if fds.len() > most_fds => Err(Errno::MSGSIZE),
            fds if fds.all().iter().any(|fd| *fd < 0) => Err(Errno::BADF),
            fds if fds.all().len() > message.len().saturating_mul(MAX_FDS) => Err(Errno::INVAL),
            _ => Ok(()),
        }
    }

    /// Sends a message as it lies, if nothing waits in front of it. What is left of it waits.
    fn send_at_once(&mut self, message: &mut Message, patience: &mut Patience) -> Result<()> {
        let mut how = patience.how();
        let (sent, waited) = loop {
            let parts = message.parts();
            let iov = parts
                .map(|part| iovec { iov_base: part.as_ptr() as *mut c_void, iov_len: part.len() });
            let error = match send_piece(self.sock, self.flags, &iov, message.fds.all(), how) {
                Ok(sent) => break (sent, Ok(())),
                Err(error) => error,
            };
            match self.again(error, how, patience, true) {
                again if error == Errno::AGAIN && !message.borrows() => break (0, again.map(drop)),
                again => how = again?,
            }
        };
        if sent > 0 {
            message.gone(MAX_FDS);
        }
        if sent < message.len() {
            self.backlog.append(message, sent);
            self.flush_after(waited, patience);
        }
        Ok(())
    }

    /// Sends what waits, if there is nothing wrong yet, behind a message that has been taken: what
    /// goes wrong is told by the next call.
    fn flush_after(&mut self, waited: Result<()>, patience: &mut Patience) {
        match waited.and_then(|()| self.flush_within(patience)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.ends.untold = error.number() as u32,
        }
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> Result<()> {
        self.check_open()?;
        self.ends.untold = 0;
        let mut patience = self.patience();
        self.flush_within(&mut patience)
    }

    fn flush_within(&mut self, patience: &mut Patience) -> Result<()> {
        let mut how = patience.how();
        while let Some((bytes, fds)) = self.backlog.first() {
            let len = bytes.len();
            let iov = [iovec { iov_base: bytes.as_ptr() as *mut c_void, iov_len: len }];
            let (sock, flags) = (self.sock, self.flags);
            let outcome = match send_piece(sock, flags, &iov, fds, how) {
                Ok(sent) => {
                    self.backlog.went(sent);
                    if sent > 0 {
                        patience.moved();
                        how = patience.how();
                        continue;
                    }
                    Errno::AGAIN
                }
                Err(error) => error,
            };
            how = self.again(outcome, how, patience, false)?;
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience::polling(self.sock, self.flags, Readiness::Send)
    }

    /// How to make a system call again that has failed. What goes wrong with the wait ends nothing.
    #[cold]
    fn again(&mut self, error: Errno, how: How, patience: &mut Patience, own: bool) -> Result<How> {
        match error {
            Errno::AGAIN | Errno::INTR => patience.again(error, how),
            error => Err(self.why(error, own)),
        }
    }

    /// An error of a system call: what another can get over leaves all as it is. `own`: it was made
    /// for a message that has not been taken, and says nothing of what comes after.
    #[cold]
    fn why(&mut self, error: Errno, own: bool) -> Errno {
        match error {
            Errno::TOOMANYREFS | Errno::NOMEM | Errno::NOBUFS | Errno::PERM => {}
            Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::MSGSIZE if own => {}
            error => {
                self.backlog.close();
                self.ends.over = error.number() as u32;
            }
        }
        error
    }
}

/// One system call. A thread is cancelled in the waits between them alone, so that it is known what
/// has gone.
fn send_piece(sock: c_int, flags: Flags, iov: &[iovec], fds: &[c_int], how: How) -> Result<usize> {
    let payload = Payload::scattered(iov)?;
    let sender = Sender { sock, flags, payload, fds, creds: None, name: None };
    sys::uncancelled(|| sender.send_piece(how))
}
