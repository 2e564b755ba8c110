//! Arrays of descriptors, and the one place that decides what becomes of each that is received.

use crate::errno::Errno;
use crate::sys;
use core::mem;
use libc::c_int;

/// A slot that holds no descriptor.
const NONE: c_int = -1;

/// A caller's room for descriptors: filled from the front, -1 behind.
pub struct Slots<'a> {
    slots: &'a mut [c_int],
    filled: usize,
}

/// What became of descriptors that arrived together.
pub struct Fate {
    /// There was no room for some; they were closed.
    pub surplus: bool,
    /// Why the kernel left one out. What came behind it was closed, because what is delivered is
    /// always the beginning of what was sent.
    pub lost: Option<Errno>,
}

/// A pidfd of the sender of a message.
pub enum Pidfd {
    /// None came.
    Absent,
    /// One came; it is ours to close or to hand over.
    Installed(c_int),
    /// The kernel had one and could not install it.
    Failed(Errno),
}

impl Pidfd {
    /// Takes what an SCM_PIDFD message holds: a descriptor, or the negative error number of the
    /// failure to install it (the kernel reports that here, and not by MSG_CTRUNC).
    #[cold]
    pub fn take(arrived: &mut [c_int]) -> Pidfd {
        let first = match arrived.first_mut() {
            Some(first) => mem::replace(first, NONE),
            None => return Pidfd::Absent,
        };
        close(arrived);
        if first < 0 {
            return Pidfd::Failed(not_installed(first));
        }
        Pidfd::Installed(first)
    }

    pub fn close(&mut self) {
        if let Pidfd::Installed(fd) = mem::replace(self, Pidfd::Absent) {
            sys::close_run(fd, fd);
        }
    }
}

impl<'a> Slots<'a> {
    #[inline(always)]
    pub fn new(slots: &'a mut [c_int]) -> Slots<'a> {
        if let [one] = slots {
            *one = NONE;
        } else {
            slots.fill(NONE);
        }
        Slots { slots, filled: 0 }
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
    /// descriptor could not be installed.
    #[inline(always)]
    pub fn take(&mut self, arrived: &mut [c_int]) -> Fate {
        let signs = arrived.iter().fold(0, |signs, fd| signs | fd);
        if signs < 0 {
            return self.take_up_to_gap(arrived);
        }
        Fate { surplus: self.deliver(arrived), lost: None }
    }

    #[inline(always)]
    fn deliver(&mut self, arrived: &mut [c_int]) -> bool {
        let free = self.slots.get_mut(self.filled..).unwrap_or_default();
        for (slot, fd) in free.iter_mut().zip(arrived.iter()) {
            *slot = *fd;
        }
        let delivered = free.len().min(arrived.len());
        self.filled = self.filled.saturating_add(delivered);
        match arrived.get_mut(delivered..) {
            Some(surplus) if !surplus.is_empty() => {
                close(surplus);
                true
            }
            _ => false,
        }
    }

    #[cold]
    fn take_up_to_gap(&mut self, arrived: &mut [c_int]) -> Fate {
        let mut lost = None;
        let mut before = 0;
        for fd in arrived.iter() {
            if *fd < 0 {
                lost = Some(not_installed(*fd));
                break;
            }
            before += 1;
        }
        let surplus = self.deliver(arrived.get_mut(..before).unwrap_or_default());
        close(arrived.get_mut(before..).unwrap_or_default());
        Fate { surplus, lost }
    }

    /// Takes back what has been delivered behind the first `kept` descriptors, and closes it.
    #[cold]
    pub fn close_behind(&mut self, kept: usize) {
        close(self.slots.get_mut(kept..).unwrap_or_default());
        self.filled = self.filled.min(kept);
    }
}

/// What a negative number in the place of a descriptor says: the table of the process or that of
/// the system was full, or else something denied it.
fn not_installed(number: c_int) -> Errno {
    match Errno(number.wrapping_neg()) {
        full @ (Errno::MFILE | Errno::NFILE) => full,
        _ => Errno::ACCES,
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
