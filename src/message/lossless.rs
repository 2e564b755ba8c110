//! Receiving without loss: a message that cannot be delivered whole stays queued.
//!
//! MSG_PEEK installs duplicates of the descriptors of a message that stays queued. If all are
//! there, the message is consumed without them; else they are closed, and nothing has happened.
//!
//! On a stream a peek does not stop where its room does: it walks on over messages without
//! descriptors and returns those of a later message, together with bytes in front of it. So
//!
//! - a peek asks for a byte more than the caller: only if it gets that can its descriptors belong
//!   to bytes behind those asked for, and then `consume` finds out (`Found::uncertain`);
//! - before a message is refused, the bytes in front of it are looked for (`ahead`).
//!
//! MSG_CTRUNC alone would not tell: with SO_PASSPIDFD the kernel sets it for want of room also where
//! a message has no pidfd (scm_pidfd_recv(), Linux 6.18), and options can change at any time.

use super::ahead;
use super::carrier::{self, Arrival, Carrier};
use super::control::{self, Message};
use super::descriptors::{self, Mark};
use super::patience::Patience;
use super::payload::{Parts, Window};
use super::receive::{Received, Receiver};
use crate::sys::{self, Errno, How, Result};
use core::mem::{size_of, MaybeUninit};
use libc::{c_int, c_void, iovec};

/// How often a refusal by a security policy is believed only after another look: the probe that
/// tells it from a full table races with what other threads open and close.
const LOOKS: u32 = 4;

/// How much control data a message is received with at most: 4 KiB, in words.
const LARGEST: usize = 4096 / size_of::<usize>();

/// What a peek has found. Its descriptors are in the slots.
enum Peek {
    /// Descriptors, or none, and nothing else, which belong to the bytes that were asked for.
    Usual { bytes: usize, namelen: usize },
    /// Anything else.
    Other(Found),
}

struct Found {
    received: Received,
    /// It got more of a stream than was asked for, to which its descriptors may belong; or more
    /// than descriptors, for which the kernel sets MSG_CTRUNC as well where they have no room.
    uncertain: bool,
}

impl Peek {
    fn found(self) -> Found {
        match self {
            Peek::Usual { bytes, namelen } => {
                Found { received: Received { namelen, ..Received::bytes(bytes) }, uncertain: false }
            }
            Peek::Other(found) => found,
        }
    }
}

/// As `Receiver::receive_one`, of messages that can be delivered whole.
///
/// Mostly the first look finds descriptors that fit, and nothing else.
#[inline(never)]
pub fn receive_one(receiver: &mut Receiver, patience: &mut Patience, how: How) -> Result<Received> {
    let before = receiver.slots.mark();
    match peek(receiver, how, 0) {
        Ok(Peek::Usual { bytes, namelen }) if receiver.slots.since(before) > 0 => {
            let peeked = Received { namelen, ..Received::bytes(bytes) };
            match sys::uncancelled(|| consume::<0>(receiver, before, peeked, 0)) {
                Err(Errno::INTR) => settle(receiver, patience, how, before, Err(Errno::INTR)),
                outcome => outcome,
            }
        }
        peeked => settle(receiver, patience, how, before, peeked),
    }
}

/// Goes on behind a look that found something else, or failed, with further ones if it takes them.
#[cold]
#[inline(never)]
fn settle(
    receiver: &mut Receiver,
    patience: &mut Patience,
    mut how: How,
    before: Mark,
    mut peeked: Result<Peek>,
) -> Result<Received> {
    let (mut looks, mut others): (u32, usize) = (1, 0);
    loop {
        match peeked.map(Peek::found) {
            Ok(found) => match deliver(receiver, before, &found, others) {
                // Of what was cut as much is seen as there was room for. With that much beside the
                // usual room, more is seen the next time, and never is there more room for
                // descriptors.
                Err(Errno::NOBUFS) if found.received.others > others => {
                    others = found.received.others;
                }
                Err(Errno::INTR) => how = patience.again(Errno::INTR, how)?,
                Err(Errno::ACCES) if looks < LOOKS => looks = looks.saturating_add(1),
                outcome => return outcome,
            },
            Err(error) => {
                let error = drop_out_of_band(receiver.sock, error);
                how = patience.again(error, how)?;
            }
        }
        peeked = peek(receiver, how, others);
    }
}

