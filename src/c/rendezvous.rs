//! Where processes meet: sockets with a name.

use super::arrays;
use super::constants::{
    ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_NORIGHTS, ANCILLARY_PASSCRED,
    ANCILLARY_PASSPIDFD, ANCILLARY_REPLACE,
};
use super::flags::check;
use super::returns::returning;
use crate::rendezvous::{self, How, Name};
use crate::sys::{self, Errno, Kind, Result};
use libc::{c_char, c_int, c_uint, mode_t};

/// Make a socket that others connect to, under a name.
///
///   path    a file name of any length the file system takes; or `@` and an
///           abstract name of 1 to 107 bytes, which is used exactly as given
///           (a file whose name begins with `@`: `./@name`).  An abstract name
///           that other programs pad with zero bytes is a different one, which
///           cannot be given here.
///   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, with SOCK_NONBLOCK
///           or'ed in or not; SOCK_CLOEXEC changes nothing
///   mode    permission bits of the file, 0 to 0777, exactly these whatever
///           the umask; connecting needs write permission, and so does
///           replacing for the owner.  Not used for an abstract name: anyone
///           can connect to that.
///   flags   0, or ANCILLARY_REPLACE, ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD,
///           ANCILLARY_NORIGHTS, ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed
///           together
///
/// The file appears when everything is done: who sees it can connect, and
/// finds the mode asked for.  The umask is neither used nor touched.  The group
/// of the file is that of the directory if that has the set-group-ID bit, else
/// the effective one of this process (setegid(2)).
///
/// To this end the socket is bound to a temporary name in the same directory
/// and listens before it is moved.  getsockname(2), ss(8) and rules of security
/// modules go on telling that name: `.ancillary-0`, of all sockets made in a
/// directory, or `.ancillary-` and another number if that was in use.  Who is
/// handed several listeners must be told which is which.  The other side sees
/// it as the address of datagrams from here, so it cannot answer them.
///
/// The directory must be one in which only trusted users can make and rename
/// files, and, for ANCILLARY_REPLACE, take locks (flock(2)), for which reading
/// is enough.
///
/// With ANCILLARY_REPLACE a socket file that no process is bound to any more
/// is replaced, so no one has to remove it first.  Of several processes that
/// start at once one wins.  Those that find a file in their way wait for each
/// other, with a lock on the directory that leaves no file behind;
/// ANCILLARY_DONTWAIT and ANCILLARY_INTR (whether the handler has SA_RESTART or
/// not) apply to that wait, which is short and which any socket that is
/// replaced in that directory can cause: after -EAGAIN try again.
///
/// What connections inherit must be set before a client can connect, and what
/// a datagram socket delivers with a message before that is sent: after this
/// call is too late.  Give ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD or
/// ANCILLARY_NORIGHTS for that.  (By hand: set the options before bind(2).)
///
/// As many connections wait to be accepted as the system allows
/// (/proc/sys/net/core/somaxconn); call listen(2) again for fewer.
///
/// Returns the socket, which is yours to close and close-on-exec; the file
/// stays when you close it.  So unlink(2) it before, if it still is yours: its
/// device and inode (lstat(2)) are what they were right after this call.  Or
/// returns a negative errno value, and then nothing has changed but for what is
/// said below:
///
///   -EADDRINUSE     The name is in use: another socket is bound to it, or,
///                   without ANCILLARY_REPLACE, its file is there.
///   -EEXIST         Something else that is not a socket is there.
///   -ENOENT         path is empty; its directory does not exist, or is moved
///                   during the call; or /proc is needed and not mounted.
///   -ENOTDIR        A part of path is not a directory.
///   -EISDIR         path ends with a slash.
///   -ENAMETOOLONG   path is longer than PATH_MAX, its last part is longer than
///                   the file system takes, or an abstract name is longer than
///                   107 bytes.
///   -EACCES, -EPERM, -EROFS
///                   This process may not make a file there, or not move or
///                   remove it; or, where ANCILLARY_REPLACE finds a socket
///                   file, may not read the directory, or write to that file.
///   -EBUSY          ANCILLARY_REPLACE: for 5 seconds, somebody has had a lock
///                   on the directory (flock(2)), perhaps this process; or the
///                   file that is there is a mount point.
///   -ELOOP          path has too many symbolic links.
///   -EINVAL         path NULL, or `@` alone; a type, mode or flag not known.
///   -ENOPROTOOPT    ANCILLARY_PASSPIDFD before Linux 6.5, ANCILLARY_NORIGHTS
///                   before Linux 6.16.
///   -EAGAIN         ANCILLARY_DONTWAIT, and somebody has that lock: a process
///                   that is just replacing a socket there, or one that keeps
///                   it.  Try again, for some seconds at the most.
///   -EINTR          ANCILLARY_INTR, and a signal was handled.
///   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -ENOLCK, -ENOSPC, -EDQUOT
///                   A table, memory or the file system is full.
///   -EIO            The file system has failed.
///   -EAFNOSUPPORT   This process may not make AF_UNIX sockets, or the system
///                   has none.
///
/// A process that is killed in this very call can leave the temporary file
/// behind, which the next call that replaces a socket in that directory
/// removes.  (If several calls run there at once, also one with the number of
/// the process, or the next one that was free.)  So does a failure where files
/// can be made and not moved or removed (landlock(7) without
/// LANDLOCK_ACCESS_FS_REMOVE_FILE), though not more than one; in a directory to
/// which files can only be added (FS_APPEND_FL, ioctl_iflags(2)) each call
/// leaves one.  If the directory is moved during the call, it can be in the one
/// that is at its path then.  If another process has bound its socket at path
/// just before this call replaced a dead one there, and the file system refuses
/// to put it back, that socket is at the temporary name, and a dead one at path.
///
/// An address has room for 107 bytes of path.  So /proc (proc(5)) is needed if
/// there are more than 85 in front of the last slash, or if there are more than
/// 107 in all and a socket file is to be replaced.
///
/// Not a cancellation point (pthread_cancel(3)).  In a signal handler
/// ANCILLARY_REPLACE needs ANCILLARY_DONTWAIT: the handler may have interrupted
/// a call that has the lock.
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_listen(
    path: *const c_char,
    r#type: c_int,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    returning(|| {
        let how = how(flags, ANCILLARY_REPLACE)?;
        // SAFETY: the caller promises a string at `path`, unless it is NULL.
        let name = unsafe { name(path) }?;
        if mode & !0o777 != 0 {
            return Err(Errno::INVAL);
        }
        rendezvous::listen(name, Kind::parse(r#type)?, mode, how)
    })
}

