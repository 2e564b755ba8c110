//! `make demo`, which runs `tools/demo.sh`.

use crate::common::program::{example, install, until, End, Program, ENDINGS};
use crate::common::{self, Link, TempDir};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The script, over programs linked so, with a folder for its temporary files.
fn demo(link: Link) -> (Command, TempDir, PathBuf) {
    let dir = TempDir::new();
    let temporary = dir.path().join("tmp");
    fs::create_dir_all(dir.path().join("examples")).unwrap();
    fs::create_dir(&temporary).unwrap();
    for name in ["server", "worker", "client"] {
        symlink(example(name, link), dir.path().join("examples").join(name)).unwrap();
    }
    let mut command = Command::new(common::source().join("tools/demo.sh"));
    command.arg(dir.path()).env("TMPDIR", &temporary);
    (command, dir, temporary)
}

/// Checks that nothing of a process group is running, nor any file left.
fn nothing_is_left(program: &Program, temporary: &Path) {
    program.leaves_nothing();
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}

#[test]
fn the_demonstration_shows_it_and_leaves_nothing() {
    for link in Link::BOTH {
        let (mut command, _dir, temporary) = demo(link);
        let program = Program::start(&mut command);
        assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
        assert!(program.complaints().is_empty());
        let lines = program.all_lines().join("\n");
        for part in [
            "Listening for descriptors on ",
            "Now waiting for incoming connections to 127.0.0.1 port ",
            "Connection from the server.",
            "Connection transferred to the worker process.",
            "You asked: Who are you?",
            "Closed connection to server.",
            "Terminated.",
        ] {
            assert!(lines.contains(part), "no {part:?} in:\n{lines}");
        }
        nothing_is_left(&program, &temporary);
    }
}

#[test]
fn the_demonstration_leaves_nothing_when_it_is_interrupted() {
    let (mut command, _dir, temporary) = demo(Link::Shared);
    for round in 0..20 {
        let program = Program::start(&mut command);
        let start = Instant::now();
        until("a moment", || (start.elapsed() > Duration::from_millis(round)).then_some(()));
        program.signal(ENDINGS[round as usize % 3].0);
        program.end();
        nothing_is_left(&program, &temporary);
    }
}

#[test]
fn the_demonstration_leaves_nothing_when_nobody_reads_on() {
    let (demo, _dir, temporary) = demo(Link::Shared);
    for lines in 1..6 {
        let mut reading = Command::new("sh");
        reading.args(["-c", &format!("\"$@\" 2>/dev/null | head -n {lines}"), "sh"]);
        reading.arg(demo.get_program()).args(demo.get_args()).env("TMPDIR", &temporary);
        let program = Program::start(&mut reading);
        assert_eq!(program.end(), End::Exited(0));
        assert_eq!(program.all_lines().len(), lines);
        nothing_is_left(&program, &temporary);
    }
}

#[test]
fn the_demonstration_fails_when_a_program_does() {
    let (mut command, dir, temporary) = demo(Link::Shared);
    let programs = [("worker", "", 0), ("server", "", 1), ("client", "", 1), ("client", "", 0)];
    // It reaches the server, and does not say what it has got.
    let client = example("client", Link::Shared);
    let silent = format!("{} \"$@\" >/dev/null\n", client.display());
    for (name, script, status) in programs.into_iter().chain([("client", &*silent, 3)]) {
        let there = dir.path().join("examples").join(name);
        let original = fs::read_link(&there).unwrap();
        fs::remove_file(&there).unwrap();
        let script = format!("#!/bin/sh\necho why >&2\n{script}exit {status}\n");
        let text_only = dir.path().join("text");
        fs::write(&text_only, script).unwrap();
        install(&text_only, &there);
        let start = Instant::now();
        let program = Program::start(&mut command);
        assert_eq!(program.end(), End::Exited(1));
        assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
        let reason = format!("demo: {name} ended early, with exit status {status}");
        assert_eq!(program.complaints(), ["why", &*reason]);
        nothing_is_left(&program, &temporary);
        fs::remove_file(&there).unwrap();
        symlink(original, &there).unwrap();
    }
}
