//! Receiving: one message, or the pieces of a stream.

use crate::control::{self, Message};
use crate::descriptors::{self, Slots};
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::payload::Payload;
use crate::sys;
use core::ptr;
use libc::{c_int, iovec};

/// What a call received. Its descriptors are in the caller's slots.
pub struct Received {
    pub bytes: usize,
    /// More descriptors came than there was room for; those were closed.
    pub surplus: bool,
    /// Why descriptors were lost, if some were.
    pub lost: Option<Errno>,
    /// A datagram was longer than the room for its payload.
    pub data_cut: bool,
}

impl Received {
    const NOTHING: Received = Received { bytes: 0, surplus: false, lost: None, data_cut: false };

    /// What the caller did not make room for, the first that applies.
    fn misfit(&self) -> Option<Errno> {
        if self.surplus {
            return Some(Errno::TOOBIG);
        }
        if self.lost.is_none() && self.data_cut {
            return Some(Errno::MSGSIZE);
        }
        self.lost
    }
}

/// Receives what the caller made room for, or closes it and says why not.
#[inline(never)]
pub fn receive_strictly(
    sock: c_int,
    payload: &mut Payload,
    slots: &mut Slots,
    flags: Flags,
) -> Result<usize> {
    let received = receive(sock, payload, slots, flags)?;
    match received.misfit() {
        None => Ok(received.bytes),
        Some(error) => {
            slots.close_all();
            Err(error)
        }
    }
}

/// Receives one message; with WAITALL on a stream, pieces until the payload is whole.
#[inline(always)]
fn receive(
    sock: c_int,
    payload: &mut Payload,
    slots: &mut Slots,
    flags: Flags,
) -> Result<Received> {
    let mut received = Received::NOTHING;
    loop {
        let n = match receive_piece(sock, payload, slots, flags, &mut received) {
            Ok(n) => n,
            // What is here already is not to be lost.
            Err(_) if received.bytes > 0 => break,
            Err(error) => return Err(error),
        };
        received.bytes = received.bytes.saturating_add(n);
        payload.advance(n);
        let more = flags.waitall() && n > 0 && payload.left() > 0;
        if !more || received.misfit().is_some() || sys::socket_type(sock) != Ok(libc::SOCK_STREAM) {
            break;
        }
    }
    Ok(received)
}

/// One recvmsg(2). MSG_WAITALL is not used for more than one: a call that waits inside the
/// kernel with descriptors already taken from the queue would lose them when its thread is
/// cancelled, and hide the signal that ends the wait.
#[inline(always)]
fn receive_piece(
    sock: c_int,
    payload: &Payload,
    slots: &mut Slots,
    flags: Flags,
    received: &mut Received,
) -> Result<usize> {
    let mut control = control::Buffer::new();
    let mut part = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
    let window = payload.window(usize::MAX, &mut part);
    let arrival = loop {
        match sys::receive(sock, &window, &mut control, flags.dontwait()) {
            Err(error) if flags.retry_after(error) => continue,
            result => break result?,
        }
    };
    if arrival.control_cut {
        received.lost = Some(sys::why_withheld(sock));
    }
    received.data_cut |= arrival.data_cut;
    // SAFETY: the kernel has filled so much of the buffer.
    for message in unsafe { control.received(arrival.control) } {
        match message {
            Message::Fds(fds) => {
                let fate = slots.take(fds);
                received.surplus |= fate.surplus;
                received.lost = received.lost.or(fate.lost);
            }
            Message::Pidfd(pidfd) => descriptors::close(pidfd),
            Message::Other => {}
        }
    }
    Ok(arrival.bytes)
}
