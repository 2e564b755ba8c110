//! The calls of the older library of the same name, for programs written to it.

use super::arrays::{self, Flat};
use super::returns::{returning, Value};
use crate::message::{self, Ending, Flags, Receiver, Sender, Slots};
use crate::sys::{Errno, MAX_FDS};
use libc::{c_int, c_uint, c_void};

/// What these functions return: -1 for any error, which is in `errno` alone.
struct OldValue(c_int);

impl Value for OldValue {
    type C = c_int;
    fn to_c(self) -> c_int {
        self.0
    }
    fn error(_: c_int) -> c_int {
        -1
    }
}

/// The byte that carries the descriptors. A receiver does not look at it.
const MARK: u8 = b'!';

/// Send descriptors, in the way of the older libancillary.
///
/// For programs written to that library, which had the six functions whose
/// names begin with ancil_; new ones do better with ancillary_send_fds().  See
/// ancil_send_fd(3) for what is the same and what is mended.
///
///   sock     a connected AF_UNIX socket
///   fds      the descriptors, borrowed
///   n_fds    how many, 0 to 253; with 0 the bare byte is sent
///   buffer   not used any more; may be NULL
///
/// What goes over the socket is one byte, '!', with one SCM_RIGHTS message.
///
/// Returns 0, or -1 with errno set as by ancillary_send_fds(); more than 253
/// descriptors are EINVAL.
#[no_mangle]
pub unsafe extern "C" fn ancil_send_fds_with_buffer(
    sock: c_int,
    fds: *const c_int,
    n_fds: c_uint,
    buffer: *mut c_void,
) -> c_int {
    let _ = buffer;
    // SAFETY: the C caller promises `n_fds` descriptors at `fds`.
    unsafe { send(sock, fds, n_fds) }
}

/// Receive descriptors, in the way of the older libancillary.
///
///   sock     an AF_UNIX socket
///   fds      where they go
///   n_fds    how many are asked for, 0 to 253; with 0 the bare byte is
///            received
///   buffer   not used any more; may be NULL
///
/// Receives one byte, whatever its value.  The descriptors are yours to close,
/// and not close-on-exec.  If more come than asked for, the others are closed.
///
/// Returns how many were received, with -1 in the slots behind them; or -1 with
/// errno set, and -1 in all slots: to ENOMSG for a byte without a descriptor
/// where some were asked for, to EPIPE when the peer has closed, to EMFILE when
/// the table of descriptors is so full that none could be received, to EINVAL
/// for more than 253, else as by ancillary_recv_fds().
#[no_mangle]
pub unsafe extern "C" fn ancil_recv_fds_with_buffer(
    sock: c_int,
    fds: *mut c_int,
    n_fds: c_uint,
    buffer: *mut c_void,
) -> c_int {
    let _ = buffer;
    // SAFETY: the C caller promises room for `n_fds` descriptors at `fds`.
    unsafe { receive_up_to(sock, fds, n_fds) }
}

/// ancil_send_fds_with_buffer() without a buffer.
#[no_mangle]
pub unsafe extern "C" fn ancil_send_fds(sock: c_int, fds: *const c_int, n_fds: c_uint) -> c_int {
    // SAFETY: the C caller promises `n_fds` descriptors at `fds`.
    unsafe { send(sock, fds, n_fds) }
}

/// ancil_recv_fds_with_buffer() without a buffer.
#[no_mangle]
pub unsafe extern "C" fn ancil_recv_fds(sock: c_int, fds: *mut c_int, n_fds: c_uint) -> c_int {
    // SAFETY: the C caller promises room for `n_fds` descriptors at `fds`.
    unsafe { receive_up_to(sock, fds, n_fds) }
}

/// Send one descriptor, in the way of the older libancillary: as
/// ancil_send_fds() with one.
#[no_mangle]
pub extern "C" fn ancil_send_fd(sock: c_int, fd: c_int) -> c_int {
    // SAFETY: there is one descriptor.
    unsafe { send(sock, &fd, 1) }
}

/// Receive one descriptor, in the way of the older libancillary.
///
///   sock   an AF_UNIX socket
///   fd     where it goes: yours to close, and not close-on-exec
///
/// Returns 0, or -1 with errno set as by ancil_recv_fds(), and *fd is -1.
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[no_mangle]
pub unsafe extern "C" fn ancil_recv_fd(sock: c_int, fd: *mut c_int) -> c_int {
    // SAFETY: the C caller promises room for a descriptor at `fd`.
    unsafe { receive_up_to(sock, fd, 1) }.min(0)
}

/// # Safety
/// `fds` is NULL, or `n_fds` descriptors are there.
#[inline(never)]
unsafe fn send(sock: c_int, fds: *const c_int, n_fds: c_uint) -> c_int {
    returning(|| {
        // SAFETY: so many descriptors are there, or NULL, as this function asks for.
        let fds = unsafe { arrays::lent(fds, n_fds as usize) }?;
        if fds.len() > MAX_FDS {
            return Err(Errno::INVAL);
        }
        let mut mark = Flat::none();
        let payload = mark.markers(MARK, 1);
        Sender { sock, flags: Flags::NONE, payload, fds, creds: None, name: None }.send_any()?;
        Ok(OldValue(0))
    })
}

/// # Safety
/// `fds` is NULL, or there is room for `n_fds` descriptors.
#[inline(never)]
unsafe fn receive_up_to(sock: c_int, fds: *mut c_int, n_fds: c_uint) -> c_int {
    returning(|| {
        // SAFETY: so much room is there, or NULL, as this function asks for.
        let slots = Slots::new(unsafe { arrays::filled(fds.cast(), n_fds as usize) }?);
        let room = slots.room();
        if room > MAX_FDS {
            return Err(Errno::INVAL);
        }
        let mut mark = Flat::none();
        let payload = mark.markers(MARK, 1);
        let (flags, ending) = (Flags::OF_OLDER_LIBRARY, Ending::Tolerant);
        let received =
            Receiver { sock, flags, ending, payload, slots, name: None }.receive_any()?;
        if received.fds > 0 {
            return Ok(OldValue(received.fds as c_int));
        }
        if message::is_end(sock, received.bytes) {
            return Err(Errno::PIPE);
        }
        if room == 0 {
            return Ok(OldValue(0));
        }
        Err(received.lost.unwrap_or(Errno::NOMSG))
    })
}
