//! The flat calls. The usual one, with a message that goes whole, or comes whole and fits its
//! room, takes its system call and the few instructions here; `send` and `receive` do the rest.

use crate::arrays;
use crate::constants::ANCILLARY_LOSSLESS;
use crate::control::{self, Buffer};
use crate::descriptors::{self, Slots};
use crate::errno::{Before, Errno};
use crate::flags::Flags;
use crate::lossless;
use crate::payload::Payload;
use crate::receive::{Ending, Made, Receiver};
use crate::send::send;
use crate::sys::{self, How, Outcome, MAX_FDS};
use core::mem::{take, MaybeUninit};
use core::ptr::addr_of_mut;
use core::slice;
use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, ssize_t};

/// A usual call. What it needs behind its system call is in memory that the system call has seen,
/// so no register is saved for it.
#[repr(C)]
struct Call<Place> {
    message: msghdr,
    iov: iovec,
    sock: c_int,
    flags: Flags,
    how: How,
    before: Before,
    place: Place,
}

impl<Place> Call<Place> {
    /// Fills a call, in place: a copy would take as long as all the rest. `prepare` is for what
    /// the system call is to find in the control data.
    ///
    /// # Safety
    /// The call may be written to and stays where it is.
    #[inline(always)]
    unsafe fn begin(
        call: *mut Self,
        sock: c_int,
        iov: iovec,
        (control, room): (*const u8, usize),
        (flags, how): (Flags, How),
        place: Place,
        prepare: impl FnOnce(),
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            addr_of_mut!((*call).iov).write(iov);
            addr_of_mut!((*call).sock).write(sock);
            addr_of_mut!((*call).flags).write(flags);
            addr_of_mut!((*call).how).write(how);
            addr_of_mut!((*call).place).write(place);
            let (message, iov) = (addr_of_mut!((*call).message), addr_of_mut!((*call).iov));
            sys::write_message(message, iov, 1, control, room);
            prepare();
            addr_of_mut!((*call).before).write(Before::now());
        }
    }
}

/// Makes a flat call that sends.
///
/// # Safety
/// `fds` is NULL, or `nfds` descriptors are there.
#[inline(always)]
pub unsafe fn send_fds(
    sock: c_int,
    fds: *const c_int,
    nfds: usize,
    data: *const c_void,
    len: usize,
    flags: c_uint,
) -> ssize_t {
    let iov = iovec { iov_base: data as *mut c_void, iov_len: len };
    if !may_be_usual(fds, &iov, (flags, Flags::SEND)) || nfds.wrapping_sub(1) >= MAX_FDS {
        // SAFETY: the caller's promise.
        return unsafe { send_slowly(sock, fds, nfds, iov, flags, None) };
    }
    let mut control = Buffer::new();
    let mut call = MaybeUninit::uninit();
    let flags = Flags::known(flags);
    let flags = (flags, flags.how());
    // SAFETY: all stays where it is; and the caller's promise.
    let call = unsafe {
        let used = (control.start(), Buffer::space(nfds));
        let fds = slice::from_raw_parts(fds, nfds);
        Call::begin(call.as_mut_ptr(), sock, iov, used, flags, (), || control.begin(fds));
        call.assume_init_mut()
    };
    let outcome = sys::send(call.sock, &call.message, call.how);
    if outcome.is(call.iov.iov_len) {
        return call.iov.iov_len as ssize_t;
    }
    go_on_sending(call, &control, outcome)
}

/// Goes on behind a system call that did not send everything.
#[cold]
#[inline(never)]
fn go_on_sending(call: &Call<()>, control: &Buffer, outcome: Outcome) -> ssize_t {
    // SAFETY: so much has been written.
    let fds = unsafe { control.only_fds(call.message.msg_controllen as usize) };
    let (fds, first) = (fds.unwrap_or_default(), Some((outcome, call.before)));
    // SAFETY: the descriptors are there.
    unsafe { send_slowly(call.sock, fds.as_ptr(), fds.len(), call.iov, call.flags.bits(), first) }
}

/// Whether a call can be usual: with descriptors, a payload, and flags that are known to it.
#[inline(always)]
fn may_be_usual(fds: *const c_int, iov: &iovec, (flags, known): (c_uint, c_uint)) -> bool {
    if flags & !known != 0 || fds.is_null() || iov.iov_base.is_null() {
        return false;
    }
    iov.iov_len as ssize_t > 0
}

/// Checks everything, and sends; `first` is what has been done of it already.
///
/// # Safety
/// As of `send_fds`.
#[cold]
#[inline(never)]
unsafe fn send_slowly(
    sock: c_int,
    fds: *const c_int,
    nfds: usize,
    iov: iovec,
    flags: c_uint,
    first: Option<(Outcome, Before)>,
) -> ssize_t {
    let (outcome, before) = match first {
        Some((outcome, before)) => (Some(outcome), before),
        None => (None, Before::now()),
    };
    let send = || {
        let flags = Flags::parse(flags, Flags::SEND)?;
        // SAFETY: the caller's promise.
        let fds = unsafe { arrays::lent(fds, nfds) }?;
        if fds.is_empty() && iov.iov_base.is_null() {
            return Err(Errno::INVAL);
        }
        let payload = Payload::flat(iov.iov_base, iov.iov_len, fds.len())?;
        send(sock, payload, fds, None, flags, outcome).result()
    };
    before.returning(send())
}

