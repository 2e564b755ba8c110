//! What C sees: a file a topic, with its functions and structures. They check, delegate, and
//! convert: raw pointers with counts end here, and the results of the floors below become what a
//! C function returns.

mod ancil;
mod arrays;
mod channel;
mod channel_recv;
mod channel_send;
pub mod constants;
mod control;
mod creds;
mod fds;
mod flags;
mod frame;
mod msg;
mod peer;
mod place;
mod rendezvous;
mod returns;
mod structures;
mod version;
