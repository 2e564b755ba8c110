//! What a round of send, receive and close takes beside the kernel's work: instructions in user
//! space, system calls and allocations, as Valgrind counts them. The counts repeat exactly.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{c_file, compile, missing, run, said, Link};
use std::path::PathBuf;
use std::process::Command;

/// The most instructions of a round, and its system calls: by a way of tests/c/round.c, with so
/// many descriptors in a message. The instructions are those of the program, the library and the C
/// library, until the last descriptor is closed.
const LIMITS: [(&str, usize, u64, u64); 6] = [
    ("fd", 1, 176, 3),
    ("fds", 1, 286, 3),
    ("lossless", 1, 632, 4),
    ("msg", 1, 460, 3),
    ("fds", 16, 590, 18),
    ("fds", 253, 4185, 255),
];

/// The system calls of a round with sixteen: one to send, one to receive, one to close each;
/// before a lossless receive one to look; for consecutive numbers one to close them all.
const CALLS: [(&str, u64); 4] = [("fds", 18), ("msg", 18), ("lossless", 19), ("close-fds", 3)];

/// The most instructions of a round on a channel, and its system calls: by a way of
/// tests/c/channel_round.c. The gathered ones are a hundred messages of 64 bytes, at one end alone.
const CHANNEL_LIMITS: [(&str, u64, u64); 4] = [
    ("send-gathered", 11_950, 2),
    ("receive-gathered", 11_700, 2),
    ("pass-one", 1_520, 3),
    ("pass-gathered", 93_800, 204),
];

/// A program, linked with the shared library. All is resolved when it starts, so that no round does
/// it.
fn program(way: &str, descriptors: usize) -> PathBuf {
    let (file, count) = match CHANNEL_LIMITS.iter().any(|(name, ..)| *name == way) {
        true => ("channel_round", String::new()),
        false => ("round", format!("-{descriptors}")),
    };
    let define = format!("-DDESCRIPTORS={descriptors}");
    let sources = [c_file(&format!("{file}.c"))];
    compile(&format!("{file}{count}"), &sources, Link::Shared, &["-O2", "-Wl,-z,now", &define])
}

/// What a tool of Valgrind says of a number of rounds, in the line with this heading.
fn observed(
    options: &[&str],
    heading: &str,
    way: &str,
    descriptors: usize,
    rounds: u64,
) -> Vec<u64> {
    let mut command = Command::new("valgrind");
    command.args(options).arg(program(way, descriptors)).args([way, &rounds.to_string()]);
    let output = run(&mut command);
    let text = said(&output);
    assert!(output.status.success(), "{command:?}: {text}");
    let (_, line) = text.split_once(heading).unwrap_or_else(|| panic!("{command:?}: {text}"));
    let words = line.lines().next().unwrap_or_default().split_whitespace();
    words.filter_map(|word| word.replace(',', "").parse().ok()).collect()
}

/// The instructions and the system calls of one round: by how much the counts of two runs differ.
fn work(way: &str, descriptors: usize) -> (u64, u64) {
    // Of as many digits as its double, so that reading the argument takes as long.
    const ROUNDS: u64 = 100;
    let options = ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-systime=yes"];
    let counts = |rounds| observed(&options, "Collected :", way, descriptors, rounds);
    let (some, more) = (counts(ROUNDS), counts(2 * ROUNDS));
    let [instructions, calls] = [0, 1].map(|column| {
        let difference = more[column] - some[column];
        assert_eq!(difference % ROUNDS, 0, "{way}: the rounds differ: {some:?}, {more:?}");
        difference / ROUNDS
    });
    (instructions, calls)
}

fn has_valgrind() -> bool {
    let there = Command::new("valgrind").arg("--version").output().is_ok();
    if !there {
        missing("valgrind");
    }
    there
}

#[test]
fn instructions_are_few() {
    if !has_valgrind() {
        return;
    }
    for (way, descriptors, limit, calls) in LIMITS {
        let (instructions, made) = work(way, descriptors);
        let about = format!("{way}, {descriptors} descriptors");
        assert!(instructions <= limit, "{about}: {instructions} instructions, over {limit}");
        assert_eq!(made, calls, "{about}: system calls");
    }
}

#[test]
fn a_channel_takes_few_as_well() {
    if !has_valgrind() {
        return;
    }
    for (way, limit, calls) in CHANNEL_LIMITS {
        let (instructions, made) = work(way, 1);
        assert!(instructions <= limit, "{way}: {instructions} instructions, over {limit}");
        assert_eq!(made, calls, "{way}: system calls");
    }
}

#[test]
fn system_calls_are_those_it_takes() {
    if !has_valgrind() {
        return;
    }
    for (way, calls) in CALLS {
        assert_eq!(work(way, 16).1, calls, "{way}");
    }
}

#[test]
fn nothing_is_allocated() {
    if !has_valgrind() {
        return;
    }
    let channel = CHANNEL_LIMITS.map(|(way, ..)| way);
    for way in CALLS.map(|(way, _)| way).into_iter().chain(channel) {
        let heap = observed(&["--tool=memcheck"], "total heap usage:", way, 16, 5);
        assert_eq!(heap, [0, 0, 0], "{way}: allocations, frees and bytes");
    }
}
