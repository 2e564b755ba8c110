//! Files and directories: paths, and what is done with what they lead to.

use super::errno::{checked, retried, Errno, Result};
use super::fd::Fd;
use super::limits::PATH_MAX;
use core::mem::MaybeUninit;
use libc::{c_char, c_int, c_uint, mode_t};

/// A path as the system takes it: with a zero byte at its end.
#[derive(Clone, Copy)]
pub struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// Of bytes the last of which is zero.
    pub fn new(bytes: &'a [u8]) -> Result<Path<'a>> {
        match bytes {
            [.., 0] => Ok(Path(bytes)),
            _ => Err(Errno::NAMETOOLONG),
        }
    }

    /// Without the zero byte.
    pub fn bytes(self) -> &'a [u8] {
        match self.0 {
            [bytes @ .., _] => bytes,
            [] => &[],
        }
    }

    fn as_c(self) -> *const c_char {
        self.0.as_ptr() as *const c_char
    }
}

/// A path put together on the stack, of fewer bytes than `SIZE`: behind it are zero bytes.
pub struct PathBuffer<const SIZE: usize> {
    bytes: [u8; SIZE],
    len: usize,
}

impl<const SIZE: usize> PathBuffer<SIZE> {
    pub fn new() -> PathBuffer<SIZE> {
        PathBuffer { bytes: [0; SIZE], len: 0 }
    }

    /// Adds bytes, as many as there is room for.
    pub fn push(&mut self, more: &[u8]) {
        self.len = append(&mut self.bytes, self.len, more);
    }

    /// Adds a number in decimal.
    pub fn push_number(&mut self, number: u32) {
        self.len = append_number(&mut self.bytes, self.len, number);
    }

    /// Adds the path of the file that a descriptor is open for: proc(5) has a short one. That of
    /// the process is of its first thread, which can have ended, or have descriptors of its own.
    pub fn push_open(&mut self, file: &Fd) {
        self.push(b"/proc/thread-self/fd/");
        self.push_number(file.number() as u32);
    }

    /// What has been added; -ENAMETOOLONG if that was too much.
    pub fn path(&self) -> Result<Path<'_>> {
        let with_zero = ..self.len.wrapping_add(1);
        Path::new(self.bytes.get(with_zero).unwrap_or_default())
    }
}

#[inline(never)]
fn append(buffer: &mut [u8], mut len: usize, more: &[u8]) -> usize {
    for byte in more {
        if let Some(place) = buffer.get_mut(len) {
            *place = *byte;
            len = len.wrapping_add(1);
        }
    }
    len
}

#[inline(never)]
fn append_number(buffer: &mut [u8], mut len: usize, number: u32) -> usize {
    if number >= 10 {
        len = append_number(buffer, len, number / 10);
    }
    append(buffer, len, &[b'0' + (number % 10) as u8])
}

/// Which file something is. Nothing else is it while that exists: as long as it has a name, is
/// open, or a socket is bound to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

/// What is at a path.
pub struct Found {
    pub identity: Identity,
    pub is_socket: bool,
    /// When it was made or last written to: in seconds of the clock that files go by.
    pub modified: i64,
}

// The plain calls fail for large numbers of files and devices on 32-bit systems.
#[cfg(not(target_env = "gnu"))]
use libc::{fstatat, stat};
#[cfg(target_env = "gnu")]
use libc::{fstatat64 as fstatat, stat64 as stat};

/// What is at a path in a directory, a symbolic link itself.
pub fn look_in(directory: &Fd, path: Path) -> Result<Found> {
    look(directory.number(), path, libc::AT_SYMLINK_NOFOLLOW)
}

/// What is at a path, a symbolic link itself.
pub fn look_at(path: Path) -> Result<Found> {
    look(libc::AT_FDCWD, path, libc::AT_SYMLINK_NOFOLLOW)
}

/// What a descriptor is open for.
pub fn look_behind(file: &Fd) -> Result<Found> {
    look(file.number(), Path(b"\0"), libc::AT_EMPTY_PATH)
}

#[inline(never)]
fn look(at: c_int, path: Path, flags: c_int) -> Result<Found> {
    let mut found = MaybeUninit::<stat>::uninit();
    // SAFETY: the path is a string that outlives the call, and the place is ours to write to.
    retried(|| unsafe { fstatat(at, path.as_c(), found.as_mut_ptr(), flags) })?;
    // SAFETY: the call has succeeded, and filled it.
    let found = unsafe { found.assume_init() };
    Ok(Found {
        identity: Identity { device: found.st_dev as u64, inode: found.st_ino as u64 },
        is_socket: found.st_mode & libc::S_IFMT == libc::S_IFSOCK,
        modified: found.st_mtime as i64,
    })
}

