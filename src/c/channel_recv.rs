//! Receiving on a channel.

use super::channel::ancillary_channel;
use super::frame::{ancillary_frame, cut};
use super::returns::returning;
use crate::message::{Format, Layout, Next};
use crate::sys::Errno;
use libc::{c_int, c_uint};

/// Receive the next message of a channel.
///
///   channel   the channel
///   frame     the message; data and fds in it point into the memory of the
///             channel.  All zero where none has come
///   flags     0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// The message is valid until the next call of this function, or of
/// ancillary_channel_drop(); sending leaves it alone, so that it can be answered,
/// or sent on as it lies, meanwhile.  Its descriptors stay the channel's until
/// you take them: write -1 into the slot of one that you have taken, for the
/// next call closes the others.  They are close-on-exec.
///
/// Several messages can come with one system call, and none is made while a
/// whole message is there.  So take messages until -EAGAIN before you wait in
/// poll(2); in a server with ANCILLARY_DONTWAIT, because a peer that has the
/// same open socket can switch O_NONBLOCK off.
///
/// Descriptors belong to the messages in order, as many to each as its header,
/// or cut, says.
///
/// Returns 1: a message; 0: the peer has closed, between two messages; or a
/// negative errno value:
///
///   -EAGAIN     None is whole yet: wait for POLLIN.  On a blocking socket:
///               SO_RCVTIMEO has passed.
///   -EINTR      With ANCILLARY_INTR: a signal came.
///   -EMSGSIZE   With a len in frame: the message is longer than in_size, which
///               has to be that at least.  Nothing is lost: copy the in_size
///               bytes to the beginning of a larger buffer, and put that in
///               place.  (With len 0 the format does not allow such a length,
///               which ends receiving.)
///   -EMFILE, -ENFILE, -EACCES, -ENOBUFS
///               With ANCILLARY_LOSSLESS: descriptors cannot be installed, as
///               for ancillary_recv_fds().  They stay queued: try again later.
///               The socket stays readable meanwhile, so do not wait for POLLIN.
///   -EINVAL     channel or frame NULL; size not known; a flag or format that is
///               not known; NULL for an array that is not empty; in_size 0;
///               ANCILLARY_FORMAT_OWN without cut.
///
/// Any other error ends receiving: what is held is closed, and every later call
/// returns the same.  Sending goes on.
///
///   -EPROTO     A message lacks descriptors; more have come than in_nfds; some
///               are left over at the end; the end came within a message; or cut
///               said so.
///   -EBADMSG    This is no message of the format.
///   -EPROTOTYPE sock is no stream.  (It shows where an empty message comes.)
///   -EMFILE, -ENFILE, -EACCES, -ENOBUFS
///               Without ANCILLARY_LOSSLESS: descriptors are lost.
///   -ECONNRESET The peer has closed without reading all that was sent to it:
///               an end, too.
///   -EBADF, -ENOTSOCK
///               sock is not open, or no socket.
///   Others are those of recvmsg(2).
///
/// An error of poll(2), while the call waits, ends nothing: -ENOMEM, mostly.
/// cbindgen:postfix=ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_channel_recv(
    channel: *mut ancillary_channel,
    frame: *mut ancillary_frame,
    flags: c_uint,
) -> c_int {
    // SAFETY: the C caller promises a channel of the size it says, or NULL, room for a frame, and
    // what the channel says.
    unsafe {
        match receive_usual(channel, frame, flags) {
            Some(message) => message,
            None => receive(channel, frame, flags),
        }
    }
}

/// The usual case of it. Whatever else it is, an error too, is looked at anew: then this needs no
/// more than the registers of a call.
///
/// # Safety
/// As of `receive`.
#[inline(always)]
unsafe fn receive_usual(
    channel: *mut ancillary_channel,
    frame: *mut ancillary_frame,
    flags: c_uint,
) -> Option<c_int> {
    if frame.is_null() {
        return None;
    }
    // SAFETY: there is what they say, as the caller promises.
    unsafe {
        let (mut incoming, format) = ancillary_channel::usual(channel)?.incoming(flags).ok()?;
        let layout = incoming.next_usual(format)?;
        frame.write(ancillary_frame::of(&layout, incoming.lend(&layout)));
    }
    Some(1)
}

/// Receives whatever comes.
///
/// # Safety
/// There is a channel of the size it says, room for a frame, or NULL, and what the channel says.
#[cold]
#[inline(never)]
unsafe fn receive(
    channel: *mut ancillary_channel,
    frame: *mut ancillary_frame,
    flags: c_uint,
) -> c_int {
    returning(|| {
        if frame.is_null() {
            return Err(Errno::INVAL);
        }
        // SAFETY: there is what they say, as the caller promises.
        let (channel, frame) = unsafe {
            frame.write(ancillary_frame::NONE);
            (ancillary_channel::of(channel)?, &mut *frame)
        };
        let (function, context) = (channel.cut, channel.context);
        // SAFETY: there is what the channel says, as the caller promises.
        let (mut incoming, format) = unsafe { channel.incoming(flags) }?;
        if !incoming.has_room() || (format == Format::OWN && function.is_none()) {
            return Err(Errno::INVAL);
        }
        let cut = |bytes: &[u8], layout: &mut Layout| cut(function, context, bytes, layout);
        match incoming.next(format, cut)? {
            Next::Message(layout) => {
                *frame = ancillary_frame::of(&layout, incoming.lend(&layout));
                Ok(1)
            }
            Next::End => Ok(0),
            Next::TooLong(len) => {
                frame.len = len;
                Err(Errno::MSGSIZE)
            }
        }
    })
}
