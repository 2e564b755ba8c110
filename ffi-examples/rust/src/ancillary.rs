//! Files and credentials over Unix sockets: libancillary, with an extern block.
//!
//! Sockets are those of the standard library, descriptors are borrowed to send them and owned when
//! they are received, and errors are made from what the function returned.

use std::ffi::{c_char, c_int, c_uint, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::ptr;

/// The identity of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Creds {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

const SOCK_STREAM: c_int = 1;
const WAITALL: c_uint = 1 << 2;
const REPLACE: c_uint = 1 << 4;

#[link(name = "ancillary")]
extern "C" {
    fn ancillary_listen(path: *const c_char, kind: c_int, mode: u32, flags: c_uint) -> c_int;
    fn ancillary_connect(path: *const c_char, kind: c_int, flags: c_uint) -> c_int;
    fn ancillary_send_fds(
        sock: c_int,
        fds: *const c_int,
        nfds: usize,
        data: *const u8,
        len: usize,
        flags: c_uint,
    ) -> isize;
    fn ancillary_recv_fds(
        sock: c_int,
        fds: *mut c_int,
        nfds: *mut usize,
        data: *mut u8,
        len: usize,
        flags: c_uint,
    ) -> isize;
    fn ancillary_set_passcred(sock: c_int, on: c_int) -> c_int;
    fn ancillary_send_creds(
        sock: c_int,
        creds: *const Creds,
        data: *const u8,
        len: usize,
        flags: c_uint,
    ) -> isize;
    fn ancillary_recv_creds(
        sock: c_int,
        creds: *mut Creds,
        data: *mut u8,
        len: usize,
        flags: c_uint,
    ) -> isize;
    fn ancillary_peer_creds(sock: c_int, creds: *mut Creds) -> c_int;
}

fn checked(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result as i32))
}

fn owned(result: c_int) -> io::Result<OwnedFd> {
    checked(result as isize)?;
    // SAFETY: the library gives it to its caller.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// What the library takes for no data: a byte of zero is sent for each message.
fn pointer(data: &[u8]) -> *const u8 {
    match data {
        [] => ptr::null(),
        _ => data.as_ptr(),
    }
}

/// Makes a socket that others connect to, in the place of a dead one. The file stays.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let path = c_path(path)?;
    // SAFETY: the path ends with a zero byte.
    owned(unsafe { ancillary_listen(path.as_ptr(), SOCK_STREAM, mode, REPLACE) }).map(Into::into)
}

/// Makes a socket and connects it.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let path = c_path(path)?;
    // SAFETY: the path ends with a zero byte.
    owned(unsafe { ancillary_connect(path.as_ptr(), SOCK_STREAM, 0) }).map(Into::into)
}

/// Sends files with data, and returns how many bytes have gone. Without data, a byte of zero goes
/// for each message that it takes.
pub fn send(sock: &UnixStream, files: &[BorrowedFd], data: &[u8]) -> io::Result<usize> {
    let fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: both arrays are as long as it is told.
    checked(unsafe { ancillary_send_fds(sock, fds.as_ptr(), fds.len(), pointer(data), len, 0) })
}

/// Receives until the peer has closed or the buffer is full, and returns how many bytes and which
/// files. More files than room, or than the process can have open, are an error.
pub fn receive_all(
    sock: &UnixStream,
    room: usize,
    data: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut fds: Vec<RawFd> = vec![-1; room];
    let (sock, mut count, len) = (sock.as_raw_fd(), room, data.len());
    // SAFETY: both arrays are as long as it is told.
    let length = checked(unsafe {
        ancillary_recv_fds(sock, fds.as_mut_ptr(), &mut count, data.as_mut_ptr(), len, WAITALL)
    })?;
    // SAFETY: the library gives them to its caller.
    let files = fds[..count].iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
    Ok((length, files.collect()))
}

/// Asks for the identity of the sender with each message that the socket receives.
pub fn pass_creds(sock: &UnixStream) -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { ancillary_set_passcred(sock.as_raw_fd(), 1) } as isize).map(drop)
}

/// Sends data with the identity of this process; without data, a byte of zero.
pub fn send_creds(sock: &UnixStream, data: &[u8]) -> io::Result<usize> {
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: the data is as long as it is told.
    checked(unsafe { ancillary_send_creds(sock, ptr::null(), pointer(data), len, 0) })
}

/// Receives a message with the identity of its sender.
pub fn receive_creds(sock: &UnixStream, data: &mut [u8]) -> io::Result<(usize, Creds)> {
    let mut creds = Creds::default();
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: the data is as long as it is told.
    checked(unsafe { ancillary_recv_creds(sock, &mut creds, data.as_mut_ptr(), len, 0) })
        .map(|length| (length, creds))
}

/// The identity of the process on the other end.
pub fn peer(sock: &UnixStream) -> io::Result<Creds> {
    let mut creds = Creds::default();
    // SAFETY: the library fills it in.
    checked(unsafe { ancillary_peer_creds(sock.as_raw_fd(), &mut creds) } as isize).map(|_| creds)
}
