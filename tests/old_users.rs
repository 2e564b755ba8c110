//! Programs in the style of the older libancillary's users, which include nothing of ours but its
//! header: they compile, link and run unchanged.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{c_file, compile, run, said, shipped, Link, TempDir};
use std::process::Command;

fn program(name: &str, link: Link) -> Command {
    // The type of the buffers needs GNU C, as it did.
    let options = ["-D_GNU_SOURCE", "-Wno-pedantic"];
    Command::new(compile(name, &[c_file(&format!("old/{name}.c"))], link, &options))
}

fn passes(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
}

#[test]
fn a_child_passes_its_parent_a_descriptor() {
    for link in Link::BOTH {
        passes(&mut program("family", link));
    }
}

#[test]
fn a_client_sends_a_descriptor_and_waits_for_an_answer() {
    for link in Link::BOTH {
        let dir = TempDir::new();
        passes(program("client", link).arg(dir.path().join("socket")));
    }
}

#[test]
fn a_loop_ends_at_the_end_of_the_stream() {
    for link in Link::BOTH {
        passes(&mut program("loop", link));
    }
}

#[test]
fn an_array_of_ten_arrives() {
    for link in Link::BOTH {
        passes(&mut program("ten", link));
    }
}

#[test]
fn a_buffer_is_not_overrun() {
    for link in Link::BOTH {
        passes(&mut program("buffer", link));
    }
}

#[test]
fn functions_are_found_at_run_time() {
    passes(program("load", Link::Static).arg(&shipped().shared));
}
