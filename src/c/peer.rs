//! Who is on the other end of a connection.

use super::arrays;
use super::creds::ancillary_creds;
use super::returns::returning;
use crate::sys::{self, Errno, Extent, Result};
use core::mem::size_of;
use libc::{c_char, c_int, gid_t, size_t, ssize_t};

/// Who is on the other end: its pid, effective uid and effective gid
/// (SO_PEERCRED).
///
///   sock    a connected AF_UNIX socket; of type datagram, one of a socketpair
///   creds   where the identity goes
///
/// It is that of the process that called connect(), listen() or socketpair(),
/// as it was then; it stays when that process has exited, or changed its ids.
/// A pid can belong to another process by the time you look at it:
/// ancillary_peer_pidfd() names the process for good.
///
/// Returns 0, or a negative errno value, with creds unknown (pid 0, uid -1,
/// gid -1):
///
///   -ENOTCONN           There is no other end: the socket is not connected, or
///                       is a datagram socket not made by socketpair(), or not
///                       an AF_UNIX socket.
///   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
///   -EINVAL             creds NULL.
///
/// On a listening socket it is the process that called listen().
/// cbindgen:postfix=ANCILLARY_NONNULL(2)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_peer_creds(sock: c_int, creds: *mut ancillary_creds) -> c_int {
    returning(|| {
        // SAFETY: the C caller promises room for an identity at `creds`, unless it is NULL.
        let creds = unsafe { creds.as_mut() }.ok_or(Errno::INVAL)?;
        *creds = ancillary_creds::UNKNOWN;
        let peer = ancillary_creds::from_kernel(&sys::peer_creds(sock)?);
        if peer == *creds {
            return Err(Errno::NOTCONN);
        }
        *creds = peer;
        Ok(())
    })
}

/// A pidfd of the process on the other end (SO_PEERPIDFD, Linux 6.5).
///
///   sock   as for ancillary_peer_creds()
///
/// It names that process and no other, also when it has exited and its pid
/// is in use again.  poll(2) finds the pidfd readable when the process has
/// exited; pidfd_send_signal(2) and waitid(2) take it.
///
/// Returns the pidfd, which is yours to close and close-on-exec, or a negative
/// errno value:
///
///   -ENOTCONN           There is no other end, as in ancillary_peer_creds().
///   -EMFILE, -ENFILE    The table of descriptors of the process, or of the
///                       system, is full.
///   -ESRCH, -EINVAL     Linux before 6.16: the process has exited and been
///                       waited for.
///   -ENOPROTOOPT        This kernel does not have it.
///   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
#[must_use]
#[no_mangle]
pub extern "C" fn ancillary_peer_pidfd(sock: c_int) -> c_int {
    returning(|| sys::peer_pidfd(sock).map_err(or_no_peer))
}

/// The supplementary groups of the process on the other end (SO_PEERGROUPS,
/// Linux 4.13).
///
///   sock      as for ancillary_peer_creds()
///   groups    where they go.  May be NULL if ngroups is 0.
///   ngroups   room for how many; 0 asks how many there are.  No process has
///             more than NGROUPS_MAX (65536).
///
/// Returns the number of groups, 0 or more, or a negative errno value:
///
///   -ERANGE             There are more than ngroups; nothing was written.
///   -ENOTCONN           There is no other end, as in ancillary_peer_creds().
///   -EINVAL             groups NULL and ngroups not 0.
///   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
///   -ENOPROTOOPT        This kernel does not have it.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_peer_groups(
    sock: c_int,
    groups: *mut gid_t,
    ngroups: size_t,
) -> ssize_t {
    returning(|| {
        // SAFETY: the C caller promises room for `ngroups` groups at `groups`.
        let groups = unsafe { arrays::filled(groups, ngroups.min(MOST_GROUPS)) }?;
        match sys::peer_groups(sock, groups).map_err(or_no_peer)? {
            Extent::Filled(bytes) => Ok(bytes / size_of::<gid_t>()),
            Extent::Needs(bytes) if ngroups == 0 => Ok(bytes / size_of::<gid_t>()),
            Extent::Needs(_) => Err(Errno::RANGE),
        }
    })
}

/// The security label of the process on the other end (SO_PEERSEC), where a
/// security module such as SELinux or Smack, or AppArmor from Linux 6.17 on,
/// keeps one.
///
///   sock    as for ancillary_peer_creds()
///   label   where it goes, as a string that ends with a zero byte.  May be
///           NULL if len is 0.
///   len     bytes of room; 0 asks how long the label is at the most, to
///           which one byte is to be added
///
/// Returns the length of the label in bytes, the zero byte not counted, which is
/// 0 for an empty one, or a negative errno value:
///
///   -ERANGE             The label and the zero byte do not fit; none of it
///                       was written.
///   -ENOPROTOOPT        There is no label: no security module that keeps them
///                       is active, or there is no other end.
///   -EINVAL             label NULL and len not 0.
///   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_peer_label(
    sock: c_int,
    label: *mut c_char,
    len: size_t,
) -> ssize_t {
    returning(|| {
        // SAFETY: the C caller promises room for `len` bytes at `label`.
        let label = unsafe { arrays::filled(label as *mut u8, len.min(LONGEST_LABEL)) }?;
        read_label(sock, label)
    })
}

/// Reads a label and ends it with a zero byte, which some modules count and add, and some do not.
fn read_label(sock: c_int, label: &mut [u8]) -> Result<usize> {
    let before_end = label.len().saturating_sub(1);
    let first_try = label.get_mut(..before_end).unwrap_or_default();
    let length = match sys::peer_label(sock, first_try)? {
        Extent::Filled(length) | Extent::Needs(length) if label.is_empty() => return Ok(length),
        Extent::Filled(length) => length,
        Extent::Needs(length) if length == label.len() => match sys::peer_label(sock, label)? {
            Extent::Filled(length) => length,
            Extent::Needs(_) => return Err(Errno::RANGE),
        },
        Extent::Needs(_) => return Err(Errno::RANGE),
    };
    if let Some((0, text)) = label.get(..length).and_then(<[u8]>::split_last) {
        return Ok(text.len());
    }
    match label.get_mut(length) {
        Some(end) => *end = 0,
        None => {
            label.fill(0);
            return Err(Errno::RANGE);
        }
    }
    Ok(length)
}

/// What the kernel says where there is no peer, in the error that says so elsewhere.
fn or_no_peer(error: Errno) -> Errno {
    match error {
        Errno::NODATA => Errno::NOTCONN,
        other => other,
    }
}

/// NGROUPS_MAX, getgroups(2).
const MOST_GROUPS: usize = 65536;

/// More than any security module's label takes (a page, and SELinux's are the longest).
const LONGEST_LABEL: usize = 65536;
