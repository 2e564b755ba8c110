//! Everything in one message.

use crate::arrays;
use crate::constants::{
    ANCILLARY_DATA_TRUNCATED, ANCILLARY_FDS_LOST, ANCILLARY_FDS_SURPLUS, ANCILLARY_HAS_CREDS,
    ANCILLARY_HAS_PIDFD,
};
use crate::descriptors::Slots;
use crate::errno::{returning, Errno, Result};
use crate::flags::Flags;
use crate::identity::ancillary_creds;
use crate::payload::Payload;
use crate::receive::{Ending, Received, Receiver};
use crate::send::send;
use core::mem::{size_of, take};
use core::ptr::addr_of;
use libc::{c_int, c_uint, iovec, size_t, ssize_t};

/// A message whole: payload, descriptors, credentials.
///
/// Set it up with
///
///   struct ancillary_msg msg = { .size = sizeof msg };
///
/// and fill in what the call needs; before each call anew, because a receive
/// changes nfds and flags.
#[repr(C)]
pub struct ancillary_msg {
    /// sizeof(struct ancillary_msg), which lets the struct grow
    pub size: size_t,
    /// the payload, or room for it.  NULL, with iovlen 0: marker bytes, as
    /// with data NULL in ancillary_send_fds() and ancillary_recv_fds()
    pub iov: *mut iovec,
    /// how many elements iov has, at most IOV_MAX (1024)
    pub iovlen: size_t,
    /// descriptors to send, or room for those received.  May be NULL if
    /// nfds is 0
    pub fds: *mut c_int,
    /// sending: how many.  Receiving: in, how much room; out, how many were
    /// delivered
    pub nfds: size_t,
    /// sending: the identity to attach, with ANCILLARY_HAS_CREDS.  Received:
    /// that of the sender, with ANCILLARY_HAS_CREDS; else unknown
    pub creds: ancillary_creds,
    /// received: a pidfd of the sender, with ANCILLARY_HAS_PIDFD; else -1.
    /// It is yours to close, and close-on-exec.  Not used for sending
    pub pidfd: c_int,
    /// sending: ANCILLARY_HAS_CREDS or 0, what to attach.  Received: what
    /// came, and what did not
    pub flags: c_uint,
    /// received: why descriptors were lost, an errno value (EMFILE, ENFILE,
    /// EACCES); else 0.  Not used for sending
    pub error: c_int,
}

/// Fails for a message of a size that is not known. Until then there may be
/// less of it than what we know, or more.
///
/// # Safety
/// `msg` is NULL, or at least the size of a message is there.
unsafe fn check_size(msg: *const ancillary_msg) -> Result<()> {
    // SAFETY: the caller's promise.
    if msg.is_null() || unsafe { addr_of!((*msg).size).read() } != size_of::<ancillary_msg>() {
        return Err(Errno::INVAL);
    }
    Ok(())
}

impl ancillary_msg {
    /// Leaves nothing in what a receive fills but "nothing came".
    fn clear(&mut self) {
        self.creds = ancillary_creds::unknown();
        self.pidfd = -1;
        self.flags = 0;
        self.error = 0;
    }

    /// Says what came.
    fn set(&mut self, received: &Received, delivered: usize) {
        self.nfds = delivered;
        if let Some(sender) = received.sender() {
            self.creds = sender;
            self.flags |= ANCILLARY_HAS_CREDS;
        }
        if self.pidfd >= 0 {
            self.flags |= ANCILLARY_HAS_PIDFD;
        }
        if received.surplus {
            self.flags |= ANCILLARY_FDS_SURPLUS;
        }
        if let Some(why) = received.lost {
            self.flags |= ANCILLARY_FDS_LOST;
            self.error = why.number();
        }
        if received.data_cut {
            self.flags |= ANCILLARY_DATA_TRUNCATED;
        }
    }
}

/// Send everything in one message.
///
///   sock    a connected AF_UNIX socket of any type
///   msg     what to send: iov, iovlen, fds, nfds, and creds if flags in it
///           says ANCILLARY_HAS_CREDS.  Nothing in it is changed; the
///           descriptors are borrowed.
///   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// As ancillary_send_fds(), with the payload in several buffers and, if asked
/// for, an identity, which travels with the first byte: as for
/// ancillary_send_creds().
///
/// Returns the number of payload bytes sent, which on a stream can be less than
/// asked for as in ancillary_send_fds(), or a negative errno value, and then
/// nothing was sent.  Errors: those of ancillary_send_fds(), and
///
///   -EINVAL     msg NULL; size in it not known; iov NULL with iovlen not 0;
///               iovlen over IOV_MAX; no byte in all of iov; a flag in it
///               other than ANCILLARY_HAS_CREDS; a uid or gid of -1 to attach.
///   -EPERM      The identity is not one that this process may attach.
///   -ESRCH      There is no process with that pid.
///   -EFAULT     A buffer in iov is not readable.
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_send_msg(
    sock: c_int,
    msg: *const ancillary_msg,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        // SAFETY: the caller promises a message of the size it says at `msg`, unless it is NULL.
        let msg = unsafe {
            check_size(msg)?;
            &*msg
        };
        let flags = Flags::parse(flags, Flags::SEND)?;
        let attached = Flags::parse(msg.flags, ANCILLARY_HAS_CREDS)?;
        // SAFETY: the caller promises `nfds` descriptors at `fds`.
        let fds = unsafe { arrays::lent(msg.fds, msg.nfds) }?;
        let creds = msg.creds.to_kernel();
        let creds = if attached == Flags::NONE { None } else { Some(&creds) };
        if msg.iov.is_null() && fds.is_empty() && creds.is_none() {
            return Err(Errno::INVAL);
        }
        // SAFETY: the caller promises `iovlen` buffers at `iov`.
        let payload = unsafe { Payload::scattered(msg.iov, msg.iovlen, fds.len()) }?;
        send(sock, payload, fds, creds, flags, None).result()
    })
}