/// Looks at what comes next, with a byte more than was asked for; and with so much room more than
/// usual, for what took that of descriptors. The buffer takes its room of the stack no longer than
/// the look does.
#[inline(never)]
fn peek(receiver: &mut Receiver, how: How, others: usize) -> Result<Peek> {
    let mut parts = Parts::new();
    let mut more = MaybeUninit::<u8>::uninit();
    let more = iovec { iov_base: more.as_mut_ptr() as *mut c_void, iov_len: 1 };
    let payload = &receiver.payload;
    // What a part does not describe is a stream's next piece, or a datagram that needs no byte
    // more: what is cut of it is told by MSG_TRUNC.
    let window = match payload.fits_parts() || receiver.is_stream() {
        true => payload.part_and(more, &mut parts),
        false => payload.window(&mut parts),
    };
    let mut carrier = Carrier::<LARGEST>::new();
    let room = control::room(receiver.slots.free()).saturating_add(others);
    let how = how | sys::PEEK | receiver.flags.cloexec();
    let came = carrier.receive(receiver.sock, &mut receiver.name, window, room, how)?;
    let within = (1..=window.len).contains(&came.bytes) && came.is_whole();
    if within && receiver.slots.take_usual(came.messages()) {
        return Ok(Peek::Usual { bytes: came.bytes, namelen: came.namelen });
    }
    Ok(Peek::Other(sort(receiver, &came, window)))
}

/// Sorts what a peek found.
#[cold]
#[inline(never)]
fn sort(receiver: &mut Receiver, came: &Arrival, window: Window) -> Found {
    let before = receiver.slots.mark();
    let mut received = receiver.take(came);
    let more = received.bytes > window.len;
    let doubtful = more || receiver.slots.since(before) > 0;
    let stream = doubtful && receiver.is_stream();
    if more {
        received.bytes = window.len;
        received.data_cut = !stream;
    }
    Found { received, uncertain: stream }
}

/// Consumes what a look has found if it can be delivered whole, or what stands in front of it.
fn deliver(
    receiver: &mut Receiver,
    before: Mark,
    found: &Found,
    others: usize,
) -> Result<Received> {
    sys::uncancelled(|| match receiver.refusal(&found.received) {
        None => consume_found(receiver, before, found, others),
        Some(refusal) => {
            receiver.slots.close_since(before);
            receive_in_front(receiver, &found.received, others, refusal)
        }
    })
}

#[inline(never)]
fn consume_found(
    receiver: &mut Receiver,
    before: Mark,
    found: &Found,
    others: usize,
) -> Result<Received> {
    let fds = receiver.slots.since(before);
    if fds > 0 {
        let room = match found.uncertain {
            false => 0,
            // As much as the look had is enough.
            true => control::room(0).saturating_add(found.received.others).min(
                control::room(receiver.slots.free().saturating_add(fds)).saturating_add(others),
            ),
        };
        return consume::<LARGEST>(receiver, before, found.received, room);
    }
    // With room for descriptors all the same: the kernel's duplicate of them can fail for want of
    // memory, and it does not say so (unix_peek_fds(), Linux 6.18).
    let consumed = receive_bytes(receiver, &found.received, others);
    if consumed.is_err() {
        receiver.slots.close_since(before);
    }
    consumed
}

/// Consumes what was peeked, whose descriptors are in the slots since `before`, if it is that.
///
/// A datagram is consumed whole however little of it is read.
#[inline(always)]
fn consume<const N: usize>(
    receiver: &mut Receiver,
    before: Mark,
    peeked: Received,
    room: usize,
) -> Result<Received> {
    let mut parts = Parts::new();
    let window = peeked_at(receiver, peeked.bytes, &mut parts);
    let (mut carrier, how) = (Carrier::<N>::new(), sys::DONTWAIT | sys::CLOEXEC);
    let received = match N {
        0 => carrier.receive(receiver.sock, &mut None, window, 0, how),
        _ => carrier.receive_aside(receiver.sock, window, room, how),
    };
    match received {
        Ok(came) if prove(&came, &peeked) => {
            descriptors::discard(came.messages());
            Ok(Received { bytes: came.bytes, ..peeked })
        }
        Ok(came) => Ok(keep_bytes(receiver, before, &peeked, &came)),
        Err(error) => {
            receiver.slots.close_since(before);
            Err(error)
        }
    }
}

