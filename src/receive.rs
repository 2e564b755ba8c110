//! Receiving: one message, or the pieces of a stream.

use crate::control::{self, Message};
use crate::descriptors::{self, Slots};
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::identity::ancillary_creds;
use crate::lossless;
use crate::payload::{Parts, Payload, Window};
use crate::sys;
use libc::c_int;

/// What one system call, or all those of one function call, received. The descriptors are in the
/// caller's slots.
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
    pub fn incomplete(&self) -> Option<Errno> {
        if self.surplus {
            return Some(Errno::TOOBIG);
        }
        self.lost
    }

    /// What the caller did not make room for, the first that applies.
    pub fn misfit(&self) -> Option<Errno> {
        if self.data_cut {
            return self.incomplete().or(Some(Errno::MSGSIZE));
        }
        self.incomplete()
    }

    /// Who sent it.
    pub fn sender(&self) -> Option<ancillary_creds> {
        self.creds.filter(|creds| creds.says_something(self.bytes))
    }

    /// Adds the next piece of a stream. Pieces of several senders have none in common; whether
    /// they are of one can be told from the credentials only.
    fn add(&mut self, piece: &Received, slots: &mut Slots) {
        self.bytes = self.bytes.saturating_add(piece.bytes);
        self.surplus |= piece.surplus;
        self.lost = self.lost.or(piece.lost);
        if self.creds.is_none() || self.creds != piece.creds {
            self.creds = None;
            slots.give_up_pidfd();
        }
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

impl Ending {
    /// Why what was received, or peeked at, is not what there is room for.
    pub fn refusal(self, received: &Received) -> Option<Errno> {
        match self {
            Ending::Strict => received.misfit(),
            Ending::Tolerant => received.incomplete(),
        }
    }
}

/// Whether a receive of so many bytes, with nothing else, was the end: that of a stream or a
/// seqpacket socket. A datagram socket has none.
#[cold]
pub fn is_end(sock: c_int, bytes: usize) -> bool {
    bytes == 0 && sys::socket_type(sock) != Ok(libc::SOCK_DGRAM)
}

/// Receives one message; with WAITALL on a stream, pieces until the payload is whole.
#[inline(never)]
pub fn receive(
    sock: c_int,
    payload: &mut Payload,
    slots: &mut Slots,
    flags: Flags,
    ending: Ending,
) -> Result<Received> {
    let mut received = receive_piece(sock, payload, slots, flags, ending)?;
    payload.advance(received.bytes);
    if flags.waitall() && payload.left() > 0 {
        receive_more(sock, payload, slots, flags, ending, &mut received);
    }
    if let (Ending::Strict, Some(misfit)) = (ending, received.misfit()) {
        slots.close_all();
        return Err(misfit);
    }
    Ok(received)
}

/// Goes on until the payload is whole, or something did not fit. An error ends it as well: what
/// is here already is not to be lost.
#[cold]
fn receive_more(
    sock: c_int,
    payload: &mut Payload,
    slots: &mut Slots,
    flags: Flags,
    ending: Ending,
    received: &mut Received,
) {
    if received.bytes == 0 || sys::socket_type(sock) != Ok(libc::SOCK_STREAM) {
        return;
    }
    while payload.left() > 0 && ending.refusal(received).is_none() {
        let piece = match receive_piece(sock, payload, slots, flags, ending) {
            Ok(piece) => piece,
            Err(_) => return,
        };
        let end = piece.bytes == 0;
        payload.advance(piece.bytes);
        received.add(&piece, slots);
        if end {
            return;
        }
    }
}

#[inline(never)]
fn receive_piece(
    sock: c_int,
    payload: &Payload,
    slots: &mut Slots,
    flags: Flags,
    ending: Ending,
) -> Result<Received> {
    if flags.lossless() {
        return lossless::receive_piece(sock, payload, slots, flags, ending);
    }
    let mut control = control::Buffer::new();
    let mut parts = Parts::new();
    let window = payload.window(&mut parts);
    // MSG_WAITALL is not used: a call that waits inside the kernel with descriptors already taken
    // from the queue loses them when its thread is cancelled, and hides the signal that ends it.
    let arrival = receive_once(sock, &window, control.whole(), flags, sys::WAIT)?;
    Ok(unpack(sock, &arrival, &mut control, slots).0)
}

/// One message, or a piece of one, as it comes, with so much room for control data; `how` adds to
/// what the flags say.
#[inline(never)]
pub fn receive_once(
    sock: c_int,
    window: &Window,
    (control, room): (&mut control::Buffer, usize),
    flags: Flags,
    how: sys::How,
) -> Result<sys::Arrival> {
    control.prepare();
    let how = flags.how_to_receive() | how;
    let result = flags.retrying(|| sys::receive(sock, window, control, room, how));
    if let Err(Errno::FAULT) = result {
        discard(control, control::FILLED_BY_FAILURE);
    }
    result
}

/// Closes every descriptor in what the kernel has filled of a control buffer.
#[cold]
pub fn discard(control: &mut control::Buffer, filled: usize) {
    // SAFETY: the kernel has filled so much of the buffer.
    for (message, _) in unsafe { control.received(filled) } {
        if let Message::Fds(fds) | Message::Pidfd(fds) = message {
            descriptors::close(fds);
        }
    }
}

/// Sorts what has arrived: descriptors go to the slots, or are closed. Also tells how much of the
/// control buffer is taken by anything but descriptors, in bytes.
#[inline(never)]
pub fn unpack(
    sock: c_int,
    arrival: &sys::Arrival,
    control: &mut control::Buffer,
    slots: &mut Slots,
) -> (Received, usize) {
    let mut received =
        Received { bytes: arrival.bytes, data_cut: arrival.data_cut, ..Received::NOTHING };
    if arrival.control_cut {
        received.lost = Some(sys::why_withheld(sock));
    }
    let mut others: usize = 0;
    // SAFETY: the kernel has filled so much of the buffer.
    for (message, space) in unsafe { control.received(arrival.control) } {
        match message {
            Message::Fds(fds) => {
                let fate = slots.take(fds);
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
    (received, others)
}
