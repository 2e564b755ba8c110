//! Identities, and credentials that travel with messages.

use super::arrays::Flat;
use super::flags::{self, RECEIVE, TRANSFER};
use super::returns::returning;
use crate::message::{self, Ending, Receiver, Sender, Slots};
use crate::sys::{self, ucred, Errno, Passing};
use libc::{c_int, c_uint, c_void, gid_t, pid_t, size_t, ssize_t, uid_t};

/// The identity of a process: who sent a message, or who is on the other end
/// of a connection.
///
/// An identity that is not known reads pid 0, uid -1 and gid -1: never that of
/// root.  A pid of 0 with a uid and gid is that of a process outside the
/// reader's pid namespace (pid_namespaces(7)), and a uid or gid of 65534 can be
/// one that the reader's user namespace does not map (user_namespaces(7)).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ancillary_creds {
    /// process, as its reader numbers it
    pub pid: pid_t,
    /// user; -1 is nobody's
    pub uid: uid_t,
    /// group; -1 is nobody's
    pub gid: gid_t,
}

impl ancillary_creds {
    pub const UNKNOWN: ancillary_creds = ancillary_creds::from_kernel(&message::UNKNOWN);

    pub const fn from_kernel(kernel: &ucred) -> ancillary_creds {
        ancillary_creds { pid: kernel.pid, uid: kernel.uid, gid: kernel.gid }
    }

    pub fn to_kernel(self) -> ucred {
        ucred { pid: self.pid, uid: self.uid, gid: self.gid }
    }
}

/// Ask for the credentials of the sender with every message received
/// (SO_PASSCRED).
///
///   sock   an AF_UNIX socket of any type
///   on     0: off, anything else: on
///
/// Messages sent while neither end has it on carry none, unless the sender used
/// ancillary_send_creds().  On a socketpair, set it before the other end sends.
/// A connection inherits it from the listening socket when the client connects,
/// not when accept(2) returns it: it has to be on before listen(2), and on a
/// datagram socket, which can be sent to as soon as it has a name, before
/// bind(2).  ancillary_listen() has flags for that (ANCILLARY_PASSCRED); on the
/// socket that it returns this comes too late for messages sent meanwhile.
///
/// Returns 0, or a negative errno value:
///
///   -EBADF, -ENOTSOCK     sock is not open, or not a socket.
///   -EOPNOTSUPP           sock is not an AF_UNIX socket (since Linux 6.16;
///                         before that, 0).
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_set_passcred(sock: c_int, on: c_int) -> c_int {
    set_passing(sock, Passing::Creds, on)
}

/// Ask for a pidfd of the sender with every message received (SO_PASSPIDFD,
/// Linux 6.5).
///
/// As ancillary_set_passcred(), also in how it is inherited and when to set it.
/// ancillary_recv_msg() delivers the pidfd; the other functions close it.
///
/// Returns 0, or a negative errno value: those of ancillary_set_passcred(),
/// and
///
///   -ENOPROTOOPT   This kernel does not have it.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_set_passpidfd(sock: c_int, on: c_int) -> c_int {
    set_passing(sock, Passing::Pidfd, on)
}

/// Take descriptors from the peer, or refuse them (SO_PASSRIGHTS, Linux 6.16).
///
///   sock   an AF_UNIX socket of any type
///   on     0: refuse, anything else: take them, which is what a new socket does
///
/// While descriptors are refused, sending them to this socket fails with
/// -EPERM at the sender; payload without descriptors passes.  Those sent before
/// are still delivered.  It is inherited as with ancillary_set_passcred(): to
/// refuse all of them, give ANCILLARY_NORIGHTS to ancillary_listen(), or set it
/// before listen(2), of a datagram socket before bind(2).  On a kernel without it,
/// receive with no room for descriptors: they are closed.
///
/// Returns 0, or a negative errno value: those of ancillary_set_passcred(),
/// and
///
///   -ENOPROTOOPT   This kernel does not have it.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_set_passrights(sock: c_int, on: c_int) -> c_int {
    set_passing(sock, Passing::Fds, on)
}

#[inline(never)]
fn set_passing(sock: c_int, what: Passing, on: c_int) -> c_int {
    returning(|| sys::set_passing(sock, what, on != 0))
}

