//! Sending: one message, or as many as it takes.

use crate::control;
use crate::errno::{Errno, Packed, Result};
use crate::flags::Flags;
use crate::payload::{messages_for, Parts, Payload};
use crate::sys::{self, ucred, Outcome, MAX_FDS};
use libc::c_int;

/// Sends a payload with descriptors, and credentials if there are any, and returns how many bytes
/// of it went. `first` is what the system call returned, where it has been made for the first
/// message already.
///
/// Descriptors that do not fit one message are split: byte i of the payload carries those from
/// MAX_FDS * i onwards, and the last message carries the rest of the payload. Credentials travel
/// with the first. When the kernel takes a part of a message, it takes all its control data, so
/// what is left of it goes without any: sent along again, its descriptors would arrive twice.
#[cold]
#[inline(never)]
pub fn send(
    sock: c_int,
    payload: Payload,
    fds: &[c_int],
    creds: Option<&ucred>,
    flags: Flags,
    first: Option<Outcome>,
) -> Packed {
    Packed::new(send_all(sock, payload, fds, creds, flags, first))
}

#[inline(always)]
fn send_all(
    sock: c_int,
    mut payload: Payload,
    fds: &[c_int],
    creds: Option<&ucred>,
    flags: Flags,
    mut first: Option<Outcome>,
) -> Result<usize> {
    if fds.len() > MAX_FDS {
        may_split(sock, fds.len(), payload.left())?;
    }
    let mut fds = fds;
    let mut sent: usize = 0;
    loop {
        let mut control = control::Buffer::new();
        let mut used = 0;
        if let (Some(creds), 0) = (creds, sent) {
            used = control.append_creds(used, creds)?;
        }
        let batch = fds.get(..fds.len().min(MAX_FDS)).unwrap_or_default();
        fds = fds.get(batch.len()..).unwrap_or_default();
        if !batch.is_empty() {
            used = control.append_fds(used, batch)?;
        }
        let mut parts = Parts::new();
        let window = match fds.is_empty() {
            true => payload.window(&mut parts),
            false => payload.part(1, &mut parts),
        };
        let message = sys::message(&window, control.start_mut(), used);
        // SAFETY: window and control data outlive the calls.
        let call = || unsafe { sys::send(sock, &message, flags.how()) };
        let outcome = first.take().unwrap_or_else(call);
        let n = match flags.going_on(outcome.checked(), || call().checked()) {
            Ok(n) => n,
            // The next call reports the error: it is the socket's, not this message's.
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        };
        sent = sent.saturating_add(n);
        payload.advance(n);
        // A short count of a call that waits means that a signal or SO_SNDTIMEO ended the wait.
        let short = n < window.len;
        if payload.left() == 0 || (short && (n == 0 || flags.dontwait() || flags.intr())) {
            return Ok(sent);
        }
    }
}

/// Whether more descriptors than one message carries can go: on a stream, with a byte of payload
/// for each message.
#[cold]
fn may_split(sock: c_int, nfds: usize, bytes: usize) -> Result<()> {
    if sys::socket_type(sock)? != libc::SOCK_STREAM {
        return Err(Errno::TOOBIG);
    }
    if bytes < messages_for(nfds) {
        return Err(Errno::INVAL);
    }
    Ok(())
}
