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
/// socket itself is left as it is; one with O_NONBLOCK set never waits.  (That
/// flag is shared by all who have the same open socket: any of them can change
/// it.)  The value is that of MSG_DONTWAIT.
pub const ANCILLARY_DONTWAIT: c_uint = 1 << 6;

/// Flag: a signal whose handler runs while the call waits ends it with -EINTR,
/// if nothing has been transferred yet, and with what has been transferred
/// otherwise.  The handler must have been installed without SA_RESTART
/// (sigaction(2); signal(3) sets it): with it, the kernel itself goes on
/// waiting, unless SO_RCVTIMEO or SO_SNDTIMEO is set.  Without this flag the
/// call goes on waiting, for what is left of the time of these options.
pub const ANCILLARY_INTR: c_uint = 1 << 19;

/// Flag for receiving on a stream: come back when all the payload asked for is
/// there, the peer has closed, or an error.  The descriptors of all its pieces
/// are collected.  On seqpacket and datagram sockets, where one call receives
/// one message, it changes nothing.  The value is that of MSG_WAITALL.
pub const ANCILLARY_WAITALL: c_uint = 1 << 8;

/// Flag for receiving: a message that cannot be delivered whole, because the
/// table of descriptors is full or there is no room for all it carries, stays
/// queued.  The call fails, having consumed nothing, and a later one gets all
/// of it.  Options of the socket, such as SO_PASSCRED, may be switched at any
/// time.  For a socket with one reader at a time, and without SO_PEEK_OFF: no
/// other process or thread receives from it meanwhile, nor a signal handler
/// that interrupts such a receive.  A call that fails can have written to the
/// payload's buffers.  One that fails, and at times one that succeeds, closes
/// duplicates of descriptors, which drops this process's fcntl(2) locks on
/// their files (ancillary(7)).
pub const ANCILLARY_LOSSLESS: c_uint = 1 << 20;

/// Flag for ancillary_channel_send(): the message may wait for the next one.
/// The value is that of MSG_MORE.
pub const ANCILLARY_MORE: c_uint = 1 << 15;

/// Flag for ancillary_channel_send(): the descriptors become the channel's,
/// which closes them when they have gone.
pub const ANCILLARY_TAKE: c_uint = 1 << 21;

/// Formats of the messages on a channel: this library's own; OpenBSD's imsg, as
/// it is since 2025 and as it was before (this says which is sent: either is
/// understood); one of the caller's.
pub const ANCILLARY_FORMAT_PLAIN: c_uint = 0;
pub const ANCILLARY_FORMAT_IMSG: c_uint = 1;
pub const ANCILLARY_FORMAT_IMSG_OLD: c_uint = 2;
pub const ANCILLARY_FORMAT_OWN: c_uint = 3;

/// Flag for ancillary_listen(): a socket file that no process is bound to any
/// more is replaced.
pub const ANCILLARY_REPLACE: c_uint = 1 << 0;

/// Flags for ancillary_listen() and ancillary_connect(): what
/// ancillary_set_passcred(), ancillary_set_passpidfd() and, to switch it off,
/// ancillary_set_passrights() do, before anybody can reach the socket.
pub const ANCILLARY_PASSCRED: c_uint = 1 << 1;
pub const ANCILLARY_PASSPIDFD: c_uint = 1 << 2;
pub const ANCILLARY_NORIGHTS: c_uint = 1 << 3;

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