/// Send a payload with credentials.
///
///   sock    a connected AF_UNIX socket of any type
///   creds   the identity to attach; NULL for the caller's own: its pid, real
///           uid and real gid
///   data    the payload.  NULL, with len 0: one marker byte of zero is sent.
///   len     bytes of payload.  0, with data not NULL: an empty message is
///           sent; not on a stream.
///   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// The kernel checks the identity: a process may attach its own pid and its
/// real, effective or saved uid and gid; with CAP_SYS_ADMIN also another
/// process's pid, with CAP_SETUID and CAP_SETGID any uid and gid (unix(7)).
/// Credentials attached so arrive also if the receiver turns SO_PASSCRED on
/// only later; those that the kernel attaches by itself do not.
///
/// Returns the number of payload bytes sent, which on a stream can be less than
/// asked for as in ancillary_send_fds(); the credentials travel with the first.
/// Or a negative errno value, and then nothing was sent: those of
/// ancillary_send_fds(), and
///
///   -EPERM    The identity is not one that this process may attach.
///   -ESRCH    There is no process with that pid.
///   -EINVAL   As there; or a uid or gid of -1, or one that is not mapped in
///             this user namespace (user_namespaces(7)): that of the caller can
///             be such a one, with creds NULL as well.  Sent without naming it,
///             a message carries what the kernel attaches.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_send_creds(
    sock: c_int,
    creds: *const ancillary_creds,
    data: *const c_void,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        let flags = flags::parse(flags, TRANSFER)?;
        // SAFETY: the C caller promises an identity at `creds`, or NULL.
        let creds = match unsafe { creds.as_ref() } {
            Some(creds) => creds.to_kernel(),
            None => sys::own_creds(),
        };
        let mut data = Flat::new(data, len);
        let payload = data.payload(0)?;
        Sender { sock, flags, payload, fds: &[], creds: Some(creds), name: None }.send_any()
    })
}

/// Receive a payload with the credentials of its sender.
///
///   sock    an AF_UNIX socket of any type, with SO_PASSCRED on
///           (ancillary_set_passcred())
///   creds   where the identity goes
///   data    where the payload goes.  NULL, with len 0: one marker byte is
///           received and dropped.
///   len     bytes of room for the payload, 1 or more
///   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
///           ANCILLARY_LOSSLESS or'ed together
///
/// On a stream one call never joins the bytes of two senders, but for
/// ANCILLARY_WAITALL: then they have no identity in common, which is -ENOMSG.
///
/// The kernel shows credentials that are missing as pid 0, uid and gid 65534, by
/// which they are recognised.  Where kernel.overflowuid or kernel.overflowgid
/// has been changed (proc(5)), they look like those of that user and group,
/// from outside of the pid namespace: a pid of 0 proves nothing there.
///
/// Returns the number of payload bytes received; 0 when the peer has closed,
/// with creds unknown (pid 0, uid -1, gid -1).  Or a negative errno value, with
/// creds unknown as well: those of ancillary_recv_fds(), and
///
///   -ENOMSG   A message came without usable credentials, and was consumed:
///             SO_PASSCRED is off, or was off when the message was sent; or
///             ANCILLARY_WAITALL joined pieces of several senders; or the
///             sender is outside of this pid namespace, and the message is
///             empty, or its uid and gid are both not mapped here: which looks
///             as the end of a stream does, or as no credentials.
///   -E2BIG    Descriptors came with it; they were closed.
///   -EINVAL   As there; or creds NULL.
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_recv_creds(
    sock: c_int,
    creds: *mut ancillary_creds,
    data: *mut c_void,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        // SAFETY: the C caller promises room for an identity at `creds`, or NULL.
        let creds = unsafe { creds.as_mut() }.ok_or(Errno::INVAL)?;
        *creds = ancillary_creds::UNKNOWN;
        let flags = flags::parse(flags, RECEIVE)?;
        let mut data = Flat::new(data, len);
        let payload = data.payload(0)?;
        let slots = Slots::new(&mut []);
        let received = Receiver { sock, flags, ending: Ending::Strict, payload, slots, name: None }
            .receive_any()?;
        match received.sender() {
            Some(sender) => *creds = ancillary_creds::from_kernel(&sender),
            None if message::is_end(sock, received.bytes) => {}
            None => return Err(Errno::NOMSG),
        }
        Ok(received.bytes)
    })
}
