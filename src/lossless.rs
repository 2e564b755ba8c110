//! Receiving without loss: a message that cannot be delivered whole stays queued.
//!
//! MSG_PEEK installs duplicates of the descriptors of a message that stays queued. If all are
//! there, the message is consumed without them; else they are closed, and nothing has happened.
//!
//! On a stream a peek does not stop where its room does: it walks on over messages without
//! descriptors and returns those of a later message, together with bytes in front of it. So
//!
//! - what the peek found is consumed in a way that tells whether its descriptors went with it
//!   (`consume`), and
//! - before a message is refused, the bytes in front of it are looked for (`plain_bytes`).

use crate::control;
use crate::descriptors::{Mark, Slots};
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::payload::{Parts, Window};
use crate::receive::{arrival, discard, Attempt, Receiver};
use crate::sys::{self, Arrival, How, Outcome};
use core::mem::MaybeUninit;
use core::ptr;
use libc::{c_int, c_void, iovec};

/// How often a refusal by a security policy is believed only after another look: the probe that
/// tells it from a full table races with what other threads open and close.
const LOOKS: u32 = 4;

/// As `Receiver::receive_piece`, of messages that can be delivered whole. `first` is a peek.
#[cold]
#[inline(never)]
pub fn receive_piece(receiver: &mut Receiver, mut first: Option<Attempt>) -> Result<()> {
    let before = receiver.slots.mark();
    let mut looks: u32 = 1;
    loop {
        let peeked = match first.take() {
            Some(peek) => receiver.settle(peek, sys::PEEK),
            None => peek(receiver),
        };
        if peeked == Err(Errno::AGAIN) {
            return Err(drop_out_of_band(receiver.sock));
        }
        let others = peeked?;
        let outcome = sys::uncancelled(|| match receiver.refusal() {
            None => consume(receiver, before, others),
            Some(refusal) => {
                receiver.slots.close_since(before);
                receive_in_front(receiver, refusal)
            }
        });
        match outcome {
            Err(Errno::ACCES) if looks < LOOKS => looks = looks.saturating_add(1),
            outcome => return outcome,
        }
    }
}

/// Returns how much control data came that is not descriptors, in bytes.
#[inline(always)]
fn peek(receiver: &mut Receiver) -> Result<usize> {
    let (mut parts, payload) = (Parts::new(), receiver.payload);
    // What is peeked on a stream is consumed to the byte, so it must be no more than a part.
    let window = if payload.fits_parts() || sys::socket_type(receiver.sock) != Ok(libc::SOCK_STREAM)
    {
        payload.window(&mut parts)
    } else {
        payload.part(usize::MAX, &mut parts)
    };
    receiver.receive_once(&window, sys::PEEK)
}

/// A byte sent with MSG_OOB is dropped by a receive, but left where it is by a peek, and then
/// poll(2) goes on finding it. Into memory that cannot be written to, a receive takes nothing else
/// of a stream, should something have come meanwhile. Returns the error that the call fails with:
/// one that has come meanwhile is told once only.
#[cold]
fn drop_out_of_band(sock: c_int) -> Errno {
    if sys::socket_type(sock) == Ok(libc::SOCK_STREAM) {
        match receive_bytes(sock, &[wall()], sys::WAIT).checked() {
            Ok(_) | Err(Errno::FAULT) => {}
            Err(error) => return error,
        }
    }
    Errno::AGAIN
}

/// A byte of memory that cannot be written to.
fn wall() -> iovec {
    static READ_ONLY: u8 = 0;
    iovec { iov_base: &READ_ONLY as *const u8 as *mut c_void, iov_len: 1 }
}

/// Consumes what was peeked, which is in the slots since `before`, and of which `others` bytes of
/// control data were not descriptors.
///
/// With room for just these the kernel has to discard descriptors and says so (MSG_CTRUNC): but
/// only if they belong to the bytes consumed, and not to a later message. Room for a pidfd takes
/// two descriptors instead, and then the pidfd is discarded: the same answer. A datagram is
/// consumed whole however little of it is read.
fn consume(receiver: &mut Receiver, before: Mark, others: usize) -> Result<()> {
    let mut control = control::Buffer::new();
    control.prepare_for_failure();
    let (mut parts, payload) = (Parts::new(), receiver.payload);
    let mut window = payload.part(receiver.received.bytes, &mut parts);
    if window.len < receiver.received.bytes {
        // A datagram, in more buffers than a part describes.
        window = payload.window(&mut parts);
    }
    let message = &mut sys::message(&window, control.start_mut(), others.min(control::CAPACITY));
    let sock = receiver.sock;
    // SAFETY: the window and the control buffer outlive the call, and are ours.
    let outcome = unsafe { sys::receive(sock, message, sys::DONTWAIT) };
    let consumed = arrival(sock, Flags::NONE, outcome, message, &mut control, sys::DONTWAIT);
    if let Ok(consumed) = &consumed {
        discard(&mut control, consumed.control.min(others));
    }
    receiver.received.bytes = keep_consumed(&mut receiver.slots, before, consumed)?;
    Ok(())
}

