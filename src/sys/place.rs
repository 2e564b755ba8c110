//! Moves descriptors to consecutive numbers of the table.

use super::errno::{checked, Errno, Result};
use super::fd::{close_run, duplicate, is_open};
use core::cell::Cell;
use core::ops::Range;
use libc::c_int;

/// Moves descriptors to the numbers from `first` onwards, and closes the old ones. `fds` then has
/// the new numbers. On failure each is open under the number that `fds` has then, and only that.
///
/// First those that are where one is to go are duplicated, to numbers behind all of these places.
/// They are not closed: another thread could open a file there before the place is taken. Then
/// each is put in its place, which closes what was there. What is to be closed on failure are
/// always places: there is a slot for each, and so no memory is needed but `fds`.
pub fn place(fds: &mut [c_int], first: c_int) -> Result<()> {
    let count = c_int::try_from(fds.len()).map_err(|_| Errno::INVAL)?;
    let end = first.checked_add(count).ok_or(Errno::INVAL)?;
    if first < 0 {
        return Err(Errno::INVAL);
    }
    if !fds.iter().all(|fd| is_open(*fd)) {
        return Err(Errno::BADF);
    }
    let places = first..end;
    let slots = Slots { slots: Cell::from_mut(fds).as_slice_of_cells(), places: places.clone() };
    slots.make_way()?;
    slots.put_in_place()?;
    sort(slots.slots);
    close_sorted(slots.slots);
    for (slot, place) in slots.slots.iter().zip(places) {
        slot.set(place);
    }
    Ok(())
}

/// A slot for each descriptor: it has its number. And a slot for each place: its sign says that
/// what stands there has been duplicated.
struct Slots<'a> {
    slots: &'a [Cell<c_int>],
    places: Range<c_int>,
}

fn number(slot: &Cell<c_int>) -> c_int {
    match slot.get() {
        marked if marked < 0 => !marked,
        number => number,
    }
}

fn is_marked(slot: &Cell<c_int>) -> bool {
    slot.get() < 0
}

fn set(slot: &Cell<c_int>, number: c_int, marked: bool) {
    slot.set(if marked { !number } else { number });
}

impl Slots<'_> {
    /// The slot for the place where a descriptor is, if it is in one.
    fn where_is(&self, fd: c_int) -> Option<&Cell<c_int>> {
        let index = fd.checked_sub(self.places.start)?;
        self.slots.get(usize::try_from(index).ok()?)
    }

    fn make_way(&self) -> Result<()> {
        for slot in self.slots {
            let fd = number(slot);
            if let Some(place) = self.where_is(fd) {
                let other = duplicate(fd, self.places.end)
                    .map_err(|error| self.undo(error, self.places.end))?;
                set(slot, other, is_marked(slot));
                set(place, number(place), true);
            }
        }
        Ok(())
    }

    /// From the last place to the first: if there are too many, nothing has been done.
    fn put_in_place(&self) -> Result<()> {
        let mut from = self.places.end;
        for (slot, place) in self.slots.iter().zip(self.places.clone()).rev() {
            put(number(slot), place).map_err(|error| self.undo(error, from))?;
            // What stood there before is no more.
            set(slot, number(slot), false);
            from = place;
        }
        Ok(())
    }

    /// Closes all but one of the numbers that a descriptor has: the places that have been taken,
    /// `from` one on, and those from where it has been duplicated.
    #[cold]
    fn undo(&self, error: Errno, from: c_int) -> Errno {
        // One that was given twice, and duplicated once, stays open here.
        for slot in self.slots {
            if let Some(place) = self.where_is(number(slot)) {
                set(place, number(place), false);
            }
        }
        for (slot, place) in self.slots.iter().zip(self.places.clone()) {
            if place >= from || is_marked(slot) {
                close_run(place, place);
            }
            set(slot, number(slot), false);
        }
        error
    }
}

/// dup3(2), which takes the close-on-exec flag away.
fn put(fd: c_int, place: c_int) -> Result<()> {
    loop {
        // SAFETY: the caller owns what is at either number, and says that it is to be closed.
        match checked(|| unsafe { libc::dup3(fd, place, 0) }) {
            Err(Errno::INTR) => {}
            // The descriptor is open, so it is the place that there cannot be.
            Err(Errno::BADF) => return Err(Errno::MFILE),
            result => return result.map(|_| ()),
        }
    }
}

/// Sorts in place, by Shell's method.
fn sort(numbers: &[Cell<c_int>]) {
    let mut gap = numbers.len() / 2;
    while gap > 0 {
        for start in gap..numbers.len() {
            let mut at = start;
            while let Some(below) = at.checked_sub(gap) {
                match (numbers.get(below), numbers.get(at)) {
                    // Cell::swap() panics where cells overlap.
                    (Some(low), Some(high)) if low.get() > high.get() => {
                        high.set(low.replace(high.get()));
                    }
                    _ => break,
                }
                at = below;
            }
        }
        gap = if gap == 2 { 1 } else { gap.wrapping_mul(5) / 11 };
    }
}

/// Closes each once, consecutive numbers together.
fn close_sorted(numbers: &[Cell<c_int>]) {
    let mut run: Option<(c_int, c_int)> = None;
    for fd in numbers.iter().map(Cell::get) {
        run = match run {
            Some((first, last)) if fd == last || Some(fd) == last.checked_add(1) => {
                Some((first, fd))
            }
            Some((first, last)) => {
                close_run(first, last);
                Some((fd, fd))
            }
            None => Some((fd, fd)),
        };
    }
    if let Some((first, last)) = run {
        close_run(first, last);
    }
}
