//! Descriptors with a payload.

use crate::errno::keeping;
use crate::{arrays, descriptors, plain};
use libc::{c_int, c_uint, c_void, size_t, ssize_t};

/// Send descriptors with a payload.
///
///   sock    a connected AF_UNIX socket of any type
///   fds     the descriptors, borrowed: the receiver gets duplicates, and you
///           close your own whenever you like.  May be NULL if nfds is 0.
///   nfds    how many, 0 or more.  On a stream any number; on seqpacket and
///           datagram sockets at most ancillary_max_fds().
///   data    the payload.  NULL, with len 0 and nfds not 0: a marker byte of
///           zero is sent for each message needed, because descriptors travel
///           only with bytes.
///   len     bytes of payload, 1 or more: at least one for each
///           ancillary_max_fds() descriptors or part of that many
///   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// The call finishes what it began: on a blocking stream it returns when all of
/// the payload is sent, and each descriptor is sent once however often it had
/// to wait.  It does not raise SIGPIPE.
///
/// More descriptors than one message carries are split on a stream: byte i of
/// the payload carries the descriptors from ancillary_max_fds() * i onwards,
/// and the last message carries the rest of the payload.  The receiver collects
/// them with ANCILLARY_WAITALL.
///
/// Returns the number of payload bytes sent.  It is less than asked for only
/// on a stream: if the call may not wait (ANCILLARY_DONTWAIT, O_NONBLOCK,
/// SO_SNDTIMEO), if a signal ended it (ANCILLARY_INTR), or if an error came
/// after a part was sent; the next call reports that error.  With the first
/// k bytes, k being 1 or more, the first k * ancillary_max_fds() descriptors
/// have gone, or all if there are fewer: go on with the others and the rest of
/// the payload.
///
/// Or returns a negative errno value, and then nothing was sent:
///
///   -EAGAIN        The call may not wait, and the socket's buffer is full:
///                  wait for POLLOUT.
///   -EINTR         ANCILLARY_INTR, and a signal was handled.
///   -EINVAL        A flag this call does not know; fds NULL with nfds not 0;
///                  nfds over INT_MAX; one of data and len given and the other
///                  not; len over SSIZE_MAX, or too small for nfds; nothing
///                  to send; a descriptor that cannot be sent (io_uring).
///   -E2BIG         More than ancillary_max_fds() descriptors, and the socket
///                  is not a stream.
///   -EBADF         sock, or one of fds, is not an open descriptor.
///   -EMSGSIZE      seqpacket, datagram: len is more than the socket takes
///                  (SO_SNDBUF).
///   -EPIPE, -ECONNRESET, -ECONNREFUSED, -ENOTCONN
///                  The peer has closed, or there is none.
///   -ETOOMANYREFS  Too many descriptors of this user are in flight: sent, and
///                  not received yet.  Try again later (unix(7)).
///   -EPERM         The receiver refuses descriptors (SO_PASSRIGHTS).
///   -ENOTSOCK      sock is not a socket.
///   -EFAULT        The payload is not readable memory.
///   -ENOMEM, -ENOBUFS
///                  The system is short of memory.
///
/// sock must be an AF_UNIX socket, which is not checked: that would cost a
/// system call.  Linux drops descriptors sent over TCP without an error.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_send_fds(
    sock: c_int,
    fds: *const c_int,
    nfds: size_t,
    data: *const c_void,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: the caller promises `nfds` descriptors at `fds`.
    unsafe { plain::send_fds(sock, fds, nfds, data, len, flags) }
}

