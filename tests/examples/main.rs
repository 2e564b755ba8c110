//! The programs of `c-examples`, linked with the libraries as they are shipped: a file for each
//! group of programs, and one for what all have in common. `hostile.rs` is a test program of its
//! own, in which nothing else runs.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

#[path = "../common/mod.rs"]
mod common;

mod bulk;
mod channel;
mod connections;
mod demo;
mod echo;
mod every;
mod identity;
mod managed;
mod restart;
