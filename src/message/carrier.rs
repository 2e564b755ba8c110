//! What carries one system call: its header and its control data, in one place. Payload, names and
//! descriptors are its callers'.

use super::control::{self, Buffer, Messages, Writer, WORDS};
use super::descriptors;
use super::payload::Window;
use crate::sys::{self, Errno, How, Result};
use core::mem::MaybeUninit;
use core::ptr::{self, addr_of_mut};
use libc::{c_int, iovec, msghdr};

/// A header, and memory for control data, of one system call at a time. They are not initialised,
/// and large: they are filled where they stand.
pub struct Carrier<const N: usize = WORDS>(MaybeUninit<Parts<N>>);

#[repr(C)]
struct Parts<const N: usize> {
    header: msghdr,
    control: Buffer<N>,
}

/// Room for the name that a message comes from.
pub type Name<'a> = Option<&'a mut [MaybeUninit<u8>]>;

/// What arrived with one recvmsg(2).
pub struct Arrival<'a> {
    pub bytes: usize,
    /// How long the sender's name is.
    pub namelen: usize,
    /// The control data.
    pub control: &'a [u8],
    /// How much room there was for it.
    pub room: usize,
    flags: c_int,
}

impl Arrival<'_> {
    /// A datagram was longer than the room for it (MSG_TRUNC).
    #[inline(always)]
    pub fn data_cut(&self) -> bool {
        self.flags & libc::MSG_TRUNC != 0
    }

    /// Control data was discarded (MSG_CTRUNC).
    #[inline(always)]
    pub fn control_cut(&self) -> bool {
        self.flags & libc::MSG_CTRUNC != 0
    }

    /// Whether a descriptor would have had room beside what came.
    #[inline(always)]
    pub fn has_room_left(&self) -> bool {
        self.room.wrapping_sub(self.control.len()) >= control::SPACE_OF_INT
    }

    /// Whether nothing of it was cut off.
    #[inline(always)]
    pub fn is_whole(&self) -> bool {
        self.flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) == 0
    }

    #[inline(always)]
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(self.control)
    }
}

impl<const N: usize> Carrier<N> {
    #[inline(always)]
    pub fn new() -> Carrier<N> {
        Carrier(MaybeUninit::uninit())
    }

    #[inline(always)]
    fn header(&mut self) -> *mut msghdr {
        // SAFETY: the field is ours.
        unsafe { addr_of_mut!((*self.0.as_mut_ptr()).header) }
    }

    #[inline(always)]
    fn control(&mut self) -> &mut Buffer<N> {
        // SAFETY: the field is ours, and need not be initialised.
        unsafe { &mut *addr_of_mut!((*self.0.as_mut_ptr()).control) }
    }

    /// Where control data to send is put together.
    #[inline(always)]
    pub fn writer(&mut self) -> Writer<'_> {
        self.control().writer()
    }

    /// Sends, with so much control data as has been written.
    #[inline(always)]
    pub fn send(
        &mut self,
        sock: c_int,
        name: Option<&[u8]>,
        window: Window,
        controllen: usize,
        how: How,
    ) -> Result<usize> {
        let name = name.map_or((ptr::null(), 0), |name| (name.as_ptr(), name.len()));
        let (iov, control) =
            ((window.iov, window.count), (self.control().as_mut_ptr(), controllen));
        // SAFETY: the header is ours, and what it points to outlives the call.
        unsafe {
            sys::write_header(self.header(), name, iov, control);
            sys::send(sock, self.header(), how)
        }
    }

    /// Receives, with so much room for control data, or all there is.
    #[inline(always)]
    pub fn receive(
        &mut self,
        sock: c_int,
        name: &mut Name,
        window: Window,
        room: usize,
        how: How,
    ) -> Result<Arrival<'_>> {
        let named = name.is_some();
        let name = match name {
            Some(name) => (name.as_mut_ptr() as *const u8, name.len()),
            None => (ptr::null(), 0),
        };
        let room = room.min(Buffer::<N>::SIZE);
        // SAFETY: there is so much of it.
        unsafe { self.control().clear(room) };
        let (iov, control) = ((window.iov, window.count), (self.control().as_mut_ptr(), room));
        // SAFETY: the header is ours, and what it points to outlives the call and may be written to.
        let received = unsafe {
            sys::write_header(self.header(), name, iov, control);
            sys::receive(sock, self.header(), how)
        };
        match received {
            Ok(bytes) => {
                // SAFETY: it has just been written.
                let header = unsafe { self.header().read() };
                Ok(Arrival {
                    bytes,
                    namelen: header.msg_namelen as usize,
                    // SAFETY: so much has been cleared.
                    control: unsafe {
                        self.control().filled((header.msg_controllen as usize).min(room))
                    },
                    room,
                    flags: header.msg_flags,
                })
            }
            Err(error) => Err(self.failed(error, room, named)),
        }
    }

    /// As `receive`, in a place of its own: for callers that are not the usual case.
    #[inline(never)]
    pub fn receive_aside(
        &mut self,
        sock: c_int,
        window: Window,
        room: usize,
        how: How,
    ) -> Result<Arrival<'_>> {
        self.receive(sock, &mut None, window, room, how)
    }

    /// Closes what a receive that failed has installed: a pidfd where the payload could not be
    /// written, and descriptors as well where the name could not.
    #[cold]
    #[inline(never)]
    fn failed(&mut self, error: Errno, room: usize, named: bool) -> Errno {
        if error == Errno::FAULT {
            // SAFETY: so much has been cleared.
            let left = Messages::new(unsafe { self.control().filled(room) });
            match named {
                true => descriptors::discard(left),
                false => descriptors::discard_pidfd(left),
            }
        }
        error
    }
}

/// Receives without room for control data, so that no descriptor is installed.
pub fn receive_bytes(sock: c_int, iov: &[iovec], how: How) -> Result<usize> {
    let window = Window { iov: iov.as_ptr(), count: iov.len(), len: 0 };
    Carrier::<0>::new().receive(sock, &mut None, window, 0, how).map(|came| came.bytes)
}
