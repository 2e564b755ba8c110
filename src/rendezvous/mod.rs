//! How a socket gets its name and its file: the steps of listen and connect.

mod directory;
mod how;
mod name;
mod new_file;
mod old_file;
mod reach;

pub use how::How;
pub use name::Name;

use crate::sys::{self, Address, Errno, Fd, Kind, Passing, Result};
use directory::Directory;
use libc::{c_int, mode_t};
use name::FileName;
use new_file::NewFile;
use old_file::OldFile;
use reach::{address_of_open, reach};

/// A socket that others connect to.
pub fn listen(name: Name, kind: Kind, mode: mode_t, how: How) -> Result<c_int> {
    sys::uncancelled(|| {
        let socket = sys::socket(kind)?;
        // What connects later inherits them.
        set_options(&socket, how)?;
        match name {
            Name::Abstract(name) => {
                sys::bind(&socket, &Address::of_abstract(name)?)?;
                sys::listen(&socket, kind)?;
            }
            Name::File(file) => listen_at(&socket, file, kind, mode, how)?,
        }
        Ok(socket.give_away())
    })
}

/// A socket that is connected.
///
/// The other side can send as soon as it sees the connection: the options are set before. To a
/// datagram socket nobody can send before it has a name. connect(2) would give it one if the
/// options were set, and connect it then: in between others could send to it. So it is connected
/// first, and gets the options and its name, in this order, when only the other side can send.
pub fn connect(name: Name, kind: Kind, how: How) -> Result<c_int> {
    sys::uncancelled(|| {
        let socket = sys::socket(if how.dontwait { kind.nonblocking() } else { kind })?;
        if !kind.is_datagram() {
            set_options(&socket, how)?;
        }
        connect_to(&socket, name, how)?;
        if kind.is_datagram() {
            set_options(&socket, how)?;
            // Without a name it cannot be answered, and can send all the same.
            let _ = sys::bind(&socket, &Address::any());
        }
        if how.dontwait && !kind.is_nonblocking() {
            sys::make_blocking(&socket);
        }
        Ok(socket.give_away())
    })
}

fn set_options(socket: &Fd, how: How) -> Result<()> {
    if how.creds {
        sys::set_passing(socket.number(), Passing::Creds, true)?;
    }
    if how.pidfd {
        sys::set_passing(socket.number(), Passing::Pidfd, true)?;
    }
    if !how.rights {
        sys::set_passing(socket.number(), Passing::Fds, false)?;
    }
    Ok(())
}

fn connect_to(socket: &Fd, name: Name, how: How) -> Result<()> {
    let address = match name {
        Name::Abstract(name) => Address::of_abstract(name)?,
        Name::File(file) => match Address::of_file(file.path) {
            // By way of a descriptor for the file itself, which is open until it is connected.
            Err(_) => {
                let open = sys::open_path(file.path)?;
                return reach(socket, &address_of_open(&open)?, how.intr);
            }
            address => address?,
        },
    };
    reach(socket, &address, how.intr)
}

/// Gives a socket its file, which appears when others can connect.
fn listen_at(socket: &Fd, name: FileName, kind: Kind, mode: mode_t, how: How) -> Result<()> {
    let directory = Directory::open(name.directory)?;
    let (mut lock, mut old) = (None, None);
    if OldFile::find(&directory, name.last)?.is_some() {
        if !how.replace {
            return Err(Errno::ADDRINUSE);
        }
        // Two that both found the old one dead would otherwise replace each other's new one.
        lock = Some(directory.lock(how)?);
        old = OldFile::find_dead(&directory, name.last)?;
    }
    // Until its mode is set, the file has at most these bits: bind(2) takes those of the socket
    // and applies the umask.
    sys::set_mode_before(socket, mode)?;
    let file = NewFile::bind(socket, &directory, lock.is_some())?;
    let done = file
        .set_mode(mode)
        .and_then(|()| sys::listen(socket, kind))
        .and_then(|()| file.put_in_place(name.last, old.as_ref()));
    if done.is_err() {
        file.remove();
    }
    done
}
