//! The library on a kernel that does its worst: calls that fail, each in its turn, and control
//! data that none should give.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::header::{errors_of, header};
use common::{c_file, compile, compiler, missing, nm, run, said, shipped, source, Link, TempDir};
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

/// Compiles a program, runs all its cases, and shows what it says if one fails.
fn pass(name: &str, files: &[&str], link: Link, extra: &[&str]) -> PathBuf {
    let files: Vec<_> = files.iter().map(|file| c_file(file)).collect();
    let program = compile(name, &files, link, extra);
    let dir = TempDir::new();
    let scripts = source().join("fuzz/corpus/receive");
    let mut command = Command::new(&program);
    let output = run(command.env("TMPDIR", dir.path()).env("ANCILLARY_TEST_SCRIPTS", scripts));
    assert!(output.status.success(), "{}: {}\n{}", program.display(), output.status, said(&output));
    program
}

/// What the library needs of the C library that cannot fail.
const CANNOT_FAIL: [&str; 7] = [
    "__errno_location",
    "getgid",
    "getpid",
    "getuid",
    "memcpy",
    "memset",
    "pthread_setcancelstate",
];

fn each_call_can_fail(link: Link) {
    const FILES: [&str; 7] =
        ["each_call.c", "fault.c", "calls.c", "check.c", "kit.c", "place.c", "shim.c"];
    let tables = TempDir::new();
    fs::write(tables.path().join("documented.h"), documented()).expect("a table");
    let program = pass("each_call", &FILES, link, &[&format!("-I{}", tables.path().display())]);
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

fn control_data_is_not_believed(link: Link) {
    if !can_sanitize() {
        return missing("a C compiler with sanitizers");
    }
    const FILES: [&str; 5] = ["control.c", "script.c", "calls.c", "check.c", "kit.c"];
    pass("control", &FILES, link, &SANITIZED);
}

mod shared {
    use super::Link;

    #[test]
    fn each_call_can_fail() {
        super::each_call_can_fail(Link::Shared);
    }

    #[test]
    fn control_data_is_not_believed() {
        super::control_data_is_not_believed(Link::Shared);
    }
}

mod archive {
    use super::Link;

    #[test]
    fn each_call_can_fail() {
        super::each_call_can_fail(Link::Static);
    }

    #[test]
    fn control_data_is_not_believed() {
        super::control_data_is_not_believed(Link::Static);
    }
}
