//! Formats: what the bytes in front of a message say of it.

use crate::sys::{self, Errno, Result};
use core::mem::{size_of, MaybeUninit};
use core::ptr;
use libc::c_uint;

/// A message that begins at some byte, all in bytes.
#[derive(Clone, Copy)]
pub struct Layout {
    /// What stands in front of its payload.
    pub header: usize,
    pub payload: usize,
    /// What stands behind it.
    pub padding: usize,
    /// How many descriptors belong to it.
    pub nfds: usize,
    pub kind: u32,
    pub id: u32,
    /// The sender's, as it says itself.
    pub pid: u32,
}

impl Layout {
    /// How long it is without what stands behind it.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.header.saturating_add(self.payload)
    }

    pub const NONE: Layout =
        Layout { header: 0, payload: 0, padding: 0, nfds: 0, kind: 0, id: 0, pid: 0 };
}

/// Which it is, as C numbers them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Format(pub c_uint);

impl Format {
    pub const PLAIN: Format = Format(0);
    pub const IMSG: Format = Format(1);
    /// What imsg was before 2025.
    pub const OLD_IMSG: Format = Format(2);
    /// The caller's own: a message is sent as it is.
    pub const OWN: Format = Format(3);

    #[inline(always)]
    pub fn of(number: c_uint) -> Result<Format> {
        if number > Format::OWN.0 {
            return Err(Errno::INVAL);
        }
        Ok(Format(number))
    }
}

/// What a message says of itself in front of its payload.
#[derive(Clone, Copy)]
pub struct Head {
    pub kind: u32,
    pub id: u32,
    /// 0: the caller's.
    pub pid: u32,
    pub payload: usize,
    pub nfds: usize,
}

/// What goes in front of a payload and behind it.
#[derive(Clone, Copy)]
pub struct Wrapping {
    /// None in a format of the caller's own.
    header: Option<[u32; 4]>,
    /// So many zero bytes.
    pub padding: usize,
}

const HEADER: usize = 16;

/// Plain messages begin at multiples of it.
pub const ALIGNMENT: usize = 8;

/// The longest of imsg: its old length has 16 bits.
const IMSG_MAX: usize = 65535;
/// On a big-endian machine, where the highest bit of an old length is where the new layout says that
/// a descriptor belongs to the message.
const OLD_IMSG_MAX: usize = 32767;
const BIG_ENDIAN: bool = cfg!(target_endian = "big");
/// In the length of an imsg: a descriptor belongs to it.
const HAS_FD: u32 = 1 << 31;

impl Wrapping {
    #[inline(always)]
    pub fn header(&self) -> &[u8] {
        match &self.header {
            // SAFETY: integers are as many bytes, of no alignment.
            Some(header) => unsafe { &*(header as *const [u32; 4]).cast::<[u8; HEADER]>() },
            None => &[],
        }
    }

    /// How many bytes that is.
    #[inline(always)]
    pub fn around(&self) -> usize {
        self.padding.wrapping_add(self.header.map_or(0, |_| HEADER))
    }

    /// Puts all of a message in a place of its length.
    #[inline(always)]
    pub fn put_around(&self, payload: &[u8], place: &mut [MaybeUninit<u8>]) {
        // Zero bytes first, more than the padding: what is written next covers the others.
        let behind = place.len().saturating_sub(ALIGNMENT);
        if let (true, Some(end)) = (self.padding > 0, place.get_mut(behind..)) {
            put([0_u8; ALIGNMENT], end);
        }
        let mut at = 0;
        if let (Some(header), Some(start)) = (self.header, place.get_mut(..HEADER)) {
            put(header, start);
            at = HEADER;
        }
        if let Some(place) = place.get_mut(at..).and_then(|rest| rest.get_mut(..payload.len())) {
            // SAFETY: there are so many in both, and what is written to is ours alone.
            unsafe {
                let place = place.as_mut_ptr().cast();
                ptr::copy_nonoverlapping(payload.as_ptr(), place, payload.len());
            }
        }
    }
}

/// Writes integers where there is room for all of them.
#[inline(always)]
fn put<T: Copy>(integers: T, place: &mut [MaybeUninit<u8>]) {
    if place.len() >= size_of::<T>() {
        // SAFETY: so many bytes are there; integers have no padding.
        unsafe { place.as_mut_ptr().cast::<T>().write_unaligned(integers) }
    }
}

/// The four words that some bytes begin with.
#[inline(always)]
fn words(bytes: &[u8]) -> Option<[u32; 4]> {
    let header: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
    let mut words = MaybeUninit::<[u32; 4]>::uninit();
    // SAFETY: they are as many bytes, and any are integers.
    unsafe {
        words.as_mut_ptr().cast::<[u8; HEADER]>().write(*header);
        Some(words.assume_init())
    }
}

