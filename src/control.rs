//! Control data, cmsg(3): the one place that knows how it is laid out in memory.

use crate::errno::{Errno, Result};
use crate::sys::{ucred, SCM_CREDENTIALS, SCM_PIDFD};
use core::marker::PhantomData;
use core::mem::{align_of, size_of, size_of_val, MaybeUninit};
use core::{ptr, slice};
use libc::{c_int, cmsghdr};

/// Room for every kind of control message that the kernel adds to one message on a Unix socket,
/// all at once. On 64-bit that is credentials 32, descriptors 1032, a pidfd 24, time stamps 96,
/// SO_INQ 24: 1208 bytes, and leaves 840 for a security label (SO_PASSSEC), which comes before
/// the descriptors.
pub const CAPACITY: usize = 2048;

type Word = usize;

/// Control messages are aligned, and padded, to the word (CMSG_ALIGN).
const fn align(length: usize) -> usize {
    let below = size_of::<Word>() - 1;
    length.wrapping_add(below) & !below
}

/// Where the payload of a control message starts (CMSG_DATA, CMSG_LEN(0)).
const HEADER: usize = align(size_of::<cmsghdr>());

const INT: usize = size_of::<c_int>();

/// How much of the buffer a message of one descriptor takes, in bytes.
const ONE: usize = HEADER + align(INT);

/// Where the control message behind credentials begins: where there are any, they are the first.
const BEHIND_CREDS: usize = HEADER + align(size_of::<ucred>());

// SAFETY: arithmetic on constants, called for no memory.
const _: () = unsafe {
    assert!(HEADER == libc::CMSG_LEN(0) as usize);
    assert!(HEADER + align(INT) == libc::CMSG_SPACE(INT as u32) as usize);
    assert!(align_of::<cmsghdr>() <= align_of::<Word>());
    assert!(align_of::<c_int>() <= align_of::<Word>());
    assert!(align_of::<ucred>() <= align_of::<Word>());
    assert!(size_of::<ucred>() == 3 * INT);
};

/// Memory for control data. It is not cleared: only what was written to it is read.
pub struct Buffer(MaybeUninit<[Word; CAPACITY / size_of::<Word>()]>);

impl Buffer {
    #[inline(always)]
    pub fn new() -> Buffer {
        Buffer(MaybeUninit::uninit())
    }

    #[inline(always)]
    fn start(&self) -> *const u8 {
        self.0.as_ptr() as *const u8
    }

    #[inline(always)]
    pub fn start_mut(&mut self) -> *mut u8 {
        self.0.as_mut_ptr() as *mut u8
    }

    /// The header at the start, or `BEHIND_CREDS`: no other places are asked for.
    #[inline(always)]
    fn header_at(&mut self, place: usize) -> &mut MaybeUninit<cmsghdr> {
        // SAFETY: at both places the buffer has room for a header, aligned to a word.
        unsafe { &mut *(self.start_mut().add(place) as *mut MaybeUninit<cmsghdr>) }
    }

    /// Prepares the buffer for a call that fails: a recvmsg(2) that does so on a stream because the
    /// payload cannot be written (EFAULT) has credentials and a pidfd delivered before, and
    /// installed the pidfd, but does not say how much of the buffer it has filled (measured on
    /// Linux 6.18). So both headers that the pidfd can then have are cleared before.
    #[inline(always)]
    pub fn prepare_for_failure(&mut self) {
        *self.header_at(0) = MaybeUninit::zeroed();
        *self.header_at(BEHIND_CREDS) = MaybeUninit::zeroed();
    }

    /// How much a call that failed has filled of a buffer prepared for that: no more than a pidfd
    /// takes, whatever its length claims.
    pub fn filled_by_failure(&mut self) -> usize {
        // SAFETY: here and below, the header has been written, by `prepare_for_failure` or by the
        // kernel.
        let first = unsafe { self.header_at(0).assume_init() };
        let place = if first.cmsg_type == SCM_CREDENTIALS { BEHIND_CREDS } else { 0 };
        // SAFETY: as above.
        let last = unsafe { self.header_at(place).assume_init() };
        place.wrapping_add((last.cmsg_len as usize).min(HEADER + INT))
    }

