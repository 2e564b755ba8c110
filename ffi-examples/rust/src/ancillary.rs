// SPDX-License-Identifier: MIT OR Apache-2.0

//! Files and credentials over Unix sockets: libancillary, with an extern block.
//!
//! A process hands an open file to another over a Unix socket, and tells who it is:
//!
//! ```ignore
//! // One process.
//! let listener = ancillary::listen("/run/example".as_ref(), 0o600, ancillary::REPLACE)?;
//! let (sock, _) = listener.accept()?;
//! let mut data = [0; 4096];
//! let (length, mut files) = ancillary::receive(&sock, 1, &mut data, 0)?;
//! let content = io::read_to_string(File::from(files.remove(0)))?;
//!
//! // Another.
//! let sock = ancillary::connect("/run/example".as_ref(), 0)?;
//! let file = File::open("/etc/hostname")?;
//! ancillary::send(&sock, &[file.as_fd()], b"a name", 0)?;
//! ```
//!
//! On a [`Channel`] messages travel whole, each with its files, also where a stream cuts them:
//!
//! ```ignore
//! let mut channel = Channel::new(sock, 4096, 8, PLAIN, 0);
//! channel.send_owned(OPENED, request, b"a name", &mut vec![file.into()], 0)?;
//! while let Some(message) = channel.receive(0)? {
//!     println!("{} {:?}", message.id, message.files);
//! }
//! ```
//!
//! Sockets are those of the standard library. Descriptors are borrowed to send them, so they are
//! open meanwhile, and owned when they are received, so they are closed when they go. They are
//! close-on-exec.
//!
//! Errors are [`io::Error`], made from what the function of the library has returned, with errno:
//! `E2BIG` (more files came than there is room for), `EMFILE` (more than the process can have open),
//! `EPIPE` (the peer has closed), `ENOMSG` (a message without an identity), `EAGAIN` (a call that may
//! not wait came too early). What came with such a message is closed; with [`LOSSLESS`] it stays
//! queued where there is too little room for it, and can be received later.
//!
//! A call that waits holds up its thread alone, and is made again after a signal unless it is told
//! not to be ([`INTR`]). Nothing between the return of C and the owners can panic.
//!
//! The crate is linked with libancillary.so.1: `-L` with what pkg-config says, or a build script.

use std::ffi::{c_char, c_int, c_uint, c_void, CString};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::ptr;
use std::slice;

/// Flag: the call does not wait.
pub const DONTWAIT: c_uint = 1 << 6;
/// Flag: a signal ends the wait.
pub const INTR: c_uint = 1 << 19;
/// Flag for receiving on a stream: until the buffer is full or the peer has closed.
pub const WAITALL: c_uint = 1 << 8;
/// Flag for receiving: what there is too little room for stays queued.
pub const LOSSLESS: c_uint = 1 << 20;
/// Flag for listening: a socket file that nobody listens on gives way.
pub const REPLACE: c_uint = 1 << 0;
/// Flag for listening and connecting: the identity of the sender comes with each message, also the
/// first. What is accepted inherits this and the next two.
pub const PASSCRED: c_uint = 1 << 1;
/// Flag for listening and connecting: a pidfd comes, for who receives with other functions.
pub const PASSPIDFD: c_uint = 1 << 2;
/// Flag for listening and connecting: files are refused, and sending them is `EPERM`.
pub const NORIGHTS: c_uint = 1 << 3;
/// Flag for sending on a [`Channel`]: the message may wait for the next one.
pub const MORE: c_uint = 1 << 15;
const TAKE: c_uint = 1 << 21;

/// Format of a [`Channel`]: that of the library.
pub const PLAIN: c_uint = 0;
/// Format of a [`Channel`]: the imsg of OpenBSD.
pub const IMSG: c_uint = 1;
/// Format of a [`Channel`]: imsg as it was before 2025.
pub const IMSG_OLD: c_uint = 2;

/// The identity of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Creds {
    /// The process, as its reader numbers it.
    pub pid: i32,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// `struct ancillary_channel`.
#[repr(C)]
#[derive(Debug)]
struct RawChannel {
    size: usize,
    sock: c_int,
    flags: c_uint,
    format: c_uint,
    cut: *const c_void,
    context: *mut c_void,
    in_data: *mut u64,
    in_size: usize,
    in_fds: *mut c_int,
    in_nfds: usize,
    out_data: *mut u64,
    out_size: usize,
    out_fds: *mut c_int,
    out_nfds: usize,
    state: [u64; 16],
}

