//! Control data, cmsg(3): the one place that knows how it is laid out in memory. It need not be
//! aligned: that of a completion queue is not.

use crate::sys::{ucred, Errno, Result, SCM_CREDENTIALS, SCM_MAX_FD, SCM_PIDFD};
use core::marker::PhantomData;
use core::mem::{align_of, size_of, MaybeUninit};
use core::{ptr, slice};
use libc::{c_int, cmsghdr};

type Word = usize;

/// Control messages are aligned, and padded, to the word (CMSG_ALIGN).
const fn align(length: usize) -> usize {
    let below = size_of::<Word>() - 1;
    length.wrapping_add(below) & !below
}

/// Where the data of a control message starts (CMSG_DATA, CMSG_LEN(0)).
const HEADER: usize = align(size_of::<cmsghdr>());

const INT: usize = size_of::<c_int>();

/// What a control message with so many bytes of data takes (CMSG_SPACE).
const fn space(bytes: usize) -> usize {
    align(HEADER.wrapping_add(bytes))
}

/// What descriptors take in one control message.
#[inline(always)]
pub const fn space_of_fds(count: usize) -> usize {
    space(count.wrapping_mul(INT))
}

/// What an identity takes.
pub const SPACE_OF_CREDS: usize = space(size_of::<ucred>());

/// The kernel looks for so much room before it tells of a pidfd, and before SO_INQ.
pub const SPACE_OF_INT: usize = space(INT);

/// A time stamp is two words of 64 bits at most.
const TIME_STAMP: usize = 16;

/// What can come beside descriptors: credentials, a pidfd, a time stamp, SO_INQ; a security label
/// (SO_PASSSEC) besides.
const BESIDE: usize = SPACE_OF_CREDS + SPACE_OF_INT + space(TIME_STAMP) + SPACE_OF_INT;

/// Room for so many descriptors and what can come beside them. What a peer sends beyond them gets
/// no more room than that: a large buffer would let it fill the table, for the moment that it takes
/// to close them.
#[inline(always)]
pub const fn room(fds: usize) -> usize {
    if fds > SCM_MAX_FD {
        return CAPACITY;
    }
    space_of_fds(fds) + BESIDE
}

/// Room for the descriptors of one message, and what can come beside them.
pub const CAPACITY: usize = space_of_fds(SCM_MAX_FD) + BESIDE;
pub const WORDS: usize = CAPACITY / size_of::<Word>();

// SAFETY: arithmetic on constants, called for no memory.
const _: () = unsafe {
    assert!(HEADER == libc::CMSG_LEN(0) as usize);
    assert!(space(INT) == libc::CMSG_SPACE(INT as u32) as usize);
    assert!(align_of::<cmsghdr>() <= align_of::<Word>());
    assert!(size_of::<ucred>() == 3 * INT);
    assert!(CAPACITY % size_of::<Word>() == 0);
};

/// Memory for control data. It is not initialised.
pub struct Buffer<const N: usize>(MaybeUninit<[Word; N]>);

impl<const N: usize> Buffer<N> {
    pub const SIZE: usize = N * size_of::<Word>();

    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr() as *mut u8
    }

    #[inline(always)]
    pub fn writer(&mut self) -> Writer<'_> {
        // SAFETY: the buffer is there as long as it is borrowed.
        unsafe { Writer::new(self.as_mut_ptr(), Self::SIZE) }
    }

    /// Clears so much of it at least, which a receive may fill: a recvmsg(2) that fails because the
    /// payload cannot be written (EFAULT) has delivered credentials, a label and a pidfd before, and
    /// installed that, but does not say how much of the buffer it has filled (measured on Linux
    /// 6.18).
    ///
    /// # Safety
    /// There is so much of it.
    #[inline(always)]
    pub unsafe fn clear(&mut self, room: usize) {
        if room == 0 {
            return;
        }
        // Mostly it is room for one descriptor, for which a call of memset(3) takes longer.
        let (start, usual) = (self.as_mut_ptr(), ROOM_OF_ONE.min(Self::SIZE));
        let inline = usual.min(128);
        // SAFETY: there are `room` bytes of it, and `usual` is no more than the buffer has.
        unsafe {
            start.write_bytes(0, inline);
            for at in (inline..usual).step_by(size_of::<Word>()) {
                (start.add(at) as *mut Word).write_volatile(0);
            }
            if room > usual {
                start.add(usual).write_bytes(0, room.wrapping_sub(usual));
            }
        }
    }

    /// The first bytes.
    ///
    /// # Safety
    /// So many are there, and have been cleared.
    #[inline(always)]
    pub unsafe fn filled(&self, length: usize) -> &[u8] {
        // SAFETY: the first `length` bytes are there, and have been cleared.
        unsafe { slice::from_raw_parts(self.0.as_ptr() as *const u8, length) }
    }
}

