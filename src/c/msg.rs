//! Everything in one message.

use super::arrays::{self, Flat};
use super::constants::{
    ANCILLARY_DATA_TRUNCATED, ANCILLARY_FDS_LOST, ANCILLARY_FDS_SURPLUS, ANCILLARY_HAS_CREDS,
    ANCILLARY_HAS_PIDFD,
};
use super::creds::ancillary_creds;
use super::flags::{self, check, RECEIVE, TRANSFER};
use super::returns::returning;
use super::structures::check_size;
use crate::message::{Ending, Payload, Received, Receiver, Sender, Slots};
use crate::sys::{ucred, Errno, Result};
use core::mem::{replace, size_of};
use libc::{c_int, c_uint, c_void, iovec, size_t, sockaddr_un, ssize_t};

/// A message whole: payload, descriptors, credentials.
///
/// Set it up with
///
///   struct ancillary_msg msg = { .size = sizeof msg };
///
/// and fill in what the call needs; before each call anew, because a receive
/// changes nfds, namelen and flags.
#[repr(C)]
pub struct ancillary_msg {
    /// sizeof(struct ancillary_msg), which lets the struct grow: a library
    /// that knows less serves a larger one, up to 4096 bytes, if what it does
    /// not know is all zero; one that knows more serves this one as it is
    pub size: size_t,
    /// the payload, or room for it.  NULL, with iovlen 0: marker bytes, as
    /// with data NULL in ancillary_send_fds() and ancillary_recv_fds().
    /// Sending: not NULL, with no byte in it: an empty message, as there
    pub iov: *mut iovec,
    /// how many elements iov has, at most IOV_MAX (1024)
    pub iovlen: size_t,
    /// descriptors to send, or room for those received.  May be NULL if
    /// nfds is 0
    pub fds: *mut c_int,
    /// sending: how many.  Receiving: in, how much room; out, how many were
    /// delivered
    pub nfds: size_t,
    /// a socket address, such as struct sockaddr_un.  Sending: where to, on
    /// a datagram socket.  Receiving: room for where from.  NULL: none
    pub name: *mut c_void,
    /// how long the address is, 0: none; or the room for it.  Received: how
    /// long the sender's is, 0 if it has none, and more than the room where it
    /// was cut.  A whole one can be sent to as it is
    pub namelen: size_t,
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
    /// EACCES, ENOBUFS); else 0.  Not used for sending
    pub error: c_int,
}

/// The payload in buffers; or, where there are none, marker bytes.
///
/// # Safety
/// `iov` is NULL, or `iovlen` buffers are there.
#[inline(always)]
unsafe fn payload<'a>(
    iov: *const iovec,
    iovlen: usize,
    markers: &'a mut Flat,
    nfds: usize,
) -> Result<Payload<'a>> {
    if iov.is_null() && iovlen == 0 {
        return Ok(markers.markers(0, nfds));
    }
    // SAFETY: `iov` is NULL, or `iovlen` buffers are there.
    Payload::scattered(unsafe { arrays::lent(iov, iovlen) }?)
}

/// What a message to send has beside its payload: descriptors, an identity, and where to.
pub struct Attached<'a> {
    pub fds: &'a [c_int],
    pub creds: Option<ucred>,
    pub name: Option<&'a [u8]>,
}

/// What a message says is to be sent beside its payload.
///
/// # Safety
/// There are `nfds` descriptors at `fds`, or that is NULL; and `namelen` bytes at `name`, or that
/// is.
#[inline(always)]
pub unsafe fn attached(msg: &ancillary_msg) -> Result<Attached<'_>> {
    check(msg.flags, ANCILLARY_HAS_CREDS)?;
    // SAFETY: `fds` is NULL, or `nfds` descriptors are there.
    let fds = unsafe { arrays::lent(msg.fds, msg.nfds) }?;
    let creds = match msg.flags {
        0 => None,
        _ => Some(msg.creds.to_kernel()),
    };
    let name = match msg.namelen {
        0 => None,
        // SAFETY: `name` is NULL, or `namelen` bytes are there.
        len => Some(unsafe { arrays::lent(msg.name.cast::<u8>(), len) }?),
    };
    Ok(Attached { fds, creds, name })
}

impl ancillary_msg {
    /// Says that nothing came.
    pub fn clear(&mut self) {
        self.creds = ancillary_creds::UNKNOWN;
        (self.nfds, self.pidfd, self.flags, self.error) = (0, -1, 0, 0);
    }

