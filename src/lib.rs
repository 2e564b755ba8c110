//! File descriptors and credentials over Unix domain sockets, with a C ABI.
//!
//! `include/ancillary.h`, generated from the C functions here, is the public documentation.
//! The house has three floors, and arrows between them go downwards only:
//!
//! - `c`: what C sees. Its functions check, delegate, and convert the result.
//! - `message`: what becomes of a message. `rendezvous`: how a socket gets its name and its file.
//! - `sys`: the operating system, which nothing else calls.
//!
//! CONTRIBUTING has the map of all files.
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

pub mod c;
mod message;
mod rendezvous;
mod sys;

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
