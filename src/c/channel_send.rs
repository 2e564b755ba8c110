//! Sending on a channel.

use super::arrays;
use super::channel::ancillary_channel;
use super::constants::{ANCILLARY_MORE, ANCILLARY_TAKE};
use super::flags::TRANSFER;
use super::frame::ancillary_frame;
use super::returns::returning;
use crate::message::{Carried, Format, Head, Message, Outgoing};
use crate::sys::{Errno, Result};
use libc::{c_int, c_uint};

/// Send a message on a channel, whole, behind those sent before.
///
///   channel   the channel
///   frame     the message; only its fds are written to, with ANCILLARY_TAKE
///   flags     0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_MORE and
///             ANCILLARY_TAKE or'ed together
///
/// What cannot go at once waits in out_data, and goes with the next call that
/// sends, or flushes.  On a blocking socket the call waits until all has gone.
///
/// Descriptors are borrowed: they stay yours, and have gone when the call
/// returns 0.  So the message is taken only if they can go at once, what waits
/// having gone before; they are at most ancillary_max_fds().  With ANCILLARY_TAKE
/// they become the channel's, and their slots in frame -1: it closes each once,
/// when it has gone, or in ancillary_channel_drop(), so name none twice.  Then
/// the message can wait, and may have as many as out_fds has room for.
///
/// With ANCILLARY_MORE a message without borrowed descriptors only waits, if
/// there is room for it, and goes together with the next one without the flag,
/// or with ancillary_channel_flush(): many messages with one system call, in the
/// plain format also with the descriptors of many.
///
/// Returns 0: the message has gone, or waits; or a negative errno value, and
/// then nothing of it was taken, and its descriptors are still yours.  What goes
/// wrong with what waits is reported by the next call.
///
///   -EAGAIN     There is no room for it to wait, or its descriptors are
///               borrowed, and the peer has not read what was sent before: try
///               again after POLLOUT.  On a blocking socket: SO_SNDTIMEO has
///               passed.
///   -EINTR      With ANCILLARY_INTR: a signal came.
///   -EMSGSIZE   The message, with its header and padding, is longer than
///               out_size, or, with ANCILLARY_TAKE, has more descriptors than
///               out_nfds, or is longer than its format allows.
///   -E2BIG      More descriptors than ancillary_max_fds(), borrowed; or more
///               than its format allows: 1 in the imsg formats, 65535 in the
///               plain one.
///   -EBADF      A descriptor is negative, or not open; or sock is not.  (One
///               that waited, having been taken, ends sending.)
///   -EINVAL     channel or frame NULL; size not known; a flag or format that is
///               not known; NULL for an array that is not empty; reserved not
///               zero; ANCILLARY_FORMAT_OWN and no payload, or fewer bytes than
///               one for each ancillary_max_fds() descriptors; a descriptor of
///               io_uring(7), which the kernel does not send.  (Among what waits,
///               that ends sending.)
///   -EFAULT     The payload is not readable.  (Where it is copied to wait, that
///               is SIGSEGV.)
///   -ETOOMANYREFS, -ENOMEM, -ENOBUFS, -EPERM
///               As ancillary_send_fds().  What waits is kept: try again.
///
/// Any other error ends sending: what waited is closed, and every later call
/// returns the same.  Receiving goes on: what the peer sent before it closed is
/// still to be read.
///
///   -EPIPE, -ECONNRESET
///               The peer has closed.
///   -ENOTSOCK, -ENOTCONN
///               sock is no socket, or has no peer.
///   Others are those of sendmsg(2).
///
/// An error of poll(2), while the call waits, ends nothing.
/// cbindgen:postfix=ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_channel_send(
    channel: *mut ancillary_channel,
    frame: *const ancillary_frame,
    flags: c_uint,
) -> c_int {
    // SAFETY: the C caller promises a channel of the size it says, or NULL, a frame, and what they
    // say.
    unsafe {
        match send_usual(channel, frame, flags) {
            Some(()) => 0,
            None => send(channel, frame, flags),
        }
    }
}

