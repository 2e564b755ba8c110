//! Messages of a channel, and what the bytes of one say of it.

use super::constants::{
    ANCILLARY_FORMAT_IMSG, ANCILLARY_FORMAT_IMSG_OLD, ANCILLARY_FORMAT_OWN, ANCILLARY_FORMAT_PLAIN,
};
use crate::message::{Format, Layout, Whole};
use crate::sys::{Errno, Result};
use core::ptr;
use libc::{c_int, c_void, size_t};

/// One message of a channel.  Its size never changes.
#[repr(C)]
pub struct ancillary_frame {
    /// what it is: up to you
    pub r#type: u32,
    /// what it belongs to, such as the request that it answers: up to you
    pub id: u32,
    /// in the imsg formats alone: the sender's process, as it says itself.
    /// Sending: 0 stands for getpid(2)
    pub pid: u32,
    /// payload; may be NULL if len is 0
    pub data: *const c_void,
    /// how many bytes that is
    pub len: size_t,
    /// descriptors; may be NULL if nfds is 0.  Written to when sending with
    /// ANCILLARY_TAKE, and yours to write to when received
    pub fds: *mut c_int,
    pub nfds: size_t,
    /// zero
    pub reserved: [u32; 4],
}

/// What a protocol says of a message.  Its size never changes.
#[repr(C)]
pub struct ancillary_layout {
    /// bytes of all of it, header included
    pub len: size_t,
    /// descriptors that belong to it
    pub nfds: size_t,
    /// what ancillary_channel_recv() is to say of it
    pub r#type: u32,
    pub id: u32,
    /// zero
    pub reserved: [u32; 4],
}

/// A function of yours that knows a protocol, for ANCILLARY_FORMAT_OWN.
///
///   start    what has been received and not taken yet: a message begins here
///   have     how many bytes that is, at least 1: less than a message, or more
///   layout   all zero: fill in what the bytes say of that message
///   context  that of the channel
///
/// Returns 1: layout is filled in; 0: the bytes are too few for that; -EBADMSG,
/// -EPROTO or -EMSGSIZE: this is no message, which ends receiving with that
/// error, as anything else does with -EPROTO.
///
/// It may be called again for the same bytes, and has no side effects; it does
/// not use the channel, and neither throws nor jumps.
pub type ancillary_cut = Option<
    unsafe extern "C" fn(
        start: *const c_void,
        have: size_t,
        layout: *mut ancillary_layout,
        context: *mut c_void,
    ) -> c_int,
>;

impl ancillary_frame {
    /// None.
    pub const NONE: ancillary_frame = ancillary_frame {
        r#type: 0,
        id: 0,
        pid: 0,
        data: ptr::null(),
        len: 0,
        fds: ptr::null_mut(),
        nfds: 0,
        reserved: [0; 4],
    };

    /// What has come.
    #[inline(always)]
    pub fn of(layout: &Layout, Whole { payload, fds }: Whole) -> ancillary_frame {
        ancillary_frame {
            r#type: layout.kind,
            id: layout.id,
            pid: layout.pid,
            data: payload.as_ptr().cast(),
            len: payload.len(),
            nfds: fds.len(),
            fds: match fds {
                [] => ptr::null_mut(),
                fds => fds.as_mut_ptr(),
            },
            ..ancillary_frame::NONE
        }
    }
}

// The formats have the same numbers on the floor below.
const _: () = {
    assert!(ANCILLARY_FORMAT_PLAIN == Format::PLAIN.0);
    assert!(ANCILLARY_FORMAT_IMSG == Format::IMSG.0);
    assert!(ANCILLARY_FORMAT_IMSG_OLD == Format::OLD_IMSG.0);
    assert!(ANCILLARY_FORMAT_OWN == Format::OWN.0);
};

/// Asks the caller's function about the message that some bytes begin with.
#[inline(never)]
pub fn cut(
    function: ancillary_cut,
    context: *mut c_void,
    bytes: &[u8],
    layout: &mut Layout,
) -> Result<bool> {
    let function = function.ok_or(Errno::INVAL)?;
    if bytes.is_empty() {
        return Ok(false);
    }
    let mut told = ancillary_layout { len: 0, nfds: 0, r#type: 0, id: 0, reserved: [0; 4] };
    // SAFETY: the C caller promises a function that takes these; the bytes and the layout are there.
    match unsafe { function(bytes.as_ptr().cast(), bytes.len(), &mut told, context) } {
        0 => Ok(false),
        1 if told.len > 0 && told.reserved == [0; 4] => {
            let ancillary_layout { len, nfds, r#type: kind, id, .. } = told;
            *layout = Layout { header: 0, payload: len, padding: 0, nfds, kind, id, pid: 0 };
            Ok(true)
        }
        error => Err(match Errno::from_completion(error as isize) {
            Some(Err(error @ (Errno::BADMSG | Errno::MSGSIZE))) => error,
            _ => Errno::PROTO,
        }),
    }
}
