//! Receiving on a channel: what has come, and the message at its front.
//!
//! Descriptors come in the order of the messages that they belong to, with a byte of theirs or with
//! one in front of it, so the first that wait are those of the first message that has some.

use super::format::{Format, Layout};
use super::queue::{close_waiting, Memory, Place, Queue};
use crate::message::{Ending, Flags, Patience, Payload, Received, Receiver, Slots};
use crate::sys::{self, Errno, How, Readiness, Result, SCM_MAX_FD};
use core::mem::{self, MaybeUninit};
use libc::{c_int, iovec};

/// What is kept between calls.
#[repr(C)]
pub struct State {
    bytes: Place,
    fds: Place,
    now: Now,
}

#[repr(C)]
struct Now {
    /// How much padding of the message that has been taken last is still to come.
    owed: usize,
    /// How many of the descriptors that wait are lent with it.
    lent_fds: u32,
    /// Why nothing more is received: an error number, or `ENDED`.
    over: u32,
}

/// The end between two messages, which is no error number.
const ENDED: u32 = u32::MAX;

impl State {
    /// Closes the descriptors that are in this memory.
    pub fn close(&mut self, fds: &mut [MaybeUninit<c_int>]) {
        close_waiting(fds, &mut self.fds);
    }

    /// Whether nothing is received any more.
    pub fn is_over(&self) -> bool {
        self.now.over != 0
    }
}

/// What knows a format of the caller's own.
pub trait Cut: Fn(&[u8], &mut Layout) -> Result<bool> {}

impl<T: Fn(&[u8], &mut Layout) -> Result<bool>> Cut for T {}

/// What is lent of a message that is whole.
pub struct Whole<'a> {
    pub payload: &'a [u8],
    pub fds: &'a mut [c_int],
}

pub enum Next {
    Message(Layout),
    End,
    /// The message is so long at least, and there will never be room for it.
    TooLong(usize),
}

/// What the bytes begin with.
enum Front {
    Whole,
    Part,
    TooLong(usize),
}

pub struct Incoming<'a> {
    sock: c_int,
    flags: Flags,
    bytes: Queue<'a, u8>,
    fds: Queue<'a, c_int>,
    now: &'a mut Now,
}