const ROOM_OF_ONE: usize = room(1);

/// Where control data to send is put together: in a buffer, or in memory of the caller's.
pub struct Writer<'a> {
    start: *mut u8,
    room: usize,
    used: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl Writer<'_> {
    /// # Safety
    /// `room` bytes at `start` may be written to as long as this lives.
    #[inline(always)]
    pub unsafe fn new<'a>(start: *mut u8, room: usize) -> Writer<'a> {
        Writer { start, room, used: 0, memory: PhantomData }
    }

    /// How much has been written.
    #[inline(always)]
    pub fn used(&self) -> usize {
        self.used
    }

    #[inline(always)]
    pub fn append_fds(&mut self, fds: &[c_int]) -> Result<()> {
        self.append(libc::SCM_RIGHTS, fds)
    }

    #[inline(always)]
    pub fn append_creds(&mut self, creds: &ucred) -> Result<()> {
        // The ids are unsigned, which makes no difference to their bytes.
        self.append(SCM_CREDENTIALS, &[creds.pid, creds.uid as c_int, creds.gid as c_int])
    }

    /// Appends a control message; none where there are no items.
    #[inline(always)]
    fn append(&mut self, kind: c_int, items: &[c_int]) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let bytes = items.len().wrapping_mul(INT);
        let space = space(bytes);
        if items.len() > SCM_MAX_FD || space > self.room.wrapping_sub(self.used) {
            return Err(Errno::NOBUFS);
        }
        // SAFETY: so much room is there behind what has been used. All the padding there is lies in
        // the last word, and for musl in the header.
        unsafe {
            let start = self.start.add(self.used);
            (start.add(space.wrapping_sub(size_of::<Word>())) as *mut Word).write_unaligned(0);
            let mut header: cmsghdr = MaybeUninit::zeroed().assume_init();
            header.cmsg_len = HEADER.wrapping_add(bytes) as _;
            header.cmsg_level = libc::SOL_SOCKET;
            header.cmsg_type = kind;
            (start as *mut cmsghdr).write_unaligned(header);
            let data = start.add(HEADER) as *mut c_int;
            match *items {
                // Mostly it is one, for which a call of memcpy(3) takes longer.
                [item] => data.write_unaligned(item),
                _ => ptr::copy_nonoverlapping(items.as_ptr() as *const u8, data as *mut u8, bytes),
            }
        }
        self.used = self.used.wrapping_add(space);
        Ok(())
    }
}

/// The numbers in a control message.
#[derive(Clone, Copy)]
pub struct Numbers<'a>(&'a [[u8; INT]]);

impl<'a> Numbers<'a> {
    /// The whole integers in some bytes.
    #[inline(always)]
    fn new(bytes: &'a [u8]) -> Numbers<'a> {
        let start = bytes.as_ptr() as *const [u8; INT];
        // SAFETY: so many integers are in the bytes, each of the alignment of a byte.
        Numbers(unsafe { slice::from_raw_parts(start, bytes.len() / INT) })
    }

    #[inline(always)]
    pub fn len(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    pub fn iter(self) -> impl Iterator<Item = c_int> + 'a {
        self.0.iter().map(|bytes| c_int::from_ne_bytes(*bytes))
    }

    /// The first so many.
    pub fn first(self, count: usize) -> Numbers<'a> {
        Numbers(self.0.get(..count).unwrap_or_default())
    }

