//! Arrays of descriptors, and the one place that decides what becomes of each that is received.

use crate::errno::Errno;
use crate::sys;
use core::mem::{self, MaybeUninit};
use core::{ptr, slice};
use libc::c_int;

/// Room for a descriptor: C need not have written anything there.
type Slot = MaybeUninit<c_int>;

/// A slot that holds no descriptor.
const NONE: c_int = -1;

/// A caller's room for descriptors: filled from the front, -1 behind; and perhaps for a pidfd, -1
/// where there is none.
pub struct Slots<'a> {
    slots: &'a mut [c_int],
    filled: usize,
    pidfd: Option<&'a mut c_int>,
}

/// How much of a caller's room was filled at a time.
#[derive(Clone, Copy)]
pub struct Mark {
    filled: usize,
    pidfd: bool,
}

/// What became of descriptors that arrived together.
pub struct Fate {
    /// There was no room for some; they were closed.
    pub surplus: bool,
    /// Why the kernel left one out. What came behind it was closed, because what is delivered is
    /// always the beginning of what was sent.
    pub lost: Option<Errno>,
}

/// The usual case of `Slots::take`: delivers descriptors to the caller's slots if there is room for
/// all and all are there, and counts them. Returns whether it did.
#[inline(always)]
pub fn deliver(arrived: &[c_int], slots: &mut [Slot], count: &mut usize) -> bool {
    if arrived.len() > slots.len() || !all_there(arrived) {
        return false;
    }
    *count = arrived.len();
    // Mostly there is no rest, and an empty one would still be a call of memset(3).
    if let Some(rest @ [_, ..]) = slots.get_mut(arrived.len()..) {
        rest.fill(Slot::new(NONE));
    }
    // SAFETY: there is room, and it is no part of a control buffer.
    unsafe { ptr::copy_nonoverlapping(arrived.as_ptr(), slots.as_mut_ptr().cast(), arrived.len()) };
    true
}

/// The same for one descriptor and the only slot. Mostly it is one.
#[inline(always)]
pub fn deliver_one(fd: c_int, slot: &mut Slot, count: &mut usize) -> bool {
    if fd < 0 {
        return false;
    }
    slot.write(fd);
    *count = 1;
    true
}

/// Whether none of the numbers is negative. There can be many, so they are read eight at a time, in
/// pairs: optimised for size, a fold over the slice stays a loop over single numbers, which takes
/// three instructions more for each.
#[inline(always)]
fn all_there(fds: &[c_int]) -> bool {
    const SIGNS: u64 = 0x8000_0000_8000_0000;
    let mut signs = 0;
    let mut eights = fds.chunks_exact(8);
    for eight in &mut eights {
        // SAFETY: there are as many bytes.
        let [a, b, c, d] = unsafe { (eight.as_ptr() as *const [u64; 4]).read_unaligned() };
        signs |= a | b | c | d;
    }
    for fd in eights.remainder() {
        signs |= u64::from(*fd as u32);
    }
    signs & SIGNS == 0
}

impl Mark {
    /// From before anything was filled.
    pub const NOTHING: Mark = Mark { filled: 0, pidfd: false };
}

