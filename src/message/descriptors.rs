//! Arrays of descriptors, and the one place that decides what becomes of each that is received.

use super::control::{Message, Messages, Numbers};
use crate::sys::{self, Errno};
use core::mem::{self, MaybeUninit};
use core::slice;
use libc::c_int;

/// Room for a descriptor: C need not have written anything there.
pub type Slot = MaybeUninit<c_int>;

/// A slot that holds no descriptor.
const NONE: c_int = -1;

/// A caller's room for descriptors: filled from the front, and in the end, however that comes, -1
/// behind; and perhaps for a pidfd, -1 where there is none.
pub struct Slots<'a> {
    slots: &'a mut [Slot],
    filled: usize,
    pidfd: Option<&'a mut c_int>,
}

/// How much of a caller's room was filled at a time.
#[derive(Clone, Copy, PartialEq)]
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

impl Drop for Slots<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // Mostly there is no rest, and an empty one would still be a call of memset(3).
        if self.free() > 0 {
            self.slots.get_mut(self.filled..).unwrap_or_default().fill(Slot::new(NONE));
        }
    }
}

impl<'a> Slots<'a> {
    #[inline(always)]
    pub fn new(slots: &'a mut [Slot]) -> Slots<'a> {
        Slots { slots, filled: 0, pidfd: None }
    }

    /// The same, with room for a pidfd.
    #[inline(always)]
    pub fn with_pidfd(slots: &'a mut [Slot], pidfd: &'a mut c_int) -> Slots<'a> {
        *pidfd = NONE;
        Slots { slots, filled: 0, pidfd: Some(pidfd) }
    }

    /// How many descriptors are here.
    #[inline(always)]
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// For how many there is room in all.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.slots.len()
    }

    /// For how many there is room left.
    #[inline(always)]
    pub fn free(&self) -> usize {
        self.slots.len().saturating_sub(self.filled)
    }

    /// The usual case of what `take` does: descriptors and nothing else, all there, and room for
    /// all. Returns whether that is what came.
    #[inline(always)]
    pub fn take_usual(&mut self, messages: Messages) -> bool {
        let free = self.slots.get_mut(self.filled..).unwrap_or_default();
        let delivered = match (messages.only_fd(), free) {
            (Some(fd), [slot, ..]) => {
                slot.write(fd);
                Some(1)
            }
            (_, free) => deliver(messages, free),
        };
        self.filled = self.filled.wrapping_add(delivered.unwrap_or_default());
        delivered.is_some()
    }

    /// Takes what an SCM_RIGHTS message holds: delivers what there is room for, up to the first that
    /// could not be installed, and closes the rest; behind such a `gap` none is delivered.
    pub fn take(&mut self, arrived: Numbers, gap: bool) -> Fate {
        let (whole, lost) = if gap { (0, None) } else { up_to_gap(arrived) };
        let delivered = self.free().min(whole);
        let free = self.slots.get_mut(self.filled..).unwrap_or_default();
        arrived.first(delivered).copy_to(free);
        self.filled = self.filled.saturating_add(delivered);
        close_numbers(arrived.behind(delivered).iter());
        Fate { surplus: delivered < whole, lost }
    }

    /// Takes what an SCM_PIDFD message holds: a descriptor, or the negative error number of the
    /// failure to install it (the kernel says so here, and not by MSG_CTRUNC). It is closed where
    /// nobody asked for it, or one is here already. Returns why one that is wanted is not here.
    pub fn take_pidfd(&mut self, arrived: Numbers) -> Option<Errno> {
        let mut numbers = arrived.iter();
        let mut lost = None;
        if let Some(place) = self.pidfd.as_mut().filter(|place| ***place < 0) {
            if let Some(first) = numbers.next() {
                // Other numbers: Linux before 6.16 had none of a process waited for.
                lost = no_room(first);
                **place = first.max(NONE);
            }
        }
        close_numbers(numbers);
        lost
    }

    /// Makes what is here close-on-exec; a pidfd always is.
    pub fn close_on_exec(&self) {
        for fd in self.slots.get(..self.filled).unwrap_or_default() {
            // SAFETY: the slots up to `filled` have been filled.
            sys::close_on_exec(unsafe { fd.assume_init() });
        }
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

    #[inline(always)]
    pub fn mark(&self) -> Mark {
        Mark { filled: self.filled, pidfd: self.has_pidfd() }
    }

    /// How many descriptors have been delivered since then.
    pub fn since(&self, mark: Mark) -> usize {
        self.filled.saturating_sub(mark.filled)
    }

    /// Takes back the descriptors delivered since then, and closes them; but not a pidfd.
    #[cold]
    pub fn close_fds_since(&mut self, mark: Mark) {
        let fds = self.slots.get(mark.filled..self.filled).unwrap_or_default();
        // SAFETY: the slots up to `filled` have been filled.
        close_numbers(fds.iter().map(|fd| unsafe { fd.assume_init() }));
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
        self.close_since(Mark { filled: 0, pidfd: false });
    }
}

/// Delivers any number of descriptors, if they came alone, are all there and have room. Returns how
/// many.
#[inline(never)]
fn deliver(messages: Messages, free: &mut [Slot]) -> Option<usize> {
    let arrived = messages.only_fds()?;
    if arrived.len() > free.len() || !arrived.all_positive() {
        return None;
    }
    arrived.copy_to(free);
    Some(arrived.len())
}

/// How many descriptors stand before a negative number, and what that says.
fn up_to_gap(arrived: Numbers) -> (usize, Option<Errno>) {
    for (count, fd) in arrived.iter().enumerate() {
        if fd < 0 {
            return (count, no_room(fd).or(Some(Errno::ACCES)));
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

/// Closes every descriptor in control data.
pub fn discard(messages: Messages) {
    for message in messages {
        if let Message::Fds(numbers) | Message::Pidfd(numbers) = message {
            close_numbers(numbers.iter());
        }
    }
}

/// Closes the pidfd in control data whose end is not known, and which is zero behind it: there is no
/// more of a message than it has to hold.
pub fn discard_pidfd(messages: Messages) {
    for message in messages {
        if let Message::Pidfd(pidfd) = message {
            close_numbers(pidfd.first(1).iter());
        }
    }
}

/// Closes the descriptors in an array and leaves -1 in every slot; negative ones are skipped.
pub fn close(fds: &mut [c_int]) {
    close_numbers(fds.iter_mut().map(|slot| mem::replace(slot, NONE)));
}

/// Closes descriptors; negative numbers are skipped.
///
/// Each run of consecutive numbers is closed at once: descriptors received together have mostly
/// consecutive numbers.
fn close_numbers(fds: impl Iterator<Item = c_int>) {
    let (mut first, mut last) = (NONE, NONE);
    for fd in fds {
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