/// Leaves in the slots what was peeked since `before` and then consumed.
#[inline(always)]
pub fn keep_consumed(slots: &mut Slots, before: Mark, consumed: Result<Arrival>) -> Result<usize> {
    if consumed.is_err() {
        slots.close_since(before);
    }
    let consumed = consumed?;
    if !consumed.control_cut {
        slots.close_fds_since(before);
    }
    Ok(consumed.bytes)
}

/// Receives what stands in front of a message that is refused, if anything does.
#[inline(always)]
fn receive_in_front(receiver: &mut Receiver, refusal: Errno) -> Result<()> {
    // A pidfd comes with every message, so with no room for one nothing can be delivered.
    if receiver.received.with_pidfd && sys::table_is_full(receiver.sock) {
        return Err(refusal);
    }
    let plain = plain_bytes(receiver.sock);
    if plain == 0 {
        return Err(refusal);
    }
    let (mut parts, payload) = (Parts::new(), receiver.payload);
    let window = payload.part(plain, &mut parts);
    receiver.receive_once(&window, sys::DONTWAIT)?;
    Ok(())
}

/// How many bytes on a stream certainly stand before the first message with descriptors: whole
/// messages only, so 0 can also mean that one longer than what is seen comes first.
///
/// 512 KiB are seen, where the kernel makes messages of at most 36 KiB of a write (of 320 KiB on
/// machines with pages of 64 KiB); but first a few, which mostly do, because seeing is copying.
fn plain_bytes(sock: c_int) -> usize {
    if sys::socket_type(sock) != Ok(libc::SOCK_STREAM) {
        return 0;
    }
    for blocks in [2, 24, BLOCKS] {
        let (before, all) = look_ahead(sock, blocks);
        if before > 0 || all {
            return before;
        }
    }
    0
}

const BLOCK: usize = 2048;
const BLOCKS: usize = 256;

/// Sees so many blocks of a stream: how many bytes of it are whole messages without descriptors,
/// and whether there is no more to see, because one with descriptors ends there, or all.
///
/// A peek ends with a message with descriptors. One byte short of there, into memory that cannot
/// be written to, it fails in that message, and returns the bytes of those before (measured on
/// Linux 6.18 with messages of 1 to 30,000 bytes). Both peeks have no control buffer, so they
/// install nothing.
fn look_ahead(sock: c_int, blocks: usize) -> (usize, bool) {
    let mut block = MaybeUninit::<[u8; BLOCK]>::uninit();
    let one = iovec { iov_base: block.as_mut_ptr() as *mut c_void, iov_len: BLOCK };
    let mut iov = [one; BLOCKS + 1];
    let seen = glance(sock, iov.get(..blocks).unwrap_or_default());
    let short = seen.saturating_sub(1);
    let (whole, rest) = (short / BLOCK, short % BLOCK);
    if let Some([part, behind, ..]) = iov.get_mut(whole..) {
        part.iov_len = rest;
        *behind = wall();
    }
    let before = glance(sock, iov.get(..whole.saturating_add(2)).unwrap_or_default());
    (if before < seen { before } else { 0 }, seen < blocks.saturating_mul(BLOCK))
}

/// How many bytes a peek returns that installs no descriptors: 0 where it fails.
fn glance(sock: c_int, iov: &[iovec]) -> usize {
    receive_bytes(sock, iov, sys::PEEK).positive().unwrap_or_default()
}

/// Receives without room for control data, so no descriptor is installed, and without waiting.
fn receive_bytes(sock: c_int, iov: &[iovec], how: How) -> Outcome {
    let window = Window { iov: iov.as_ptr(), count: iov.len(), len: 0 };
    let mut message = sys::message(&window, ptr::null_mut(), 0);
    // SAFETY: the window is the caller's, whose buffers may be written to or fail to be.
    unsafe { sys::receive(sock, &mut message, how | sys::DONTWAIT) }
}