    /// How much of the buffer a message of so many descriptors takes, in bytes.
    #[inline(always)]
    pub fn space(count: usize) -> usize {
        align(HEADER.wrapping_add(count.wrapping_mul(INT)))
    }

    /// Writes an SCM_RIGHTS message at the start.
    ///
    /// # Safety
    /// There are 1 to MAX_FDS descriptors.
    #[inline(always)]
    pub unsafe fn write_fds(&mut self, fds: &[c_int]) {
        // SAFETY: the buffer has room for that, and for more.
        unsafe { write(self.start_mut(), libc::SCM_RIGHTS, fds) }
    }

    /// The descriptors that `write_fds` has written.
    ///
    /// # Safety
    /// It has, and nothing has been written since.
    pub unsafe fn written_fds(&self) -> &[c_int] {
        // SAFETY: the message has been written.
        unsafe {
            let fds = self.start().add(HEADER) as *const c_int;
            slice::from_raw_parts(fds, self.claimed().wrapping_sub(HEADER) / INT)
        }
    }

    /// Appends an SCM_RIGHTS message to the `used` bytes that are there, and returns how many are
    /// there then.
    pub fn append_fds(&mut self, used: usize, fds: &[c_int]) -> Result<usize> {
        self.append(used, libc::SCM_RIGHTS, fds)
    }

    /// Appends an SCM_CREDENTIALS message, as `append_fds` does.
    #[cold]
    pub fn append_creds(&mut self, used: usize, creds: &ucred) -> Result<usize> {
        // The ids are unsigned, which makes no difference to their bytes.
        self.append(used, SCM_CREDENTIALS, &[creds.pid, creds.uid as c_int, creds.gid as c_int])
    }

    #[inline(always)]
    fn append(&mut self, used: usize, kind: c_int, items: &[c_int]) -> Result<usize> {
        let space = Buffer::space(items.len());
        if items.is_empty() || align(used) != used || space > CAPACITY.saturating_sub(used) {
            return Err(Errno::INVAL);
        }
        // SAFETY: the buffer has room for `space` bytes after the first `used`, which are whole
        // words.
        unsafe { write(self.start_mut().add(used), kind, items) };
        Ok(used + space)
    }

    /// The descriptor in the first `length` bytes, which the kernel has filled, if these are one
    /// SCM_RIGHTS message with one descriptor and nothing else; or a negative number. The kernel
    /// can put one there itself, so the sign is looked at anyway, and an Option would take a
    /// register more.
    ///
    /// # Safety
    /// These bytes are initialised.
    #[inline(always)]
    pub unsafe fn only_fd(&self, length: usize) -> c_int {
        // SAFETY: a header, and a descriptor behind it, are there.
        unsafe {
            if length != ONE || !self.begins_with_fds() || self.claimed() != HEADER + INT {
                return -1;
            }
            (self.start().add(HEADER) as *const c_int).read()
        }
    }

    /// The descriptors in the first `length` bytes, which the kernel has filled, if these are one
    /// SCM_RIGHTS message and nothing else, or nothing at all.
    ///
    /// # Safety
    /// These bytes are initialised.
    #[inline(always)]
    pub unsafe fn only_fds(&self, length: usize) -> Option<&[c_int]> {
        if !(ONE..=CAPACITY).contains(&length) {
            return if length == 0 { Some(&[]) } else { None };
        }
        // SAFETY: a header is there.
        let claimed = unsafe { self.claimed() };
        let padding = length.wrapping_sub(claimed);
        // SAFETY: as above.
        if padding >= size_of::<Word>() || !unsafe { self.begins_with_fds() } {
            return None;
        }
        // SAFETY: the message, which is longer than its header, is in the bytes initialised.
        Some(unsafe {
            let fds = self.start().add(HEADER) as *const c_int;
            slice::from_raw_parts(fds, claimed.wrapping_sub(HEADER) / INT)
        })
    }

    /// Whether the first control message is SCM_RIGHTS.
    ///
    /// # Safety
    /// A header is there.
    #[inline(always)]
    unsafe fn begins_with_fds(&self) -> bool {
        // SAFETY: the caller's promise; a cmsghdr is plain integers.
        let header = unsafe { &*(self.start() as *const cmsghdr) };
        header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == libc::SCM_RIGHTS
    }

