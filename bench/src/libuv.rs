//! libuv, opened when running: a pair of pipes for IPC in one loop.

use crate::channels::{len_in, HEADER};
use libc::{c_int, c_uint, c_void};
use libloading::Library;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

pub const FILE: &str = "libuv.so.1";

type Handle = *mut c_void;

/// UV_NAMED_PIPE and UV_RUN_ONCE.
const PIPE: c_int = 7;
const ONCE: c_int = 1;

/// What libuv suggests for reading.
const ROOM: usize = 65536;

/// uv_buf_t.
#[repr(C)]
struct Buffer {
    base: *mut u8,
    len: usize,
}

type Allocate = unsafe extern "C" fn(Handle, usize, *mut Buffer);
type Read = unsafe extern "C" fn(Handle, isize, *const Buffer);
type Closed = unsafe extern "C" fn(Handle);

#[derive(Clone, Copy)]
struct Functions {
    handle_size: unsafe extern "C" fn(c_int) -> usize,
    pipe_init: unsafe extern "C" fn(Handle, Handle, c_int) -> c_int,
    pipe_open: unsafe extern "C" fn(Handle, RawFd) -> c_int,
    try_write: unsafe extern "C" fn(Handle, *const Buffer, c_uint, Handle) -> c_int,
    pending: unsafe extern "C" fn(Handle) -> c_int,
    accept: unsafe extern "C" fn(Handle, Handle) -> c_int,
    close: unsafe extern "C" fn(Handle, Closed),
    run: unsafe extern "C" fn(Handle, c_int) -> c_int,
}

struct State {
    uv: Functions,
    events: Handle,
    /// What is written to; its other end is read.
    here: Handle,
    /// What has been read of a message, and how many were whole.
    bytes: [u8; ROOM],
    have: usize,
    messages: usize,
}

/// It stays until the end. The callbacks of its loop change it, so that it is no reference.
pub struct Libuv(*mut State);

impl Libuv {
    pub fn open((here, there): (UnixStream, UnixStream)) -> Result<Libuv, libloading::Error> {
        // SAFETY: the functions have these types; what they keep is never moved or freed.
        unsafe {
            let library: &'static Library = Box::leak(Box::new(Library::new(FILE)?));
            let uv = Functions {
                handle_size: *library.get(b"uv_handle_size")?,
                pipe_init: *library.get(b"uv_pipe_init")?,
                pipe_open: *library.get(b"uv_pipe_open")?,
                try_write: *library.get(b"uv_try_write2")?,
                pending: *library.get(b"uv_pipe_pending_count")?,
                accept: *library.get(b"uv_accept")?,
                close: *library.get(b"uv_close")?,
                run: *library.get(b"uv_run")?,
            };
            let size = library.get::<unsafe extern "C" fn() -> usize>(b"uv_loop_size")?;
            let init = library.get::<unsafe extern "C" fn(Handle) -> c_int>(b"uv_loop_init")?;
            let know =
                library.get::<unsafe extern "C" fn(Handle, *mut c_void)>(b"uv_handle_set_data")?;
            let start = library
                .get::<unsafe extern "C" fn(Handle, Allocate, Read) -> c_int>(b"uv_read_start")?;
            let events = libc::malloc(size());
            assert_eq!(init(events), 0, "uv_loop_init");
            let [here, there] = [here, there].map(|end| {
                let pipe = uv.new_pipe(events, 1);
                assert_eq!((uv.pipe_open)(pipe, end.into_raw_fd()), 0, "uv_pipe_open");
                pipe
            });
            let state = State { uv, events, here, bytes: [0; ROOM], have: 0, messages: 0 };
            let state = Box::into_raw(Box::new(state));
            know(there, state.cast());
            assert_eq!(start(there, allocate, read), 0, "uv_read_start");
            Ok(Libuv(state))
        }
    }

    /// Sends a message, with a descriptor that is handed over, and receives it. That is closed.
    pub fn pass(&self, message: &[u8], fd: Option<RawFd>) {
        let part = Buffer { base: message.as_ptr().cast_mut(), len: message.len() };
        let state = self.0;
        // SAFETY: the state is there, and nothing refers to it while callbacks run; the handle
        // stays until it is closed.
        unsafe {
            let uv = (*state).uv;
            let sent = fd.map_or(ptr::null_mut(), |fd| {
                let pipe = uv.new_pipe((*state).events, 0);
                assert_eq!((uv.pipe_open)(pipe, fd), 0, "uv_pipe_open");
                pipe
            });
            let written = (uv.try_write)((*state).here, &part, 1, sent);
            assert_eq!(written, message.len() as c_int, "uv_try_write2");
            if !sent.is_null() {
                (uv.close)(sent, free);
            }
            while !take_message(state) {
                (uv.run)((*state).events, ONCE);
            }
        }
    }
}

impl Functions {
    /// # Safety
    /// The loop has been initialised.
    unsafe fn new_pipe(&self, events: Handle, for_descriptors: c_int) -> Handle {
        let pipe = libc::malloc((self.handle_size)(PIPE));
        assert_eq!((self.pipe_init)(events, pipe, for_descriptors), 0, "uv_pipe_init");
        pipe
    }
}

/// Whether one was there.
///
/// # Safety
/// The state is there.
unsafe fn take_message(state: *mut State) -> bool {
    let left = (*state).messages.checked_sub(1);
    (*state).messages = left.unwrap_or(0);
    left.is_some()
}

unsafe extern "C" fn free(handle: Handle) {
    libc::free(handle);
}

/// The state of the pipe that is read. A handle begins with it, as uv.h says.
///
/// # Safety
/// It is that pipe.
unsafe fn state_of(there: Handle) -> *mut State {
    *there.cast::<*mut State>()
}

unsafe extern "C" fn allocate(there: Handle, _: usize, buffer: *mut Buffer) {
    let state = &mut *state_of(there);
    let bytes = &mut state.bytes[state.have..];
    *buffer = Buffer { base: bytes.as_mut_ptr(), len: bytes.len() };
}

/// Takes messages that are whole, and what came with them.
unsafe extern "C" fn read(there: Handle, came: isize, _: *const Buffer) {
    let state = &mut *state_of(there);
    // 0: nothing was there to be read.
    assert!(came >= 0, "uv_read_start: {came}");
    state.have += came as usize;
    for _ in 0..(state.uv.pending)(there) {
        let pipe = state.uv.new_pipe(state.events, 0);
        assert_eq!((state.uv.accept)(there, pipe), 0, "uv_accept");
        (state.uv.close)(pipe, free);
    }
    while state.have >= HEADER {
        let len = len_in(&state.bytes);
        if state.have < len {
            break;
        }
        state.bytes.copy_within(len..state.have, 0);
        state.have -= len;
        state.messages += 1;
    }
}
