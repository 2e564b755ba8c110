//! Sockets with names, and the files these are.

use super::{checked, close_run};
use crate::address::Name;
use crate::errno::{Errno, Result};
use core::mem::{forget, size_of, MaybeUninit};
use libc::{c_char, c_int, c_uint, mode_t, sa_family_t, sockaddr, sockaddr_un, socklen_t, ssize_t};

/// A path has so many bytes at most, with its zero byte.
pub const PATH_MAX: usize = libc::PATH_MAX as usize;

/// A descriptor of our own, closed when it is dropped.
pub struct Fd(c_int);

impl Fd {
    fn new(result: c_int) -> Result<Fd> {
        done(result)?;
        Ok(Fd(result))
    }

    /// Hands it to the caller, whose it is from then on.
    pub fn give_away(self) -> c_int {
        let fd = self.0;
        forget(self);
        fd
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close_run(self.0, self.0);
    }
}

#[inline(never)]
fn done(result: c_int) -> Result<()> {
    checked(result as ssize_t)?;
    Ok(())
}

/// A type of socket, as a caller asks for it.
#[derive(Clone, Copy)]
pub struct Kind(c_int);

impl Kind {
    pub const DGRAM: Kind = Kind(libc::SOCK_DGRAM);

    pub fn parse(kind: c_int) -> Result<Kind> {
        match Kind(kind).base() {
            libc::SOCK_STREAM | libc::SOCK_SEQPACKET | libc::SOCK_DGRAM => Ok(Kind(kind)),
            _ => Err(Errno::INVAL),
        }
    }

    fn base(self) -> c_int {
        self.0 & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
    }

    pub fn nonblocking(self) -> bool {
        self.0 & libc::SOCK_NONBLOCK != 0
    }
}

/// A socket, close-on-exec.
#[inline(always)]
pub fn socket(kind: Kind, nonblocking: bool) -> Result<Fd> {
    let flags = libc::SOCK_CLOEXEC | if nonblocking { libc::SOCK_NONBLOCK } else { 0 };
    // SAFETY: socket takes any numbers.
    Fd::new(unsafe { libc::socket(libc::AF_UNIX, kind.0 | flags, 0) })
}

/// Takes O_NONBLOCK, the one flag it was made with, from a socket.
pub fn make_blocking(socket: &Fd) {
    // SAFETY: fcntl takes any number for this command.
    unsafe { libc::fcntl(socket.0, libc::F_SETFL, 0) };
}

/// An address takes a name of so many bytes.
pub const ADDRESS_MAX: usize = size_of::<sockaddr_un>() - size_of::<sa_family_t>();

/// A name put together on the stack. It is laid out as a sockaddr_un, and one as long as it is
/// short enough for that; there is room for any path.
#[repr(C)]
pub struct Address {
    family: sa_family_t,
    name: [MaybeUninit<u8>; PATH_MAX],
    len: usize,
}

