//! Options of sockets: what sort a socket is, what it passes, how long it waits, and who is on its
//! other end.

use super::clock::{Readiness, Time};
use super::errno::{checked, Errno, Result};
use core::mem::{size_of, size_of_val};
use libc::{c_int, c_void, gid_t, socklen_t, timeval, ucred};

/// The type of a socket: SOCK_STREAM, which may give and take a part of a message, or one of
/// those that keep messages whole.
#[cold]
pub fn socket_type(sock: c_int) -> Result<c_int> {
    let mut kind: c_int = 0;
    option(sock, libc::SO_TYPE, &mut kind)?;
    Ok(kind)
}

/// What the control data of messages received on a socket may hold.
pub enum Passing {
    Creds,
    Pidfd,
    Fds,
}

pub fn set_passing(sock: c_int, what: Passing, on: bool) -> Result<()> {
    let name = match what {
        Passing::Creds => libc::SO_PASSCRED,
        Passing::Pidfd => libc::SO_PASSPIDFD,
        Passing::Fds => SO_PASSRIGHTS,
    };
    let on = c_int::from(on);
    let place: *const c_int = &on;
    let length = size_of::<c_int>() as socklen_t;
    // SAFETY: the value outlives the call, which only reads it, and the length is that of it.
    checked(|| unsafe {
        libc::setsockopt(sock, libc::SOL_SOCKET, name, place as *const c_void, length)
    })?;
    Ok(())
}

/// Linux 6.16; not in the libc crate.
#[cfg(not(any(target_arch = "sparc", target_arch = "sparc64")))]
const SO_PASSRIGHTS: c_int = 83;
#[cfg(any(target_arch = "sparc", target_arch = "sparc64"))]
const SO_PASSRIGHTS: c_int = 0x5c;

/// The credentials of the process on the other end, as they were when the connection was made.
pub fn peer_creds(sock: c_int) -> Result<ucred> {
    let mut creds = ucred { pid: 0, uid: 0, gid: 0 };
    option(sock, libc::SO_PEERCRED, &mut creds)?;
    Ok(creds)
}

/// A pidfd of the process on the other end, close-on-exec.
pub fn peer_pidfd(sock: c_int) -> Result<c_int> {
    let mut pidfd: c_int = -1;
    option(sock, libc::SO_PEERPIDFD, &mut pidfd)?;
    Ok(pidfd)
}

/// An option that a kernel fills, with how many bytes there are of it where those did not fit.
pub enum Extent {
    Filled(usize),
    Needs(usize),
}

/// The supplementary groups of the process on the other end.
pub fn peer_groups(sock: c_int, groups: &mut [gid_t]) -> Result<Extent> {
    let place = groups.as_mut_ptr() as *mut c_void;
    // SAFETY: the groups are ours to write to, and the length is that of them.
    unsafe { sized_option(sock, libc::SO_PEERGROUPS, place, size_of_val(groups)) }
}

/// The security label of the process on the other end.
pub fn peer_label(sock: c_int, label: &mut [u8]) -> Result<Extent> {
    let place = label.as_mut_ptr() as *mut c_void;
    // SAFETY: the label is ours to write to, and the length is that of it.
    unsafe { sized_option(sock, libc::SO_PEERSEC, place, label.len()) }
}

/// An option of the socket level of known size, getsockopt(2).
fn option<T: Copy>(sock: c_int, name: c_int, value: &mut T) -> Result<()> {
    let place: *mut T = value;
    // SAFETY: the value is ours to write to, and the length is that of it.
    unsafe { sized_option(sock, name, place as *mut c_void, size_of::<T>()) }?;
    Ok(())
}

/// # Safety
/// `length` bytes at `place` may be written to, with any value.
unsafe fn sized_option(
    sock: c_int,
    name: c_int,
    place: *mut c_void,
    length: usize,
) -> Result<Extent> {
    let mut length = length.min(socklen_t::MAX as usize / 2) as socklen_t;
    // SAFETY: `length` bytes at `place` may be written to, and no more of them are.
    match checked(|| unsafe { libc::getsockopt(sock, libc::SOL_SOCKET, name, place, &mut length) })
    {
        Ok(_) => Ok(Extent::Filled(length as usize)),
        // Then the length says how many bytes there are.
        Err(Errno::RANGE) => Ok(Extent::Needs(length as usize)),
        Err(error) => Err(error),
    }
}

/// How long a call on a socket waits, if that is limited.
pub fn timeout(sock: c_int, what_for: Readiness) -> Option<Time> {
    let name = match what_for {
        Readiness::Receive => libc::SO_RCVTIMEO,
        Readiness::Send => libc::SO_SNDTIMEO,
    };
    let mut time = timeval { tv_sec: 0, tv_usec: 0 };
    option(sock, name, &mut time).ok()?;
    match (time.tv_sec, time.tv_usec) {
        (0, 0) => None,
        _ => Some(Time::from_timeval(&time)),
    }
}

/// Whether O_NONBLOCK is set.
pub fn is_nonblocking(sock: c_int) -> bool {
    // SAFETY: fcntl takes any number for this command.
    let flags = checked(|| unsafe { libc::fcntl(sock, libc::F_GETFL) });
    flags.map_or(false, |flags| flags & libc::O_NONBLOCK != 0)
}