/// Whether the descriptors that were peeked went with the bytes that came.
///
/// With no room for control data the kernel has to discard them, and says so (MSG_CTRUNC). It says
/// the same of credentials, and the like, that come because an option has been switched on since the
/// peek; but that parts messages which came together: then the bytes are fewer. (Alone the count
/// tells nothing: what was out of band when it was passed over can be in the place of other bytes
/// when something else has been sent so, MSG_OOB.)
///
/// Where the peek got more than was asked for, or more than descriptors, there is room for all but
/// them: they went if the kernel puts some there instead; or cuts although there is room left, for
/// then it finds no place for them in the table.
#[inline(always)]
fn prove(came: &Arrival, peeked: &Received) -> bool {
    match came.room {
        0 => came.control_cut() && came.bytes == peeked.bytes,
        _ => brings_fds(came) || came.control_cut() && came.has_room_left(),
    }
}

#[inline(always)]
fn brings_fds(came: &Arrival) -> bool {
    came.messages().any(|message| matches!(message, Message::Fds(_)))
}

/// Keeps bytes with which the descriptors that were peeked did not go. They can be others, of
/// another sender, than those that were peeked; but these took the numbers that a pidfd needs.
/// What was cut is what came because an option has been switched on since, and is not told.
#[cold]
#[inline(never)]
fn keep_bytes(
    receiver: &mut Receiver,
    before: Mark,
    peeked: &Received,
    came: &Arrival,
) -> Received {
    let pidfd = |message| matches!(message, Message::Pidfd(pidfd) if pidfd.all_positive());
    match came.messages().any(pidfd) {
        true => receiver.slots.close_since(before),
        false => receiver.slots.close_fds_since(before),
    }
    Received { namelen: peeked.namelen, lost: None, ..receiver.take(came) }
}

/// Where bytes go that have been peeked: of a stream never more than these, behind which something
/// else stands; of a datagram, which ends with them, all, also where a part does not describe them.
#[inline(always)]
fn peeked_at(receiver: &Receiver, bytes: usize, parts: &mut Parts) -> Window {
    match receiver.payload.only(bytes, parts) {
        Some(window) if window.len == bytes => window,
        _ => peeked_at_several(receiver, bytes, parts),
    }
}

#[cold]
#[inline(never)]
fn peeked_at_several(receiver: &Receiver, bytes: usize, parts: &mut Parts) -> Window {
    let window = receiver.payload.part(bytes, parts);
    if window.len < bytes && !receiver.is_stream() {
        return receiver.payload.window(parts);
    }
    window
}

/// Receives bytes that have been peeked, and what comes with them.
fn receive_bytes(receiver: &mut Receiver, peeked: &Received, others: usize) -> Result<Received> {
    let mut parts = Parts::new();
    let window = peeked_at(receiver, peeked.bytes, &mut parts);
    let mut carrier = Carrier::<LARGEST>::new();
    let room = control::room(receiver.slots.free()).saturating_add(others);
    let how = sys::DONTWAIT | receiver.flags.cloexec();
    match carrier.receive_aside(receiver.sock, window, room, how) {
        Ok(came) => Ok(Received { namelen: peeked.namelen, ..receiver.take(&came) }),
        // Nothing came: a datagram socket was shut down, and a call that waits tells so, but none
        // that does not (unix_dgram_recvmsg(), Linux 6.18).
        Err(Errno::AGAIN) if peeked.bytes == 0 => Ok(*peeked),
        Err(error) => Err(error),
    }
}

/// Receives what stands in front of a message that is refused, if anything does.
#[cold]
#[inline(never)]
fn receive_in_front(
    receiver: &mut Receiver,
    peeked: &Received,
    others: usize,
    refusal: Errno,
) -> Result<Received> {
    // A label comes with every message, and so does a pidfd: with no room for it nothing can be
    // delivered.
    if refusal == Errno::NOBUFS || (peeked.with_pidfd && sys::table_is_full(receiver.sock)) {
        return Err(refusal);
    }
    match ahead::plain_bytes(receiver.sock) {
        0 => Err(refusal),
        bytes => receive_bytes(receiver, &Received { bytes, ..*peeked }, others),
    }
}

/// A byte sent with MSG_OOB is dropped by a receive, but left where it is by a peek, and then
/// poll(2) goes on finding it. Into memory that cannot be written to, a receive takes nothing else
/// of a stream, should something have come meanwhile. Returns the error that the call fails with:
/// one that has come meanwhile is told once only.
#[cold]
fn drop_out_of_band(sock: c_int, error: Errno) -> Errno {
    if error == Errno::AGAIN && sys::socket_type(sock) == Ok(libc::SOCK_STREAM) {
        match carrier::receive_bytes(sock, &[sys::wall()], sys::DONTWAIT) {
            Ok(_) | Err(Errno::FAULT) => {}
            Err(error) => return error,
        }
    }
    error
}
