//! System calls that the library does not make, with its control data: those of io_uring, and those of
//! another library.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{cases, missing, pass, run_ok, works, Link};
use std::process::Command;

/// Runs the cases of a program that needs another library.
fn with_library(name: &str, library: &str) {
    if !works(Command::new("pkg-config").arg("--exists").arg(library)) {
        return missing(library);
    }
    let flags = run_ok(Command::new("pkg-config").args(["--cflags", "--libs"]).arg(library));
    let flags: Vec<_> = flags.split_whitespace().collect();
    for link in Link::BOTH {
        pass(&mut Command::new(cases(&format!("elsewhere/{name}"), link, &flags, &[])));
    }
}

#[test]
fn io_uring() {
    with_library("uring", "liburing");
}

#[test]
fn glib_gsocket() {
    with_library("gsocket", "gio-unix-2.0");
}
