//! A socket file that is in the way, and whether anybody is still bound to it.

use super::directory::Directory;
use super::reach::{address_of_open, reach};
use crate::sys::{self, Address, Errno, Fd, Identity, Kind, Path, Result};

/// While it is open, no other file has its identity. And once nobody is bound to it, nobody ever
/// is: bind(2) makes a new file.
pub struct OldFile {
    open: Fd,
    pub identity: Identity,
    modified: i64,
}

/// bind(2) makes the file, and then binds the socket to it: in between nobody is. How old a file is,
/// in whole seconds, when that is surely over.
const SETTLED: i64 = 2;

impl OldFile {
    /// The one of this name, if there is a file; -EEXIST where it is something else.
    pub fn find(directory: &Directory, name: Path) -> Result<Option<OldFile>> {
        let open = match sys::open_path_in(&directory.open, name) {
            Err(Errno::NOENT) => return Ok(None),
            open => open?,
        };
        let found = sys::look_behind(&open)?;
        if !found.is_socket {
            return Err(Errno::EXIST);
        }
        Ok(Some(OldFile { open, identity: found.identity, modified: found.modified }))
    }

    /// Whether nobody is about to be bound to it.
    pub fn is_settled(&self) -> bool {
        sys::seconds_since(self.modified) >= SETTLED
    }

    /// The same, if nobody is bound to it; else -EADDRINUSE.
    pub fn find_dead(directory: &Directory, name: Path) -> Result<Option<OldFile>> {
        let old = match OldFile::find(directory, name)? {
            None => return Ok(None),
            Some(old) => old,
        };
        match old.check_dead(directory, name) {
            // It has just gone. Or its path leads elsewhere, or nowhere: /proc is not mounted.
            Err(Errno::NOENT) => match OldFile::find(directory, name)? {
                None => Ok(None),
                Some(other) if other.identity == old.identity => Err(Errno::NOENT),
                Some(_) => Err(Errno::ADDRINUSE),
            },
            result => result.map(|()| Some(old)),
        }
    }

    fn check_dead(&self, directory: &Directory, name: Path) -> Result<()> {
        let given = match directory.given(name) {
            None => return self.check_dead_at(&address_of_open(&self.open)?),
            Some(given) => given,
        };
        self.check_dead_at(&Address::of_file(given.path()?)?)?;
        // Was it this one?
        if sys::look_at(given.path()?)?.identity != self.identity {
            return Err(Errno::ADDRINUSE);
        }
        Ok(())
    }

    /// A datagram socket that connects tells without a trace: nobody is there (ECONNREFUSED), or
    /// somebody is, whose socket is of another type (EPROTOTYPE), or connected elsewhere (EPERM),
    /// or neither. Where it is refused, so are the others, which disturb nobody then. But under
    /// gVisor it is refused by all that are of another type, and only these can tell.
    fn check_dead_at(&self, address: &Address) -> Result<()> {
        for kind in [Kind::DATAGRAM, Kind::STREAM, Kind::SEQPACKET] {
            let probe = sys::socket(kind.nonblocking())?;
            match reach(&probe, address, false) {
                Err(Errno::CONNREFUSED) => {}
                // The last: it listens, and has no room for a connection now.
                Ok(()) | Err(Errno::PROTOTYPE | Errno::PERM | Errno::AGAIN) => {
                    return Err(Errno::ADDRINUSE)
                }
                error => return error,
            }
        }
        Ok(())
    }
}
