//! The library on a kernel that does its worst: calls that fail, each in its turn, and control
//! data that none should give; and with a peer that does its worst.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::header::{errors_of, header};
use common::{c_file, compile, compiler, missing, nm, pass, run, shipped, source, Link, TempDir};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A table for C programs of the errors that the header lists for each function.
fn documented() -> String {
    let functions = header().functions;
    let mut table = "#include <errno.h>\n\
                     static const struct {\n\tconst char *function;\n\tint errors[40];\n\
                     } documented[] = {\n"
        .to_owned();
    for name in functions.keys() {
        let mut errors = errors_of(name, &functions);
        if let Some(older) = name.strip_prefix("ancil_") {
            // The header leaves most to the newer functions.
            let newer = format!("ancillary_{}_fds", older.split('_').next().expect("a verb"));
            errors.extend(errors_of(&newer, &functions));
        }
        let errors: Vec<_> = errors.into_iter().map(|error| error + ", ").collect();
        writeln!(table, "\t{{ \"{name}\", {{ {}0 }} }},", errors.concat()).expect("a string");
    }
    table + "};\n"
}

/// Compiles a program, and runs all its cases.
fn pass_all(name: &str, files: &[&str], extra: &[&str]) -> PathBuf {
    let files: Vec<_> = files.iter().map(|file| c_file(file)).collect();
    let program = compile(name, &files, Link::Shared, extra);
    let dir = TempDir::new();
    let scripts = source().join("fuzz/corpus");
    let mut command = Command::new(&program);
    pass(command.env("TMPDIR", dir.path()).env("ANCILLARY_TEST_SCRIPTS", scripts));
    program
}

/// What the library needs of the C library that cannot fail.
const CANNOT_FAIL: [&str; 10] = [
    "__errno_location",
    "clock_gettime",
    "getgid",
    "getpid",
    "getuid",
    "memcpy",
    "memmove",
    "memset",
    "pthread_setcancelstate",
    "strnlen",
];

/// Runs a program of `fault.c`.
fn pass_faults(name: &str, more: &str) -> PathBuf {
    let own = format!("{name}.c");
    let files = [&own, "fault.c", "calls.c", "check.c", "kit.c", "late.c", "shim.c", more];
    let tables = TempDir::new();
    fs::write(tables.path().join("documented.h"), documented()).expect("a table");
    pass_all(name, &files, &[&format!("-I{}", tables.path().display())])
}

#[test]
fn each_call_of_a_channel_can_fail() {
    pass_faults("channel_faults", "channel_kit.c");
}

#[test]
fn each_call_can_fail() {
    let program = pass_faults("each_call", "place.c");
    let replaced = nm(&["--extern-only", "--defined-only"], &program);
    for name in nm(&["--undefined-only"], &shipped().archive) {
        let known = CANNOT_FAIL.contains(&name.as_str()) || replaced.contains(&name);
        assert!(known, "{name} is called, and not replaced in calls.c");
    }
}

/// What makes a C program check its memory, and what it computes.
const SANITIZED: [&str; 2] = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

fn can_sanitize() -> bool {
    let dir = TempDir::new();
    let file = dir.path().join("empty.c");
    fs::write(&file, "int main(void) { return 0; }\n").expect("a file");
    let mut compiler = compiler();
    let program = dir.path().join("empty");
    run(compiler.args(SANITIZED).arg(&file).arg("-o").arg(program)).status.success()
}

/// What programs need that follow scripts.
const FOLLOWING: [&str; 5] = ["reader.c", "kept.c", "calls.c", "check.c", "kit.c"];

fn follows_scripts(name: &str, files: &[&str]) {
    if !can_sanitize() {
        return missing("a C compiler with sanitizers");
    }
    pass_all(name, &[files, &FOLLOWING].concat(), &SANITIZED);
}

#[test]
fn control_data_is_not_believed() {
    follows_scripts("control", &["control.c", "script.c"]);
}

#[test]
fn peers_are_not_believed() {
    const FILES: [&str; 3] = ["channel_hostile.c", "channel_script.c", "stream_end.c"];
    follows_scripts("channel_hostile", &FILES);
}
