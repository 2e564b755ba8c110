//! This library, through its C functions.

use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, ssize_t};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

#[repr(C)]
struct Creds {
    pid: libc::pid_t,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

#[repr(C)]
struct Msg {
    size: size_t,
    iov: *mut iovec,
    iovlen: size_t,
    fds: *mut c_int,
    nfds: size_t,
    name: *mut libc::c_void,
    namelen: size_t,
    creds: Creds,
    pidfd: c_int,
    flags: c_uint,
    error: c_int,
}

pub const WAITALL: c_uint = 1 << 8;
pub const LOSSLESS: c_uint = 1 << 20;
pub const MORE: c_uint = 1 << 15;
pub const TAKE: c_uint = 1 << 21;

#[repr(C)]
struct Frame {
    kind: u32,
    id: u32,
    pid: u32,
    data: *const c_void,
    len: size_t,
    fds: *mut c_int,
    nfds: size_t,
    reserved: [u32; 4],
}

#[repr(C)]
struct RawChannel {
    size: size_t,
    sock: c_int,
    flags: c_uint,
    format: c_uint,
    cut: *const c_void,
    context: *mut c_void,
    in_data: *mut c_void,
    in_size: size_t,
    in_fds: *mut c_int,
    in_nfds: size_t,
    out_data: *mut c_void,
    out_size: size_t,
    out_fds: *mut c_int,
    out_nfds: size_t,
    state: [u64; 16],
}

#[link(name = "ancillary")]
extern "C" {
    fn ancillary_send_fd(sock: c_int, fd: c_int) -> c_int;
    fn ancillary_recv_fd(sock: c_int) -> c_int;
    fn ancillary_send_fds(
        sock: c_int,
        fds: *const c_int,
        nfds: size_t,
        data: *const c_void,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t;
    fn ancillary_recv_fds(
        sock: c_int,
        fds: *mut c_int,
        nfds: *mut size_t,
        data: *mut c_void,
        len: size_t,
        flags: c_uint,
    ) -> ssize_t;
    fn ancillary_channel_send(
        channel: *mut RawChannel,
        frame: *const Frame,
        flags: c_uint,
    ) -> c_int;
    fn ancillary_channel_flush(channel: *mut RawChannel, flags: c_uint) -> c_int;
    fn ancillary_channel_recv(channel: *mut RawChannel, frame: *mut Frame, flags: c_uint) -> c_int;
    fn ancillary_channel_drop(channel: *mut RawChannel);
    fn ancillary_close_fds(fds: *mut c_int, nfds: size_t);
    fn ancillary_send_msg(sock: c_int, msg: *const Msg, flags: c_uint) -> ssize_t;
    fn ancillary_recv_msg(sock: c_int, msg: *mut Msg, flags: c_uint) -> ssize_t;
    fn ancillary_control_size(nfds: size_t) -> size_t;
    fn ancillary_encode(header: *mut msghdr, msg: *const Msg) -> c_int;
    fn ancillary_decode(
        header: *mut msghdr,
        result: ssize_t,
        msg: *mut Msg,
        flags: c_uint,
    ) -> ssize_t;
}

#[inline(always)]
pub fn send_fd(sock: RawFd, fd: RawFd) {
    // SAFETY: no memory is involved.
    let result = unsafe { ancillary_send_fd(sock, fd) };
    assert!(result == 0, "ancillary_send_fd: {}", io::Error::from_raw_os_error(-result));
}

#[inline(always)]
pub fn receive_fd(sock: RawFd) -> RawFd {
    // SAFETY: no memory is involved.
    let fd = unsafe { ancillary_recv_fd(sock) };
    assert!(fd >= 0, "ancillary_recv_fd: {}", io::Error::from_raw_os_error(-fd));
    fd
}

#[inline(always)]
pub fn send(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    // SAFETY: both are as long as is said.
    let sent = unsafe {
        ancillary_send_fds(sock, fds.as_ptr(), fds.len(), data.as_ptr().cast(), data.len(), 0)
    };
    assert!(sent == data.len() as ssize_t, "ancillary_send_fds: {sent}");
}

/// Receives that many descriptors and bytes.
#[inline(always)]
pub fn receive(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8], flags: c_uint) {
    let mut came = fds.len();
    // SAFETY: both are as long as is said.
    let received = unsafe {
        let slots = fds.as_mut_ptr().cast();
        ancillary_recv_fds(sock, slots, &mut came, data.as_mut_ptr().cast(), data.len(), flags)
    };
    assert!(
        received == data.len() as ssize_t && came == fds.len(),
        "ancillary_recv_fds: {received}, {came} descriptors"
    );
}

#[inline(always)]
pub fn close(fds: &mut [MaybeUninit<RawFd>]) {
    // SAFETY: it is as long as is said.
    unsafe { ancillary_close_fds(fds.as_mut_ptr().cast(), fds.len()) }
}

#[inline(always)]
fn message(part: &mut iovec, fds: *mut RawFd, count: usize) -> Msg {
    // SAFETY: a plain structure, for which all zeros are a value.
    let unused = unsafe { mem::zeroed() };
    Msg { size: mem::size_of::<Msg>(), iov: part, iovlen: 1, fds, nfds: count, ..unused }
}

#[inline(always)]
pub fn send_msg(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    let mut part = iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    let message = message(&mut part, fds.as_ptr() as *mut _, fds.len());
    // SAFETY: what the message refers to is there to be read.
    let sent = unsafe { ancillary_send_msg(sock, ptr::addr_of!(message), 0) };
    assert!(sent == data.len() as ssize_t, "ancillary_send_msg: {sent}");
}

#[inline(always)]
pub fn receive_msg(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
    let mut part = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut message = message(&mut part, fds.as_mut_ptr().cast(), fds.len());
    // SAFETY: what the message refers to is there to be written to.
    let received = unsafe { ancillary_recv_msg(sock, ptr::addr_of_mut!(message), 0) };
    assert!(
        received == data.len() as ssize_t && message.nfds == fds.len(),
        "ancillary_recv_msg: {received}, {} descriptors",
        message.nfds
    );
}

/// Room for the control data of a message, as a constant of the header has it.
type Control = MaybeUninit<[u64; 192]>;

/// Room for so many descriptors.
fn header(control: &mut Control, fds: usize) -> msghdr {
    // SAFETY: a plain structure, for which all zeros are a value; no memory is involved.
    let (mut header, room): (msghdr, _) = unsafe { (mem::zeroed(), ancillary_control_size(fds)) };
    assert!(room <= mem::size_of::<Control>());
    (header.msg_control, header.msg_controllen) = (control.as_mut_ptr().cast(), room);
    header
}

/// Through a system call of our own.
#[inline(always)]
pub fn encode(sock: RawFd, fds: &[RawFd], data: &[u8]) {
    let mut part = iovec { iov_base: data.as_ptr() as *mut _, iov_len: data.len() };
    let message = message(&mut part, fds.as_ptr() as *mut _, fds.len());
    let mut control = Control::uninit();
    let mut header = header(&mut control, fds.len());
    // SAFETY: what the message and the header refer to is there.
    let sent = unsafe {
        let encoded = ancillary_encode(&mut header, &message);
        assert!(encoded == 0, "ancillary_encode: {encoded}");
        libc::sendmsg(sock, &header, libc::MSG_NOSIGNAL)
    };
    assert!(sent == data.len() as ssize_t, "sendmsg: {sent}");
}

#[inline(always)]
pub fn decode(sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
    let mut part = iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    let mut control = Control::uninit();
    let mut header = header(&mut control, fds.len());
    (header.msg_iov, header.msg_iovlen) = (&mut part, 1);
    // SAFETY: what the header refers to is there.
    let received = unsafe { libc::recvmsg(sock, &mut header, libc::MSG_CMSG_CLOEXEC) };
    let mut message = message(&mut part, fds.as_mut_ptr().cast(), fds.len());
    // SAFETY: the header is as the call has left it, and so many slots are there.
    let decoded = unsafe { ancillary_decode(&mut header, received, &mut message, 0) };
    assert!(
        decoded == data.len() as ssize_t && message.nfds == fds.len(),
        "ancillary_decode: {decoded}, {} descriptors",
        message.nfds
    );
}

/// Receives as many descriptors as come in a message, closes them, and says how many.
pub fn receive_up_to(sock: RawFd, fds: &mut [RawFd]) -> usize {
    let mut came = fds.len();
    // SAFETY: it is as long as is said; for the payload a marker byte is received.
    unsafe {
        let received = ancillary_recv_fds(sock, fds.as_mut_ptr(), &mut came, ptr::null_mut(), 0, 0);
        assert!(received == 1, "ancillary_recv_fds: {received}");
        ancillary_close_fds(fds.as_mut_ptr(), fds.len());
    }
    came
}

/// The bytes that a channel has for either direction.
pub const MEMORY: usize = 65536;

/// One end of a stream, with memory for both directions.
pub struct Channel {
    raw: RawChannel,
    _sock: UnixStream,
    _bytes: [Vec<u64>; 2],
    _fds: [Vec<c_int>; 2],
}

impl Channel {
    pub fn new(sock: UnixStream) -> Channel {
        let (mut bytes, mut fds) =
            ([(); 2].map(|_| vec![0; MEMORY / 8]), [(); 2].map(|_| vec![-1; 506]));
        let memory = |place: &mut Vec<u64>| (place.as_mut_ptr().cast(), place.len() * 8);
        let slots = |place: &mut Vec<c_int>| (place.as_mut_ptr(), place.len());
        let [(in_data, in_size), (out_data, out_size)] = bytes.each_mut().map(memory);
        let [(in_fds, in_nfds), (out_fds, out_nfds)] = fds.each_mut().map(slots);
        let raw = RawChannel {
            size: mem::size_of::<RawChannel>(),
            sock: sock.as_raw_fd(),
            flags: 0,
            format: 0,
            cut: ptr::null(),
            context: ptr::null_mut(),
            in_data,
            in_size,
            in_fds,
            in_nfds,
            out_data,
            out_size,
            out_fds,
            out_nfds,
            state: [0; 16],
        };
        Channel { raw, _sock: sock, _bytes: bytes, _fds: fds }
    }