impl Address {
    pub fn new() -> Address {
        let name = [MaybeUninit::uninit(); PATH_MAX];
        Address { family: libc::AF_UNIX as sa_family_t, name, len: 0 }
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds as much as there is room for.
    #[inline(never)]
    pub fn push(&mut self, more: &[u8]) {
        for byte in more {
            if let Some(place) = self.name.get_mut(self.len) {
                *place = MaybeUninit::new(*byte);
                self.len = self.len.wrapping_add(1);
            }
        }
    }

    /// Adds a number in decimal; behind it is a zero byte that does not count.
    #[inline(never)]
    pub fn push_number(&mut self, number: u32) {
        if number >= 10 {
            self.push_number(number / 10);
        }
        self.push(&[b'0' + (number % 10) as u8, 0]);
        self.len = self.len.wrapping_sub(1);
    }

    /// Adds the path of the file that a descriptor is open for: proc(5) has a short one. That of
    /// the process is of its first thread, which can have ended, or have descriptors of its own.
    #[inline(always)]
    pub fn push_open(&mut self, file: &Fd) {
        self.push(b"/proc/thread-self/fd/");
        self.push_number(file.0 as u32);
    }

    /// Adds the name that a caller gives, as the first. Where it is abstract, there is a zero byte
    /// in place of the `@`, and the one at the end does not count.
    pub fn push_name(&mut self, name: Name) {
        self.push(name.bytes());
        if name.is_abstract() {
            self.len = self.len.wrapping_sub(1);
            if let Some(first) = self.name.first_mut() {
                *first = MaybeUninit::new(0);
            }
        }
    }

    fn as_c(&self) -> *const sockaddr {
        let address: *const Address = self;
        address as *const sockaddr
    }

    fn len(&self) -> socklen_t {
        self.len.wrapping_add(size_of::<sa_family_t>()) as socklen_t
    }

    /// The path, if it is one with a zero byte behind.
    fn path(&self) -> *const c_char {
        self.name.as_ptr() as *const c_char
    }
}

pub fn bind(socket: &Fd, address: &Address) -> Result<()> {
    // SAFETY: the address outlives the call, and the length is that of what has been filled.
    done(unsafe { libc::bind(socket.0, address.as_c(), address.len()) })
}

pub fn connect(socket: &Fd, address: &Address) -> Result<()> {
    // SAFETY: as in bind.
    done(unsafe { libc::connect(socket.0, address.as_c(), address.len()) })
}

/// listen(2), with as long a queue as the system allows; a datagram socket needs none.
#[inline(always)]
pub fn listen(socket: &Fd, kind: Kind) -> Result<()> {
    if kind.base() == libc::SOCK_DGRAM {
        return Ok(());
    }
    // SAFETY: listen takes any numbers.
    done(unsafe { libc::listen(socket.0, c_int::MAX) })
}

/// The path that a caller gives.
fn given(path: Name) -> *const c_char {
    path.bytes().as_ptr() as *const c_char
}

/// A descriptor that stands for a file, open for nothing.
pub fn open_path(path: Name) -> Result<Fd> {
    open(given(path), libc::O_PATH)
}

/// A directory to make files in; to be locked as well, it must be readable.
pub fn open_directory(path: &Address, readable: bool) -> Result<Fd> {
    open(path.path(), if readable { libc::O_RDONLY } else { libc::O_PATH })
}

fn open(path: *const c_char, flags: c_int) -> Result<Fd> {
    // SAFETY: the path is a string that outlives the call.
    Fd::new(unsafe { libc::open(path, flags | libc::O_CLOEXEC) })
}

/// flock(2).
pub fn lock(directory: &Fd, dontwait: bool) -> Result<()> {
    let how = libc::LOCK_EX | if dontwait { libc::LOCK_NB } else { 0 };
    // SAFETY: flock takes any numbers.
    done(unsafe { libc::flock(directory.0, how) })
}

/// Ends a lock. To close the directory is not enough: another thread may have forked a process
/// that has it as well.
pub fn unlock(directory: &Fd) {
    // SAFETY: as above.
    unsafe { libc::flock(directory.0, libc::LOCK_UN) };
}

/// Succeeds if there is a socket at a path; -EEXIST where there is something else.
pub fn socket_at(path: Name) -> Result<()> {
    find_socket(given(path))
}

#[inline(never)]
fn find_socket(path: *const c_char) -> Result<()> {
    // The plain call fails for large numbers of files and devices on 32-bit systems.
    #[cfg(not(target_env = "gnu"))]
    use libc::{lstat, stat};
    #[cfg(target_env = "gnu")]
    use libc::{lstat64 as lstat, stat64 as stat};

    let mut found = MaybeUninit::<stat>::uninit();
    // SAFETY: the path is a string that outlives the call, and the place is ours to write to.
    done(unsafe { lstat(path, found.as_mut_ptr()) })?;
    // SAFETY: lstat has succeeded, and filled it.
    match unsafe { found.assume_init() }.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Ok(()),
        _ => Err(Errno::EXIST),
    }
}

/// Permissions for the file that binding this socket makes; the umask takes some away.
pub fn set_mode_before(socket: &Fd, mode: mode_t) -> Result<()> {
    // SAFETY: fchmod takes any numbers.
    done(unsafe { libc::fchmod(socket.0, mode) })
}

pub fn set_mode(file: &Address, mode: mode_t) -> Result<()> {
    // SAFETY: the path is a string that outlives the call.
    done(unsafe { libc::chmod(file.path(), mode) })
}

/// How a file is moved to a name: in exchange for what is there (RENAME_EXCHANGE), or only if
/// there is nothing (RENAME_NOREPLACE).
pub type Move = c_uint;
pub const TO_FREE: Move = 1;
pub const EXCHANGE: Move = 2;

/// Moves a file. Returns whether it was as asked for: where the kernel or the file system knows
/// no exchange, it has replaced what was there.
#[inline(never)]
pub fn move_file(from: &Address, to: Name, how: Move) -> Result<bool> {
    let (old, new, cwd) = (from.path(), given(to), libc::AT_FDCWD);
    // The C library's function of that name is younger than the system call, so this goes by
    // number.
    // SAFETY: here and below, the paths are strings that outlive the call.
    let moved = unsafe { libc::syscall(libc::SYS_renameat2, cwd, old, cwd, new, how) };
    match done(moved as c_int) {
        Err(Errno::INVAL | Errno::NOSYS) => {}
        result => return result.map(|()| true),
    }
    if how == EXCHANGE {
        // SAFETY: as above.
        done(unsafe { libc::rename(old, new) })?;
    } else {
        // SAFETY: as above.
        done(unsafe { libc::link(old, new) })?;
        remove(from);
    }
    Ok(false)
}

/// Removes a file of our own: nothing is to be done where that fails.
pub fn remove(file: &Address) {
    // SAFETY: the name is a string that outlives the call.
    unsafe { libc::unlink(file.path()) };
}

/// As socket_at, of a file of our own or in exchange for it.
pub fn socket_at_address(file: &Address) -> Result<()> {
    find_socket(file.path())
}

/// Removes a socket.
pub fn remove_socket(file: &Address) -> Result<()> {
    socket_at_address(file)?;
    // SAFETY: as above.
    done(unsafe { libc::unlink(file.path()) })
}

/// This process, as a number for names.
pub fn own_pid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::getpid() as u32 }
}
