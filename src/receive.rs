//! Receiving: one message, or the pieces of a stream.

use crate::control::{self, Message};
use crate::descriptors::{self, Slots};
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::identity::ancillary_creds;
use crate::lossless;
use crate::payload::{Parts, Payload, Window};
use crate::sys::{self, Arrival, How, Outcome};
use core::mem::replace;
use libc::{c_int, msghdr};

/// What one system call, or all those of one function call, received. The descriptors are in the
/// caller's slots.
#[derive(Clone, Copy)]
pub struct Received {
    pub bytes: usize,
    /// More descriptors came than there was room for; those were closed.
    pub surplus: bool,
    /// Why descriptors were lost, if some were.
    pub lost: Option<Errno>,
    /// A datagram was longer than the room for its payload.
    pub data_cut: bool,
    /// The sender's, as the kernel tells them.
    pub creds: Option<ancillary_creds>,
    /// A pidfd came that was wanted, or could have come.
    pub with_pidfd: bool,
}

impl Received {
    const NOTHING: Received = Received {
        bytes: 0,
        surplus: false,
        lost: None,
        data_cut: false,
        creds: None,
        with_pidfd: false,
    };

    /// Why the descriptors that came are not all in the caller's slots.
    fn incomplete(&self) -> Option<Errno> {
        if self.surplus {
            return Some(Errno::TOOBIG);
        }
        self.lost
    }

    /// Who sent it.
    pub fn sender(&self) -> Option<ancillary_creds> {
        self.creds.filter(|creds| creds.says_something(self.bytes))
    }
}

/// How a call takes what it did not make room for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It fails, and everything that came is closed.
    Strict,
    /// It says so, and keeps the rest.
    Tolerant,
}

/// A call that receives.
pub struct Receiver<'a> {
    pub sock: c_int,
    pub flags: Flags,
    pub ending: Ending,
    pub payload: Payload<'a>,
    pub slots: Slots<'a>,
    pub received: Received,
}

/// A system call that has been made, and where it put what came.
pub struct Attempt<'a> {
    pub outcome: Outcome,
    pub message: &'a mut msghdr,
    pub control: &'a mut control::Buffer,
}

