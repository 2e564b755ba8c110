//! Where processes meet: sockets with a name.

use crate::address::Name;
use crate::arrays;
use crate::constants::ANCILLARY_REPLACE;
use crate::errno::{returning, Errno, Result};
use crate::flags::Flags;
use crate::sys::{self, Address, Fd, Kind};
use libc::{c_char, c_int, c_uint, mode_t};

/// Make a socket that others connect to, under a name.
///
///   path    a file name of any length the file system takes; or `@` and an
///           abstract name of 1 to 107 bytes, which is used exactly as given
///           (a file whose name begins with `@`: `./@name`).  Names longer
///           than a socket address take /proc (proc(5)).
///   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, with SOCK_NONBLOCK
///           or'ed in or not; SOCK_CLOEXEC changes nothing
///   mode    permission bits of the file, 0 to 0777, exactly these whatever
///           the umask; connecting needs write permission, and so does
///           replacing for the owner.  Not used for an abstract name: anyone
///           can connect to that.
///   flags   0, or ANCILLARY_REPLACE, ANCILLARY_DONTWAIT and ANCILLARY_INTR
///           or'ed together
///
/// The file appears when everything is done: who sees it can connect, and
/// finds the mode asked for.  The umask is neither used nor touched.  To this
/// end the socket is bound to a temporary name in the same directory and
/// listens before it is moved; getsockname(2) goes on telling the temporary
/// name, `.ancillary-` with a number behind, as in rules of security modules.
/// The other side sees it as the address of datagrams from here, so it cannot
/// answer them.  The directory must be one in which only trusted users can make
/// and rename files, and, for ANCILLARY_REPLACE, take locks (flock(2)), for
/// which reading is enough.
///
/// With ANCILLARY_REPLACE a socket file that no process is bound to any more
/// is replaced, so no one has to remove it first.  Of several processes that
/// start at once one wins.  They wait for each other, with a lock on the
/// directory that leaves no file behind; ANCILLARY_DONTWAIT and ANCILLARY_INTR
/// apply to that wait, which is short and which any socket in that directory
/// can cause: after -EAGAIN try again.
///
/// The socket listens already: options that connections inherit come too late
/// for a client that has connected, as ancillary_set_passcred() says.
///
/// Returns the socket, which is yours to close and close-on-exec; the file
/// stays when you close it.  unlink(2) it before, if it still is yours: with
/// lstat(2), right after this call and then, its device and inode tell.  Or
/// returns a negative errno value, and then nothing has changed:
///
///   -EADDRINUSE     The name is in use: another socket is bound to it, or,
///                   without ANCILLARY_REPLACE, its file is there.
///   -EEXIST         Something else that is not a socket is there.
///   -ENOENT         path is empty, or its directory does not exist.
///   -ENOTDIR        A part of path is not a directory.
///   -EISDIR         path ends with a slash.
///   -ENAMETOOLONG   path is longer than PATH_MAX, its last part is longer than
///                   the file system takes, or an abstract name is longer than
///                   107 bytes.
///   -EACCES, -EPERM, -EROFS
///                   This process may not make a file there; or, with
///                   ANCILLARY_REPLACE, may not read the directory, or write
///                   to the socket file that is there.
///   -ELOOP          path has too many symbolic links.
///   -EINVAL         path NULL, or `@` alone; a type, mode or flag not known.
///   -EAGAIN         ANCILLARY_DONTWAIT, and another process is just replacing
///                   a socket in that directory.
///   -EINTR          ANCILLARY_INTR, and a signal was handled.
///   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -ENOLCK, -ENOSPC, -EDQUOT
///                   A table, memory or the file system is full.
///   -EIO            The file system has failed.
///   -EAFNOSUPPORT   This process may not make AF_UNIX sockets, or the system
///                   has none.
///
/// A process that is killed in this very call can leave a temporary file
/// behind: `.ancillary-` with its process number, or the next one that was
/// free; with ANCILLARY_REPLACE `.ancillary-0`, which the next call with
/// ANCILLARY_REPLACE in that directory removes.
///
/// Not a cancellation point (pthread_cancel(3)).  In a signal handler
/// ANCILLARY_REPLACE needs ANCILLARY_DONTWAIT: the handler may have interrupted
/// a call that has the lock.
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_listen(
    path: *const c_char,
    r#type: c_int,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller promises a string at `path`, unless it is NULL.
    unsafe { meet(path, r#type, mode, flags, Flags::SEND | ANCILLARY_REPLACE) }
}

/// Make a socket and connect it to a name.
///
///   path    as for ancillary_listen()
///   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, that of the other
///           socket, with SOCK_NONBLOCK or'ed in or not
///   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
///
/// The socket itself has no name, so the other side cannot answer datagrams
/// from it.  Waits while the other side has more connections waiting than it
/// listens for, unless ANCILLARY_DONTWAIT or SOCK_NONBLOCK is given.
///
/// Returns the socket, which is yours to close and close-on-exec, or a negative
/// errno value:
///
///   -ECONNREFUSED   No process is bound to that name, or it does not listen;
///                   or the file is not a socket.
///   -ENOENT         path is empty, or the file does not exist.
///   -EACCES         This process may not write to the socket file, or not
///                   search a directory on the way.
///   -EPROTOTYPE     The other socket is of another type.
///   -EAGAIN         The call may not wait, and the other side has no room for
///                   a connection now.
///   -EINTR          ANCILLARY_INTR, and a signal was handled.
///   -ENOTDIR, -EISDIR, -ENAMETOOLONG, -ELOOP, -EINVAL
///                   As for ancillary_listen().
///   -EPERM          A datagram socket that is connected to another one; or a
///                   security policy forbids it.
///   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS
///                   A table or memory is full.
///   -EIO            The file system has failed.
///   -EAFNOSUPPORT   As for ancillary_listen().
///
/// Not a cancellation point (pthread_cancel(3)).
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_connect(
    path: *const c_char,
    r#type: c_int,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller promises a string at `path`, unless it is NULL.
    unsafe { meet(path, r#type, 0, flags, Flags::SEND) }
}

/// Listens where ANCILLARY_REPLACE is known, and else connects.
///
/// # Safety
/// `path` is NULL, or a string.
#[inline(never)]
unsafe fn meet(
    path: *const c_char,
    kind: c_int,
    mode: mode_t,
    flags: c_uint,
    known: c_uint,
) -> c_int {
    returning(|| {
        let flags = Flags::parse(flags, known)?;
        // SAFETY: the caller's promise.
        let name = Name::parse(unsafe { arrays::string(path, sys::PATH_MAX) }?)?;
        let kind = Kind::parse(kind)?;
        if mode & !0o777 != 0 {
            return Err(Errno::INVAL);
        }
        sys::uncancelled(|| {
            let socket = sys::socket(kind, flags.dontwait())?;
            flags.retrying(|| {
                if known & ANCILLARY_REPLACE != 0 {
                    listen(&socket, name, kind, mode, flags)
                } else {
                    reach(&socket, name, false)
                }
            })?;
            if flags.dontwait() && !kind.nonblocking() {
                sys::make_blocking(&socket);
            }
            Ok(socket.give_away())
        })
    })
}

/// Connects, or binds to an abstract name. Where a path is too long for an
/// address, this goes by way of a descriptor for the socket file itself.
#[inline(never)]
fn reach(socket: &Fd, name: Name, bind: bool) -> Result<()> {
    let mut address = Address::new();
    let mut target = None;
    if !name.is_abstract() && name.bytes().len() > sys::ADDRESS_MAX {
        address.push_open(target.insert(sys::open_path(name)?));
    } else {
        address.push_name(name);
    }
    if bind {
        return sys::bind(socket, &address);
    }
    sys::connect(socket, &address)
}

/// A directory with a longer path is named by way of its descriptor: what comes
/// behind, and this, fit an address.
const SHORT: usize = 80;

/// Binds, and lets others connect. Where there may be a file to replace, this
/// takes a lock on the directory that keeps others that do the same away: two
/// that both found the old socket dead would otherwise replace each other's new
/// one.
#[inline(never)]
fn listen(socket: &Fd, name: Name, kind: Kind, mode: mode_t, flags: Flags) -> Result<()> {
    if name.is_abstract() {
        reach(socket, name, true)?;
        return sys::listen(socket, kind);
    }
    let replace = flags.replace();
    let mut address = Address::new();
    address.push(name.directory());
    address.push(b"/.\0");
    let directory = sys::open_directory(&address, replace)?;
    if !replace {
        return listen_in(&directory, socket, name, kind, mode, false);
    }
    sys::lock(&directory, flags.dontwait())?;
    let result = listen_in(&directory, socket, name, kind, mode, true);
    sys::unlock(&directory);
    result
}

/// Fails where somebody is bound to a socket file, at a name or an address.
///
/// A datagram socket that connects tells without a trace: nobody is there
/// (ECONNREFUSED), or somebody is, whose socket is of another type
/// (EPROTOTYPE), or connected elsewhere (EPERM), or neither.
#[inline(never)]
fn check_dead(name: Option<Name>, address: &Address) -> Result<()> {
    let probe = sys::socket(Kind::DGRAM, false)?;
    let connected = match name {
        Some(name) => reach(&probe, name, false),
        None => sys::connect(&probe, address),
    };
    match connected {
        Err(Errno::CONNREFUSED) => Ok(()),
        Ok(()) | Err(Errno::PROTOTYPE | Errno::PERM) => Err(Errno::ADDRINUSE),
        error => error,
    }
}

#[inline(never)]
fn listen_in(
    directory: &Fd,
    socket: &Fd,
    name: Name,
    kind: Kind,
    mode: mode_t,
    replace: bool,
) -> Result<()> {
    let mut address = Address::new();
    let mut found = sys::socket_at(name);
    if found.is_ok() {
        if !replace {
            return Err(Errno::ADDRINUSE);
        }
        found = check_dead(Some(name), &address);
    }
    let mut how = match found {
        Err(Errno::NOENT) => sys::TO_FREE,
        found => found.map(|()| sys::EXCHANGE)?,
    };
    // Until its mode is set, the file has at most these bits: bind(2) takes those of the socket
    // and applies the umask.
    sys::set_mode_before(socket, mode)?;
    let before = name.directory();
    let mut number = if replace { 0 } else { sys::own_pid() };
    loop {
        address.clear();
        if before.len() > SHORT {
            address.push_open(directory);
        } else {
            address.push(before);
        }
        address.push(b"/.ancillary-");
        address.push_number(number);
        match sys::bind(socket, &address) {
            Ok(()) => break,
            // It is another process's, or was left behind by one that was killed: under the lock
            // only the latter.
            Err(Errno::ADDRINUSE) if replace => sys::remove_socket(&address)?,
            Err(Errno::ADDRINUSE) => number = number.wrapping_add(1),
            error => return error,
        }
    }
    let mut done = sys::set_mode(&address, mode);
    if done.is_ok() {
        done = sys::listen(socket, kind);
    }
    if done.is_ok() {
        done = put_in_place(&address, name, &mut how);
    }
    if done.is_err() || how == sys::EXCHANGE {
        sys::remove(&address);
    }
    // Another process was faster.
    done.map_err(|error| if error == Errno::EXIST { Errno::ADDRINUSE } else { error })
}

/// Moves a socket that listens to its name, and leaves at its temporary one
/// what it was exchanged for, or itself. What comes back need not be what was
/// found there: others may have removed that, and be bound there by now.
fn put_in_place(address: &Address, name: Name, how: &mut sys::Move) -> Result<()> {
    let moved = match sys::move_file(address, name, *how) {
        Err(Errno::NOENT) if *how == sys::EXCHANGE => {
            *how = sys::TO_FREE;
            sys::move_file(address, name, *how)
        }
        moved => moved,
    };
    if !moved? || *how == sys::TO_FREE {
        *how = sys::TO_FREE;
        return Ok(());
    }
    let dead = sys::socket_at_address(address).and_then(|()| check_dead(None, address));
    if dead.is_err() {
        // Nothing is at the name where somebody has removed our socket meanwhile.
        sys::move_file(address, name, sys::EXCHANGE)
            .or_else(|_| sys::move_file(address, name, sys::TO_FREE))?;
    }
    dead
}
