//! The file of a socket that is about to listen: under a temporary name until it does.

use super::directory::{Directory, ShortPath, NAME_MAX, PREFIX};
use super::old_file::OldFile;
use crate::sys::{self, Address, Errno, Fd, Identity, Move, Path, PathBuffer, Result};
use libc::mode_t;

/// A file that a socket is bound to: until that is closed, no other one has its identity.
pub struct NewFile<'a> {
    directory: &'a Directory<'a>,
    name: Name,
    identity: Identity,
}

type Name = PathBuffer<NAME_MAX>;

fn name(number: u32) -> Name {
    let mut name = Name::new();
    name.push(PREFIX);
    name.push_number(number);
    name
}

impl<'a> NewFile<'a> {
    /// Binds a socket to the first temporary name that is free. The first of all is always the
    /// same, so that what a process has left there is found.
    pub fn bind(socket: &Fd, directory: &'a Directory, locked: bool) -> Result<NewFile<'a>> {
        let mut number = 0;
        loop {
            let name = name(number);
            match sys::bind(socket, &address(directory, name.path()?)?) {
                Ok(()) => return NewFile::of(directory, name),
                Err(Errno::ADDRINUSE) if number == 0 => {
                    if !make_free(directory, name.path()?, locked)? {
                        number = sys::own_pid();
                    }
                }
                Err(Errno::ADDRINUSE) => number = number.wrapping_add(1),
                Err(error) => return Err(error),
            }
        }
    }

    /// The one that has just been made. Where it cannot be looked at, there is another try: only
    /// who knows it can remove it.
    fn of(directory: &'a Directory, name: Name) -> Result<NewFile<'a>> {
        let identity =
            identify(directory, name.path()?).or_else(|_| identify(directory, name.path()?))?;
        Ok(NewFile { directory, name, identity })
    }

    pub fn set_mode(&self, mode: mode_t) -> Result<()> {
        sys::set_mode(&self.directory.open, self.name.path()?, mode)
    }

    /// Moves it to its name, in place of an old one or only if nothing is there.
    pub fn put_in_place(&self, name: Path, old: Option<&OldFile>) -> Result<()> {
        let old = match old {
            None => return self.move_to_free(name),
            Some(old) => old,
        };
        match self.move_to(name, Move::Exchange) {
            // It has gone meanwhile.
            Err(Errno::NOENT) => self.move_to_free(name),
            Err(Errno::INVAL | Errno::NOSYS) => self.rename_over(name, old),
            Err(error) => Err(error),
            Ok(()) => self.drop_exchanged(name, old),
        }
    }

    fn move_to(&self, name: Path, how: Move) -> Result<()> {
        self.directory.rename(self.identity, self.name.path()?, name, how)
    }

    fn move_to_free(&self, name: Path) -> Result<()> {
        let moved = match self.move_to(name, Move::ToFree) {
            Err(Errno::INVAL | Errno::NOSYS) => {
                let linked = self.move_to(name, Move::Link);
                if linked.is_ok() {
                    self.remove();
                }
                linked
            }
            moved => moved,
        };
        // Another process was faster.
        moved.map_err(|error| if error == Errno::EXIST { Errno::ADDRINUSE } else { error })
    }

    /// Where the kernel or the file system knows no exchange.
    fn rename_over(&self, name: Path, old: &OldFile) -> Result<()> {
        match self.directory.look(name) {
            Err(Errno::NOENT) => self.move_to_free(name),
            Err(error) => Err(error),
            Ok(found) if found.identity != old.identity => Err(Errno::ADDRINUSE),
            Ok(_) => self.move_to(name, Move::Over),
        }
    }

    /// Removes what has come back from the name, if that is what was found dead there. Others may
    /// have removed that meanwhile, and be bound there: then it is put back.
    fn drop_exchanged(&self, name: Path, old: &OldFile) -> Result<()> {
        let back = self.directory.look(self.name.path()?);
        if matches!(&back, Ok(found) if found.identity == old.identity) {
            // Who cannot remove it has replaced it all the same.
            let _ = self.directory.remove(old.identity, self.name.path()?);
            return Ok(());
        }
        // Ours comes back to its temporary name; or nothing does, where somebody has removed it.
        let own = self.name.path()?;
        self.directory
            .rename(self.identity, name, own, Move::Exchange)
            .or_else(|_| self.move_to(name, Move::ToFree))?;
        back.and(Err(Errno::ADDRINUSE))
    }

    /// Takes its temporary name away, if it has that.
    pub fn remove(&self) {
        if let Ok(name) = self.name.path() {
            // Nothing is to be done where that fails.
            let _ = self.directory.remove(self.identity, name);
        }
    }
}

/// The address of a temporary file.
fn address(directory: &Directory, name: Path) -> Result<Address> {
    let path = directory.given(name).unwrap_or_else(|| {
        let mut path = ShortPath::new();
        path.push_open(&directory.open);
        path.push(b"/");
        path.push(name.bytes());
        path
    });
    Address::of_file(path.path()?)
}

/// The file that a socket has just been bound to; -ENOENT if its path leads to another directory,
/// which has been moved there since this one was opened.
fn identify(directory: &Directory, name: Path) -> Result<Identity> {
    let identity = directory.look(name)?.identity;
    if let Some(given) = directory.given(name) {
        if sys::look_at(given.path()?)?.identity != identity {
            return Err(Errno::NOENT);
        }
    }
    Ok(identity)
}

/// What is at the first temporary name is another process's, or was left there by one that was
/// killed. With the lock the latter is removed: those without it bind there only if nothing is
/// there, so what is dead, and not just being made, stays what it is. Returns whether it has been.
fn make_free(directory: &Directory, name: Path, locked: bool) -> Result<bool> {
    if locked {
        if let Ok(Some(old)) = OldFile::find_dead(directory, name) {
            if old.is_settled() {
                return directory.remove(old.identity, name).map(|()| true);
            }
        }
    }
    // Who knows. There are other names.
    check_movable(directory, name).map(|()| false)
}

/// Where files can be made and not be moved or removed, what this call makes would stay, and what
/// the next one makes as well. Moving a file to where it is changes nothing, and security modules
/// that go by paths are asked all the same.
fn check_movable(directory: &Directory, name: Path) -> Result<()> {
    match sys::move_in(&directory.open, name, name, Move::Over) {
        Err(Errno::NOENT | Errno::INTR) => Ok(()),
        result => result,
    }
}
