//! What waits to be sent.
//!
//! Descriptors are attached to the first byte of a system call. So what waits is divided into
//! sends: of each it is known how many bytes it has, and how many descriptors go with them. Those of
//! the first are kept apart; each further one has a `Record` in front of its bytes.

use super::format::Wrapping;
use super::message::{Carried, Message};
use super::queue::{close_waiting, Memory, Place, Queue};
use crate::sys::{Result, MAX_FDS};
use core::mem::{self, size_of, MaybeUninit};
use libc::c_int;

/// What is kept between calls.
#[repr(C)]
pub struct State {
    bytes: Place,
    fds: Place,
    sends: Sends,
}

#[repr(C)]
struct Sends {
    /// The first: how many bytes are left of it, 0: all that wait, because it is the last as well.
    first_len: usize,
    /// Where in the memory the record of the last one is; 0: that is the first.
    last_at: usize,
    /// How many descriptors are to go with the next byte of the first.
    first_nfds: u32,
    /// How many descriptors the last one has.
    last_nfds: u32,
    /// The last takes no more descriptors: a part of it has gone, or it has some that go alone.
    closed: u32,
}

/// How many bytes and descriptors a send has that is not the first; 0 bytes: all that wait behind it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record {
    len: usize,
    nfds: usize,
}

const RECORD: usize = size_of::<Record>();

impl Record {
    fn to_bytes(self) -> [u8; RECORD] {
        // SAFETY: two integers are as many bytes.
        unsafe { mem::transmute(self) }
    }

    fn from_bytes(bytes: [u8; RECORD]) -> Record {
        // SAFETY: any bytes are two integers.
        unsafe { mem::transmute(bytes) }
    }
}

impl State {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Closes the descriptors of what waits in this memory.
    pub fn close(&mut self, fds: &mut [MaybeUninit<c_int>]) {
        close_waiting(fds, &mut self.fds);
    }
}

impl Sends {
    const NONE: Sends = Sends { first_len: 0, last_at: 0, first_nfds: 0, last_nfds: 0, closed: 0 };
}

pub struct Backlog<'a> {
    bytes: Queue<'a, u8>,
    fds: Queue<'a, c_int>,
    sends: &'a mut Sends,
}