    /// Those behind the first so many.
    pub fn behind(self, count: usize) -> Numbers<'a> {
        Numbers(self.0.get(count..).unwrap_or_default())
    }

    /// Copies the first of them to where they are wanted, as many as fit.
    #[inline(always)]
    pub fn copy_to(self, place: &mut [MaybeUninit<c_int>]) {
        let count = self.len().min(place.len());
        // SAFETY: there are so many in both, and the caller's room is no part of control data.
        unsafe {
            let bytes = count.wrapping_mul(INT);
            ptr::copy_nonoverlapping(self.0.as_ptr() as *const u8, place.as_mut_ptr().cast(), bytes)
        }
    }

    /// Whether none is negative. There can be many, so they are read eight at a time, in pairs:
    /// optimised for size, a fold over the slice stays a loop over single numbers, which takes three
    /// instructions more for each.
    #[inline(always)]
    pub fn all_positive(self) -> bool {
        const SIGNS: u64 = 0x8000_0000_8000_0000;
        let mut signs = 0;
        let mut eights = self.0.chunks_exact(8);
        for eight in &mut eights {
            // SAFETY: there are as many bytes.
            let [a, b, c, d] = unsafe { (eight.as_ptr() as *const [u64; 4]).read_unaligned() };
            signs |= a | b | c | d;
        }
        for bytes in eights.remainder() {
            signs |= u64::from(u32::from_ne_bytes(*bytes));
        }
        signs & SIGNS == 0
    }
}

/// A control message received.
pub enum Message<'a> {
    /// SCM_RIGHTS: descriptors. A negative number stands for one that is not there.
    Fds(Numbers<'a>),
    /// SCM_PIDFD: a descriptor, or a negative error number.
    Pidfd(Numbers<'a>),
    /// SCM_CREDENTIALS, whole.
    Creds(ucred),
    /// Anything else, which takes so much of the buffer: it carries no descriptor.
    Other(usize),
}

/// Walks control data. Nothing in it is believed: what a length claims beyond the data received
/// does not exist, and a length that covers not even its own header ends the walk.
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    #[inline(always)]
    pub fn new(received: &'a [u8]) -> Messages<'a> {
        Messages(received)
    }

    /// The descriptor, if that is all that was received. Mostly it is.
    #[inline(always)]
    pub fn only_fd(&self) -> Option<c_int> {
        const ONE: usize = space_of_fds(1);
        let message: &[u8; ONE] = self.0.try_into().ok()?;
        // SAFETY: a header, which is plain integers, and a descriptor are there.
        let (header, fd) = unsafe {
            let start = message.as_ptr();
            let header = (start as *const cmsghdr).read_unaligned();
            (header, (start.add(HEADER) as *const c_int).read_unaligned())
        };
        let whole = header.cmsg_len as usize == HEADER + INT && is(&header, libc::SCM_RIGHTS);
        Some(fd).filter(|fd| whole && *fd >= 0)
    }

    /// The descriptors, if these are all that was received, or nothing was.
    #[inline(always)]
    pub fn only_fds(self) -> Option<Numbers<'a>> {
        let header = match self.header() {
            Some(header) => header,
            None if self.0.is_empty() => return Some(Numbers(&[])),
            None => return None,
        };
        let claimed = header.cmsg_len as usize;
        let padding = self.0.len().wrapping_sub(claimed);
        if padding >= size_of::<Word>() || !is(&header, libc::SCM_RIGHTS) {
            return None;
        }
        self.0.get(HEADER..claimed).map(Numbers::new)
    }

    #[inline(always)]
    fn header(&self) -> Option<cmsghdr> {
        let start = self.0.get(..HEADER)?.as_ptr() as *const cmsghdr;
        // SAFETY: so many bytes are there, and a cmsghdr is plain integers.
        Some(unsafe { start.read_unaligned() })
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.header()?;
        let length = (header.cmsg_len as usize).min(self.0.len());
        let data = self.0.get(HEADER..length)?;
        let space = align(length);
        self.0 = self.0.get(space..).unwrap_or_default();
        if header.cmsg_level != libc::SOL_SOCKET {
            return Some(Message::Other(space));
        }
        Some(match header.cmsg_type {
            libc::SCM_RIGHTS => Message::Fds(Numbers::new(data)),
            SCM_PIDFD => Message::Pidfd(Numbers::new(data)),
            SCM_CREDENTIALS if data.len() == size_of::<ucred>() => {
                // SAFETY: so many bytes are there, and a ucred is plain integers.
                Message::Creds(unsafe { (data.as_ptr() as *const ucred).read_unaligned() })
            }
            _ => Message::Other(space),
        })
    }
}

#[inline(always)]
fn is(header: &cmsghdr, kind: c_int) -> bool {
    header.cmsg_level == libc::SOL_SOCKET && header.cmsg_type == kind
}
