//! Descriptors: one, or any number with a payload.

use super::arrays::{self, Flat};
use super::flags::{self, RECEIVE, TRANSFER};
use super::returns::returning;
use crate::message::{self, Ending, Flags, Payload, Receiver, Sender, Slot, Slots};
use crate::sys::Errno;
use core::mem::{replace, MaybeUninit};
use libc::{c_int, c_uint, c_void, iovec, size_t, ssize_t};

/// Send one descriptor.
///
///   sock   a connected AF_UNIX socket of any type
///   fd     the descriptor.  It is borrowed: the receiver gets a duplicate,
///          and you close your own whenever you like, also at once; one that
///          epoll(7) watches, after EPOLL_CTL_DEL.
///
/// What goes over the socket is one zero byte with one SCM_RIGHTS descriptor,
/// which is what programs without this library send as well.
///
/// Returns 0, or a negative errno value, and then nothing was sent.  Errors:
/// those of ancillary_send_fds().
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_send_fd(sock: c_int, fd: c_int) -> c_int {
    returning(|| {
        let marker: *const u8 = &0;
        let iov = [iovec { iov_base: marker as *mut c_void, iov_len: 1 }];
        let payload = Payload::flat(&iov);
        let fds = &[fd];
        Sender { sock, flags: Flags::NONE, payload, fds, creds: None, name: None }.send()?;
        Ok(())
    })
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
///   -EAGAIN, -EMFILE, -ENFILE, -EACCES, -ENOBUFS, -EBADF, -ENOTSOCK, -EINVAL,
///   -ENOTCONN, -ECONNRESET, -ENOMEM
///               As from ancillary_recv_fds().
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_recv_fd(sock: c_int) -> c_int {
    returning(|| {
        let mut fd = [Slot::uninit()];
        let mut marker = MaybeUninit::<u8>::uninit();
        let iov = [iovec { iov_base: marker.as_mut_ptr() as *mut c_void, iov_len: 1 }];
        let received = Receiver {
            sock,
            flags: Flags::NONE,
            ending: Ending::Strict,
            payload: Payload::flat(&iov),
            slots: Slots::new(&mut fd),
            name: None,
        }
        .receive()?;
        let [fd] = fd;
        // SAFETY: a call that has not failed fills all slots.
        match unsafe { fd.assume_init() } {
            fd @ 0.. => Ok(fd),
            _ => Err(without_descriptor(sock, received.bytes)),
        }
    })
}

#[cold]
#[inline(never)]
fn without_descriptor(sock: c_int, bytes: usize) -> Errno {
    match message::is_end(sock, bytes) {
        true => Errno::PIPE,
        false => Errno::NOMSG,
    }
}

/// Send descriptors with a payload.
///
///   sock    a connected AF_UNIX socket of any type
///   fds     the descriptors, borrowed: the receiver gets duplicates, and you
///           close your own whenever you like; one that epoll(7) watches,
///           after EPOLL_CTL_DEL, or it goes on being reported, by a number
///           that is closed.  May be NULL if nfds is 0.
///   nfds    how many, 0 or more.  On a stream any number; on seqpacket and
///           datagram sockets at most ancillary_max_fds().
///   data    the payload.  NULL, with len 0 and nfds not 0: a marker byte of
///           zero is sent for each message needed, because on a stream
///           descriptors travel only with bytes.
///   len     bytes of payload; on a stream at least one for each
///           ancillary_max_fds() descriptors or part of that many.  0, with
///           data not NULL and nfds not 0: an empty message is sent, as
///           journald's protocol has them; not on a stream.
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
/// Returns the number of payload bytes sent, 0 for an empty message.  It is less
/// than asked for only on a stream: if the call may not wait (any longer:
/// ANCILLARY_DONTWAIT, O_NONBLOCK, SO_SNDTIMEO), if a signal ended it
/// (ANCILLARY_INTR), or if an error came after a part was sent; the next call
/// reports that error.  With the first k bytes, k being 1 or more, the first
/// k * ancillary_max_fds() descriptors have gone, or all if there are fewer: go
/// on with the others and the rest of the payload.
///
/// Or returns a negative errno value, and then nothing was sent:
///
///   -EAGAIN        The call may not wait, and the socket's buffer is full:
///                  wait for POLLOUT.
///   -EINTR         ANCILLARY_INTR, and a signal was handled.
///   -EINVAL        A flag this call does not know; fds NULL with nfds not 0;
///                  nfds over INT_MAX; data NULL with len not 0; len over
///                  SSIZE_MAX, or on a stream too small for nfds; nothing to
///                  send, neither bytes nor descriptors; a descriptor that
///                  cannot be sent (io_uring).
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
    returning(|| {
        let flags = flags::parse(flags, TRANSFER)?;
        // SAFETY: the C caller promises `nfds` descriptors at `fds`, or NULL.
        let fds = unsafe { arrays::lent(fds, nfds) }?;
        if fds.is_empty() && len == 0 {
            return Err(Errno::INVAL);
        }
        let mut data = Flat::new(data, len);
        let payload = data.payload(fds.len())?;
        Sender { sock, flags, payload, fds, creds: None, name: None }.send()
    })
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
/// the first of -E2BIG, -EMFILE or -ENFILE, -EACCES or -ENOBUFS, -EMSGSIZE that
/// applies is returned.  What comes beyond the room takes at most 29 numbers of
/// the table, until the call returns.  (Closing can block, also for what nobody
/// wanted: a file of a network file system that no longer answers, or of one
/// that the peer serves itself.)  With ANCILLARY_LOSSLESS these errors mean that
/// nothing has been consumed: the message is still there.  (Poll finds it there
/// as well, so wait for what makes room instead of polling.)
///
/// Returns the number of payload bytes received; 0 when the peer has closed.
/// (On seqpacket 0 can also be an empty message, and on a datagram socket, which
/// has no end unless it is shut down, it is one.  Such a message can carry
/// descriptors: look at *nfds.)  Less than len is usual on a stream, unless
/// ANCILLARY_WAITALL is given; then it means that the peer has closed, or that a
/// signal (ANCILLARY_INTR), the end of the time to wait or an error came after a
/// part was received.  Unlike sending, the next call need not report that error:
/// -ECONNRESET, for one, is reported once.  (MSG_WAITALL of recvmsg(2) is the
/// same.)
///
/// Or returns a negative errno value:
///
///   -EAGAIN     The call may not wait, or not any longer (ANCILLARY_DONTWAIT,
///               O_NONBLOCK, SO_RCVTIMEO), and there is nothing: wait for
///               POLLIN.
///   -EINTR      ANCILLARY_INTR, and a signal was handled.
///   -E2BIG      More descriptors came than *nfds, as far as the kernel tells:
///               what it could not install is not counted here.
///   -EMFILE, -ENFILE
///               The table of descriptors of the process, or of the system,
///               was full, and the kernel did not install all of them.
///   -EACCES     A security policy of the system withheld some of them; or the
///               table was full for a moment, while other threads close
///               descriptors: the kernel reports both alike.
///   -ENOBUFS    A security label (SO_PASSSEC), or a second time stamp beside
///               one (SO_TIMESTAMPING beside SO_TIMESTAMP), took the room of
///               some of them.  ANCILLARY_LOSSLESS looks again with more room,
///               up to 4 KiB; what does not fit that stays queued until the
///               option is off.
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
    returning(|| {
        // SAFETY: the C caller promises a size at `nfds`, or NULL.
        let nfds = unsafe { nfds.as_mut() }.ok_or(Errno::INVAL)?;
        let room = replace(nfds, 0);
        // SAFETY: the C caller promises room for so many descriptors at `fds`, or NULL.
        let slots = Slots::new(unsafe { arrays::filled(fds.cast(), room) }?);
        let flags = flags::parse(flags, RECEIVE)?;
        let mut data = Flat::new(data, len);
        let payload = data.payload(room)?;
        let received = Receiver { sock, flags, ending: Ending::Strict, payload, slots, name: None }
            .receive()?;
        *nfds = received.fds;
        Ok(received.bytes)
    })
}

/// Close descriptors, such as a receive gave.
///
///   fds     the descriptors; negative ones are skipped.  Every slot is left
///           at -1, so closing the same array again does nothing.  NULL is
///           allowed and does nothing.
///   nfds    how many slots there are; over INT_MAX nothing is done
///
/// Consecutive numbers are closed together, which for many descriptors takes
/// little more than half the time of closing each (close_range(2), since Linux
/// 5.9; before that each is closed).  Keeps errno.
#[no_mangle]
pub unsafe extern "C" fn ancillary_close_fds(fds: *mut c_int, nfds: size_t) {
    // SAFETY: the C caller promises `nfds` descriptors of its own at `fds`, or NULL.
    if let Ok(fds) = unsafe { arrays::filled(fds, nfds) } {
        message::close(fds);
    }
}
