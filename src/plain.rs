//! The flat calls. The usual one, with a message that goes whole, or comes whole and fits its
//! room, takes its system call and the few instructions here; `send` and `receive` do the rest.

use crate::arrays;
use crate::constants::ANCILLARY_LOSSLESS;
use crate::control::{self, Buffer};
use crate::descriptors::{self, Mark, Slots};
use crate::errno::{Before, Errno};
use crate::flags::Flags;
use crate::lossless;
use crate::payload::Payload;
use crate::receive::{arrival, Attempt, Ending, Receiver};
use crate::send::send;
use crate::sys::{self, Arrival, How, Outcome, MAX_FDS};
use core::mem::{replace, MaybeUninit};
use core::ptr::addr_of_mut;
use core::slice;
use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, ssize_t};

/// A usual call. What is needed behind its system call is read back from here then, so that no
/// register has to be saved for it.
#[repr(C)]
struct Call<Room> {
    message: msghdr,
    iov: iovec,
    sock: c_int,
    flags: Flags,
    how: How,
    before: Before,
    room: Room,
}

impl<Room> Call<Room> {
    /// Fills a call, in place: a copy would take as long as all the rest. `control` prepares the
    /// control data, and says where it is and how long.
    ///
    /// # Safety
    /// The call may be written to.
    #[inline(always)]
    unsafe fn begin(
        call: *mut Self,
        sock: c_int,
        iov: iovec,
        (flags, how): (Flags, How),
        room: Room,
        control: impl FnOnce() -> (*mut u8, usize),
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            addr_of_mut!((*call).iov).write(iov);
            addr_of_mut!((*call).sock).write(sock);
            addr_of_mut!((*call).flags).write(flags);
            addr_of_mut!((*call).how).write(how);
            addr_of_mut!((*call).room).write(room);
            let (message, iov) = (addr_of_mut!((*call).message), addr_of_mut!((*call).iov));
            sys::write_message(message, iov, 1, control);
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
    let flags = Flags::known(flags);
    let mut control = Buffer::new();
    let mut call = MaybeUninit::<Call<()>>::uninit();
    let call = call.as_mut_ptr();
    // SAFETY: the caller's promise; and the call and the control data outlive the system call.
    let (call, outcome) = unsafe {
        let fds = slice::from_raw_parts(fds, nfds);
        Call::begin(call, sock, iov, (flags, flags.how()), (), || {
            control.begin(fds);
            (control.start_mut(), Buffer::space(nfds))
        });
        let outcome = sys::send((*call).sock, call as *const msghdr, (*call).how);
        (&*call, outcome)
    };
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

/// Whether a call can be usual: it has an array of descriptors, a payload, and known flags.
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

/// Where descriptors go, and how many there is room for.
#[derive(Clone, Copy)]
struct Room {
    fds: *mut c_int,
    nfds: *mut size_t,
    count: usize,
}

/// Makes a flat call that receives; `known` are the flags that it knows here.
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
    // SAFETY: the caller's promise.
    if nfds.is_null() || unsafe { *nfds } > arrays::MOST || !may_be_usual(fds, &iov, (flags, known))
    {
        // SAFETY: the caller's promise.
        return unsafe { receive_slowly(sock, fds, nfds, iov, flags, None) };
    }
    let lossless = known & flags & ANCILLARY_LOSSLESS != 0;
    let flags = Flags::known(flags);
    let how = flags.how() | sys::CLOEXEC | if lossless { sys::PEEK } else { sys::WAIT };
    let mut control = Buffer::new();
    let mut call = MaybeUninit::<Call<Room>>::uninit();
    let call = call.as_mut_ptr();
    // SAFETY: the caller's promise; and the call and the control data outlive the system call.
    let (call, outcome) = unsafe {
        let room = Room { fds, nfds, count: replace(&mut *nfds, 0) };
        Call::begin(call, sock, iov, (flags, how), room, || {
            control.prepare();
            (control.start_mut(), control::CAPACITY)
        });
        let outcome = sys::receive((*call).sock, call as *mut msghdr, (*call).how);
        (&mut *call, outcome)
    };
    if let Some(bytes) = outcome.some() {
        let came = Arrival::new(bytes, &call.message);
        if came.is_whole() {
            // SAFETY: the kernel has filled so much of the buffer.
            if let Some(arrived) = unsafe { control.only_fds(came.control) } {
                let Room { fds, nfds, count } = call.room;
                // SAFETY: the caller's promise.
                let (slots, nfds) = unsafe { (slice::from_raw_parts_mut(fds, count), &mut *nfds) };
                if descriptors::deliver(arrived, slots, nfds) {
                    if known & ANCILLARY_LOSSLESS != 0 && call.flags.lossless() {
                        // SAFETY: the caller's promise.
                        return unsafe { consume(call, &mut control, bytes) };
                    }
                    return bytes as ssize_t;
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { go_on_receiving(call, &mut control, outcome) }
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
    control: &mut Buffer,
    outcome: Outcome,
) -> ssize_t {
    let Call { sock, iov, flags, before, room: Room { fds, nfds, count }, .. } = *call;
    let first = (Attempt { outcome, message: &mut call.message, control }, before);
    // SAFETY: the caller's promise.
    unsafe {
        *nfds = count;
        receive_slowly(sock, fds, nfds, iov, flags.bits(), Some(first))
    }
}

/// Consumes the message that was peeked, and whose descriptors have been delivered: as
/// `lossless::consume`, with no control data but theirs.
///
/// # Safety
/// As of `receive_fds`.
#[inline(never)]
unsafe fn consume(call: &mut Call<Room>, control: &mut Buffer, bytes: usize) -> ssize_t {
    call.iov.iov_len = bytes;
    sys::leave_no_room(&mut call.message);
    sys::uncancelled(|| {
        // SAFETY: what the message points to is the caller's buffer.
        let outcome = unsafe { sys::receive(call.sock, &mut call.message, sys::DONTWAIT) };
        if outcome.is(bytes) && Arrival::new(bytes, &call.message).control_cut {
            return bytes as ssize_t;
        }
        // SAFETY: the caller's promise.
        unsafe { keep_consumed(call, control, outcome) }
    })
}

/// # Safety
/// As of `receive_fds`.
#[cold]
#[inline(never)]
unsafe fn keep_consumed(call: &mut Call<Room>, control: &mut Buffer, outcome: Outcome) -> ssize_t {
    let Room { fds, nfds, .. } = call.room;
    // SAFETY: the caller's promise.
    let mut slots = Slots::full(unsafe { slice::from_raw_parts_mut(fds, *nfds) });
    // What the peek has filled is not to be taken for what a failure leaves behind.
    control.prepare();
    let message = &mut call.message;
    let consumed = arrival(call.sock, Flags::NONE, outcome, message, control, sys::DONTWAIT);
    let bytes = lossless::keep_consumed(&mut slots, Mark::NOTHING, consumed);
    // SAFETY: the caller's promise.
    unsafe { *nfds = slots.filled() };
    call.before.returning(bytes)
}

/// Checks everything, and receives; `first` is what has been done of it already.
///
/// # Safety
/// As of `receive_fds`.
#[cold]
#[inline(never)]
unsafe fn receive_slowly(
    sock: c_int,
    fds: *mut c_int,
    nfds: *mut size_t,
    iov: iovec,
    flags: c_uint,
    first: Option<(Attempt, Before)>,
) -> ssize_t {
    let (attempt, before) = match first {
        Some((attempt, before)) => (Some(attempt), before),
        None => (None, Before::now()),
    };
    let receive = || {
        // SAFETY: the caller's promise.
        let nfds = unsafe { nfds.as_mut() }.ok_or(Errno::INVAL)?;
        let count = replace(nfds, 0);
        // SAFETY: the caller's promise.
        let slots = Slots::new(unsafe { arrays::filled(fds, count) }?);
        let flags = Flags::parse(flags, Flags::RECEIVE)?;
        let payload = Payload::flat(iov.iov_base, iov.iov_len, count)?;
        let mut receiver = Receiver::new(sock, flags, Ending::Strict, payload, slots);
        receiver.receive(attempt)?;
        *nfds = receiver.slots.filled();
        Ok(receiver.received.bytes)
    };
    before.returning(receive())
}
