//! The library on a kernel that does its worst: calls that fail, each in its turn, and control
//! data that none should give.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::header::{errors_of, header};
use common::{c_file, compile, run, said, Link, TempDir};
use std::fmt::Write;
use std::fs;
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

fn faults_at_each_call(link: Link) {
    let tables = TempDir::new();
    fs::write(tables.path().join("documented.h"), documented()).expect("a table");
    let files = ["each_call.c", "fault.c", "calls.c", "check.c", "kit.c", "place.c"].map(c_file);
    let folder = format!("-I{}", tables.path().display());
    let program = compile("each_call", &files, link, &[&folder]);
    let dir = TempDir::new();
    let output = run(Command::new(&program).env("TMPDIR", dir.path()));
    assert!(output.status.success(), "{}\n{}", output.status, said(&output));
}

#[test]
fn each_call_can_fail_shared() {
    faults_at_each_call(Link::Shared);
}

#[test]
fn each_call_can_fail_archive() {
    faults_at_each_call(Link::Static);
}