/// Opens a directory for what is done in it: that takes no permission to read it.
pub fn open_directory(path: &[u8]) -> Result<Fd> {
    let mut buffer = PathBuffer::<PATH_MAX>::new();
    buffer.push(path);
    // Also if it is that of the root.
    buffer.push(b"/");
    open(libc::AT_FDCWD, buffer.path()?, libc::O_PATH | libc::O_DIRECTORY)
}

/// Opens such a directory once more, for reading.
pub fn open_for_reading(directory: &Fd) -> Result<Fd> {
    open(directory.number(), Path(b".\0"), libc::O_RDONLY | libc::O_DIRECTORY)
}

/// A descriptor that stands for a file, open for nothing.
pub fn open_path(path: Path) -> Result<Fd> {
    open(libc::AT_FDCWD, path, libc::O_PATH)
}

/// The same for a file in a directory, a symbolic link itself.
pub fn open_path_in(directory: &Fd, path: Path) -> Result<Fd> {
    open(directory.number(), path, libc::O_PATH | libc::O_NOFOLLOW)
}

#[inline(never)]
fn open(at: c_int, path: Path, flags: c_int) -> Result<Fd> {
    loop {
        // SAFETY: the path is a string that outlives the call.
        match Fd::made(|| unsafe { libc::openat(at, path.as_c(), flags | libc::O_CLOEXEC) }) {
            // As in `retried`.
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// A directory to be locked, flock(2).
pub struct Lock(Fd);

impl Lock {
    pub fn new(directory: Fd) -> Lock {
        Lock(directory)
    }

    /// Fails with EAGAIN while somebody else has the lock.
    pub fn try_to_take(&self) -> Result<()> {
        // SAFETY: flock takes any numbers.
        retried(|| unsafe { libc::flock(self.0.number(), libc::LOCK_EX | libc::LOCK_NB) })
    }
}

impl Drop for Lock {
    /// To close the directory is not enough: another thread may have forked a process that has it
    /// as well.
    fn drop(&mut self) {
        // SAFETY: flock takes any numbers.
        let _ = checked(|| unsafe { libc::flock(self.0.number(), libc::LOCK_UN) });
    }
}

/// Sets the permissions of a file in a directory.
pub fn set_mode(directory: &Fd, path: Path, mode: mode_t) -> Result<()> {
    // SAFETY: the path is a string that outlives the call.
    retried(|| unsafe { libc::fchmodat(directory.number(), path.as_c(), mode, 0) })
}

/// How a file gets another name in its directory.
#[derive(Clone, Copy)]
pub enum Move {
    /// Only if there is nothing: -EEXIST (RENAME_NOREPLACE).
    ToFree,
    /// In exchange for what is there (RENAME_EXCHANGE).
    Exchange,
    /// In place of whatever is there.
    Over,
    /// As a second name; -EEXIST if there is something.
    Link,
}

/// The first two are renameat2(2), since Linux 3.15, and not on every file system (-ENOSYS,
/// -EINVAL). The C library's function of that name is younger, so this goes by number.
///
/// After EINTR it may have been done: a file system that is served by a process or over a network
/// can say so of what it has done.
pub fn move_in(directory: &Fd, from: Path, to: Path, how: Move) -> Result<()> {
    let at = directory.number();
    let (from, to) = (from.as_c(), to.as_c());
    let rename = |flags: c_uint| {
        // SAFETY: the paths are strings that outlive the call.
        unsafe { libc::syscall(libc::SYS_renameat2, at, from, at, to, flags) as c_int }
    };
    checked(|| match how {
        Move::ToFree => rename(1),
        Move::Exchange => rename(2),
        // SAFETY: the paths are strings that outlive the call.
        Move::Over => unsafe { libc::renameat(at, from, at, to) },
        // SAFETY: as above.
        Move::Link => unsafe { libc::linkat(at, from, at, to, 0) },
    })?;
    Ok(())
}

/// Takes a name from a file. After EINTR it may have been done, as above.
pub fn remove_in(directory: &Fd, path: Path) -> Result<()> {
    // SAFETY: the path is a string that outlives the call.
    checked(|| unsafe { libc::unlinkat(directory.number(), path.as_c(), 0) })?;
    Ok(())
}