/// `struct ancillary_frame`.
#[repr(C)]
struct RawFrame {
    kind: u32,
    id: u32,
    pid: u32,
    data: *const u8,
    len: usize,
    fds: *mut c_int,
    nfds: usize,
    reserved: [u32; 4],
}

const SOCK_STREAM: c_int = 1;

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
    fn ancillary_max_fds() -> usize;
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
    fn ancillary_channel_send(
        channel: *mut RawChannel,
        frame: *const RawFrame,
        flags: c_uint,
    ) -> c_int;
    fn ancillary_channel_flush(channel: *mut RawChannel, flags: c_uint) -> c_int;
    fn ancillary_channel_recv(
        channel: *mut RawChannel,
        frame: *mut RawFrame,
        flags: c_uint,
    ) -> c_int;
    fn ancillary_channel_events(channel: *const RawChannel) -> c_int;
    fn ancillary_channel_drop(channel: *mut RawChannel);
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

/// Makes a socket that others connect to. Its file gets the permissions of `mode`, less the umask,
/// and stays when the socket is closed; a path that begins with `@` is an abstract name, which needs
/// none. `flags`: [`REPLACE`], [`PASSCRED`], [`PASSPIDFD`], [`NORIGHTS`].
pub fn listen(path: &Path, mode: u32, flags: c_uint) -> io::Result<UnixListener> {
    let path = c_path(path)?;
    // SAFETY: the path ends with a zero byte.
    owned(unsafe { ancillary_listen(path.as_ptr(), SOCK_STREAM, mode, flags) }).map(Into::into)
}

/// Makes a socket and connects it. `flags`: [`DONTWAIT`], [`INTR`], [`PASSCRED`], [`PASSPIDFD`],
/// [`NORIGHTS`].
pub fn connect(path: &Path, flags: c_uint) -> io::Result<UnixStream> {
    let path = c_path(path)?;
    // SAFETY: the path ends with a zero byte.
    owned(unsafe { ancillary_connect(path.as_ptr(), SOCK_STREAM, flags) }).map(Into::into)
}

/// Sends files with data, and returns how many bytes have gone: all of them, unless the call may not
/// wait or a signal ends it. Without data, a byte of zero goes for each message that it takes.
/// `flags`: [`DONTWAIT`], [`INTR`].
pub fn send(
    sock: &UnixStream,
    files: &[BorrowedFd],
    data: &[u8],
    flags: c_uint,
) -> io::Result<usize> {
    let fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: both arrays are as long as it is told.
    checked(unsafe { ancillary_send_fds(sock, fds.as_ptr(), fds.len(), pointer(data), len, flags) })
}