/// Two halves of a word, the first in memory first.
fn halves(word: u32) -> (u16, u16) {
    let [a, b, c, d] = word.to_ne_bytes();
    (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]))
}

fn word_of(first: u16, second: u16) -> u32 {
    let ([a, b], [c, d]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

impl Format {
    /// Whether descriptors of several messages may go with one system call: where each says how many
    /// are its own.
    #[inline(always)]
    pub fn gathers(self) -> bool {
        self == Format::PLAIN
    }

    /// Whether a message that begins so far behind a place that is aligned has a payload that is not,
    /// and should.
    #[inline(always)]
    pub fn misaligned(self, start: usize) -> bool {
        self == Format::PLAIN && start % ALIGNMENT != 0
    }

    /// What goes around a payload; an error where no message of the format can be so.
    pub fn write(self, head: Head) -> Result<Wrapping> {
        match self {
            Format::PLAIN => plain(head),
            Format::OWN if head.payload == 0 => Err(Errno::INVAL),
            Format::OWN => Ok(Wrapping { header: None, padding: 0 }),
            Format::IMSG => imsg(head, false),
            Format::OLD_IMSG => imsg(head, true),
            _ => Err(Errno::INVAL),
        }
    }

    /// What bytes say of the message that begins with them; false: they are too few to tell. `cut`
    /// knows a format of the caller's own.
    #[inline(always)]
    pub fn read(
        self,
        bytes: &[u8],
        layout: &mut Layout,
        cut: impl Fn(&[u8], &mut Layout) -> Result<bool>,
    ) -> Result<bool> {
        if self == Format::OWN {
            return cut(bytes, layout);
        }
        match words(bytes) {
            None => Ok(false),
            Some(words) if self == Format::PLAIN => read_plain(words, layout),
            Some(words) => read_imsg(words, layout),
        }
    }
}

/// Length with the header, number of descriptors and zero, type, id.
#[inline(always)]
pub fn plain(head: Head) -> Result<Wrapping> {
    let len = head.payload.saturating_add(HEADER);
    if len > u32::MAX as usize - ALIGNMENT {
        return Err(Errno::MSGSIZE);
    }
    if head.nfds > u16::MAX as usize {
        return Err(Errno::TOOBIG);
    }
    let header = [len as u32, word_of(head.nfds as u16, 0), head.kind, head.id];
    Ok(Wrapping { header: Some(header), padding: len.wrapping_neg() % ALIGNMENT })
}

#[inline(always)]
fn read_plain([len, fds, kind, id]: [u32; 4], layout: &mut Layout) -> Result<bool> {
    let (len, (nfds, zero)) = (len as usize, halves(fds));
    if len < HEADER || zero != 0 {
        return Err(Errno::BADMSG);
    }
    let (payload, nfds) = (len.wrapping_sub(HEADER), nfds as usize);
    let padding = len.wrapping_neg() % ALIGNMENT;
    *layout = Layout { header: HEADER, payload, padding, nfds, kind, id, pid: 0 };
    Ok(true)
}

/// Type, length and whether there is a descriptor, peerid, pid.
#[inline(never)]
fn imsg(head: Head, old: bool) -> Result<Wrapping> {
    if head.nfds > 1 {
        return Err(Errno::TOOBIG);
    }
    let len = head.payload.saturating_add(HEADER);
    let most = match old && BIG_ENDIAN {
        true => OLD_IMSG_MAX,
        false => IMSG_MAX,
    };
    if len > most {
        return Err(Errno::MSGSIZE);
    }
    let second = match old {
        true => word_of(len as u16, head.nfds as u16),
        false if head.nfds > 0 => len as u32 | HAS_FD,
        false => len as u32,
    };
    let pid = match head.pid {
        0 => sys::own_pid(),
        pid => pid,
    };
    Ok(Wrapping { header: Some([head.kind, second, head.id, pid]), padding: 0 })
}

/// Either layout: the old one has its length in the first half of the second word, and there the new
/// one has, on a big-endian machine, nothing but its highest bit, and on others its length as well.
#[inline(never)]
fn read_imsg([kind, second, id, pid]: [u32; 4], layout: &mut Layout) -> Result<bool> {
    let (first, flags) = halves(second);
    let (len, nfds) = match BIG_ENDIAN {
        true if matches!(first, 0 | 0x8000) => (flags, usize::from(first != 0)),
        true if flags <= 1 && first < 0x8000 => (first, usize::from(flags)),
        false if matches!(flags, 0 | 1 | 0x8000) => (first, usize::from(flags != 0)),
        _ => return Err(Errno::BADMSG),
    };
    let all = usize::from(len);
    if all < HEADER {
        return Err(Errno::MSGSIZE);
    }
    let payload = all.wrapping_sub(HEADER);
    *layout = Layout { header: HEADER, payload, padding: 0, nfds, kind, id, pid };
    Ok(true)
}
