//! Whether the tests notice when a rule of the core is broken: each mutant breaks one, in a copy of
//! the sources, and a test program has to fail.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{
    cases, copy_source, leave_cargo, run, run_ok, said, shipped, skipped_cases, source, Link,
    TempDir,
};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Mutant {
    /// The rule that it breaks.
    rule: &'static str,
    file: &'static str,
    /// What stands there once, and what takes its place.
    was: &'static str,
    is: &'static str,
    /// The program of tests/c that fails.
    caught_by: &'static str,
}

const fn mutant(
    rule: &'static str,
    file: &'static str,
    was: &'static str,
    is: &'static str,
    caught_by: &'static str,
) -> Mutant {
    Mutant { rule, file, was, is, caught_by }
}

const LOSSLESS: &str = "src/message/lossless.rs";
const RECEIVE: &str = "src/message/receive.rs";
const CONTROL: &str = "src/message/control.rs";
const CARRIER: &str = "src/message/carrier.rs";
const DESCRIPTORS: &str = "src/message/descriptors.rs";
const PIECES: &str = "src/message/pieces.rs";

const MUTANTS: &[Mutant] = &[
    mutant(
        "descriptors went only if they were cut, or others put in their place",
        LOSSLESS,
        "Ok(came) if prove(&came, &peeked) => {",
        "Ok(came) => {",
        "lossless",
    ),
    mutant(
        "what an option brings that is switched on meanwhile is cut, too",
        LOSSLESS,
        "0 => came.control_cut() && came.bytes == peeked.bytes,",
        "0 => came.control_cut(),",
        "switched",
    ),
    mutant(
        "a label that takes all the room says nothing of descriptors",
        LOSSLESS,
        "_ => brings_fds(came) || came.control_cut() && came.has_room_left(),",
        "_ => brings_fds(came) || came.control_cut(),",
        "switched",
    ),
    mutant(
        "a peek that got more of a stream than was asked for may have got its descriptors from there",
        LOSSLESS,
        "Found { received, uncertain: stream }",
        "Found { received, uncertain: false }",
        "lossless",
    ),
    mutant(
        "what a label took in the look it takes again",
        LOSSLESS,
        "control::room(0).saturating_add(found.received.others)",
        "control::room(0)",
        "labels",
    ),
    mutant(
        "what consuming installs is close-on-exec",
        LOSSLESS,
        "(Carrier::<N>::new(), sys::DONTWAIT | sys::CLOEXEC)",
        "(Carrier::<N>::new(), sys::DONTWAIT)",
        "room",
    ),
    mutant(
        "a peek for which the kernel had no memory shows nothing of descriptors",
        LOSSLESS,
        "let room = control::room(receiver.slots.free()).saturating_add(others);\n    let how = sys::DONTWAIT",
        "let room = 0;\n    let how = sys::DONTWAIT",
        "lossless",
    ),
    mutant(
        "nothing, from a datagram socket that was shut down, is no wait",
        LOSSLESS,
        "Err(Errno::AGAIN) if peeked.bytes == 0 => Ok(*peeked),",
        "",
        "lossless",
    ),
    mutant(
        "what was cut by a label is looked at again with more room",
        LOSSLESS,
        "Err(Errno::NOBUFS) if found.received.others > others => {",
        "Err(Errno::NOBUFS) if false => {",
        "labels",
    ),
    mutant(
        "a refusal by a policy is believed only after other looks",
        LOSSLESS,
        "const LOOKS: u32 = 4;",
        "const LOOKS: u32 = 1;",
        "lossless",
    ),
    mutant(
        "bytes in front of a message that is refused are delivered",
        LOSSLESS,
        "match ahead::plain_bytes(receiver.sock) {",
        "match receiver.slots.since(receiver.slots.mark()) {",
        "lossless",
    ),
    mutant(
        "a byte out of band does not stay in front of a peek",
        LOSSLESS,
        "let error = drop_out_of_band(receiver.sock, error);",
        "let _ = drop_out_of_band;",
        "lossless",
    ),
    mutant(
        "there is room for what was asked for, and no more",
        CONTROL,
        "space_of_fds(fds) + BESIDE",
        "CAPACITY",
        "room",
    ),
    mutant(
        "credentials do not cost a descriptor, nor SO_INQ, a pidfd or a time stamp",
        CONTROL,
        "const BESIDE: usize = SPACE_OF_CREDS + SPACE_OF_INT + space(TIME_STAMP) + SPACE_OF_INT;",
        "const BESIDE: usize = SPACE_OF_CREDS + SPACE_OF_INT + space(TIME_STAMP);",
        "labels",
    ),
    mutant(
        "a length that claims more than came is not believed",
        CONTROL,
        "let length = (header.cmsg_len as usize).min(self.0.len());\n        let data = self.0.get(HEADER..length)?;",
        "let length = header.cmsg_len as usize;\n        let data = self.0.get(HEADER..length)?;",
        "faults",
    ),
    mutant(
        "a receive that fails has installed a pidfd",
        CARRIER,
        "false => descriptors::discard_pidfd(left),",
        "false => {}",
        "labels",
    ),
    mutant(
        "and descriptors, where a name cannot be written",
        CARRIER,
        "true => descriptors::discard(left),",
        "true => descriptors::discard_pidfd(left),",
        "names",
    ),
    mutant(
        "what does not fit a strict call is closed",
        RECEIVE,
        "self.slots.close_all();\n",
        "",
        "receive",
    ),
    mutant(
        "a full table is told from a policy before anything is closed",
        RECEIVE,
        "(true, _) => Some(Errno::MFILE),",
        "(true, _) => Some(Errno::ACCES),",
        "limits",
    ),
    mutant(
        "a surplus is told where descriptors took all the room",
        RECEIVE,
        "_ if taken && surplus => None,",
        "",
        "room",
    ),
    mutant(
        "a datagram that was cut is an error of a strict call",
        RECEIVE,
        "if received.data_cut && self.ending == Ending::Strict {",
        "if false {",
        "receive",
    ),
    mutant(
        "a negative number is no descriptor",
        DESCRIPTORS,
        "if arrived.len() > free.len() || !arrived.all_positive() {",
        "if arrived.len() > free.len() {",
        "outcomes",
    ),
    mutant(
        "what there are no slots for is closed",
        DESCRIPTORS,
        "close_numbers(arrived.behind(delivered).iter());",
        "",
        "receive",
    ),
    mutant(
        "a pidfd that nobody asked for is closed",
        DESCRIPTORS,
        "close_numbers(numbers);\n        lost",
        "lost",
        "receive",
    ),
    mutant(
        "empty slots hold -1",
        DESCRIPTORS,
        "if self.free() > 0 {",
        "if false {",
        "receive",
    ),
    mutant(
        "only consecutive numbers are closed together",
        DESCRIPTORS,
        "if first >= 0 && last.checked_add(1) == Some(fd) {",
        "if first >= 0 && last < fd {",
        "close",
    ),
    mutant(
        "the empty message of nobody has no sender",
        "src/message/sender.rs",
        "(0, 0) => false,",
        "(0, 0) => true,",
        "creds",
    ),
    mutant(
        "a message without a sender is no message of one",
        "src/c/creds.rs",
        "None => return Err(Errno::NOMSG),",
        "None => {}",
        "creds",
    ),
    mutant(
        "pieces of two senders have none",
        PIECES,
        "if received.creds.is_none() || !sender::same(&received.creds, &piece.creds) {",
        "if received.creds.is_none() {",
        "creds",
    ),
    mutant(
        "a label of a peer can be empty",
        "src/c/peer.rs",
        "Extent::Filled(length) | Extent::Needs(length) if label.is_empty() => return Ok(length),",
        "",
        "peer",
    ),
    mutant(
        "bits that a call does not know are refused",
        "src/c/flags.rs",
        "if bits & !known != 0 {",
        "if false {",
        "arguments",
    ),
];

