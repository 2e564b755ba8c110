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
use crate::sys::{self, Arrival, Outcome, MAX_FDS};
use core::mem::{replace, MaybeUninit};
use core::ptr::addr_of_mut;
use core::slice;
use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, ssize_t};

/// A usual call. What is needed behind its system call is read back from here then, so that no
/// register has to be saved for it. The message points to other parts of the call, so as long as
/// there may be another system call there is no `&mut` of the whole.
///
/// `repr(C)`, because in the compiler's own order of the fields a call takes more instructions.
#[repr(C)]
struct Call<Room> {
    message: msghdr,
    iov: iovec,
    sock: c_int,
    flags: Flags,
    before: Before,
    room: Room,
    control: Buffer,
}

impl<Room> Call<Room> {
    /// Fills a call, in place: a copy would take as long as all the rest. `controllen` is how long
    /// the control data is, or the room for it; writing that is left to the caller, and so is
    /// `before`, which takes a function of the C library and comes last.
    ///
    /// # Safety
    /// The call may be written to.
    #[inline(always)]
    unsafe fn fill<'a>(
        call: *mut Self,
        sock: c_int,
        iov: iovec,
        flags: c_uint,
        room: Room,
        controllen: usize,
    ) -> &'a mut Buffer {
        // SAFETY: the caller's promise.
        unsafe {
            addr_of_mut!((*call).iov).write(iov);
            addr_of_mut!((*call).sock).write(sock);
            addr_of_mut!((*call).flags).write(Flags::known(flags));
            addr_of_mut!((*call).room).write(room);
            let control = addr_of_mut!((*call).control);
            let (message, iov) = (addr_of_mut!((*call).message), addr_of_mut!((*call).iov));
            sys::write_message(message, iov, 1, (control as *mut u8, controllen));
            &mut *control
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
    if !may_be_usual(fds, &iov, flags, Flags::SEND) || nfds.wrapping_sub(1) >= MAX_FDS {
        // SAFETY: the caller's promise.
        return unsafe { send_from_start(sock, fds, nfds, data, len, flags) };
    }
    let mut call = MaybeUninit::<Call<()>>::uninit();
    let call = call.as_mut_ptr();
    // SAFETY: the caller's promise; and the call outlives the system call.
    let (call, outcome) = unsafe {
        let fds = slice::from_raw_parts(fds, nfds);
        Call::fill(call, sock, iov, flags, (), Buffer::space(nfds)).write_fds(fds);
        addr_of_mut!((*call).before).write(Before::now());
        let outcome = sys::send((*call).sock, addr_of_mut!((*call).message), (*call).flags.how());
        (&*call, outcome)
    };
    if outcome.is(call.iov.iov_len) {
        return call.iov.iov_len as ssize_t;
    }
    go_on_sending(call, outcome)
}

/// Goes on behind a system call that did not send everything.
#[cold]
#[inline(never)]
fn go_on_sending(call: &Call<()>, outcome: Outcome) -> ssize_t {
    // SAFETY: they have been written.
    let (fds, first) = (unsafe { call.control.written_fds() }, Some((outcome, call.before)));
    // SAFETY: the descriptors are there.
    unsafe { send_slowly(call.sock, fds.as_ptr(), fds.len(), call.iov, call.flags.bits(), first) }
}

/// Whether a call can be usual: it has an array of descriptors, a payload, and no flags but `usual`
/// ones.
#[inline(always)]
fn may_be_usual(fds: *const c_int, iov: &iovec, flags: c_uint, usual: c_uint) -> bool {
    if flags & !usual != 0 || fds.is_null() || iov.iov_base.is_null() {
        return false;
    }
    iov.iov_len as ssize_t > 0
}