impl<'a> Slots<'a> {
    #[inline(always)]
    pub fn new(slots: &'a mut [c_int]) -> Slots<'a> {
        slots.fill(NONE);
        Slots { slots, filled: 0, pidfd: None }
    }

    /// Slots that are all filled.
    pub fn full(slots: &'a mut [c_int]) -> Slots<'a> {
        let filled = slots.len();
        Slots { slots, filled, pidfd: None }
    }

    /// With room for a pidfd as well.
    pub fn with_pidfd(slots: &'a mut [c_int], pidfd: &'a mut c_int) -> Slots<'a> {
        *pidfd = NONE;
        Slots { pidfd: Some(pidfd), ..Slots::new(slots) }
    }

    pub fn room(&self) -> usize {
        self.slots.len()
    }

    /// How many descriptors have been delivered.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Takes descriptors that the kernel has installed: delivers them in order while there is
    /// room, and closes the others. Newer kernels can put a negative error number where a
    /// descriptor could not be installed; behind such a `gap` none is delivered.
    #[inline(always)]
    pub fn take(&mut self, arrived: &mut [c_int], gap: bool) -> Fate {
        let (whole, lost) = if gap { (0, None) } else { up_to_gap(arrived) };
        let free = self.slots.get_mut(self.filled..).unwrap_or_default();
        let delivered = free.len().min(whole);
        // SAFETY: there are so many in both, and the caller's room is no part of a control buffer.
        unsafe { ptr::copy_nonoverlapping(arrived.as_ptr(), free.as_mut_ptr(), delivered) };
        self.filled = self.filled.saturating_add(delivered);
        if delivered < arrived.len() {
            close(arrived.get_mut(delivered..).unwrap_or_default());
        }
        Fate { surplus: delivered < whole, lost }
    }

    /// Takes what an SCM_PIDFD message holds: a descriptor, or the negative error number of the
    /// failure to install it (the kernel says so here, and not by MSG_CTRUNC). It is closed where
    /// nobody asked for it, or one is here already. Returns why one that is wanted is not here.
    pub fn take_pidfd(&mut self, arrived: &mut [c_int]) -> Option<Errno> {
        let mut lost = None;
        if let (Some(place), Some(first)) = (&mut self.pidfd, arrived.first_mut()) {
            if **place < 0 {
                // Other numbers: Linux before 6.16 had none of a process waited for.
                lost = no_room(*first);
                **place = mem::replace(first, NONE).max(NONE);
            }
        }
        close(arrived);
        lost
    }

    /// Whether one is wanted and not here yet.
    pub fn lacks_pidfd(&self) -> bool {
        matches!(self.pidfd, Some(&mut fd) if fd < 0)
    }

    fn has_pidfd(&self) -> bool {
        matches!(self.pidfd, Some(&mut fd) if fd >= 0)
    }

    /// From now on none is wanted, and what is here is closed.
    #[cold]
    pub fn give_up_pidfd(&mut self) {
        self.close_pidfd();
        self.pidfd = None;
    }

    fn close_pidfd(&mut self) {
        if let Some(pidfd) = &mut self.pidfd {
            close(slice::from_mut(pidfd));
        }
    }

    pub fn mark(&self) -> Mark {
        Mark { filled: self.filled, pidfd: self.has_pidfd() }
    }

    /// Takes back the descriptors delivered since then, and closes them; but not a pidfd.
    #[cold]
    pub fn close_fds_since(&mut self, mark: Mark) {
        close(self.slots.get_mut(mark.filled..).unwrap_or_default());
        self.filled = self.filled.min(mark.filled);
    }

    /// Takes back all that has been delivered since then, and closes it.
    #[cold]
    pub fn close_since(&mut self, mark: Mark) {
        self.close_fds_since(mark);
        if !mark.pidfd {
            self.close_pidfd();
        }
    }

    /// Takes back all that has been delivered.
    #[cold]
    pub fn close_all(&mut self) {
        self.close_since(Mark::NOTHING);
    }
}

/// How many descriptors stand before a negative number, and what that says.
fn up_to_gap(arrived: &[c_int]) -> (usize, Option<Errno>) {
    for (count, fd) in arrived.iter().enumerate() {
        if *fd < 0 {
            return (count, no_room(*fd).or(Some(Errno::ACCES)));
        }
    }
    (arrived.len(), None)
}

/// Which table was full, if a negative number in the place of a descriptor says so.
fn no_room(number: c_int) -> Option<Errno> {
    match Errno::new(number.wrapping_neg()) {
        full @ (Errno::MFILE | Errno::NFILE) => Some(full),
        _ => None,
    }
}

/// Closes the descriptors in an array and leaves -1 in every slot; negative ones are skipped.
///
/// Each run of consecutive numbers is closed at once: descriptors received together have mostly
/// consecutive numbers.
pub fn close(fds: &mut [c_int]) {
    let (mut first, mut last) = (NONE, NONE);
    for slot in fds {
        let fd = mem::replace(slot, NONE);
        if first >= 0 && last.checked_add(1) == Some(fd) {
            last = fd;
            continue;
        }
        close_unless_none(first, last);
        (first, last) = (fd, fd);
    }
    close_unless_none(first, last);
}

fn close_unless_none(first: c_int, last: c_int) {
    if first >= 0 {
        sys::close_run(first, last);
    }
}
