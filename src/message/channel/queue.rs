//! What waits in an array of the caller's, in order.

use crate::message::descriptors;
use crate::sys::{Errno, Result};
use core::mem::MaybeUninit;
use core::{ptr, slice};
use libc::c_int;

/// Where in the array that is. All zero: nothing waits.
#[repr(C)]
pub struct Place {
    start: usize,
    end: usize,
}

impl Place {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

/// Memory for bytes, and for descriptors.
pub type Memory<'a> = (&'a mut [MaybeUninit<u8>], &'a mut [MaybeUninit<c_int>]);

pub struct Queue<'a, T> {
    memory: &'a mut [MaybeUninit<T>],
    place: &'a mut Place,
}

impl<'a, T: Copy> Queue<'a, T> {
    /// What waits there; an error where it does not lie in the memory.
    #[inline(always)]
    pub fn new(memory: &'a mut [MaybeUninit<T>], place: &'a mut Place) -> Result<Queue<'a, T>> {
        if place.start > place.end || place.end > memory.len() {
            return Err(Errno::INVAL);
        }
        Ok(Queue { memory, place })
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.place.end.wrapping_sub(self.place.start)
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.place.is_empty()
    }

    /// How much can wait at most.
    #[inline(always)]
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// How much more can wait.
    #[inline(always)]
    pub fn space(&self) -> usize {
        self.capacity().wrapping_sub(self.len())
    }

    /// Where in the memory it begins.
    #[inline(always)]
    pub fn start(&self) -> usize {
        self.place.start
    }

    /// Where in the memory it ends.
    #[inline(always)]
    pub fn end(&self) -> usize {
        self.place.end
    }

    /// What lies between two places of the memory.
    ///
    /// # Safety
    /// `start` is not behind `end`, nor that behind the end of the memory, and all between them has
    /// been written.
    #[inline(always)]
    unsafe fn part(&mut self, start: usize, end: usize) -> &mut [T] {
        // SAFETY: it lies in the memory, as the caller promises, and has been written.
        unsafe {
            let part = self.memory.get_unchecked_mut(start..end);
            slice::from_raw_parts_mut(part.as_mut_ptr().cast(), part.len())
        }
    }

    #[inline(always)]
    pub fn waiting(&mut self) -> &mut [T] {
        // SAFETY: what lies in the place of the queue has been written.
        unsafe { self.part(self.place.start, self.place.end) }
    }

    /// The first so many.
    #[inline(always)]
    pub fn first(&mut self, count: usize) -> &mut [T] {
        let count = count.min(self.len());
        // SAFETY: so many lie in the place of the queue, and have been written.
        unsafe { self.part(self.place.start, self.place.start.wrapping_add(count)) }
    }

    /// The first so many, which wait no longer: they stay where they are until something is put
    /// there.
    #[inline(always)]
    pub fn take(&mut self, count: usize) -> &mut [T] {
        let (start, count) = (self.place.start, count.min(self.len()));
        self.place.start = start.wrapping_add(count);
        // SAFETY: so many lay in the place of the queue, and have been written.
        unsafe { self.part(start, self.place.start) }
    }

    /// So many at a place in the memory, if they wait there.
    pub fn at(&mut self, start: usize, count: usize) -> Option<&mut [T]> {
        let end = start.checked_add(count)?;
        if start < self.place.start || end > self.place.end {
            return None;
        }
        // SAFETY: they lie in the place of the queue, and have been written.
        Some(unsafe { self.part(start, end) })
    }

    /// The memory behind what waits.
    #[inline(always)]
    pub fn behind(&mut self) -> &mut [MaybeUninit<T>] {
        // SAFETY: the end lies in the memory, as `new` has found and everything keeps it.
        unsafe { self.memory.get_unchecked_mut(self.place.end..) }
    }

    /// So many have been written behind what waits, and wait as well.
    ///
    /// # Safety
    /// They have been, in `behind`.
    #[inline(always)]
    pub unsafe fn grow(&mut self, count: usize) {
        self.place.end = self.place.end.wrapping_add(count);
    }

    /// Puts some behind what waits, if there is space there.
    #[inline(always)]
    pub fn push(&mut self, items: &[T]) {
        if let Some(place) = self.behind().get_mut(..items.len()) {
            // SAFETY: there are so many in both, and what is written to is ours alone.
            unsafe {
                ptr::copy_nonoverlapping(items.as_ptr(), place.as_mut_ptr().cast(), items.len());
                self.grow(items.len());
            }
        }
    }

    /// The first so many wait no longer.
    #[inline(always)]
    pub fn skip(&mut self, count: usize) {
        self.place.start = self.place.start.wrapping_add(count.min(self.len()));
        if self.is_empty() {
            self.clear();
        }
    }

    #[inline(always)]
    pub fn clear(&mut self) {
        (self.place.start, self.place.end) = (0, 0);
    }

    /// Moves what waits to the front of the memory, so that all the space is behind it. Returns how
    /// far that was.
    #[cold]
    #[inline(never)]
    pub fn move_to_front(&mut self) -> usize {
        let (far, count) = (self.place.start, self.len());
        // SAFETY: so many lie there, and so many from the beginning of the memory.
        unsafe { ptr::copy(self.waiting().as_ptr(), self.memory.as_mut_ptr().cast(), count) }
        (self.place.start, self.place.end) = (0, count);
        far
    }
}

impl Queue<'_, c_int> {
    /// Closes the first so many descriptors, which wait no longer; there may be fewer.
    #[inline(always)]
    pub fn close_first(&mut self, count: usize) {
        descriptors::close(self.first(count));
        self.skip(count);
    }
}

/// Closes the descriptors that wait in a memory, if they lie in it.
#[cold]
pub fn close_waiting(memory: &mut [MaybeUninit<c_int>], place: &mut Place) {
    if let Ok(mut fds) = Queue::new(memory, place) {
        fds.close_first(usize::MAX);
    }
}
