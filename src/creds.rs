//! Credentials that travel with messages.

use crate::descriptors::Slots;
use crate::errno::{returning, Errno};
use crate::flags::Flags;
use crate::identity::ancillary_creds;
use crate::payload::Payload;
use crate::receive::{is_end, Ending, Receiver};
use crate::send::send;
use crate::sys::{self, Passing};
use libc::{c_int, c_uint, c_void, size_t, ssize_t};

/// Ask for the credentials of the sender with every message received
/// (SO_PASSCRED).
///
///   sock   an AF_UNIX socket of any type
///   on     0: off, anything else: on
///
/// Messages sent while neither end has it on carry none, unless the sender used
/// ancillary_send_creds().  On a socketpair, set it before the other end sends.
/// A connection inherits it from the listening socket when the client connects,
/// not when accept(2) returns it.  The socket of ancillary_listen() listens
/// already, so set it on that one and on every one that accept(2) returns; what
/// clients sent before carries none.  If none may be missed, make the socket
/// with socket(2) and bind(2), and set it before listen(2).
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
/// refuse all of them, set it before listen(2).  On a kernel without it,
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
///   len     bytes of payload, 1 or more
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
///   -EINVAL   As there; or a uid or gid of -1.
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
        let flags = Flags::parse(flags, Flags::SEND)?;
        // SAFETY: the caller promises an identity at `creds`, unless it is NULL.
        let creds = match unsafe { creds.as_ref() } {
            Some(creds) => creds.to_kernel(),
            None => sys::own_creds(),
        };
        let payload = Payload::flat(data as *mut c_void, len, 0)?;
        send(sock, payload, &[], Some(&creds), flags, None).result()
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
///             sender is outside of this pid namespace, and its uid and gid
///             are both not mapped here, which looks the same.
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
        // SAFETY: the caller promises room for an identity at `creds`, unless it is NULL.
        let creds = unsafe { creds.as_mut() }.ok_or(Errno::INVAL)?;
        *creds = ancillary_creds::unknown();
        let flags = Flags::parse(flags, Flags::RECEIVE)?;
        let payload = Payload::flat(data, len, 0)?;
        let slots = Slots::new(&mut []);
        let mut receiver = Receiver::new(sock, flags, Ending::Strict, payload, slots);
        receiver.receive(None)?;
        let received = receiver.received;
        match received.sender() {
            Some(sender) => *creds = sender,
            None if is_end(sock, received.bytes) => {}
            None => return Err(Errno::NOMSG),
        }
        Ok(received.bytes)
    })
}
