//! The directory of a socket's file.
//!
//! It is opened once, and all is done relative to it: whatever becomes of the path by which it was
//! found, one directory is looked at, locked and changed. Only binding and connecting take an
//! address, which is a path from somewhere else. So what the path leads to is compared with what
//! is in the directory, before anything is done that goes by it.

use super::how::How;
use crate::sys::{
    self, Errno, Fd, Found, Identity, Lock, Move, Path, PathBuffer, Result, Time, ADDRESS_MAX,
};

pub struct Directory<'a> {
    pub open: Fd,
    /// As the caller gives it, without a slash at its end.
    path: &'a [u8],
}

/// A path that fits an address.
pub type ShortPath = PathBuffer<ADDRESS_MAX>;

/// How temporary names in it begin.
pub const PREFIX: &[u8] = b".ancillary-";

/// The longest temporary name, with its zero byte.
pub const NAME_MAX: usize = PREFIX.len() + 10 + 1;

/// The longest path of a directory with which every temporary name in it fits an address.
const SHORT: usize = ADDRESS_MAX - 1 - NAME_MAX;

/// How long to wait while somebody has the lock, and how long before looking again.
const LOCK_WAIT: Time = Time::seconds(5);
const LOCK_PAUSE: Time = Time::milliseconds(1);

impl<'a> Directory<'a> {
    pub fn open(path: &'a [u8]) -> Result<Directory<'a>> {
        Ok(Directory { open: sys::open_directory(path)?, path })
    }

    /// The path of a file in it, by way of the caller's, if that fits an address.
    pub fn given(&self, name: Path) -> Option<ShortPath> {
        if self.path.len() > SHORT {
            return None;
        }
        let mut path = ShortPath::new();
        path.push(self.path);
        path.push(b"/");
        path.push(name.bytes());
        path.path().is_ok().then_some(path)
    }

    /// What is there.
    pub fn look(&self, name: Path) -> Result<Found> {
        sys::look_in(&self.open, name)
    }

    /// Gives a file another name. Where a signal has interrupted that, it may have been done: then the
    /// file is there, and to do it again would be to undo it, or to fail.
    pub fn rename(&self, file: Identity, from: Path, to: Path, how: Move) -> Result<()> {
        loop {
            match sys::move_in(&self.open, from, to, how) {
                Err(Errno::INTR) => {}
                result => return result,
            }
            if matches!(self.look(to), Ok(found) if found.identity == file) {
                return Ok(());
            }
        }
    }

    /// Takes a name from a file, if it has that: also where a signal has interrupted it, by when it
    /// may be another one's.
    pub fn remove(&self, file: Identity, name: Path) -> Result<()> {
        loop {
            // Once more where that fails: only who knows it can remove it.
            match self.look(name).or_else(|_| self.look(name)) {
                Ok(found) if found.identity == file => {}
                Err(Errno::NOENT) | Ok(_) => return Ok(()),
                Err(error) => return Err(error),
            }
            match sys::remove_in(&self.open, name) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
    }

    /// Keeps others away that replace a file in it.
    ///
    /// flock(2) itself cannot be told how long to wait, and anybody who may read the directory can
    /// have the lock: this process as well.
    pub fn lock(&self, how: How) -> Result<Lock> {
        let lock = Lock::new(sys::open_for_reading(&self.open)?);
        let mut end = None;
        loop {
            match lock.try_to_take() {
                Err(Errno::AGAIN) if !how.dontwait => {}
                result => return result.map(|()| lock),
            }
            let now = sys::now();
            if now > *end.get_or_insert(now.after(LOCK_WAIT)) {
                return Err(Errno::BUSY);
            }
            match sys::pause(LOCK_PAUSE) {
                Err(Errno::INTR) if how.intr => return Err(Errno::INTR),
                _ => {}
            }
        }
    }
}