/// Takes what the C function takes, so that a call which is not usual gets here by a jump.
///
/// # Safety
/// As of `send_fds`.
#[cold]
#[inline(never)]
unsafe fn send_from_start(
    sock: c_int,
    fds: *const c_int,
    nfds: usize,
    data: *const c_void,
    len: usize,
    flags: c_uint,
) -> ssize_t {
    let iov = iovec { iov_base: data as *mut c_void, iov_len: len };
    // SAFETY: the caller's promise.
    unsafe { send_slowly(sock, fds, nfds, iov, flags, None) }
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

/// All the flags with which a call that receives can be usual.
pub const USUAL: c_uint = Flags::SEND | ANCILLARY_LOSSLESS;

/// Makes a flat call that receives. `FLAGS` are those with which it can be usual: without
/// ANCILLARY_LOSSLESS among them, there is no code here for lossless calls.
///
/// # Safety
/// `nfds` is NULL, or a size is there, and room for so many descriptors at `fds`, unless that is
/// NULL.
#[inline(always)]
pub unsafe fn receive_fds<const FLAGS: c_uint>(
    sock: c_int,
    fds: *mut c_int,
    nfds: *mut size_t,
    data: *mut c_void,
    len: usize,
    flags: c_uint,
) -> ssize_t {
    let iov = iovec { iov_base: data, iov_len: len };
    // SAFETY: the caller's promise.
    if nfds.is_null() || unsafe { *nfds } > arrays::MOST || !may_be_usual(fds, &iov, flags, FLAGS) {
        // SAFETY: the caller's promise.
        return unsafe { receive_from_start(sock, fds, nfds, data, len, flags) };
    }
    let mut call = MaybeUninit::<Call<Room>>::uninit();
    let call = call.as_mut_ptr();
    // SAFETY: the caller's promise; and the call outlives the system calls.
    unsafe {
        let room = Room { fds, nfds, count: replace(&mut *nfds, 0) };
        Call::fill(call, sock, iov, flags, room, control::CAPACITY).prepare_for_failure();
        addr_of_mut!((*call).before).write(Before::now());
        let may_be_lossless = FLAGS & ANCILLARY_LOSSLESS != 0;
        let lossless = may_be_lossless && (*call).flags.lossless();
        let how = (*call).flags.how() | sys::CLOEXEC | if lossless { sys::PEEK } else { sys::WAIT };
        let outcome = sys::receive((*call).sock, addr_of_mut!((*call).message), how);
        match outcome.positive() {
            Some(bytes) if delivered(&*call, bytes) => {
                if may_be_lossless && (*call).flags.lossless() {
                    return consume_delivered(call, bytes);
                }
                bytes as ssize_t
            }
            _ => go_on_receiving(call, outcome),
        }
    }
}

/// Delivers the descriptors of a whole message, if that is what came and they fit. Returns whether
/// it did.
///
/// # Safety
/// As of `receive_fds`; and the system call has received so many bytes.
#[inline(always)]
unsafe fn delivered(call: &Call<Room>, bytes: usize) -> bool {
    let came = Arrival::new(bytes, &call.message);
    if !came.is_whole() {
        return false;
    }
    let Room { fds, nfds, count } = call.room;
    // SAFETY: the caller's promise; and the kernel has filled so much of the buffer.
    unsafe {
        let fd = call.control.only_fd(came.control);
        (count == 1 && descriptors::deliver_one(fd, &mut *fds.cast(), &mut *nfds))
            || deliver_many(call)
    }
}

/// Delivers any number of descriptors of a whole message, as `descriptors::deliver` does.
///
/// # Safety
/// As of `delivered`.
#[inline(never)]
unsafe fn deliver_many(call: &Call<Room>) -> bool {
    let Room { fds, nfds, count } = call.room;
    // SAFETY: the kernel has filled so much of the buffer.
    match unsafe { call.control.only_fds(call.message.msg_controllen as usize) } {
        // SAFETY: the caller's promise.
        Some(arrived) => unsafe {
            descriptors::deliver(arrived, slice::from_raw_parts_mut(fds.cast(), count), &mut *nfds)
        },
        None => false,
    }
}

/// Goes on behind a system call that failed, or received anything but a whole message of bytes and
/// descriptors that fit.
///
/// # Safety
/// As of `receive_fds`; and the call has been made.
#[cold]
#[inline(never)]
unsafe fn go_on_receiving(call: *mut Call<Room>, outcome: Outcome) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe {
        let Call { sock, iov, flags, before, room: Room { fds, nfds, count }, .. } = *call;
        let (message, control) = (&mut (*call).message, &mut (*call).control);
        let first = (Attempt { outcome, message, control }, before);
        *nfds = count;
        receive_slowly(sock, fds, nfds, iov, flags.bits(), Some(first))
    }
}

/// Consumes the message that was peeked, and whose descriptors have been delivered: as
/// `lossless::consume`, with no control data but theirs.
///
/// # Safety
/// As of `go_on_receiving`.
#[inline(never)]
unsafe fn consume_delivered(call: *mut Call<Room>, bytes: usize) -> ssize_t {
    // SAFETY: the caller's promise; what the message points to is the call's and the caller's.
    sys::uncancelled(|| unsafe {
        (*call).iov.iov_len = bytes;
        sys::leave_no_room(&mut (*call).message);
        let outcome = sys::receive((*call).sock, addr_of_mut!((*call).message), sys::DONTWAIT);
        if outcome.is(bytes) && Arrival::new(bytes, &(*call).message).control_cut {
            return bytes as ssize_t;
        }
        go_on_consuming(call, outcome)
    })
}

/// Goes on behind a system call that did not consume just what was peeked.
///
/// # Safety
/// As of `go_on_receiving`.
#[cold]
#[inline(never)]
unsafe fn go_on_consuming(call: *mut Call<Room>, outcome: Outcome) -> ssize_t {
    // SAFETY: the caller's promise; so many descriptors have been delivered.
    unsafe {
        let Call { sock, before, room: Room { fds, nfds, .. }, .. } = *call;
        let mut slots = Slots::full(slice::from_raw_parts_mut(fds, *nfds));
        let (message, control) = (&mut (*call).message, &mut (*call).control);
        // What the peek has filled is not to be taken for what a failure leaves behind.
        control.prepare_for_failure();
        let consumed = arrival(sock, Flags::NONE, outcome, message, control, sys::DONTWAIT);
        let bytes = lossless::keep_consumed(&mut slots, Mark::NOTHING, consumed);
        *nfds = slots.filled();
        before.returning(bytes)
    }
}

/// Takes what the C function takes, as `send_from_start` does.
///
/// # Safety
/// As of `receive_fds`.
#[cold]
#[inline(never)]
unsafe fn receive_from_start(
    sock: c_int,
    fds: *mut c_int,
    nfds: *mut size_t,
    data: *mut c_void,
    len: usize,
    flags: c_uint,
) -> ssize_t {
    let iov = iovec { iov_base: data, iov_len: len };
    // SAFETY: the caller's promise.
    unsafe { receive_slowly(sock, fds, nfds, iov, flags, None) }
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
