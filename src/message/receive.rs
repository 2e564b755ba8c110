//! Receiving: one system call, and what came with it.

use super::carrier::{Arrival, Carrier, Name};
use super::control::{self, Message, Messages};
use super::descriptors::Slots;
use super::flags::Flags;
use super::patience::Patience;
use super::payload::{Parts, Payload};
use super::sender;
use crate::sys::{self, ucred, Errno, How, Result};
use libc::c_int;

/// What one system call, or all those of one function call, received. The descriptors are in the
/// caller's slots.
#[derive(Clone, Copy)]
pub struct Received {
    pub bytes: usize,
    /// How many descriptors.
    pub fds: usize,
    /// How long the name is that it came from.
    pub namelen: usize,
    /// More descriptors came than there was room for; those were closed.
    pub surplus: bool,
    /// Why descriptors were lost, if some were.
    pub lost: Option<Errno>,
    /// A datagram was longer than the room for its payload.
    pub data_cut: bool,
    /// The sender's, as the kernel tells them.
    pub creds: Option<ucred>,
    /// A pidfd came that was wanted, or could have come.
    pub with_pidfd: bool,
    /// How much room was taken by what is none of these: a security label, time stamps.
    pub others: usize,
}

impl Received {
    #[inline(always)]
    pub fn bytes(bytes: usize) -> Received {
        Received {
            bytes,
            fds: 0,
            namelen: 0,
            surplus: false,
            lost: None,
            data_cut: false,
            creds: None,
            with_pidfd: false,
            others: 0,
        }
    }

    /// Why the descriptors that came are not all in the caller's slots.
    fn incomplete(&self) -> Option<Errno> {
        if self.surplus {
            return Some(Errno::TOOBIG);
        }
        self.lost
    }

    /// Who sent it.
    pub fn sender(&self) -> Option<ucred> {
        self.creds.filter(|creds| sender::is_known(creds, self.bytes))
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
    pub name: Name<'a>,
}

impl Receiver<'_> {
    /// One message, or a piece of one.
    pub fn receive_one(&mut self, patience: &mut Patience, mut how: How) -> Result<Received> {
        loop {
            let mut parts = Parts::new();
            let window = self.payload.window(&mut parts);
            // MSG_WAITALL is not used: a call that waits inside the kernel with descriptors already
            // taken from the queue loses them when its thread is cancelled, and hides the signal
            // that ends it.
            let (mut carrier, room) = (<Carrier>::new(), control::room(self.slots.free()));
            let flags = how | self.flags.cloexec();
            match carrier.receive(self.sock, &mut self.name, window, room, flags) {
                Ok(came) => return Ok(self.take(&came)),
                Err(error) => how = patience.again(error, how)?,
            }
        }
    }

    /// Ends a call: in a strict one, what does not fit is an error.
    #[inline(always)]
    pub fn end(&mut self, received: Received) -> Result<Received> {
        if self.ending == Ending::Strict {
            if let Some(misfit) = self.refusal(&received) {
                self.slots.close_all();
                return Err(misfit);
            }
        }
        Ok(Received { fds: self.slots.filled(), ..received })
    }

    /// Why what was received, or peeked at, is not what there is room for: the first that applies.
    pub fn refusal(&self, received: &Received) -> Option<Errno> {
        let incomplete = received.incomplete();
        if received.data_cut && self.ending == Ending::Strict {
            return incomplete.or(Some(Errno::MSGSIZE));
        }
        incomplete
    }

    pub fn is_stream(&self) -> bool {
        sys::socket_type(self.sock) == Ok(libc::SOCK_STREAM)
    }

    /// The usual case of what `take` does: nothing but bytes, and descriptors for which there is room.
    #[inline(always)]
    pub fn take_usual(&mut self, came: &Arrival) -> Option<Received> {
        if !came.is_whole() || !self.slots.take_usual(came.messages()) {
            return None;
        }
        let (fds, namelen) = (self.slots.filled(), came.namelen);
        Some(Received { fds, namelen, ..Received::bytes(came.bytes) })
    }

    /// Sorts what has arrived: descriptors go to the slots, or are closed.
    #[inline(never)]
    pub fn take(&mut self, came: &Arrival) -> Received {
        if let Some(received) = self.take_usual(came) {
            return received;
        }
        // Before any descriptor is closed, which makes room.
        let full = came.control_cut() && sys::table_is_full(self.sock);
        let mut received = sort(came.messages(), &mut self.slots, came.bytes);
        (received.namelen, received.data_cut) = (came.namelen, came.data_cut());
        if came.control_cut() {
            received.lost = why_cut(came, full, received.surplus).or(received.lost);
        }
        received
    }
}

/// Sorts control data that came with so many bytes: descriptors go to the slots, or are closed.
pub fn sort(messages: Messages, slots: &mut Slots, bytes: usize) -> Received {
    let (mut received, mut gap) = (Received::bytes(bytes), false);
    for message in messages {
        match message {
            Message::Fds(fds) => {
                let fate = slots.take(fds, gap);
                gap |= fate.lost.is_some();
                received.surplus |= fate.surplus;
                received.lost = received.lost.or(fate.lost);
            }
            Message::Pidfd(pidfd) => {
                received.with_pidfd = slots.lacks_pidfd();
                received.lost = received.lost.or(slots.take_pidfd(pidfd));
            }
            Message::Creds(creds) => received.creds = Some(creds),
            Message::Other(space) => {
                received.others = received.others.saturating_add(space);
            }
        }
    }
    received.fds = slots.filled();
    received
}

/// Why the kernel has discarded control data (MSG_CTRUNC) that there was room for, if it has. It
/// sets the flag where descriptors took all the room offered; where the table of the process was
/// full; where a security module has denied a descriptor; and where something else took the room: a
/// security label, or time stamps in more forms than one, because there is room for all else. Only
/// the room left and a full table tell these apart.
fn why_cut(came: &Arrival, full: bool, surplus: bool) -> Option<Errno> {
    let taken = !came.has_room_left();
    match (full, taken) {
        _ if taken && surplus => None,
        (true, _) => Some(Errno::MFILE),
        (false, true) => Some(Errno::NOBUFS),
        (false, false) => Some(Errno::ACCES),
    }
}

/// Whether a receive of so many bytes, with nothing else, was the end: that of a stream or a
/// seqpacket socket. A datagram socket has none.
#[cold]
pub fn is_end(sock: c_int, bytes: usize) -> bool {
    bytes == 0 && sys::socket_type(sock) != Ok(libc::SOCK_DGRAM)
}
