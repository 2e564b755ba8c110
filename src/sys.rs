//! The operating system: what knows which it is, and alone calls it, is here and in `names`.
//!
//! Every call goes through a function of the C library, so that preloaded wrappers, sanitizers
//! and thread cancellation see it.

mod names;
pub use names::*;

use crate::constants::ANCILLARY_MAX_FDS;
use crate::errno::{Errno, Result};
use crate::payload::Window;
use core::mem::{size_of, size_of_val, MaybeUninit};
use core::ptr::{self, addr_of_mut};
use libc::{c_int, c_uint, c_void, gid_t, iovec, msghdr, socklen_t, ssize_t};

// The libc crate without its default features leaves linking the C library to us.
#[link(name = "c")]
extern "C" {}

/// The most descriptors one message carries, over all its control messages together
/// (SCM_MAX_FD, unix(7)).
#[cfg(not(all(target_env = "musl", target_pointer_width = "64")))]
pub const MAX_FDS: usize = ANCILLARY_MAX_FDS as usize;

/// On 64-bit systems sendmsg(3) of musl, up to its version 1.2.3, copies the control data to clear
/// the padding in it, and takes 1024 bytes at most.
#[cfg(all(target_env = "musl", target_pointer_width = "64"))]
pub const MAX_FDS: usize = ANCILLARY_MAX_FDS as usize - 1;

/// Who a process is, as the kernel tells it and is told, and control data with it.
pub use libc::{ucred, SCM_CREDENTIALS};

/// Control data with a pidfd. Linux 6.5; not in every version of the libc crate that the library
/// builds with.
pub const SCM_PIDFD: c_int = 4;

/// What a system call returned: a count, or -1, and then `errno` says why.
#[derive(Clone, Copy)]
pub struct Outcome(ssize_t);

impl Outcome {
    /// Whether it is this count.
    #[inline(always)]
    pub fn is(self, count: usize) -> bool {
        self.0 == count as ssize_t
    }

    /// The count, if there is one and it is not 0.
    #[inline(always)]
    pub fn positive(self) -> Option<usize> {
        if self.0 > 0 {
            Some(self.0 as usize)
        } else {
            None
        }
    }

    pub fn checked(self) -> Result<usize> {
        checked(self.0)
    }
}

/// What arrived with one recvmsg(2).
pub struct Arrival {
    pub bytes: usize,
    /// How much of the control buffer is filled, in bytes.
    pub control: usize,
    /// A datagram was longer than the room for it (MSG_TRUNC).
    pub data_cut: bool,
    /// Control data was discarded (MSG_CTRUNC).
    pub control_cut: bool,
}

impl Arrival {
    #[inline(always)]
    pub fn new(bytes: usize, message: &msghdr) -> Arrival {
        Arrival {
            bytes,
            control: message.msg_controllen as usize,
            data_cut: message.msg_flags & libc::MSG_TRUNC != 0,
            control_cut: message.msg_flags & libc::MSG_CTRUNC != 0,
        }
    }

    /// Whether nothing of it was cut off.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        !self.data_cut && !self.control_cut
    }
}

/// How a system call is to be made: MSG_DONTWAIT and the like.
pub type How = c_int;
pub const WAIT: How = 0;
pub const DONTWAIT: How = libc::MSG_DONTWAIT;
pub const PEEK: How = libc::MSG_PEEK;
/// Descriptors received are close-on-exec.
pub const CLOEXEC: How = libc::MSG_CMSG_CLOEXEC;

/// Where the calling thread keeps its `errno`.
#[inline(always)]
pub fn errno_location() -> *mut c_int {
    // SAFETY: takes nothing, and returns a location valid as long as the thread.
    unsafe { libc::__errno_location() }
}

fn checked(result: ssize_t) -> Result<usize> {
    if result < 0 {
        return Err(Errno::last());
    }
    Ok(result as usize)
}

/// A message to send, or to receive, with so much control data, or room for it.
pub fn message(window: &Window, control: *mut u8, controllen: usize) -> msghdr {
    let mut message = MaybeUninit::uninit();
    // SAFETY: the place is ours to write to.
    unsafe {
        write_message(message.as_mut_ptr(), window.iov, window.count, (control, controllen));
        message.assume_init()
    }
}

/// The same, in place.
///
/// # Safety
/// The place may be written to.
#[inline(always)]
pub unsafe fn write_message(
    place: *mut msghdr,
    iov: *const iovec,
    count: usize,
    (control, controllen): (*mut u8, usize),
) {
    // SAFETY: the caller's promise. With all fields written, a msghdr is initialised: it is plain
    // integers and pointers, and padding.
    unsafe {
        // That of musl is fields, a part of what the kernel takes for lengths. musl's sendmsg
        // clears them, but one in front of it may not.
        #[cfg(target_env = "musl")]
        place.write_bytes(0, 1);
        addr_of_mut!((*place).msg_name).write(ptr::null_mut());
        addr_of_mut!((*place).msg_namelen).write(0);
        addr_of_mut!((*place).msg_iov).write(iov as *mut iovec);
        addr_of_mut!((*place).msg_iovlen).write(count as _);
        addr_of_mut!((*place).msg_flags).write(0);
        addr_of_mut!((*place).msg_control).write(control as *mut c_void);
        addr_of_mut!((*place).msg_controllen).write(controllen as _);
    }
}

