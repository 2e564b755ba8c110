//! Control data for system calls that are made elsewhere.

use super::arrays;
use super::flags::check;
use super::msg::{ancillary_msg, attached, Attached};
use super::returns::returning;
use super::structures::check_size;
use crate::message::{self, Left, Payload, Slots, Writer};
use crate::sys::{self, Errno, Result};
use core::ptr::{self, NonNull};
use libc::{c_int, c_uint, msghdr, size_t, ssize_t};

/// Tell how large a buffer for control data has to be.
///
///   nfds   how many descriptors are expected, or sent
///
/// Returns the bytes that these take, and beside them credentials, a pidfd, a
/// time stamp (SO_TIMESTAMP, SO_TIMESTAMPNS) and SO_INQ: 112 bytes more on
/// 64-bit systems.  A security label (SO_PASSSEC) takes more.  For more than
/// ANCILLARY_MAX_FDS, the most of one message, it is as much as for these.  Give
/// recvmsg(2) no larger buffer: as many descriptors as fit into it, a peer can put
/// into your table until you decode.
///
/// ANCILLARY_CONTROL_SIZE() is the same as a constant expression, for an array.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_control_size(nfds: size_t) -> size_t {
    message::room(nfds)
}

/// Fill a header for a sendmsg(2) that is made elsewhere.
///
///   header   in: msg_control and msg_controllen are a buffer for control data,
///            of any alignment; ANCILLARY_CONTROL_SIZE() bytes are enough.
///            Out: all of it, padding included: ready to be sent
///   msg      what to send, as for ancillary_send_msg(); not changed.  iov has
///            to have a byte: a stream would lose what is attached to none
///
/// The header points to the buffer, and to iov and name of msg: these have to
/// stay as they are until the system call is made, or its completion has come.
/// The descriptors are borrowed: keep them open as long.
/// msg_controllen becomes what was used; where there is nothing to attach,
/// msg_control becomes NULL and msg_controllen 0.  Send with MSG_NOSIGNAL.  When
/// the kernel has taken a part of a message on a stream, all its descriptors
/// have gone: send the rest without control data.
///
/// Makes no system call.  Returns 0, or a negative errno value, and then header
/// is as it was:
///
///   -EINVAL    header or msg NULL; size in msg not known; iov NULL, or no byte
///              in it, or more than SSIZE_MAX in all; iovlen over IOV_MAX; fds
///              NULL with nfds not 0; nfds over INT_MAX; name NULL with namelen
///              not 0; a flag in msg other than ANCILLARY_HAS_CREDS.
///   -E2BIG     nfds is more than ancillary_max_fds(): that takes several
///              messages.
///   -ENOBUFS   The buffer is too small.
/// cbindgen:postfix=ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_encode(header: *mut msghdr, msg: *const ancillary_msg) -> c_int {
    returning(|| {
        let header = NonNull::new(header).ok_or(Errno::INVAL)?.as_ptr();
        // SAFETY: the C caller promises a message of the size it says at `msg`, or NULL.
        let msg = unsafe {
            check_size(msg)?;
            &*msg
        };
        // SAFETY: the C caller promises what the message says.
        let Attached { fds, creds, name } = unsafe { attached(msg) }?;
        // SAFETY: the C caller promises `iovlen` buffers at `iov`.
        let payload = Payload::scattered(unsafe { arrays::lent(msg.iov, msg.iovlen) }?)?;
        if !payload.is_possible() {
            return Err(Errno::INVAL);
        }
        // SAFETY: the C caller promises a header, in which it has set these two.
        let (start, room) = unsafe { ((*header).msg_control, (*header).msg_controllen as usize) };
        let start = start as *mut u8;
        let room = if start.is_null() { 0 } else { room };
        // SAFETY: the C caller promises a buffer of that size.
        let memory = unsafe { Writer::new(start, room) };
        let used = message::encode(memory, fds, creds.as_ref())?;
        let control = (if used > 0 { start } else { ptr::null_mut() }, used);
        let name = name.map_or((ptr::null(), 0), |name| (name.as_ptr(), name.len()));
        // SAFETY: the header is the caller's, to be written to.
        unsafe {
            // Whoever makes the system call has no C library that clears the padding.
            header.write_bytes(0, 1);
            sys::write_header(header, name, (msg.iov, msg.iovlen), control);
        }
        Ok(())
    })
}

