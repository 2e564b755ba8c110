//! Channels: whole messages with descriptors on a stream, over many system calls. What waits, to be
//! taken or to be sent, lies in memory of the caller's.

mod backlog;
mod format;
mod incoming;
mod message;
mod outgoing;
mod queue;

pub use format::{Format, Head, Layout};
pub use incoming::{Incoming, Next, Whole};
pub use message::{Carried, Message};
pub use outgoing::Outgoing;
pub use queue::Memory;

/// What a channel keeps between calls. All zero: a new one.
#[repr(C)]
pub struct State {
    pub incoming: incoming::State,
    pub outgoing: outgoing::State,
}
