//! The constants of the header.

use libc::{c_int, c_uint};

/// Version of this header.  ancillary_version() tells that of the library a
/// program runs with.
pub const ANCILLARY_VERSION_MAJOR: c_int = 1;
pub const ANCILLARY_VERSION_MINOR: c_int = 0;
pub const ANCILLARY_VERSION_PATCH: c_int = 0;

/// The most descriptors that one message carries.  ancillary_max_fds() tells
/// that of the library a program runs with, which is 252 where the C library is
/// musl on a 64-bit system: its sendmsg() takes 1024 bytes of control data.
pub const ANCILLARY_MAX_FDS: c_int = 253;

/// Flag: this call does not wait.  Where it would, it fails with -EAGAIN.  The
/// socket itself is left as it is; one with O_NONBLOCK set never waits.
pub const ANCILLARY_DONTWAIT: c_uint = 1 << 0;

/// Flag: a signal whose handler runs while the call waits ends it with -EINTR,
/// if nothing has been transferred yet, and with what has been transferred
/// otherwise.  The handler must have been installed without SA_RESTART
/// (sigaction(2); signal(3) sets it): with it, the kernel itself goes on
/// waiting, unless SO_RCVTIMEO or SO_SNDTIMEO is set.  Without this flag the
/// call always goes on waiting, for all the time of these options again.
pub const ANCILLARY_INTR: c_uint = 1 << 1;

/// Flag for receiving on a stream: come back when all the payload asked for is
/// there, the peer has closed, or an error.  The descriptors of all its pieces
/// are collected.  On seqpacket and datagram sockets, where one call receives
/// one message, it changes nothing.
pub const ANCILLARY_WAITALL: c_uint = 1 << 2;

/// Flag for receiving: a message that cannot be delivered whole, because the
/// table of descriptors is full or there is no room for all it carries, stays
/// queued.  The call fails, having consumed nothing, and a later one gets all
/// of it.  For a socket with one reader at a time, and without SO_PEEK_OFF: no
/// other process or thread receives from it meanwhile, nor a signal handler
/// that interrupts such a receive.  What the payload's buffers held is lost in
/// any case.  A refused call closes duplicates of the descriptors, which drops
/// this process's fcntl(2) locks on their files (ancillary(7)).
pub const ANCILLARY_LOSSLESS: c_uint = 1 << 3;

/// Flag for ancillary_listen(): a socket file that no process is bound to any
/// more is replaced.
pub const ANCILLARY_REPLACE: c_uint = 1 << 4;

/// In ancillary_msg.flags.  Sending: attach the identity in creds.  Received:
/// creds holds the identity of the sender.
pub const ANCILLARY_HAS_CREDS: c_uint = 1 << 8;

/// In ancillary_msg.flags, received: pidfd holds a pidfd of the sender.
pub const ANCILLARY_HAS_PIDFD: c_uint = 1 << 9;

/// In ancillary_msg.flags, received: more descriptors came than there was room
/// for; those were closed.
pub const ANCILLARY_FDS_SURPLUS: c_uint = 1 << 10;

/// In ancillary_msg.flags, received: the kernel could not install some of the
/// descriptors, and they are gone; error says why.
pub const ANCILLARY_FDS_LOST: c_uint = 1 << 11;

/// In ancillary_msg.flags, received: a datagram was longer than the room for
/// its payload, and the rest is gone.
pub const ANCILLARY_DATA_TRUNCATED: c_uint = 1 << 12;
