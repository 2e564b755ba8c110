//! System calls that the library does not make, with its control data: those of io_uring, and those of
//! another library.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::document::displays;
use common::{cases, missing, pass, run_ok, source, works, Link, TempDir};
use std::fs;
use std::process::Command;

/// Runs the cases of a program that needs another library.
fn with_library(name: &str, library: &str, links: &[Link], extra: &[&str]) {
    if !works(Command::new("pkg-config").arg("--exists").arg(library)) {
        return missing(library);
    }
    let flags = run_ok(Command::new("pkg-config").args(["--cflags", "--libs"]).arg(library));
    let flags: Vec<_> = flags.split_whitespace().chain(extra.iter().copied()).collect();
    for link in links {
        pass(&mut Command::new(cases(&format!("elsewhere/{name}"), *link, &flags, &[])));
    }
}

#[test]
fn io_uring() {
    with_library("uring", "liburing", &Link::BOTH, &[]);
}

#[test]
fn io_uring_in_the_manual() {
    let page = fs::read_to_string(source().join("man/ancillary_encode.3")).expect("the page");
    let [example] = &displays(&page)[..] else { panic!("the page has one example") };
    let dir = TempDir::new();
    let file = dir.path().join("example.c");
    fs::write(&file, example).expect("a file");
    let named = format!("-DEXAMPLE=\"{}\"", file.display());
    with_library("uring_example", "liburing", &[Link::Shared], &[&named]);
}

#[test]
fn glib_gsocket() {
    with_library("gsocket", "gio-unix-2.0", &Link::BOTH, &[]);
}