impl<'a> Receiver<'a> {
    #[inline(always)]
    pub fn new(
        sock: c_int,
        flags: Flags,
        ending: Ending,
        payload: Payload<'a>,
        slots: Slots<'a>,
    ) -> Receiver<'a> {
        Receiver { sock, flags, ending, payload, slots, received: Received::NOTHING }
    }

    /// Receives one message; with WAITALL on a stream, pieces until the payload is whole. `first`
    /// is the system call for the first, where it has been made already.
    #[cold]
    #[inline(never)]
    pub fn receive(&mut self, first: Option<Attempt>) -> Result<()> {
        self.receive_piece(first)?;
        self.payload.advance(self.received.bytes);
        if self.flags.waitall() && self.payload.left() > 0 {
            self.receive_more();
        }
        if self.ending == Ending::Strict {
            if let Some(misfit) = self.refusal() {
                self.slots.close_all();
                return Err(misfit);
            }
        }
        Ok(())
    }

    /// Goes on until the payload is whole, or something did not fit. An error ends it as well:
    /// what is here already is not to be lost.
    #[inline(always)]
    fn receive_more(&mut self) {
        if self.received.bytes == 0 || sys::socket_type(self.sock) != Ok(libc::SOCK_STREAM) {
            return;
        }
        while self.payload.left() > 0 && self.refusal().is_none() {
            let before = self.received;
            let result = self.receive_piece(None);
            let piece = replace(&mut self.received, before);
            // The end has no sender: what came before it keeps its own.
            if result.is_err() || piece.bytes == 0 {
                return;
            }
            self.payload.advance(piece.bytes);
            self.add(&piece);
        }
    }

    /// Adds the next piece of a stream. Pieces of several senders have none in common; whether
    /// they are of one can be told from the credentials only.
    #[inline(always)]
    fn add(&mut self, piece: &Received) {
        let received = &mut self.received;
        received.bytes = received.bytes.saturating_add(piece.bytes);
        received.surplus |= piece.surplus;
        received.lost = received.lost.or(piece.lost);
        if received.creds.is_none() || received.creds != piece.creds {
            received.creds = None;
            self.slots.give_up_pidfd();
        }
    }

    #[inline(never)]
    fn receive_piece(&mut self, first: Option<Attempt>) -> Result<()> {
        if self.flags.lossless() {
            return lossless::receive_piece(self, first);
        }
        let (mut parts, payload) = (Parts::new(), self.payload);
        // MSG_WAITALL is not used: a call that waits inside the kernel with descriptors already
        // taken from the queue loses them when its thread is cancelled, and hides the signal that
        // ends it.
        match first {
            Some(attempt) => self.settle(attempt, sys::WAIT)?,
            None => self.receive_once(&payload.window(&mut parts), sys::WAIT)?,
        };
        Ok(())
    }

    /// One message, or a piece of one; `how` adds to what the flags say. Returns how much of the
    /// control buffer was taken by anything but descriptors, in bytes.
    #[inline(never)]
    pub fn receive_once(&mut self, window: &Window, how: How) -> Result<usize> {
        let mut control = control::Buffer::new();
        control.prepare_for_failure();
        let mut message = sys::message(window, control.start_mut(), control::CAPACITY);
        let call = self.flags.how_to_receive() | how;
        // SAFETY: the window and the control buffer outlive the call, and are ours.
        let outcome = unsafe { sys::receive(self.sock, &mut message, call) };
        self.settle(Attempt { outcome, message: &mut message, control: &mut control }, how)
    }

    /// Goes on behind a system call.
    #[inline(never)]
    pub fn settle(&mut self, attempt: Attempt, how: How) -> Result<usize> {
        let Attempt { outcome, message, control } = attempt;
        let how = self.flags.how_to_receive() | how;
        let arrival = arrival(self.sock, self.flags, outcome, message, control, how)?;
        Ok(self.unpack(&arrival, control))
    }

    /// Why what was received, or peeked at, is not what there is room for: the first that applies.
    pub fn refusal(&self) -> Option<Errno> {
        let incomplete = self.received.incomplete();
        if self.received.data_cut && self.ending == Ending::Strict {
            return incomplete.or(Some(Errno::MSGSIZE));
        }
        incomplete
    }

    /// Sorts what has arrived: descriptors go to the slots, or are closed. Also tells how much of
    /// the control buffer is taken by anything but descriptors, in bytes.
    #[inline(always)]
    fn unpack(&mut self, arrival: &Arrival, control: &mut control::Buffer) -> usize {
        let (received, slots) = (&mut self.received, &mut self.slots);
        *received =
            Received { bytes: arrival.bytes, data_cut: arrival.data_cut, ..Received::NOTHING };
        if arrival.control_cut {
            received.lost = Some(sys::why_withheld(self.sock));
        }
        let mut others: usize = 0;
        let mut gap = false;
        // SAFETY: the kernel has filled so much of the buffer.
        for (message, space) in unsafe { control.received(arrival.control) } {
            match message {
                Message::Fds(fds) => {
                    let fate = slots.take(fds, gap);
                    gap |= fate.lost.is_some();
                    received.surplus |= fate.surplus;
                    received.lost = received.lost.or(fate.lost);
                    continue;
                }
                Message::Pidfd(pidfd) => {
                    received.with_pidfd = slots.lacks_pidfd();
                    received.lost = received.lost.or(slots.take_pidfd(pidfd));
                }
                Message::Creds(creds) => {
                    received.creds = Some(ancillary_creds::from_kernel(&creds));
                }
                Message::Other => {}
            }
            others = others.saturating_add(space);
        }
        others
    }
}

/// What has arrived with a system call, which is made again if a signal has ended it.
#[inline(never)]
pub fn arrival(
    sock: c_int,
    flags: Flags,
    outcome: Outcome,
    message: &mut msghdr,
    control: &mut control::Buffer,
    how: How,
) -> Result<Arrival> {
    let again = || {
        sys::set_control(message, control.start_mut());
        // SAFETY: the window and the control buffer outlive the call, and are ours.
        unsafe { sys::receive(sock, message, how) }.checked()
    };
    match flags.going_on(outcome.checked(), again) {
        Ok(bytes) => Ok(Arrival::new(bytes, message)),
        Err(error) => {
            if error == Errno::FAULT {
                let filled = control.filled_by_failure();
                discard(control, filled);
            }
            Err(error)
        }
    }
}

/// Closes every descriptor in what the kernel has filled of a control buffer.
pub fn discard(control: &mut control::Buffer, filled: usize) {
    // SAFETY: the kernel has filled so much of the buffer.
    for (message, _) in unsafe { control.received(filled) } {
        if let Message::Fds(fds) | Message::Pidfd(fds) = message {
            descriptors::close(fds);
        }
    }
}

/// Whether a receive of so many bytes, with nothing else, was the end: that of a stream or a
/// seqpacket socket. A datagram socket has none.
#[cold]
pub fn is_end(sock: c_int, bytes: usize) -> bool {
    bytes == 0 && sys::socket_type(sock) != Ok(libc::SOCK_DGRAM)
}