/// The usual case of it: a message without descriptors that waits for others. Whatever else it is,
/// an error too, is looked at anew: then this needs no more than the registers of a call.
///
/// # Safety
/// As of `send`.
#[inline(always)]
unsafe fn send_usual(
    channel: *mut ancillary_channel,
    frame: *const ancillary_frame,
    flags: c_uint,
) -> Option<()> {
    if flags & ANCILLARY_MORE == 0 {
        return None;
    }
    // SAFETY: there is what they say, as the caller promises.
    unsafe {
        let frame = frame.as_ref().filter(|frame| frame.nfds == 0)?;
        let channel = ancillary_channel::usual(channel)?;
        let (mut outgoing, format, head, payload) = given(channel, frame, flags).ok()?;
        outgoing.add_usual(format, head, payload)
    }
}

/// What a call is given, looked at: its descriptors apart.
///
/// # Safety
/// There is what the channel and the frame say.
#[inline(always)]
unsafe fn given<'a>(
    channel: &'a mut ancillary_channel,
    frame: &'a ancillary_frame,
    flags: c_uint,
) -> Result<(Outgoing<'a>, Format, Head, &'a [u8])> {
    if frame.reserved != [0; 4] {
        return Err(Errno::INVAL);
    }
    // SAFETY: there is what they say, as the caller promises.
    let (payload, (outgoing, format)) = unsafe {
        let known = TRANSFER | ANCILLARY_MORE | ANCILLARY_TAKE;
        (arrays::lent(frame.data.cast(), frame.len)?, channel.outgoing(flags, known)?)
    };
    let (kind, id, pid) = (frame.r#type, frame.id, frame.pid);
    let head = Head { kind, id, pid, payload: payload.len(), nfds: frame.nfds };
    Ok((outgoing, format, head, payload))
}

/// Sends whatever it is.
///
/// # Safety
/// There is a channel of the size it says, or NULL, a frame, or NULL, and what they say.
#[cold]
#[inline(never)]
unsafe fn send(
    channel: *mut ancillary_channel,
    frame: *const ancillary_frame,
    flags: c_uint,
) -> c_int {
    returning(|| {
        // SAFETY: there is what they say, as the caller promises.
        let (frame, (outgoing, format, head, payload)) = unsafe {
            let frame = frame.as_ref().ok_or(Errno::INVAL)?;
            let given = given(ancillary_channel::of(channel)?, frame, flags);
            // No buffer has room for more.
            let endless = frame.len > c_int::MAX as usize && !frame.data.is_null();
            (frame, given.map_err(|error| if endless { Errno::MSGSIZE } else { error })?)
        };
        // SAFETY: so many descriptors are there, or NULL, as the caller promises.
        let fds = unsafe {
            match flags & ANCILLARY_TAKE != 0 {
                true => Carried::Taken(arrays::filled(frame.fds, frame.nfds)?),
                false => Carried::Borrowed(arrays::lent(frame.fds, frame.nfds)?),
            }
        };
        let wrapping = format.write(head)?;
        let message = Message { wrapping, payload, fds, gathers: format.gathers() };
        outgoing.send(message, flags & ANCILLARY_MORE != 0)
    })
}

/// Send what waits on a channel.
///
///   channel   the channel
///   flags     0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// Returns 0: all has gone; or a negative errno value: -EAGAIN: something still
/// waits; else as ancillary_channel_send().  Nothing is lost by trying again.
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_channel_flush(
    channel: *mut ancillary_channel,
    flags: c_uint,
) -> c_int {
    returning(|| {
        // SAFETY: the C caller promises a channel of the size it says, or NULL.
        let channel = unsafe { ancillary_channel::of(channel) }?;
        // SAFETY: the C caller promises what the channel says.
        let (mut outgoing, _) = unsafe { channel.outgoing(flags, TRANSFER) }?;
        outgoing.flush()
    })
}
