//! GLib, opened when running: `g_socket_send_message` with a `GUnixFDMessage`.

use libc::{c_int, c_void, size_t, ssize_t};
use libloading::Library;
use std::os::fd::IntoRawFd;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

pub const FILE: &str = "libgio-2.0.so.0";

type Object = *mut c_void;

/// GOutputVector and GInputVector.
#[repr(C)]
struct Vector {
    buffer: *mut c_void,
    size: size_t,
}

type SendMessage = unsafe extern "C" fn(
    Object,
    Object,
    *mut Vector,
    c_int,
    *mut Object,
    c_int,
    c_int,
    Object,
    *mut Object,
) -> ssize_t;

type ReceiveMessage = unsafe extern "C" fn(
    Object,
    *mut Object,
    *mut Vector,
    c_int,
    *mut *mut Object,
    *mut c_int,
    *mut c_int,
    Object,
    *mut Object,
) -> ssize_t;

/// g_socket_send and g_socket_receive.
type Transfer = unsafe extern "C" fn(Object, *mut u8, size_t, Object, *mut Object) -> ssize_t;

pub struct Glib {
    /// GSocket makes its socket non-blocking, so it has a pair of its own.
    here: Object,
    there: Object,
    new_message: unsafe extern "C" fn() -> Object,
    append: unsafe extern "C" fn(Object, c_int, *mut Object) -> c_int,
    send: SendMessage,
    receive: ReceiveMessage,
    send_bytes: Transfer,
    receive_bytes: Transfer,
    steal: unsafe extern "C" fn(Object, *mut c_int) -> *mut c_int,
    unref: unsafe extern "C" fn(Object),
    free: unsafe extern "C" fn(*mut c_void),
}

impl Glib {
    pub fn open((here, there): (UnixStream, UnixStream)) -> Result<Glib, libloading::Error> {
        // SAFETY: the functions have these types; the library stays until the end.
        unsafe {
            let library: &'static Library = Box::leak(Box::new(Library::new(FILE)?));
            let new_socket = library.get::<unsafe extern "C" fn(c_int, *mut Object) -> Object>(
                b"g_socket_new_from_fd",
            )?;
            let socket = |end: UnixStream| {
                let socket = new_socket(end.into_raw_fd(), ptr::null_mut());
                assert!(!socket.is_null(), "g_socket_new_from_fd");
                socket
            };
            Ok(Glib {
                here: socket(here),
                there: socket(there),
                new_message: *library.get(b"g_unix_fd_message_new")?,
                append: *library.get(b"g_unix_fd_message_append_fd")?,
                send: *library.get(b"g_socket_send_message")?,
                receive: *library.get(b"g_socket_receive_message")?,
                send_bytes: *library.get(b"g_socket_send")?,
                receive_bytes: *library.get(b"g_socket_receive")?,
                steal: *library.get(b"g_unix_fd_message_steal_fds")?,
                unref: *library.get(b"g_object_unref")?,
                free: *library.get(b"g_free")?,
            })
        }
    }

    pub fn send(&self, bytes: &[u8]) {
        let (start, none) = (bytes.as_ptr().cast_mut(), ptr::null_mut());
        // SAFETY: so many bytes are there, which are only read.
        let n = unsafe { (self.send_bytes)(self.here, start, bytes.len(), none, ptr::null_mut()) };
        assert_eq!(n, bytes.len() as isize, "g_socket_send");
    }

    pub fn receive(&self, bytes: &mut [u8]) {
        let (start, none) = (bytes.as_mut_ptr(), ptr::null_mut());
        // SAFETY: there is so much room.
        let n =
            unsafe { (self.receive_bytes)(self.there, start, bytes.len(), none, ptr::null_mut()) };
        assert_eq!(n, bytes.len() as isize, "g_socket_receive");
    }

    pub fn round(&self, fds: &[RawFd]) {
        let none = ptr::null_mut();
        let mut byte = 0u8;
        let mut part = Vector { buffer: ptr::addr_of_mut!(byte).cast(), size: 1 };
        // SAFETY: what is handed over lives until the call is over; what is returned is freed
        // once.
        unsafe {
            let mut message = (self.new_message)();
            for fd in fds {
                assert!((self.append)(message, *fd, ptr::null_mut()) != 0);
            }
            let sent = (self.send)(
                self.here,
                none,
                &mut part,
                1,
                &mut message,
                1,
                0,
                none,
                ptr::null_mut(),
            );
            assert!(sent == 1, "g_socket_send_message");
            (self.unref)(message);

            let (mut messages, mut count, mut flags) = (ptr::null_mut::<Object>(), 0, 0);
            let received = (self.receive)(
                self.there,
                ptr::null_mut(),
                &mut part,
                1,
                &mut messages,
                &mut count,
                &mut flags,
                none,
                ptr::null_mut(),
            );
            assert!(received == 1 && count == 1, "g_socket_receive_message");
            let mut came = 0;
            let received = (self.steal)(*messages, &mut came);
            assert!(came as usize == fds.len(), "g_unix_fd_message_steal_fds");
            for i in 0..fds.len() {
                libc::close(*received.add(i));
            }
            (self.free)(received.cast());
            (self.unref)(*messages);
            (self.free)(messages.cast());
        }
    }
}