/// Receives up to `room` files, and returns how many bytes have come, and which files. No bytes mean
/// that the peer has closed. More files than room, or than the process can have open, are an error.
/// `flags`: [`WAITALL`], [`LOSSLESS`], [`DONTWAIT`], [`INTR`].
pub fn receive(
    sock: &UnixStream,
    room: usize,
    data: &mut [u8],
    flags: c_uint,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    // Memory is there before something can come.
    let mut files = Vec::with_capacity(room);
    let mut fds: Vec<RawFd> = vec![-1; room];
    let (sock, mut count, len) = (sock.as_raw_fd(), room, data.len());
    // SAFETY: both arrays are as long as it is told.
    let length = checked(unsafe {
        ancillary_recv_fds(sock, fds.as_mut_ptr(), &mut count, data.as_mut_ptr(), len, flags)
    })?;
    // SAFETY: the library gives them to its caller.
    files.extend(fds.iter().take(count).map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
    Ok((length, files))
}

/// Asks for the identity of the sender with each message that the socket receives.
pub fn pass_creds(sock: &UnixStream) -> io::Result<()> {
    // SAFETY: no memory is involved.
    checked(unsafe { ancillary_set_passcred(sock.as_raw_fd(), 1) } as isize).map(drop)
}

/// Sends data with the identity of this process; without data, a byte of zero. `flags`:
/// [`DONTWAIT`], [`INTR`].
pub fn send_creds(sock: &UnixStream, data: &[u8], flags: c_uint) -> io::Result<usize> {
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: the data is as long as it is told.
    checked(unsafe { ancillary_send_creds(sock, ptr::null(), pointer(data), len, flags) })
}

/// Receives data with the identity of its sender. `flags`: [`LOSSLESS`], [`DONTWAIT`], [`INTR`].
pub fn receive_creds(
    sock: &UnixStream,
    data: &mut [u8],
    flags: c_uint,
) -> io::Result<(usize, Creds)> {
    let mut creds = Creds::default();
    let (sock, len) = (sock.as_raw_fd(), data.len());
    // SAFETY: the data is as long as it is told.
    checked(unsafe { ancillary_recv_creds(sock, &mut creds, data.as_mut_ptr(), len, flags) })
        .map(|length| (length, creds))
}

/// The identity of the process on the other end.
pub fn peer(sock: &UnixStream) -> io::Result<Creds> {
    let mut creds = Creds::default();
    // SAFETY: the library fills it in.
    checked(unsafe { ancillary_peer_creds(sock.as_raw_fd(), &mut creds) } as isize).map(|_| creds)
}

/// A message of a [`Channel`].
#[derive(Debug)]
pub struct Message {
    /// What it is: up to the program.
    pub kind: u32,
    /// What it belongs to: up to the program.
    pub id: u32,
    /// imsg: the process of the sender, as that says.
    pub pid: u32,
    pub data: Vec<u8>,
    pub files: Vec<OwnedFd>,
}

/// One end of a stream on which messages travel whole. It owns the socket, which can be polled
/// ([`AsFd`]) for its [`events`](Channel::events). What it holds is closed with it.
///
/// What is sent has gone, or waits in the channel, where the call may not wait: flags, or a socket
/// that does not block. An error means that it was not taken. Receive until `WouldBlock` before
/// polling.
#[derive(Debug)]
pub struct Channel {
    raw: RawChannel,
    sock: UnixStream,
    // What `raw` points to.
    _data: [Vec<u64>; 2],
    _fds: [Vec<RawFd>; 2],
}

// SAFETY: the pointers of `raw` are to memory of its own; C has no state of a thread's.
unsafe impl Send for Channel {}

impl Channel {
    /// For messages of up to `size` bytes with up to `files` files, on either side. One that comes
    /// with more is `E2BIG`, and gone; the other end may be made for more of them. `format`:
    /// [`PLAIN`]; [`IMSG`], [`IMSG_OLD`], which have one file at most. `flags`, for each call:
    /// [`DONTWAIT`]; [`LOSSLESS`], files that the process cannot have open stay queued (`EMFILE`),
    /// and the message can be received later.
    pub fn new(
        sock: UnixStream,
        size: usize,
        files: usize,
        format: c_uint,
        flags: c_uint,
    ) -> Channel {
        // A header, and up to a multiple of 8.
        let words = size / 8 + 3;
        let mut data = [vec![0; words], vec![0; words]];
        // SAFETY: no memory is involved.
        let most = unsafe { ancillary_max_fds() };
        // The most of a message or of one sendmsg(2), which the other end fills with those of many,
        // and what comes with the next one.
        let come = files.max(most) + most;
        let mut fds = [vec![-1; come], vec![-1; files]];
        let [in_data, out_data] = data.each_mut().map(Vec::as_mut_ptr);
        let [in_fds, out_fds] = fds.each_mut().map(Vec::as_mut_ptr);
        let raw = RawChannel {
            size: mem::size_of::<RawChannel>(),
            sock: sock.as_raw_fd(),
            flags,
            format,
            cut: ptr::null(),
            context: ptr::null_mut(),
            in_data,
            in_size: words * 8,
            in_fds,
            in_nfds: come,
            out_data,
            out_size: words * 8,
            out_fds,
            out_nfds: files,
            state: [0; 16],
        };
        Channel { raw, sock, _data: data, _fds: fds }
    }

    /// Sends a message with files that are borrowed, if they can go at once. `flags`: [`MORE`],
    /// [`DONTWAIT`], [`INTR`].
    pub fn send(
        &mut self,
        kind: u32,
        id: u32,
        data: &[u8],
        files: &[BorrowedFd],
        flags: c_uint,
    ) -> io::Result<()> {
        let mut fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        self.send_fds(kind, id, data, &mut fds, flags & !TAKE)
    }

    /// Sends a message with files that become the channel's, and so may wait; if it fails, they stay
    /// where they are. `flags` as for [`send`](Channel::send).
    pub fn send_owned(
        &mut self,
        kind: u32,
        id: u32,
        data: &[u8],
        files: &mut Vec<OwnedFd>,
        flags: c_uint,
    ) -> io::Result<()> {
        let mut fds: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        self.send_fds(kind, id, data, &mut fds, flags | TAKE)?;
        files.drain(..).for_each(mem::forget);
        Ok(())
    }

    fn send_fds(
        &mut self,
        kind: u32,
        id: u32,
        data: &[u8],
        fds: &mut [RawFd],
        flags: c_uint,
    ) -> io::Result<()> {
        let frame = RawFrame {
            kind,
            id,
            data: data.as_ptr(),
            len: data.len(),
            fds: fds.as_mut_ptr(),
            nfds: fds.len(),
            ..RawFrame::EMPTY
        };
        // SAFETY: the arrays of both are as long as they say.
        checked(unsafe { ancillary_channel_send(&mut self.raw, &frame, flags) } as isize).map(drop)
    }

    /// Sends what waits. `flags`: [`DONTWAIT`], [`INTR`].
    pub fn flush(&mut self, flags: c_uint) -> io::Result<()> {
        // SAFETY: the arrays are as long as it says.
        checked(unsafe { ancillary_channel_flush(&mut self.raw, flags) } as isize).map(drop)
    }

    /// Receives the next message, or `None` when the peer has closed. `flags`: [`DONTWAIT`],
    /// [`INTR`].
    pub fn receive(&mut self, flags: c_uint) -> io::Result<Option<Message>> {
        let mut frame = RawFrame::EMPTY;
        // SAFETY: the arrays are as long as it says.
        let result = unsafe { ancillary_channel_recv(&mut self.raw, &mut frame, flags) };
        if checked(result as isize)? == 0 {
            return Ok(None);
        }
        let mut data = Vec::with_capacity(frame.len);
        let mut files = Vec::with_capacity(frame.nfds);
        if frame.len > 0 {
            // SAFETY: the library says so, until the next call.
            data.extend_from_slice(unsafe { slice::from_raw_parts(frame.data, frame.len) });
        }
        if frame.nfds > 0 {
            // SAFETY: the library says so, until the next call.
            let fds = unsafe { slice::from_raw_parts_mut(frame.fds, frame.nfds) };
            // SAFETY: it closes those that are left, and -1 takes one from it.
            files.extend(
                fds.iter_mut().map(|fd| unsafe { OwnedFd::from_raw_fd(mem::replace(fd, -1)) }),
            );
        }
        if files.len() > self.raw.out_nfds {
            const E2BIG: i32 = 7;
            return Err(io::Error::from_raw_os_error(E2BIG));
        }
        Ok(Some(Message { kind: frame.kind, id: frame.id, pid: frame.pid, data, files }))
    }

    /// What to poll for: `POLLIN` and `POLLOUT` or'ed together, 0 when both directions have ended.
    pub fn events(&self) -> i16 {
        // SAFETY: it is a channel.
        unsafe { ancillary_channel_events(&self.raw) as i16 }
    }
}

impl RawFrame {
    const EMPTY: RawFrame = RawFrame {
        kind: 0,
        id: 0,
        pid: 0,
        data: ptr::null(),
        len: 0,
        fds: ptr::null_mut(),
        nfds: 0,
        reserved: [0; 4],
    };
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: it closes what is in the arrays, which are there until then.
        unsafe { ancillary_channel_drop(&mut self.raw) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::io::{ErrorKind, Read, Write};
    use std::os::fd::AsFd;
    use std::process;
    use std::sync::Mutex;
    use std::thread;

    fn number(error: &io::Error) -> Option<i32> {
        const E2BIG: i32 = 7;
        error.raw_os_error().filter(|number| *number == E2BIG)
    }

    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    /// They count the descriptors of the process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn keeps_its_promises() {
        let _alone = ONE_AT_A_TIME.lock();
        let before = descriptors();
        let name = format!("@ancillary-{}", process::id());
        let listener = listen(name.as_ref(), 0o600, 0).unwrap();
        let ours = connect(name.as_ref(), 0).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        let mut data = [0; 10];

        // What is received is closed when it goes, and can become something else.
        send(&theirs, &[theirs.as_fd(), listener.as_fd()], b"data", 0).unwrap();
        let (length, mut files) = receive(&ours, 2, &mut data, 0).unwrap();
        assert_eq!((&data[..length], files.len()), (&b"data"[..], 2));
        let mut other = UnixStream::from(files.remove(0));
        send(&ours, &[], b"more", 0).unwrap();
        other.read_exact(&mut data[..4]).unwrap();
        assert_eq!(&data[..4], b"more");
        drop((files, other));
        assert_eq!(descriptors(), before + 3);

        // Nor does a failure leave any, and without loss the message is still there.
        let null = File::open("/dev/null").unwrap();
        send(&theirs, &[null.as_fd(); 3], b"data", 0).unwrap();
        let refused = receive(&ours, 2, &mut data, LOSSLESS).unwrap_err();
        assert!(number(&refused).is_some(), "{refused}");
        let refused = receive_creds(&ours, &mut data, LOSSLESS).unwrap_err();
        assert!(number(&refused).is_some(), "{refused}");
        assert_eq!(receive(&ours, 3, &mut data, LOSSLESS).unwrap().1.len(), 3);
        send(&theirs, &[null.as_fd(); 3], b"data", 0).unwrap();
        assert!(number(&receive(&ours, 2, &mut data, 0).unwrap_err()).is_some());
        drop(null);
        assert_eq!(descriptors(), before + 3);

        let early = receive(&ours, 2, &mut data, DONTWAIT).unwrap_err();
        assert_eq!(early.kind(), ErrorKind::WouldBlock);
        let cut = connect("name\0more".as_ref(), 0).unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::InvalidInput);

        // Options hold for the first message.
        let name = name + "-other";
        let options = listen(name.as_ref(), 0o600, PASSCRED).unwrap();
        let client = connect(name.as_ref(), 0).unwrap();
        send(&client, &[], b"data", 0).unwrap();
        let (accepted, _) = options.accept().unwrap();
        assert_eq!(receive_creds(&accepted, &mut data, 0).unwrap().1.pid, process::id() as i32);
        match connect(name.as_ref(), NORIGHTS) {
            Ok(_refusing) => {
                let (other, _) = options.accept().unwrap();
                let refused = send(&other, &[other.as_fd()], b"", 0).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
            }
            // ENOPROTOOPT: Linux has it since 6.16.
            Err(error) => assert_eq!(error.raw_os_error(), Some(92)),
        }
        drop((options, client, accepted));

        // More files than one message carries, and all of the data.
        let many = vec![theirs.as_fd(); 600];
        assert_eq!(send(&theirs, &many, b"abc", 0).unwrap(), 3);
        let (length, files) = receive(&ours, 600, &mut data[..3], WAITALL).unwrap();
        assert_eq!((&data[..length], files.len()), (&b"abc"[..], 600));
        drop((files, ours, theirs, listener));
        assert_eq!(descriptors(), before);
    }

    /// For messages of up to 20,000 bytes with up to 300 files.
    fn channels(format: c_uint, flags: c_uint) -> (Channel, Channel) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let channel = |sock| Channel::new(sock, 20_000, 300, format, flags);
        (channel(ours), channel(theirs))
    }

    #[test]
    fn the_other_end_may_gather_the_files_of_many_messages() {
        let _alone = ONE_AT_A_TIME.lock();
        let before = descriptors();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut ours = Channel::new(ours, 20_000, 1, PLAIN, 0);
        let mut theirs = Channel::new(theirs, 20_000, 253, PLAIN, 0);
        for kind in 0..302 {
            let mut files = nulls(if kind == 300 { 2 } else { 1 });
            theirs.send_owned(kind, 0, b"", &mut files, if kind < 301 { MORE } else { 0 }).unwrap();
        }
        for kind in 0..302 {
            let received = ours.receive(0);
            if kind == 300 {
                assert!(number(&received.unwrap_err()).is_some());
                continue;
            }
            let message = received.unwrap().unwrap();
            assert_eq!((message.kind, message.files.len()), (kind, 1));
        }
        drop((ours, theirs));
        assert_eq!(descriptors(), before);
    }

    fn null() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    fn nulls(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| null()).collect()
    }

    #[test]
    fn channels_carry_whole_messages() {
        let _alone = ONE_AT_A_TIME.lock();
        let before = descriptors();
        let (mut ours, mut theirs) = channels(PLAIN, 0);
        let cases = [(0, 0), (0, 1), (20_000, 2), (3, 300), (0, 300)];
        let sender = thread::spawn(move || {
            for (kind, (length, files)) in (0..).zip(cases) {
                let data = vec![b'x'; length];
                if files == 2 {
                    let file = null();
                    theirs.send(kind, u32::MAX, &data, &[file.as_fd(); 2], 0).unwrap();
                } else {
                    let mut files = nulls(files);
                    theirs.send_owned(kind, u32::MAX, &data, &mut files, 0).unwrap();
                    assert!(files.is_empty());
                }
            }
        });
        for (kind, (length, files)) in (0..).zip(cases) {
            let message = ours.receive(0).unwrap().unwrap();
            assert_eq!((message.kind, message.id), (kind, u32::MAX));
            assert_eq!((message.data, message.files.len()), (vec![b'x'; length], files));
        }
        sender.join().unwrap();
        assert!(ours.receive(0).unwrap().is_none());
        drop(ours);
        assert_eq!(descriptors(), before);

        for format in [IMSG, IMSG_OLD] {
            let (mut ours, mut theirs) = channels(format, 0);
            theirs.send(1, 2, b"data", &[null().as_fd()], 0).unwrap();
            let message = ours.receive(0).unwrap().unwrap();
            assert_eq!((message.kind, message.id, message.pid), (1, 2, process::id()));
            assert_eq!((&message.data[..], message.files.len()), (&b"data"[..], 1));
        }
        assert_eq!(descriptors(), before);
    }

    #[test]
    fn channels_lose_nothing_and_leave_nothing() {
        const POLLIN: i16 = 1;
        const POLLOUT: i16 = 4;
        let _alone = ONE_AT_A_TIME.lock();
        let before = descriptors();
        let (mut ours, mut theirs) = channels(PLAIN, DONTWAIT);
        assert_eq!(ours.receive(0).unwrap_err().kind(), ErrorKind::WouldBlock);

        // What is not taken is the caller's, and can be sent again.
        let (mut sent, mut received, mut refused) = (0, 0, 0);
        let mut files = nulls(2);
        while received < 300 {
            if sent < 300 {
                match theirs.send_owned(sent, 0, &[b'x'; 9000], &mut files, 0) {
                    Ok(()) => {
                        assert!(files.is_empty());
                        (files, sent) = (nulls(2), sent + 1);
                        continue;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                assert_eq!(files.len(), 2);
                assert_eq!(theirs.events(), POLLIN | POLLOUT);
                refused += 1;
            }
            match ours.receive(0) {
                Ok(message) => {
                    let message = message.unwrap();
                    assert_eq!((message.kind, message.files.len()), (received, 2));
                    received += 1;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    let _ = theirs.flush(0);
                }
            }
        }
        assert!(refused > 1);
        assert_eq!(theirs.events(), POLLIN);

        // What waits and what has come is closed with a channel.
        for _ in 0..3 {
            theirs.send_owned(0, 0, b"", &mut nulls(3), MORE).unwrap();
        }
        theirs.flush(0).unwrap();
        theirs.send_owned(0, 0, b"", &mut nulls(3), MORE).unwrap();
        drop(ours.receive(0).unwrap());
        assert!(descriptors() > before + 2 + 3);
        drop((ours, theirs, files));
        assert_eq!(descriptors(), before);

        // Failures take nothing.
        let (mut ours, mut theirs) = channels(PLAIN, 0);
        let mut many = nulls(301);
        theirs.send_owned(0, 0, b"", &mut many, 0).unwrap_err();
        assert_eq!(many.len(), 301);
        drop(many);
        // Half of a message.
        theirs.sock.write_all(&20_u32.to_ne_bytes()).unwrap();
        drop(theirs);
        for _ in 0..2 {
            const EPROTO: i32 = 71;
            assert_eq!(ours.receive(0).unwrap_err().raw_os_error(), Some(EPROTO));
        }
        assert_eq!(ours.send(0, 0, b"", &[], 0).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(ours.events(), 0);
        drop(ours);
        assert_eq!(descriptors(), before);
    }
}