impl<'a> Backlog<'a> {
    #[inline(always)]
    pub fn new((bytes, fds): Memory<'a>, state: &'a mut State) -> Result<Backlog<'a>> {
        let bytes = Queue::new(bytes, &mut state.bytes)?;
        let fds = Queue::new(fds, &mut state.fds)?;
        Ok(Backlog { bytes, fds, sends: &mut state.sends })
    }

    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes, and how many descriptors, can wait at most.
    #[inline(always)]
    pub fn capacity(&self) -> (usize, usize) {
        (self.bytes.capacity(), self.fds.capacity())
    }

    /// What the next system call is to send of it.
    pub fn first(&mut self) -> Option<(&[u8], &[c_int])> {
        let bytes = self.bytes.waiting();
        let len = match self.sends.first_len {
            0 => bytes.len(),
            len => len,
        };
        let fds = self.fds.waiting().get(..self.sends.first_nfds as usize)?;
        bytes.get(..len).filter(|bytes| !bytes.is_empty()).map(|bytes| (bytes, fds))
    }

    /// Moves past bytes that a system call has sent, with the descriptors that went with them.
    pub fn went(&mut self, sent: usize) {
        let nfds = match sent {
            0 => 0,
            _ => MAX_FDS.min(self.sends.first_nfds as usize),
        };
        self.fds.close_first(nfds);
        self.sends.first_nfds = self.sends.first_nfds.wrapping_sub(nfds as u32);
        self.bytes.skip(sent);
        if self.sends.last_at == 0 {
            self.sends.closed = 1;
        }
        if self.is_empty() {
            *self.sends = Sends::NONE;
        }
        if self.sends.first_len == 0 {
            return;
        }
        self.sends.first_len = self.sends.first_len.saturating_sub(sent);
        if self.sends.first_len == 0 {
            self.next_send();
        }
    }

    /// The first send has gone: the one behind it is the first.
    fn next_send(&mut self) {
        let at = self.bytes.start();
        if at == self.sends.last_at {
            self.sends.last_at = 0;
        }
        if let Some(record) = self.record(at) {
            let Record { len, nfds } = Record::from_bytes(*record);
            (self.sends.first_len, self.sends.first_nfds) = (len, nfds as u32);
        }
        self.bytes.skip(RECORD);
    }

    fn record(&mut self, at: usize) -> Option<&mut [u8; RECORD]> {
        self.bytes.at(at, RECORD)?.try_into().ok()
    }

    /// Whether a message goes with the last send: one without descriptors does.
    fn joins(&self, message: &Message) -> bool {
        let nfds = message.nfds();
        let all = nfds.saturating_add(self.sends.last_nfds as usize);
        nfds == 0 || (message.gathers && self.sends.closed == 0 && all <= MAX_FDS)
    }

    /// Whether there is space for a message to wait.
    pub fn fits(&self, message: &Message) -> bool {
        let record = if self.bytes.is_empty() || self.joins(message) { 0 } else { RECORD };
        message.len().saturating_add(record) <= self.bytes.space()
            && message.nfds() <= self.fds.space()
    }

    /// Puts the bytes of a message behind what waits, if there is space there: they go with the last
    /// send.
    #[inline(always)]
    pub fn put(&mut self, wrapping: &Wrapping, payload: &[u8]) -> Option<()> {
        let len = wrapping.around().saturating_add(payload.len());
        wrapping.put_around(payload, self.bytes.behind().get_mut(..len)?);
        // SAFETY: so many have been written there.
        unsafe { self.bytes.grow(len) };
        Some(())
    }

    /// Puts a message, for which there is space, behind what waits; or, where nothing does, what is
    /// left of one whose first so many bytes have gone.
    pub fn append(&mut self, message: &mut Message, done: usize) {
        let len = message.len().wrapping_add(RECORD);
        if self.bytes.behind().len() < len {
            self.make_space();
        }
        let nfds = message.nfds();
        if self.is_empty() {
            let closed = u32::from(done > 0 || (nfds > 0 && !message.gathers));
            let nfds = nfds as u32;
            *self.sends = Sends { first_nfds: nfds, last_nfds: nfds, closed, ..Sends::NONE };
        } else if nfds > 0 {
            self.add_fds(message);
        }
        if self.put(&message.wrapping, message.payload).is_some() && done > 0 {
            self.bytes.skip(done);
        }
        if let (Carried::Taken(fds), true) = (&mut message.fds, nfds > 0) {
            if self.fds.behind().len() < nfds {
                self.fds.move_to_front();
            }
            self.fds.push(fds);
            fds.fill(-1);
        }
    }

    /// Counts descriptors to the last send, or begins another.
    #[inline(never)]
    fn add_fds(&mut self, message: &Message) {
        let nfds = message.nfds();
        if !self.joins(message) {
            self.begin_send();
        }
        let count = self.sends.last_nfds.wrapping_add(nfds as u32);
        (self.sends.last_nfds, self.sends.closed) = (count, u32::from(!message.gathers));
        match self.sends.last_at {
            0 => self.sends.first_nfds = count,
            at => self.set_record(at, Record { len: 0, nfds: count as usize }),
        }
    }

    /// What comes behind is another send.
    fn begin_send(&mut self) {
        let (end, nfds) = (self.bytes.end(), self.sends.last_nfds as usize);
        match self.sends.last_at {
            0 => self.sends.first_len = self.bytes.len(),
            at => {
                let len = end.saturating_sub(at).saturating_sub(RECORD);
                self.set_record(at, Record { len, nfds });
            }
        }
        self.bytes.push(&Record { len: 0, nfds: 0 }.to_bytes());
        (self.sends.last_at, self.sends.last_nfds) = (end, 0);
    }

    fn set_record(&mut self, at: usize, new: Record) {
        if let Some(record) = self.record(at) {
            *record = new.to_bytes();
        }
    }

    #[cold]
    #[inline(never)]
    fn make_space(&mut self) {
        let far = self.bytes.move_to_front();
        self.sends.last_at = self.sends.last_at.saturating_sub(far);
    }

    /// Closes what waits.
    pub fn close(&mut self) {
        self.fds.close_first(usize::MAX);
        self.bytes.clear();
        *self.sends = Sends::NONE;
    }
}