/// Where descriptors go, and how many.
#[derive(Clone, Copy)]
struct Room {
    fds: *mut c_int,
    nfds: *mut size_t,
}

/// Makes a flat call that receives.
///
/// # Safety
/// `nfds` is NULL, or a size is there, and room for so many descriptors at `fds`, unless that is
/// NULL.
#[inline(always)]
pub unsafe fn receive_fds(
    sock: c_int,
    fds: *mut c_int,
    nfds: *mut size_t,
    data: *mut c_void,
    len: usize,
    (flags, known): (c_uint, c_uint),
) -> ssize_t {
    let iov = iovec { iov_base: data, iov_len: len };
    let room = Room { fds, nfds };
    // SAFETY: the caller's promise.
    if nfds.is_null() || unsafe { *nfds } > arrays::MOST || !may_be_usual(fds, &iov, (flags, known))
    {
        // SAFETY: the caller's promise.
        return unsafe { receive_slowly(sock, room, iov, flags, None) };
    }
    let mut control = Buffer::new();
    let mut call = MaybeUninit::uninit();
    let flags = Flags::known(flags);
    let peek = if known & flags.bits() & ANCILLARY_LOSSLESS != 0 { sys::PEEK } else { 0 };
    let flags = (flags, flags.how() | sys::CLOEXEC | peek);
    // SAFETY: all stays where it is.
    let call = unsafe {
        let whole = (control.start(), control::CAPACITY);
        Call::begin(call.as_mut_ptr(), sock, iov, whole, flags, room, || control.prepare());
        call.assume_init_mut()
    };
    let outcome = sys::receive(call.sock, &mut call.message, call.how);
    if let Some(bytes) = outcome.some() {
        if let Some(filled) = sys::whole(&call.message) {
            // SAFETY: the kernel has filled so much of the buffer.
            if let Some(arrived) = unsafe { control.only_fds(filled) } {
                // SAFETY: the caller's promise.
                let nfds = unsafe { &mut *call.place.nfds };
                // SAFETY: the caller's promise.
                let slots = unsafe { slice::from_raw_parts_mut(call.place.fds, *nfds) };
                if descriptors::deliver(arrived, slots, nfds) {
                    if known & ANCILLARY_LOSSLESS != 0 && call.flags.lossless() {
                        // SAFETY: the caller's promise.
                        return unsafe { consume(call, bytes) };
                    }
                    return bytes as ssize_t;
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { go_on_receiving(call, outcome, &mut control) }
}

/// Goes on behind a system call that failed, or received anything but a whole message of bytes and
/// descriptors that fit.
///
/// # Safety
/// As of `receive_fds`.
#[cold]
#[inline(never)]
unsafe fn go_on_receiving(
    call: &mut Call<Room>,
    outcome: Outcome,
    control: &mut Buffer,
) -> ssize_t {
    let first = (Made { outcome, message: &mut call.message, control }, call.before);
    // SAFETY: the caller's promise.
    unsafe { receive_slowly(call.sock, call.place, call.iov, call.flags.bits(), Some(first)) }
}

/// Consumes the message that was peeked, and whose descriptors have been delivered.
///
/// # Safety
/// As of `receive_fds`.
#[inline(never)]
unsafe fn consume(call: &Call<Room>, bytes: usize) -> ssize_t {
    let Call { sock, flags, iov, place: Room { fds, nfds }, before, .. } = *call;
    let consume = || {
        // SAFETY: the caller's promise.
        let (nfds, slots) = unsafe { (&mut *nfds, slice::from_raw_parts_mut(fds, *nfds)) };
        let payload = Payload::buffer(iov.iov_base, iov.iov_len);
        *nfds = 0;
        let mut receiver = Receiver::new(sock, flags, Ending::Strict, payload, Slots::full(slots));
        lossless::consume_delivered(&mut receiver, bytes)?;
        *nfds = receiver.slots.filled();
        Ok(receiver.received.bytes)
    };
    before.returning(consume())
}

/// Checks everything, and receives; `first` is what has been done of it already.
///
/// # Safety
/// As of `receive_fds`.
#[cold]
#[inline(never)]
unsafe fn receive_slowly(
    sock: c_int,
    room: Room,
    iov: iovec,
    flags: c_uint,
    first: Option<(Made, Before)>,
) -> ssize_t {
    let (made, before) = match first {
        Some((made, before)) => (Some(made), before),
        None => (None, Before::now()),
    };
    let receive = || {
        // SAFETY: the caller's promise.
        let nfds = unsafe { room.nfds.as_mut() }.ok_or(Errno::INVAL)?;
        let count = take(nfds);
        // SAFETY: the caller's promise.
        let slots = Slots::new(unsafe { arrays::filled(room.fds, count) }?);
        let flags = Flags::parse(flags, Flags::RECEIVE)?;
        let payload = Payload::flat(iov.iov_base, iov.iov_len, count)?;
        let mut receiver = Receiver::new(sock, flags, Ending::Strict, payload, slots);
        receiver.receive(made)?;
        *nfds = receiver.slots.filled();
        Ok(receiver.received.bytes)
    };
    before.returning(receive())
}