/// Make a socket and connect it to a name.
///
///   path    as for ancillary_listen()
///   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, that of the other
///           socket, with SOCK_NONBLOCK or'ed in or not
///   flags   0, or ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD, ANCILLARY_NORIGHTS,
///           ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// Waits while the other side has more connections waiting than it listens for,
/// unless ANCILLARY_DONTWAIT or SOCK_NONBLOCK is given.
///
/// A datagram socket gets an abstract name that the kernel chooses, by which
/// the other side, and nobody else, can answer.  From another network namespace
/// it cannot, and with a policy that forbids it (landlock(7)) it may not: there,
/// pass it one end of a socketpair(2).  Where the name is refused the socket has
/// none.  (With ANCILLARY_PASSCRED or ANCILLARY_PASSPIDFD the kernel gives the
/// others such a name as well.)
///
/// Returns the socket, which is yours to close and close-on-exec, or a negative
/// errno value:
///
///   -ECONNREFUSED   No process is bound to that name, or it does not listen;
///                   or the file is not a socket.
///   -ENOENT         path is empty, or the file does not exist; or path is
///                   longer than 107 bytes, and /proc (proc(5)), which it takes
///                   then, is not mounted.
///   -EACCES         This process may not write to the socket file, or not
///                   search a directory on the way.
///   -EPROTOTYPE     The other socket is of another type.
///   -EAGAIN         The call may not wait, and the other side has no room for
///                   a connection now.
///   -EINTR          ANCILLARY_INTR, and a signal was handled.
///   -ENOTDIR, -EISDIR, -ENAMETOOLONG, -ELOOP, -EINVAL, -ENOPROTOOPT
///                   As for ancillary_listen().
///   -EPERM          A datagram socket that is connected to another one; or a
///                   security policy forbids it.
///   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS
///                   A table or memory is full.
///   -EIO            The file system has failed.
///   -EAFNOSUPPORT   As for ancillary_listen().
///
/// Not a cancellation point (pthread_cancel(3)).
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_connect(
    path: *const c_char,
    r#type: c_int,
    flags: c_uint,
) -> c_int {
    returning(|| {
        let how = how(flags, 0)?;
        // SAFETY: the caller promises a string at `path`, unless it is NULL.
        let name = unsafe { name(path) }?;
        rendezvous::connect(name, Kind::parse(r#type)?, how)
    })
}

/// # Safety
/// `path` is NULL, or a string is there.
unsafe fn name<'a>(path: *const c_char) -> Result<Name<'a>> {
    // SAFETY: NULL, or a string, as this function asks for.
    Name::parse(unsafe { arrays::string(path, sys::PATH_MAX) }?)
}

/// What both functions can be told, and one more thing.
fn how(flags: c_uint, more: c_uint) -> Result<How> {
    const BOTH: c_uint = ANCILLARY_DONTWAIT
        | ANCILLARY_INTR
        | ANCILLARY_PASSCRED
        | ANCILLARY_PASSPIDFD
        | ANCILLARY_NORIGHTS;
    check(flags, BOTH | more)?;
    Ok(How {
        dontwait: flags & ANCILLARY_DONTWAIT != 0,
        intr: flags & ANCILLARY_INTR != 0,
        replace: flags & ANCILLARY_REPLACE != 0,
        creds: flags & ANCILLARY_PASSCRED != 0,
        pidfd: flags & ANCILLARY_PASSPIDFD != 0,
        rights: flags & ANCILLARY_NORIGHTS == 0,
    })
}