impl<'a> Incoming<'a> {
    #[inline(always)]
    pub fn new(
        sock: c_int,
        flags: Flags,
        (bytes, fds): Memory<'a>,
        state: &'a mut State,
    ) -> Result<Incoming<'a>> {
        let bytes = Queue::new(bytes, &mut state.bytes)?;
        let fds = Queue::new(fds, &mut state.fds)?;
        Ok(Incoming { sock, flags, bytes, fds, now: &mut state.now })
    }

    /// The usual case of what `next` does: a plain message that is here already, behind one without
    /// descriptors.
    #[inline(always)]
    pub fn next_usual(&mut self, format: Format) -> Option<Layout> {
        if self.now.lent_fds > 0 || self.now.over != 0 {
            return None;
        }
        if format != Format::PLAIN || format.misaligned(self.bytes.start()) {
            return None;
        }
        let mut layout = Layout::NONE;
        match self.front(Format::PLAIN, &none, &mut layout) {
            Ok(Front::Whole) => Some(layout),
            _ => None,
        }
    }

    /// Whether anything can ever come.
    pub fn has_room(&self) -> bool {
        self.bytes.capacity() > 0
    }

    /// Looks for the next message.
    #[inline(always)]
    pub fn next(&mut self, format: Format, cut: impl Cut) -> Result<Next> {
        // Descriptors that are lent, and that the caller has not taken, are closed.
        let lent = mem::take(&mut self.now.lent_fds) as usize;
        self.fds.close_first(lent);
        let mut patience = Patience::polling(self.sock, self.flags, Readiness::Receive);
        let mut layout = Layout::NONE;
        loop {
            if format.misaligned(self.bytes.start()) {
                self.bytes.move_to_front();
            }
            let front = self.front(format, &cut, &mut layout);
            if let Ok(Front::Whole) = front {
                return Ok(Next::Message(layout));
            }
            match self.now.over {
                0 => {}
                ENDED => return Ok(Next::End),
                error => return Err(self.fail(Errno::new(error as c_int))),
            }
            match front {
                Ok(Front::TooLong(len)) => {
                    // A larger buffer begins with what is in this.
                    self.bytes.move_to_front();
                    return Ok(Next::TooLong(len));
                }
                Ok(_) => {}
                Err(error) => return Err(self.fail(error)),
            }
            if !self.receive(&mut patience)? {
                return Ok(Next::End);
            }
        }
    }

    /// Whether the bytes begin with a whole message, or one that is too long, if that can be told.
    #[inline(always)]
    fn front(&mut self, format: Format, cut: &impl Cut, layout: &mut Layout) -> Result<Front> {
        let (have, most) = (self.bytes.len(), self.bytes.capacity());
        if !format.read(self.bytes.waiting(), layout, cut)? {
            return Ok(match have < most {
                true => Front::Part,
                false => Front::TooLong(most.saturating_add(1)),
            });
        }
        let len = layout.len();
        if layout.nfds <= self.fds.len() && len <= have {
            return Ok(Front::Whole);
        }
        if layout.nfds > self.fds.capacity() {
            return Err(Errno::PROTO);
        }
        match (len > most, len > have) {
            (true, _) => Ok(Front::TooLong(len)),
            (false, true) => Ok(Front::Part),
            (false, false) => Err(Errno::PROTO),
        }
    }

    /// Lends the message that is here, until the next one is looked for.
    #[inline(always)]
    pub fn lend(&mut self, layout: &Layout) -> Whole<'_> {
        let all = layout.len().saturating_add(layout.padding);
        let message = self.bytes.take(all);
        self.now.owed = all.wrapping_sub(message.len());
        self.now.lent_fds = layout.nfds as u32;
        let payload = message.get(layout.header..layout.len()).unwrap_or_default();
        Whole { payload, fds: self.fds.first(layout.nfds) }
    }

    /// Waits for something to come, and takes it; false: the end.
    fn receive(&mut self, patience: &mut Patience) -> Result<bool> {
        self.bytes.move_to_front();
        self.fds.move_to_front();
        let mut how = sys::DONTWAIT;
        let received = loop {
            match sys::uncancelled(|| self.receive_now(how)) {
                Ok(received) => break received,
                // What goes wrong with the wait ends nothing.
                Err(error @ (Errno::AGAIN | Errno::INTR)) => how = patience.again(error, how)?,
                Err(error) => return Err(self.why(error)),
            }
        };
        // SAFETY: so many bytes have been received behind those that wait.
        unsafe { self.bytes.grow(received.bytes) };
        let padding = self.bytes.take(self.now.owed).len();
        self.now.owed = self.now.owed.wrapping_sub(padding);
        let lost = match received.surplus || received.data_cut {
            true => Some(Errno::PROTO),
            false => received.lost,
        };
        if let Some(error) = lost {
            // What came before that, and is whole, is still to be taken.
            self.now.over = error.number() as u32;
        }
        if received.bytes > 0 {
            return Ok(true);
        }
        if !self.bytes.is_empty() || !self.fds.is_empty() {
            return Err(self.fail(Errno::PROTO));
        }
        // A socket that keeps messages apart gives an empty one.
        if matches!(sys::socket_type(self.sock), Ok(kind) if kind != libc::SOCK_STREAM) {
            return Err(self.fail(Errno::PROTOTYPE));
        }
        self.now.over = ENDED;
        Ok(false)
    }

    /// Takes what there is, behind what is here.
    fn receive_now(&mut self, how: How) -> Result<Received> {
        let room = self.bytes.behind();
        let iov = [iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }];
        let flags = self.flags.once();
        let mut receiver = Receiver {
            sock: self.sock,
            flags,
            ending: Ending::Tolerant,
            payload: Payload::flat(&iov),
            slots: Slots::new(first_of(self.fds.behind())),
            name: None,
        };
        let mut patience = Patience::new(self.sock, flags, Readiness::Receive);
        let outcome = receiver.receive_piece(&mut patience, how);
        let count = receiver.slots.filled();
        // What is behind them is no caller's, and needs no -1.
        mem::forget(receiver);
        // SAFETY: so many descriptors have been delivered behind those that wait.
        unsafe { self.fds.grow(count) };
        outcome
    }

    /// An error of a system call: what a later one can get over leaves all as it is.
    #[cold]
    fn why(&mut self, error: Errno) -> Errno {
        match error {
            Errno::MFILE | Errno::NFILE | Errno::ACCES | Errno::NOBUFS if self.flags.lossless() => {
                error
            }
            // There is no room for descriptors that nothing received so far asks for.
            Errno::TOOBIG => self.fail(Errno::PROTO),
            error => self.fail(error),
        }
    }

    /// Ends receiving.
    #[cold]
    fn fail(&mut self, error: Errno) -> Errno {
        self.close();
        self.now.over = error.number() as u32;
        error
    }

    /// Closes what is here.
    fn close(&mut self) {
        self.fds.close_first(usize::MAX);
        self.bytes.clear();
        (self.now.owed, self.now.lent_fds) = (0, 0);
    }
}

/// Of a format that is not the caller's own.
fn none(_: &[u8], _: &mut Layout) -> Result<bool> {
    Ok(false)
}

/// The room that the descriptors of one system call can take.
fn first_of(room: &mut [MaybeUninit<c_int>]) -> &mut [MaybeUninit<c_int>] {
    let most = room.len().min(SCM_MAX_FD);
    room.get_mut(..most).unwrap_or_default()
}
