//! Channels: whole messages with descriptors on a stream, over many calls.

use super::arrays;
use super::constants::{ANCILLARY_DONTWAIT, ANCILLARY_LOSSLESS};
use super::flags::{check, TRANSFER};
use super::frame::ancillary_cut;
use super::returns::returning;
use super::structures::{check_size, is_current};
use crate::message::{Flags, Format, Incoming, Memory, Outgoing, State};
use crate::sys::Result;
use core::mem::{align_of, size_of};
use libc::{c_int, c_short, c_uint, c_void, size_t, POLLIN, POLLOUT};

/// One end of a stream on which messages travel whole, each with its
/// descriptors.
///
/// The memory is yours: set up
///
///   struct ancillary_channel channel = {
///           .size = sizeof channel, .sock = sock,
///           .in_data = in, .in_size = sizeof in, ... };
///
/// and leave state alone, which is all zero to begin with.  Nothing else has to
/// be done before the first call; after the last, ancillary_channel_drop().
///
/// Between two calls the struct may be moved, flags be changed, and a buffer be
/// put in the place of a smaller one whose content has been copied to its
/// beginning; between two messages also format, cut and context.  The buffers
/// must not overlap.  No size is over INT_MAX.
///
/// Use it from one thread at a time, not from a signal handler that interrupts a
/// call on it, and after fork(2) on one side only.  A thread is cancelled
/// (pthread_cancel(3)) in a call only while that waits, and nothing is lost then:
/// the channel goes on where it was, or is dropped.  Whether a message that
/// was being sent has been taken, only its slots tell, with ANCILLARY_TAKE.
#[repr(C)]
pub struct ancillary_channel {
    /// sizeof(struct ancillary_channel); as that of struct ancillary_msg
    pub size: size_t,
    /// a connected stream socket: yours, also to close
    pub sock: c_int,
    /// ANCILLARY_LOSSLESS and ANCILLARY_DONTWAIT or'ed together, for each call,
    /// or 0
    pub flags: c_uint,
    /// ANCILLARY_FORMAT_PLAIN, _IMSG, _IMSG_OLD or _OWN
    pub format: c_uint,
    /// with ANCILLARY_FORMAT_OWN, to receive: tells where a message ends
    pub cut: ancillary_cut,
    /// what cut gets
    pub context: *mut c_void,
    /// what has been received and not taken yet: room for the longest message,
    /// header included, at least.  0: this end only sends
    pub in_data: *mut c_void,
    pub in_size: size_t,
    /// room for its descriptors; if more come, that is -EPROTO.  Those of one
    /// sendmsg(2) of the peer can still be here when those of the next come:
    /// twice the most that it sends at once.  imsg: 2.  A peer that uses this
    /// library: twice its out_nfds, or twice what it lends if that is more.  506
    /// are always enough; for messages of more than 253, as many as these have
    /// and 253 more
    pub in_fds: *mut c_int,
    pub in_nfds: size_t,
    /// what waits to be sent: room for the longest message, header included, at
    /// least; in the plain format rounded up to a multiple of 8.  A message with
    /// descriptors takes at most 16 bytes more.  0: this end only receives
    pub out_data: *mut c_void,
    pub out_size: size_t,
    /// room for its descriptors.  0: nothing waits with descriptors
    pub out_fds: *mut c_int,
    pub out_nfds: size_t,
    /// the library's: all zero to begin with
    pub state: [u64; 16],
}

const _: () = assert!(size_of::<State>() <= 128 && align_of::<State>() <= align_of::<u64>());

/// # Safety
/// There are `size` bytes at `data`, and `nfds` slots at `fds`, for us alone; or that is NULL.
#[inline(always)]
unsafe fn memory<'a>(
    data: *mut c_void,
    size: size_t,
    fds: *mut c_int,
    nfds: size_t,
) -> Result<Memory<'a>> {
    // SAFETY: so much is there, or NULL, as the caller promises.
    unsafe { Ok((arrays::filled(data.cast(), size)?, arrays::filled(fds.cast(), nfds)?)) }
}

impl ancillary_channel {
    /// # Safety
    /// `channel` is NULL, or as many bytes as it says are there, for us alone.
    #[inline(always)]
    pub unsafe fn of<'a>(channel: *mut ancillary_channel) -> Result<&'a mut ancillary_channel> {
        // SAFETY: so many bytes are there, or it is NULL, as the caller promises.
        unsafe {
            check_size(channel)?;
            Ok(&mut *channel)
        }
    }

