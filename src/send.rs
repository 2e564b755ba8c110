//! Sending: one message, or as many as it takes.

use crate::control;
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::payload::{messages_for, Parts, Payload};
use crate::sys::{self, MAX_FDS};
use libc::{c_int, ucred};

/// Sends a payload with descriptors, and credentials if there are any, and returns how many bytes
/// of it went.
///
/// Descriptors that do not fit one message are split: byte i of the payload carries those from
/// 253 * i onwards, and the last message carries the rest of the payload. Credentials travel with
/// the first. When the kernel takes a part of a message, it takes all its control data, so what
/// is left of it goes without any: sent along again, its descriptors would arrive twice.
#[inline(never)]
pub fn send(
    sock: c_int,
    payload: &mut Payload,
    fds: &[c_int],
    creds: Option<&ucred>,
    flags: Flags,
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
        let result = flags.retrying(|| sys::send(sock, &window, &control, used, flags.how()));
        let n = match result {
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