/// Receive descriptors with a payload.
///
///   sock    an AF_UNIX socket of any type
///   fds     where the descriptors go.  May be NULL if *nfds is 0.
///   nfds    in: how many descriptors there is room for, 0 or more.  Out: how
///           many were delivered; 0 on failure.
///   data    where the payload goes.  NULL, with len 0: one marker byte is
///           received and dropped; with ANCILLARY_WAITALL as many marker bytes
///           as *nfds descriptors take, one for each ancillary_max_fds(), for
///           which it waits also if fewer descriptors come.
///   len     bytes of room for the payload, 1 or more
///   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
///           ANCILLARY_LOSSLESS or'ed together
///
/// What is delivered in fds is yours to close, and close-on-exec (fcntl(2)
/// clears that).  The rest of fds is filled with -1, on failure all of it
/// (unless *nfds is over INT_MAX).
///
/// One call receives the descriptors of one message.  On a stream it can join
/// payload without descriptors to the payload of the message behind it, so the
/// place of a descriptor among the bytes is not known, as with recvmsg(2).
///
/// The call is strict: if what came is not what there was room for, every
/// descriptor that came is closed, the payload received so far is dropped, and
/// the first of -E2BIG, -EMFILE or -ENFILE, -EACCES, -EMSGSIZE that applies is
/// returned.  With ANCILLARY_LOSSLESS these errors mean that nothing has been
/// consumed: the message is still there.  (Poll finds it there as well, so wait
/// for what makes room instead of polling.)
///
/// Returns the number of payload bytes received; 0 when the peer has closed.
/// (On seqpacket 0 can also be an empty message, and on a datagram socket it is
/// one.  Such a message can carry descriptors: look at *nfds.)  Less than len
/// is usual on a stream, unless ANCILLARY_WAITALL is given; then it means that
/// the peer has closed, or that a signal (ANCILLARY_INTR), the end of the time
/// to wait or an error came after a part was received.  Unlike sending, the
/// next call need not report that error: -ECONNRESET, for one, is reported
/// once.  (MSG_WAITALL of recvmsg(2) is the same.)
///
/// Or returns a negative errno value:
///
///   -EAGAIN     The call may not wait (ANCILLARY_DONTWAIT, O_NONBLOCK,
///               SO_RCVTIMEO), and there is nothing: wait for POLLIN.
///   -EINTR      ANCILLARY_INTR, and a signal was handled.
///   -E2BIG      More descriptors came than *nfds, as far as the kernel tells:
///               what it could not install is not counted here.
///   -EMFILE, -ENFILE
///               The table of descriptors of the process, or of the system,
///               was full, and the kernel did not install all of them.
///   -EACCES     A security policy of the system withheld some of them; or the
///               table was full for a moment, while other threads close
///               descriptors: the kernel reports both alike.
///   -EMSGSIZE   seqpacket, datagram: the payload was longer than len.
///   -EINVAL     A flag this call does not know; nfds NULL; fds NULL with
///               *nfds not 0; *nfds over INT_MAX; one of data and len given and
///               the other not; len over SSIZE_MAX; a stream socket that is
///               not connected.  Nothing was consumed.
///   -EBADF, -ENOTSOCK
///               sock is not open, or not a socket.
///   -ECONNRESET The peer closed while data for it was unread.
///   -ENOTCONN   A seqpacket socket that is not connected.
///   -EFAULT     The payload is not writable memory.
///   -ENOMEM     The system is short of memory.
///
/// If a thread is cancelled (pthread_cancel(3)) while it waits in this call
/// with ANCILLARY_WAITALL, the descriptors that have come so far are in fds:
/// set it to -1 before, and give it to ancillary_close_fds() in a clean-up
/// handler.
/// cbindgen:postfix=ANCILLARY_NONNULL(3)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_recv_fds(
    sock: c_int,
    fds: *mut c_int,
    nfds: *mut size_t,
    data: *mut c_void,
    len: size_t,
    flags: c_uint,
) -> ssize_t {
    // SAFETY: the caller promises a size at `nfds`, unless it is NULL, and room for so many
    // descriptors at `fds`.
    unsafe { plain::receive_fds::<{ plain::USUAL }>(sock, fds, nfds, data, len, flags) }
}

/// Close descriptors, such as a receive gave.
///
///   fds     the descriptors; negative ones are skipped.  Every slot is left
///           at -1, so closing the same array again does nothing.  NULL is
///           allowed and does nothing.
///   nfds    how many slots there are; over INT_MAX nothing is done
///
/// Consecutive numbers are closed together, which for many descriptors takes
/// less than half the time of closing each (close_range(2), since Linux 5.9;
/// before that each is closed).  Keeps errno.
#[no_mangle]
pub unsafe extern "C" fn ancillary_close_fds(fds: *mut c_int, nfds: size_t) {
    // SAFETY: the caller promises `nfds` descriptors of its own at `fds`, unless it is NULL.
    if let Ok(fds) = unsafe { arrays::filled(fds, nfds) } {
        keeping(|| descriptors::close(fds));
    }
}