    /// The same, if it is as large as this library knows it.
    ///
    /// # Safety
    /// `channel` is NULL, or as many bytes as it says are there, for us alone.
    #[inline(always)]
    pub unsafe fn usual<'a>(channel: *mut ancillary_channel) -> Option<&'a mut ancillary_channel> {
        // SAFETY: so many bytes are there, or it is NULL, as the caller promises.
        unsafe { is_current(channel).then(|| &mut *channel) }
    }

    /// The flags of a call, which are known to it, with those of the channel.
    #[inline(always)]
    fn flags(&self, bits: c_uint, known: c_uint) -> Result<Flags> {
        check(self.flags, ANCILLARY_LOSSLESS | ANCILLARY_DONTWAIT | Flags::ALWAYS)?;
        check(bits, known)?;
        Ok(Flags::known((bits & TRANSFER) | self.flags))
    }

    #[inline(always)]
    fn state(&mut self) -> *mut State {
        self.state.as_mut_ptr().cast()
    }

    /// Receiving in a call with these flags, and in which format.
    ///
    /// # Safety
    /// There is what the channel says.
    #[inline(always)]
    pub unsafe fn incoming(&mut self, bits: c_uint) -> Result<(Incoming<'_>, Format)> {
        let (flags, format) = (self.flags(bits, TRANSFER)?, Format::of(self.format)?);
        // SAFETY: the memory is there, as the caller promises; any state is plain integers.
        unsafe {
            let memory = memory(self.in_data, self.in_size, self.in_fds, self.in_nfds)?;
            let state = &mut (*self.state()).incoming;
            Ok((Incoming::new(self.sock, flags, memory, state)?, format))
        }
    }

    /// Sending in a call with these flags, which knows no others than those, and in which format.
    ///
    /// # Safety
    /// There is what the channel says.
    #[inline(always)]
    pub unsafe fn outgoing(
        &mut self,
        bits: c_uint,
        known: c_uint,
    ) -> Result<(Outgoing<'_>, Format)> {
        let (flags, format) = (self.flags(bits, known)?, Format::of(self.format)?);
        // SAFETY: the memory is there, as the caller promises; any state is plain integers.
        unsafe {
            let memory = memory(self.out_data, self.out_size, self.out_fds, self.out_nfds)?;
            let state = &mut (*self.state()).outgoing;
            Ok((Outgoing::new(self.sock, flags, memory, state)?, format))
        }
    }
}

/// Tell what to wait for in poll(2) for a channel.
///
///   channel   the channel
///
/// Returns POLLIN, if in_size is not 0, until the end or an error of receiving,
/// and POLLOUT, while something waits to be sent and sending has not ended,
/// or'ed together; 0 where neither is left; or -EINVAL: channel NULL, or size not
/// known.
/// cbindgen:postfix=ANCILLARY_NONNULL(1)
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_channel_events(channel: *const ancillary_channel) -> c_int {
    returning(|| {
        // SAFETY: the C caller promises a channel of the size it says, or NULL.
        let channel = unsafe {
            check_size(channel)?;
            &*channel
        };
        // SAFETY: any state is plain integers.
        let state = unsafe { &*channel.state.as_ptr().cast::<State>() };
        let mut events: c_short = 0;
        if channel.in_size > 0 && !state.incoming.is_over() {
            events |= POLLIN;
        }
        if state.outgoing.waits() {
            events |= POLLOUT;
        }
        Ok(c_int::from(events))
    })
}

/// Close the descriptors that a channel holds: received and not taken, or taken
/// and not sent.
///
///   channel   the channel; afterwards it is as new.  NULL: nothing is done
///
/// The socket is yours, and stays open.  A message of which a part has been sent
/// or received is lost, and with it the stream: close the socket as well.
#[no_mangle]
pub unsafe extern "C" fn ancillary_channel_drop(channel: *mut ancillary_channel) {
    // SAFETY: the C caller promises a channel of the size it says, or NULL.
    let channel = match unsafe { ancillary_channel::of(channel) } {
        Ok(channel) => channel,
        Err(_) => return,
    };
    // SAFETY: the C caller promises what the channel says; any state is plain integers.
    unsafe {
        let state = &mut *channel.state();
        if let Ok(fds) = arrays::filled(channel.in_fds.cast(), channel.in_nfds) {
            state.incoming.close(fds);
        }
        if let Ok(fds) = arrays::filled(channel.out_fds.cast(), channel.out_nfds) {
            state.outgoing.close(fds);
        }
    }
    channel.state = [0; 16];
}