    /// Says what came.
    pub fn set(&mut self, received: &Received) {
        // The kernel counts a zero byte behind a path that fills an address, and takes that length
        // from nobody (unix(7), BUGS).
        let namelen = received.namelen.min(size_of::<sockaddr_un>());
        (self.nfds, self.namelen) = (received.fds, namelen);
        if let Some(sender) = received.sender() {
            self.creds = ancillary_creds::from_kernel(&sender);
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
///   sock    an AF_UNIX socket of any type, connected; or a datagram socket
///           that need not be, with a name in msg
///   msg     what to send: iov, iovlen, fds, nfds, name, namelen, and creds if
///           flags in it says ANCILLARY_HAS_CREDS.  Nothing in it is changed;
///           the descriptors are borrowed.
///   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// As ancillary_send_fds(), with the payload in several buffers and, if asked
/// for, an identity, which travels with the first byte: as for
/// ancillary_send_creds().
///
/// A datagram server answers by giving the name and namelen that
/// ancillary_recv_msg() has stored.  A seqpacket socket sends to its peer
/// whatever the name.
///
/// Returns the number of payload bytes sent, which on a stream can be less than
/// asked for as in ancillary_send_fds(), or a negative errno value, and then
/// nothing was sent.  Errors: those of ancillary_send_fds(), and
///
///   -EINVAL     msg NULL; size in it not known; iov NULL with iovlen not 0;
///               iovlen over IOV_MAX; on a stream, no byte in all of iov; a
///               flag in it other than ANCILLARY_HAS_CREDS; a uid or gid to
///               attach that is -1, or not mapped in this user namespace;
///               name NULL with namelen not 0; a name that is no address.
///   -EPERM      The identity is not one that this process may attach; or the
///               socket of that name is connected to another.
///   -ESRCH      There is no process with that pid.
///   -EFAULT     A buffer in iov, or the name, is not readable.
///   -EISCONN, -EOPNOTSUPP
///               A name on a stream socket, connected or not.
///   -ECONNREFUSED, -ENOENT, -ENOTDIR, -ELOOP
///               No socket is bound to that name.
///   -EACCES     This process may not write to that socket file, or not search
///               a directory on the way.
///   -EPROTOTYPE The socket of that name is of another type.
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_send_msg(
    sock: c_int,
    msg: *const ancillary_msg,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        // SAFETY: the C caller promises a message of the size it says at `msg`, or NULL.
        let msg = unsafe {
            check_size(msg)?;
            &*msg
        };
        let flags = flags::parse(flags, TRANSFER)?;
        // SAFETY: the C caller promises what the message says.
        let Attached { fds, creds, name } = unsafe { attached(msg) }?;
        let mut markers = Flat::none();
        // SAFETY: the C caller promises `iovlen` buffers at `iov`.
        let payload = unsafe { payload(msg.iov, msg.iovlen, &mut markers, fds.len()) }?;
        if fds.is_empty() && creds.is_none() && (msg.iov.is_null() || payload.left() == 0) {
            return Err(Errno::INVAL);
        }
        Sender { sock, flags, payload, fds, creds, name }.send()
    })
}

/// Receive everything in one message, and tell every outcome apart.
///
///   sock    an AF_UNIX socket of any type
///   msg     in: size, and the room: iov, iovlen, fds, nfds, name, namelen.
///           Out: nfds, namelen, creds, pidfd, flags, error; the slots of fds
///           that hold no descriptor are -1.
///   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
///           ANCILLARY_LOSSLESS or'ed together
///
/// The tolerant form of ancillary_recv_fds(): what did not fit is closed, and
/// the rest is kept.  flags in msg says what came: ANCILLARY_HAS_CREDS,
/// ANCILLARY_HAS_PIDFD; and what did not: ANCILLARY_FDS_SURPLUS,
/// ANCILLARY_FDS_LOST, ANCILLARY_DATA_TRUNCATED.  What is delivered in fds is
/// always the beginning of what was sent, in order.  A pidfd that the kernel
/// could not install counts as lost.  But where ANCILLARY_FDS_SURPLUS is set,
/// the descriptors that were too many can have taken its room; and from Linux
/// 6.5 to 6.15 a message of a sender that has exited and been waited for comes
/// without one: with neither ANCILLARY_HAS_PIDFD nor ANCILLARY_FDS_LOST.
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
/// -ENFILE, -EACCES, -ENOBUFS and -EMSGSIZE, which are outcomes here unless
/// ANCILLARY_LOSSLESS is given, and
///
///   -EINVAL     msg NULL, or size in it not known: then nothing in it was
///               changed; iov NULL with iovlen not 0; iovlen over IOV_MAX; no
///               room in all of iov; namelen over INT_MAX.
///   -EFAULT     A buffer in iov, or the room for the name, is not writable.
///   -E2BIG, -EMFILE, -ENFILE, -EACCES, -ENOBUFS
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
        // SAFETY: the C caller promises a message of the size it says at `msg`, or NULL.
        let msg = unsafe {
            check_size(msg)?;
            &mut *msg
        };
        let (room, namelen) = (msg.nfds, replace(&mut msg.namelen, 0));
        msg.clear();
        // SAFETY: the C caller promises room for `room` descriptors at `fds`.
        let fds = unsafe { arrays::filled(msg.fds.cast(), room) }?;
        let slots = Slots::with_pidfd(fds, &mut msg.pidfd);
        let flags = flags::parse(flags, RECEIVE)?;
        let mut markers = Flat::none();
        // SAFETY: the C caller promises `iovlen` buffers at `iov`.
        let payload = unsafe { payload(msg.iov, msg.iovlen, &mut markers, room) }?;
        let name = match msg.name.is_null() {
            true => None,
            // SAFETY: the C caller promises room for `namelen` bytes at `name`.
            false => Some(unsafe { arrays::filled(msg.name.cast(), namelen) }?),
        };
        let received =
            Receiver { sock, flags, ending: Ending::Tolerant, payload, slots, name }.receive()?;
        msg.set(&received);
        Ok(received.bytes)
    })
}
