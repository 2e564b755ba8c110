//! Sending: one message, or as many as it takes.

use crate::control;
use crate::errno::{Errno, Result};
use crate::flags::Flags;
use crate::payload::{messages_for, Payload};
use crate::sys::{self, MAX_FDS};
use core::ptr;
use libc::{c_int, iovec};

/// Sends a payload with descriptors, and returns how many bytes of it went.
///
/// Descriptors that do not fit one message are split: byte i of the payload carries those from
/// 253 * i onwards, and the last message carries the rest of the payload. When the kernel takes
/// a part of a message, it takes all its descriptors, so what is left of it goes without any:
/// sending them along again would deliver them twice.
#[inline(never)]
pub fn send(sock: c_int, payload: &mut Payload, fds: &[c_int], flags: Flags) -> Result<usize> {
    if fds.len() > MAX_FDS {
        may_split(sock, fds.len(), payload.left())?;
    }
    let mut batches = fds.chunks(MAX_FDS);
    let mut sent: usize = 0;
    loop {
        let mut control = control::Buffer::new();
        let control_len = match batches.next() {
            Some(batch) => control.append_fds(0, batch)?,
            None => 0,
        };
        let mut part = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let last = batches.len() == 0;
        let window = payload.window(if last { usize::MAX } else { 1 }, &mut part);
        let n = loop {
            match sys::send(sock, &window, (&control, control_len), flags.dontwait()) {
                Err(error) if flags.retry_after(error) => continue,
                result => break result,
            }
        };
        let n = match n {
            Ok(n) => n,
            // The next call reports the error: it is the socket's, not this message's.
            Err(_) if sent > 0 => return Ok(sent),
            Err(error) => return Err(error),
        };
        let short = n < window.len;
        sent = sent.saturating_add(n);
        payload.advance(n);
        // A short count of a blocking call means that a signal or SO_SNDTIMEO ended its wait.
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
