//! Sockets, and the names by which others reach them: unix(7).

use super::errno::{checked, retried, Errno, Result};
use super::fd::Fd;
use super::files::Path;
use super::limits::ADDRESS_MAX;
use core::mem::size_of;
use libc::{c_char, c_int, mode_t, sa_family_t, sockaddr, sockaddr_un, socklen_t};

/// A type of socket, as a caller asks for it.
#[derive(Clone, Copy)]
pub struct Kind(c_int);

impl Kind {
    pub const STREAM: Kind = Kind(libc::SOCK_STREAM);
    pub const SEQPACKET: Kind = Kind(libc::SOCK_SEQPACKET);
    pub const DATAGRAM: Kind = Kind(libc::SOCK_DGRAM);

    pub fn parse(kind: c_int) -> Result<Kind> {
        match Kind(kind).base() {
            libc::SOCK_STREAM | libc::SOCK_SEQPACKET | libc::SOCK_DGRAM => Ok(Kind(kind)),
            _ => Err(Errno::INVAL),
        }
    }

    fn base(self) -> c_int {
        self.0 & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
    }

    pub fn is_datagram(self) -> bool {
        self.base() == libc::SOCK_DGRAM
    }

    pub fn is_nonblocking(self) -> bool {
        self.0 & libc::SOCK_NONBLOCK != 0
    }

    pub fn nonblocking(self) -> Kind {
        Kind(self.0 | libc::SOCK_NONBLOCK)
    }
}

/// A socket, close-on-exec.
pub fn socket(kind: Kind) -> Result<Fd> {
    // SAFETY: socket takes any numbers.
    Fd::made(|| unsafe { libc::socket(libc::AF_UNIX, kind.0 | libc::SOCK_CLOEXEC, 0) })
}

/// Takes O_NONBLOCK, the one flag it was made with, from a socket.
pub fn make_blocking(socket: &Fd) {
    // SAFETY: fcntl takes any number for this command.
    let _ = checked(|| unsafe { libc::fcntl(socket.number(), libc::F_SETFL, 0) });
}

/// The address of a socket.
pub struct Address {
    address: sockaddr_un,
    len: usize,
}

impl Address {
    /// None: a socket that is bound to it gets an abstract name that nobody has.
    pub fn any() -> Address {
        let family = libc::AF_UNIX as sa_family_t;
        Address { address: sockaddr_un { sun_family: family, sun_path: [0; ADDRESS_MAX] }, len: 0 }
    }

    /// The path of its file; -ENAMETOOLONG if it does not fit.
    pub fn of_file(path: Path) -> Result<Address> {
        Address::any().with(path.bytes())?.with(&[0])
    }

    /// An abstract name: a zero byte, and these.
    pub fn of_abstract(name: &[u8]) -> Result<Address> {
        Address::any().with(&[0])?.with(name)
    }

    fn with(mut self, name: &[u8]) -> Result<Address> {
        for byte in name {
            *self.address.sun_path.get_mut(self.len).ok_or(Errno::NAMETOOLONG)? = *byte as c_char;
            self.len = self.len.wrapping_add(1);
        }
        Ok(self)
    }

    fn as_c(&self) -> *const sockaddr {
        let address: *const sockaddr_un = &self.address;
        address as *const sockaddr
    }

    fn len(&self) -> socklen_t {
        self.len.wrapping_add(size_of::<sa_family_t>()) as socklen_t
    }
}

/// Permissions for the file that binding this socket makes; the umask takes some away.
pub fn set_mode_before(socket: &Fd, mode: mode_t) -> Result<()> {
    // SAFETY: fchmod takes any numbers.
    retried(|| unsafe { libc::fchmod(socket.number(), mode) })
}

/// bind(2), for a socket that is not bound. Never to be called again once it has succeeded: Linux
/// before 5.14 makes the file, and fails then.
pub fn bind(socket: &Fd, address: &Address) -> Result<()> {
    // SAFETY: the address outlives the call, and the length is that of what has been filled.
    retried(|| unsafe { libc::bind(socket.number(), address.as_c(), address.len()) })
}

pub fn connect(socket: &Fd, address: &Address) -> Result<()> {
    // SAFETY: as in bind.
    checked(|| unsafe { libc::connect(socket.number(), address.as_c(), address.len()) })?;
    Ok(())
}

/// listen(2), with as long a queue as the system allows; a datagram socket needs none.
pub fn listen(socket: &Fd, kind: Kind) -> Result<()> {
    if kind.is_datagram() {
        return Ok(());
    }
    // SAFETY: listen takes any numbers.
    checked(|| unsafe { libc::listen(socket.number(), c_int::MAX) })?;
    Ok(())
}
