//! One descriptor, as hand-written programs pass it: with a zero byte.

use crate::errno::{returning, Errno};
use crate::plain;
use crate::receive::is_end;
use core::mem::MaybeUninit;
use libc::{c_int, c_void};

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
    let marker: *const u8 = &0;
    // SAFETY: there is one descriptor.
    unsafe { plain::send_fds(sock, &fd, 1, marker as *const c_void, 1, 0) }.min(0) as c_int
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
    let (mut fd, mut nfds) = (MaybeUninit::uninit(), 1);
    let mut marker = MaybeUninit::<u8>::uninit();
    let data = marker.as_mut_ptr() as *mut c_void;
    // SAFETY: there is room for one descriptor, and for one byte.
    let bytes = unsafe { plain::receive_fds::<0>(sock, fd.as_mut_ptr(), &mut nfds, data, 1, 0) };
    if nfds == 1 {
        // SAFETY: it has been delivered.
        return unsafe { fd.assume_init() };
    }
    if bytes < 0 {
        return bytes as c_int;
    }
    without_descriptor(sock, bytes as usize)
}

#[cold]
#[inline(never)]
fn without_descriptor(sock: c_int, bytes: usize) -> c_int {
    returning(|| Err::<c_int, Errno>(if is_end(sock, bytes) { Errno::PIPE } else { Errno::NOMSG }))
}