/// Compiles the programs that catch mutants, and runs them with the library as it is.
fn programs() -> HashMap<&'static str, PathBuf> {
    let listed = run_ok(Command::new("sh").arg("tools/c-programs.sh").current_dir(source()));
    let mut programs = HashMap::new();
    for mutant in MUTANTS {
        programs.entry(mutant.caught_by).or_insert_with(|| {
            let line = |line: &&str| line.split(' ').next() == Some(mutant.caught_by);
            let line = listed.lines().find(line).expect("a program of tests/behaviour.rs");
            let (flags, files): (Vec<_>, Vec<_>) =
                line.split(' ').skip(1).partition(|word| word.starts_with('-'));
            let files: Vec<_> =
                files.iter().map(|file| file.strip_prefix("tests/c/").unwrap_or(file)).collect();
            let program = cases(mutant.caught_by, Link::Shared, &flags, &files);
            assert_eq!(failed_cases(&program), Vec::<String>::new(), "{}", mutant.caught_by);
            program
        });
    }
    programs
}

/// The cases that fail.
fn failed_cases(program: &Path) -> Vec<String> {
    let dir = TempDir::for_all();
    // What a mutant makes hang need not hang for long.
    let output = run(Command::new(program).env("TMPDIR", dir.path()).env("CHECK_SECONDS", "60"));
    let text = said(&output);
    let failed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("FAILED ")).collect();
    let failed = failed.iter().filter_map(|line| line.split_once(':')).map(|(case, _)| case.into());
    let failed: Vec<_> = failed.collect();
    assert_eq!(failed.is_empty(), output.status.success(), "{text}");
    assert!(text.contains("ok ") || !failed.is_empty(), "{text}");
    assert!(skipped_cases(&text).len() < 10, "too little is left: {text}");
    failed
}

#[test]
fn each_rule_is_held_by_a_test() {
    let programs = programs();
    let dir = TempDir::new();
    let copy = dir.path().join("source");
    copy_source(&copy);
    let mut missed = Vec::new();
    for mutant in MUTANTS {
        let file = copy.join(mutant.file);
        let text = fs::read_to_string(&file).expect("a file of the sources");
        assert_eq!(text.matches(mutant.was).count(), 1, "{}: {}", mutant.file, mutant.was);
        fs::write(&file, text.replace(mutant.was, mutant.is)).expect("a mutant");
        let mut make = Command::new("make");
        leave_cargo(make.arg("-C").arg(&copy));
        run_ok(&mut make);
        fs::write(&file, text).expect("the file as it was");

        // The library that lies beside a program goes first.
        let name = shipped().shared.file_name().expect("a name").to_owned();
        fs::copy(copy.join("build").join(name), dir.path().join("libancillary.so.1"))
            .expect("a library");
        let program = dir.path().join("program");
        fs::copy(&programs[mutant.caught_by], &program).expect("a program");
        let failed = failed_cases(&program);
        println!("{}: {} {failed:?}", mutant.rule, mutant.caught_by);
        if failed.is_empty() {
            missed.push(mutant.rule);
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}
