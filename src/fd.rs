//! One descriptor, as hand-written programs pass it: with a zero byte.

use crate::descriptors::Slots;
use crate::errno::{returning, Errno};
use crate::fds;
use crate::flags::Flags;
use crate::receive::is_end;
use core::ptr;
use libc::c_int;

/// Send one descriptor.
///
///   sock   a connected AF_UNIX socket of any type
///   fd     the descriptor.  It is borrowed: the receiver gets a duplicate,
///          and you close your own whenever you like, also at once.
///
/// What goes over the socket is one zero byte with one SCM_RIGHTS descriptor,
/// which is what programs without this library send as well.
///
/// Returns 0, or a negative errno value, and then nothing was sent.  Errors:
/// those of ancillary_send_fds().
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_send_fd(sock: c_int, fd: c_int) -> c_int {
    returning(|| fds::send(sock, &[fd], None, ptr::null(), 0, Flags::NONE).map(drop))
}

/// Receive one descriptor.
///
///   sock   an AF_UNIX socket of any type
///
/// Reads exactly one byte, whatever its value, and the descriptor that comes
/// with it.
///
/// Returns the descriptor, which is yours to close and close-on-exec, or a
/// negative errno value, and then there is no descriptor:
///
///   -EPIPE      The peer has closed; there is nothing more to receive.  (On
///               seqpacket an empty message without a descriptor looks the
///               same.)
///   -ENOMSG     A byte, or an empty datagram, came without a descriptor.  It
///               has been consumed.
///   -E2BIG      More than one descriptor came.  They were closed.
///   -EMSGSIZE   seqpacket, datagram: more than one byte came.
///   -EAGAIN, -EMFILE, -ENFILE, -EACCES, -EBADF, -ENOTSOCK, -EINVAL,
///   -ENOTCONN, -ECONNRESET, -ENOMEM
///               As from ancillary_recv_fds().
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_recv_fd(sock: c_int) -> c_int {
    returning(|| {
        let mut fd = [-1];
        let mut slots = Slots::new(&mut fd);
        let received = fds::receive(sock, &mut slots, ptr::null_mut(), 0, Flags::NONE)?;
        if slots.filled() > 0 {
            return Ok(fd[0]);
        }
        Err(if is_end(sock, received.bytes) { Errno::PIPE } else { Errno::NOMSG })
    })
}
