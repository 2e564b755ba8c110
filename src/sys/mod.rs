//! The operating system: what knows which it is, and alone calls it.
//!
//! Every call goes through a function of the C library, so that preloaded wrappers, sanitizers
//! and thread cancellation see it.

mod clock;
mod errno;
mod fd;
mod files;
mod limits;
mod messages;
mod names;
mod options;
mod place;
mod process;

pub use clock::*;
pub use errno::*;
pub use fd::*;
pub use files::*;
pub use limits::*;
pub use messages::*;
pub use names::*;
pub use options::*;
pub use place::place;
pub use process::*;

// The libc crate without its default features leaves linking the C library to us.
#[link(name = "c")]
extern "C" {}