/// Take apart what a recvmsg(2) that was made elsewhere has received.
///
///   header   what it has left: msg_control (of any alignment), msg_controllen,
///            msg_flags, msg_name, msg_namelen.  msg_controllen becomes 0: what
///            was in the buffer is taken out of it.  Set it anew before the next
///            recvmsg(2)
///   result   the bytes received (of recvmmsg(2): msg_len), or a negative errno
///            value, as in a completion: where recvmsg(2) returned -1, -errno
///   msg      in: size, and room for descriptors: fds, nfds.  Out: as of
///            ancillary_recv_msg(), but for the two things below.  iov and
///            iovlen are not used.  NULL: everything that came is closed, which
///            is how to drop a completion nobody wants
///   flags    0
///
/// Every descriptor that arrived is either in fds, or in pidfd, or closed.
/// Descriptors that the call did not ask to be close-on-exec (MSG_CMSG_CLOEXEC
/// in msg_flags) are made so.  Control messages that are not known are skipped.
/// Nothing behind msg_controllen bytes is read, whatever lengths they claim.
///
/// io_uring has the header, and what it points to, until the completion has
/// come: a wait for it that fails, as when a signal comes, has ended nothing.
/// Wait again, or cancel, and keep them as long.
///
/// Two things cannot be known afterwards.  Where control data was discarded
/// (MSG_CTRUNC), ANCILLARY_FDS_SURPLUS is set if nfds descriptors came, and
/// else ANCILLARY_FDS_LOST with EIO in error.  And name is set to msg_name:
/// nothing is copied.
///
/// Returns result.  If that is negative, nothing was received: msg says so, and
/// errno is set to it.  Or returns a negative errno value:
///
///   -EINVAL   header NULL; flags not 0; size in msg not known; fds NULL with
///             nfds not 0; nfds over INT_MAX; msg_control NULL with
///             msg_controllen not 0; result below -4095.  Nothing was touched,
///             unless result itself was -EINVAL: decode again.
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_decode(
    header: *mut msghdr,
    result: ssize_t,
    msg: *mut ancillary_msg,
    flags: c_uint,
) -> ssize_t {
    returning(|| {
        check(flags, 0)?;
        let header = NonNull::new(header).ok_or(Errno::INVAL)?.as_ptr();
        let bytes = Errno::from_completion(result).ok_or(Errno::INVAL)?;
        let left = match bytes {
            // SAFETY: the C caller promises a header that a recvmsg(2) has written.
            Ok(bytes) => unsafe { left_in(header, bytes) }?,
            // One that failed has written nothing, not even flags.
            Err(_) => Left { control: &[], bytes: 0, flags: 0, namelen: 0 },
        };
        if msg.is_null() {
            left.discard();
        } else {
            // SAFETY: the C caller promises a message of the size it says at `msg`.
            let msg = unsafe {
                check_size(msg)?;
                &mut *msg
            };
            // SAFETY: the C caller promises room for `nfds` descriptors at `fds`.
            let fds = unsafe { arrays::filled(msg.fds.cast(), msg.nfds) }?;
            msg.clear();
            let received = left.decode(&mut Slots::with_pidfd(fds, &mut msg.pidfd));
            msg.set(&received);
            msg.name = match bytes {
                // SAFETY: as above.
                Ok(_) => unsafe { (*header).msg_name },
                Err(_) => ptr::null_mut(),
            };
        }
        if bytes.is_ok() {
            // SAFETY: the header is the caller's, to be written to.
            unsafe { (*header).msg_controllen = 0 };
        }
        bytes
    })
}

/// What a recvmsg(2) that received so many bytes has left.
///
/// # Safety
/// It has written the header, and what the header says of control data is there.
unsafe fn left_in<'a>(header: *const msghdr, bytes: usize) -> Result<Left<'a>> {
    // SAFETY: the header has been written, and `len` bytes are at the `start` that it says.
    unsafe {
        let (start, len) = ((*header).msg_control, (*header).msg_controllen as usize);
        let control = arrays::lent(start as *const u8, len)?;
        // Without room for a name, recvmsg leaves the length as it was.
        let namelen = match (*header).msg_name.is_null() {
            true => 0,
            false => (*header).msg_namelen as usize,
        };
        Ok(Left { control, bytes, flags: (*header).msg_flags, namelen })
    }
}