/// Receive everything in one message, and tell every outcome apart.
///
///   sock    an AF_UNIX socket of any type
///   msg     in: size, and the room: iov, iovlen, fds, nfds.  Out: nfds,
///           creds, pidfd, flags, error; the slots of fds that hold no
///           descriptor are -1.
///   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
///           ANCILLARY_LOSSLESS or'ed together
///
/// The tolerant form of ancillary_recv_fds(): what did not fit is closed, and
/// the rest is kept.  flags in msg says what came: ANCILLARY_HAS_CREDS,
/// ANCILLARY_HAS_PIDFD; and what did not: ANCILLARY_FDS_SURPLUS,
/// ANCILLARY_FDS_LOST, ANCILLARY_DATA_TRUNCATED.  What is delivered in fds is
/// always the beginning of what was sent, in order.  A pidfd that the kernel
/// could not install counts as lost; but from Linux 6.5 to 6.15 a message of a
/// sender that has exited and been waited for comes without one, and with
/// neither ANCILLARY_HAS_PIDFD nor ANCILLARY_FDS_LOST.
///
/// Credentials come if SO_PASSCRED is on, a pidfd if SO_PASSPIDFD is (Linux
/// 6.5).  ancillary_set_passcred() says when to set them, so that no message is
/// missed.  Credentials that say nothing are not reported: those at the end of
/// a stream, and of messages sent before SO_PASSCRED was on; nor those that
/// look the same, of which ancillary_recv_creds() tells.
///
/// With ANCILLARY_LOSSLESS a datagram that is longer than its room is cut all
/// the same.  With ANCILLARY_WAITALL, pieces from different senders have no
/// identity in common, and none is reported; without SO_PASSCRED on the same
/// holds for several pieces with a pidfd.  It ends also when something did not
/// fit.  If a thread is cancelled while it waits so, what has come so far is in
/// fds and pidfd, for a clean-up handler to close: set them to -1 before the
/// call.
///
/// Returns the number of payload bytes received, 0 when the peer has closed,
/// as ancillary_recv_fds(); or a negative errno value, and then nothing was
/// delivered.  Errors: those of ancillary_recv_fds() but for -E2BIG, -EMFILE,
/// -ENFILE, -EACCES and -EMSGSIZE, which are outcomes here unless
/// ANCILLARY_LOSSLESS is given, and
///
///   -EINVAL     msg NULL, or size in it not known: then nothing in it was
///               changed; iov NULL with iovlen not 0; iovlen over IOV_MAX; no
///               room in all of iov.
///   -EFAULT     A buffer in iov is not writable.
///   -E2BIG, -EMFILE, -ENFILE, -EACCES
///               With ANCILLARY_LOSSLESS: the descriptors, or a pidfd, cannot
///               be delivered whole; nothing was consumed.
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_recv_msg(
    sock: c_int,
    msg: *mut ancillary_msg,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        // SAFETY: the caller promises a message of the size it says at `msg`, unless it is NULL.
        let msg = unsafe {
            check_size(msg)?;
            &mut *msg
        };
        msg.clear();
        let room = take(&mut msg.nfds);
        // SAFETY: the caller promises room for `room` descriptors at `fds`.
        let fds = unsafe { arrays::filled(msg.fds, room) }?;
        let slots = Slots::with_pidfd(fds, &mut msg.pidfd);
        let flags = Flags::parse(flags, Flags::RECEIVE)?;
        // SAFETY: the caller promises `iovlen` buffers at `iov`.
        let payload = unsafe { Payload::scattered(msg.iov, msg.iovlen, room) }?;
        let mut receiver = Receiver::new(sock, flags, Ending::Tolerant, payload, slots);
        receiver.receive(None)?;
        let (received, delivered) = (receiver.received, receiver.slots.filled());
        msg.set(&received, delivered);
        Ok(received.bytes)
    })
}