    pub fn send(&mut self, payload: &[u8], fds: &mut [RawFd], flags: c_uint) {
        let frame = Frame {
            kind: 1,
            id: 0,
            pid: 0,
            data: payload.as_ptr().cast(),
            len: payload.len(),
            fds: fds.as_mut_ptr(),
            nfds: fds.len(),
            reserved: [0; 4],
        };
        // SAFETY: the channel and its memory are there, and what the frame says.
        let result = unsafe { ancillary_channel_send(&mut self.raw, &frame, flags) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    pub fn flush(&mut self) {
        // SAFETY: the channel and its memory are there.
        let result = unsafe { ancillary_channel_flush(&mut self.raw, 0) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    /// The length of the next message; its descriptors are closed with the one after it.
    pub fn receive(&mut self) -> usize {
        let mut frame = MaybeUninit::uninit();
        // SAFETY: the channel and its memory are there, and room for a frame.
        let (result, frame) = unsafe {
            let result = ancillary_channel_recv(&mut self.raw, frame.as_mut_ptr(), 0);
            (result, frame.assume_init())
        };
        assert_eq!(result, 1, "{}", io::Error::last_os_error());
        let frame: Frame = frame;
        frame.len
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: the channel and its memory are there.
        unsafe { ancillary_channel_drop(&mut self.raw) };
    }
}