    /// The length that the first control message claims.
    ///
    /// # Safety
    /// A header is there.
    #[inline(always)]
    unsafe fn claimed(&self) -> usize {
        // SAFETY: the caller's promise; a cmsghdr is plain integers.
        unsafe { (*(self.start() as *const cmsghdr)).cmsg_len as usize }
    }

    /// The control messages in the first `length` bytes, which the kernel has filled.
    ///
    /// # Safety
    /// These bytes are initialised.
    #[inline(always)]
    pub unsafe fn received(&mut self, length: usize) -> Messages<'_> {
        let start = self.start_mut();
        Messages { start, left: length.min(CAPACITY), buffer: PhantomData }
    }
}

/// A control message received.
pub enum Message<'a> {
    /// SCM_RIGHTS: descriptors. A negative number stands for one that is not there.
    Fds(&'a mut [c_int]),
    /// SCM_PIDFD: a descriptor, or a negative error number.
    Pidfd(&'a mut [c_int]),
    /// SCM_CREDENTIALS, whole.
    Creds(ucred),
    /// Anything else: it carries no descriptor.
    Other,
}

/// Walks control data. Nothing in it is believed: what a length claims beyond the data received
/// does not exist, and a length that covers not even its own header ends the walk.
pub struct Messages<'a> {
    start: *mut u8,
    left: usize,
    buffer: PhantomData<&'a mut Buffer>,
}

impl<'a> Iterator for Messages<'a> {
    /// A message, and how much of the buffer it took, in bytes.
    type Item = (Message<'a>, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(Message<'a>, usize)> {
        if self.left < HEADER {
            return None;
        }
        // SAFETY: `start` is aligned to a word and followed by `left` initialised bytes, which
        // hold a header; a cmsghdr is plain integers.
        let header = unsafe { (self.start as *const cmsghdr).read() };
        let length = (header.cmsg_len as usize).min(self.left);
        if length < HEADER {
            return None;
        }
        // SAFETY: `length` bytes are there, the first of them the header.
        let data = unsafe { self.start.add(HEADER) };
        let space = align(length).min(self.left);
        // SAFETY: `space` is at most `left`.
        self.start = unsafe { self.start.add(space) };
        self.left -= space;
        let length = length - HEADER;
        let message = match (header.cmsg_level, header.cmsg_type) {
            // SAFETY: `length` initialised bytes are there, aligned as the header is, and no
            // other message has them, because the walk goes on behind this one.
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => Message::Fds(unsafe { ints(data, length) }),
            // SAFETY: as above.
            (libc::SOL_SOCKET, SCM_PIDFD) => Message::Pidfd(unsafe { ints(data, length) }),
            (libc::SOL_SOCKET, SCM_CREDENTIALS) if length == size_of::<ucred>() => {
                // SAFETY: as above; a ucred is plain integers.
                Message::Creds(unsafe { (data as *const ucred).read() })
            }
            _ => Message::Other,
        };
        Some((message, space))
    }
}

/// The whole integers in `length` bytes.
///
/// # Safety
/// These bytes are initialised, aligned to an integer, and nothing else has them.
unsafe fn ints<'a>(data: *mut u8, length: usize) -> &'a mut [c_int] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts_mut(data as *mut c_int, length / INT) }
}

/// Writes a control message.
///
/// # Safety
/// There is one item or more, and at `start`, which is aligned to a word, room for the message.
#[inline(always)]
unsafe fn write(start: *mut u8, kind: c_int, items: &[c_int]) {
    let space = Buffer::space(items.len());
    // SAFETY: the caller's promise. All the padding there is lies in the last word.
    unsafe {
        (start.add(space.wrapping_sub(size_of::<Word>())) as *mut Word).write(0);
        let header = start as *mut cmsghdr;
        header.write(MaybeUninit::zeroed().assume_init());
        (*header).cmsg_len = HEADER.wrapping_add(size_of_val(items)) as _;
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = kind;
        let data = start.add(HEADER) as *mut c_int;
        match *items {
            // Mostly it is one, for which a call of memcpy(3) takes longer.
            [item] => data.write(item),
            _ => ptr::copy_nonoverlapping(items.as_ptr(), data, items.len()),
        }
    }
}
