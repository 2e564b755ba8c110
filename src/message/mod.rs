//! What becomes of a message: it is put together, goes, comes, and is taken apart.

mod ahead;
mod carrier;
mod channel;
mod control;
mod descriptors;
mod elsewhere;
mod flags;
mod lossless;
mod patience;
mod payload;
mod pieces;
mod receive;
mod send;
mod sender;

pub use channel::{
    Carried, Format, Head, Incoming, Layout, Memory, Message, Next, Outgoing, State, Whole,
};
pub use control::{room, Writer};
pub use descriptors::{close, Slot, Slots};
pub use elsewhere::{encode, Left};
pub use flags::Flags;
pub use patience::Patience;
pub use payload::Payload;
pub use receive::{is_end, Ending, Received, Receiver};
pub use send::Sender;
pub use sender::UNKNOWN;
