//! File descriptors and credentials over Unix domain sockets, with a C ABI.
//!
//! `include/ancillary.h`, generated from the C functions here, is the public documentation.
//! Inside, a call takes one way:
//!
//! - `fd`, `fds`, `msg`, `creds`, `peer`, `rendezvous`: the C functions. They check arguments,
//!   delegate, and convert the result.
//! - `plain`: the usual call, straight through its system call.
//! - `send`, `receive`, `lossless`: what happens to a message, one system call at a time.
//! - `payload`: how far a payload has gone. `descriptors`: what becomes of descriptors received.
//! - `control`: the layout of control data, cmsg(3). `sys`: the operating system.
//! - `address`: names of sockets.
//! - `ancil`: the functions of the older library of that name.
//! - `arrays`: what C hands over as pointer and count. `identity`: who sent a message.
//! - `errno`: how a result becomes a C return value. `constants`, `flags`: what a caller may
//!   ask for.
//!
//! Nothing here allocates, locks, keeps state between calls, or panics: also in a build that checks
//! arithmetic. Where the compiler cannot see that a result is in range, an operator would become
//! code that panics there, so a method stands in its place: mostly `wrapping_`, which costs nothing.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]
// What C must guarantee stands in the C documentation of each function.
#![allow(clippy::missing_safety_doc)]
// The types that C sees have C names.
#![allow(non_camel_case_types)]
// Which integer types C uses differs between systems.
#![allow(clippy::unnecessary_cast)]

mod address;
mod ancil;
mod arrays;
pub mod constants;
mod control;
mod creds;
mod descriptors;
mod errno;
mod fd;
mod fds;
mod flags;
mod identity;
mod lossless;
mod msg;
mod payload;
mod peer;
mod plain;
mod receive;
mod rendezvous;
mod send;
mod sys;
mod version;

/// No panic is reachable in a release build: were one, this name would stay undefined in the
/// library and the check of its symbols would show it.
#[cfg(all(not(test), not(debug_assertions)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    extern "C" {
        fn ancillary_a_panic_is_reachable() -> !;
    }
    // SAFETY: never runs, because nothing that could get here links.
    unsafe { ancillary_a_panic_is_reachable() }
}

/// A development build checks arithmetic and ends the process where a check fails.
#[cfg(all(not(test), debug_assertions))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // SAFETY: abort(3) takes nothing and may be called anywhere.
    unsafe { libc::abort() }
}