/// Says where control data goes, anew: nothing but the system call may have written there since,
/// or the compiler may take that for what is there.
#[inline(always)]
pub fn set_control(message: &mut msghdr, control: *mut u8) {
    message.msg_control = control as *mut c_void;
}

/// Leaves no room for control data, which is discarded then.
pub fn leave_no_room(message: &mut msghdr) {
    message.msg_controllen = 0;
}

/// sendmsg(2), once. Never raises SIGPIPE.
///
/// # Safety
/// There is a message, and all that it points to.
#[inline(always)]
pub unsafe fn send(sock: c_int, message: *const msghdr, how: How) -> Outcome {
    // SAFETY: the caller's promise; sendmsg only reads.
    Outcome(unsafe { libc::sendmsg(sock, message, libc::MSG_NOSIGNAL | how) })
}

/// recvmsg(2), once.
///
/// # Safety
/// There is a message, and all that it points to, which may be written to.
#[inline(always)]
pub unsafe fn receive(sock: c_int, message: *mut msghdr, how: How) -> Outcome {
    // SAFETY: the caller's promise.
    Outcome(unsafe { libc::recvmsg(sock, message, how) })
}

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
    // SAFETY: the value outlives the call, which only reads it, and the length is that of it.
    checked(unsafe {
        let length = size_of::<c_int>() as socklen_t;
        libc::setsockopt(sock, libc::SOL_SOCKET, name, place as *const c_void, length)
    } as ssize_t)?;
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

/// The process that calls, as it would be shown to the receiver of a message: with its real ids.
pub fn own_creds() -> ucred {
    // SAFETY: these take nothing and cannot fail.
    unsafe { ucred { pid: libc::getpid(), uid: libc::getuid(), gid: libc::getgid() } }
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
    // SAFETY: the caller's promise.
    let result = unsafe { libc::getsockopt(sock, libc::SOL_SOCKET, name, place, &mut length) };
    match checked(result as ssize_t) {
        Ok(_) => Ok(Extent::Filled(length as usize)),
        // Then the length says how many bytes there are.
        Err(Errno::RANGE) => Ok(Extent::Needs(length as usize)),
        Err(error) => Err(error),
    }
}

/// Why the kernel has just withheld descriptors although there was room in the control buffer:
/// the table of the process is full, or a security module denied them. The kernel reports both
/// with MSG_CTRUNC alone; only duplicating a descriptor tells them apart.
///
/// To be asked before any of the descriptors that did arrive is closed.
#[cold]
pub fn why_withheld(any: c_int) -> Errno {
    if table_is_full(any) {
        return Errno::MFILE;
    }
    Errno::ACCES
}

/// Whether the process has no number left for another descriptor like `any`.
#[cold]
pub fn table_is_full(any: c_int) -> bool {
    // SAFETY: fcntl takes any number; what it returns is ours.
    let probe = unsafe { libc::fcntl(any, libc::F_DUPFD_CLOEXEC, 0) };
    if probe >= 0 {
        close_run(probe, probe);
    }
    probe < 0
}

/// Closes the descriptors `first` to `last`, all of which the caller owns.
///
/// close(2) gives the number back whatever it returns, so there is nothing to report. It is a
/// cancellation point (pthreads(7)), and a thread that ended there would leave it open.
pub fn close_run(first: c_int, last: c_int) {
    if last > first && close_range(first, last) {
        return;
    }
    uncancelled(|| {
        for fd in first..=last {
            // SAFETY: the caller owns the descriptor and does not use it afterwards.
            unsafe { libc::close(fd) };
        }
    });
}

/// close_range(2), since Linux 5.9; false where it is missing or forbidden. The C library's
/// function of that name is younger than the system call, so this goes by number.
fn close_range(first: c_int, last: c_int) -> bool {
    let no_flags: c_uint = 0;
    // SAFETY: the caller of close_run owns all descriptors in the range.
    unsafe { libc::syscall(libc::SYS_close_range, first as c_uint, last as c_uint, no_flags) == 0 }
}

/// Runs what must not be left half done: a thread that is cancelled (pthread_cancel(3)) in it
/// ends behind it.
#[inline(always)]
pub fn uncancelled<T>(run: impl FnOnce() -> T) -> T {
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    let before = set_cancel_state(PTHREAD_CANCEL_DISABLE);
    let result = run();
    set_cancel_state(before);
    result
}

/// pthread_setcancelstate(3); returns what it was.
#[inline(always)]
fn set_cancel_state(state: c_int) -> c_int {
    extern "C" {
        fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
    let mut before: c_int = 0;
    // SAFETY: the place for the old state is ours.
    unsafe { pthread_setcancelstate(state, &mut before) };
    before
}
