//! The system calls that ancillary(7) lists, for who writes a sandbox, are those that are made.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{c_file, compile, run_ok, shipped, skipped, skipped_cases, source, Link, Names};
use std::fs;
use std::process::Command;

/// The system calls that the page lists: each as a function, a system call, and the
/// option or command, if there is one. First those that are always made, then all.
fn listed_calls(lines: &[&str]) -> (Names, Names) {
    let (mut plain, mut all) = (Names::new(), Names::new());
    let (mut functions, mut call) = (Vec::new(), String::new());
    let (mut heading, mut in_some_cases) = (false, false);
    for line in lines {
        let mut words = line.split_whitespace().peekable();
        match words.next() {
            Some(".It") => {
                functions.clear();
                heading = words.peek() == Some(&"Xo");
                if words.next() == Some("Fn") {
                    functions.extend(words.next());
                }
            }
            Some(".Xc") => heading = false,
            Some(".Fn") if heading => functions.extend(words.next()),
            Some(".Po") => in_some_cases = true,
            Some(".Pc") => in_some_cases = false,
            Some(macro_name @ (".Xr" | ".Dv")) => {
                let word = words.next().expect("a name");
                if macro_name == ".Xr" {
                    call = word.to_owned();
                } else if !["SO_", "F_"].iter().any(|start| word.starts_with(start)) {
                    continue;
                }
                for function in &functions {
                    let entry = match macro_name {
                        ".Xr" => format!("{function} {call}"),
                        _ => format!("{function} {call} {word}"),
                    };
                    // What has an option is not made without.
                    for set in [&mut plain, &mut all].into_iter().skip(in_some_cases.into()) {
                        set.remove(&format!("{function} {call}"));
                        set.insert(entry.clone());
                    }
                }
            }
            _ => {}
        }
    }
    (plain, all)
}

/// The flags of messages that the page lists: system call, flag.
fn listed_flags(lines: &[&str]) -> Names {
    let mut call = "";
    let mut flags = Names::new();
    for line in lines.iter().skip_while(|line| **line != "The flags of") {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [".Xr", name, ..] => call = name,
            [".Dv", flag, ref rest @ ..] if flag.starts_with("MSG_") => {
                flags.insert(format!("{call} {flag}"));
                if rest == ["."] {
                    break;
                }
            }
            _ => {}
        }
    }
    flags
}

fn check_list(what: &str, seen: &Names, listed: &Names) {
    let unlisted: Vec<_> = seen.difference(listed).collect();
    let unseen: Vec<_> = listed.difference(seen).collect();
    assert!(
        unlisted.is_empty() && unseen.is_empty(),
        "{what}: not listed: {unlisted:?}; listed, and not seen: {unseen:?}"
    );
}

/// What the library needs of the C library that is no system call.
const NO_CALLS: [&str; 7] = [
    "__errno_location",
    "memcpy",
    "memmove",
    "memset",
    "pthread_setcancelstate",
    "strnlen",
    "syscall",
];
/// Calls that mostly need no system call, vdso(7).
const ANSWERED_BY_THE_PROCESS: [&str; 1] = ["clock_gettime"];
/// What it calls by number.
const BY_NUMBER: [&str; 2] = ["close_range", "renameat2"];

/// The names that nm(1) finds in the shared library.
fn symbols(which: &str) -> Names {
    let said = run_ok(Command::new("nm").args(["-D", "-f", "posix", which]).arg(&shipped().shared));
    said.lines().filter_map(|line| line.split(['@', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn system_calls_are_those_listed() {
    let page = fs::read_to_string(source().join("man/ancillary.7")).expect("the page");
    let (_, section) = page.split_once("\n.Sh SYSTEM CALLS\n").expect("the section");
    let section: Vec<_> = section.lines().take_while(|line| !line.starts_with(".Sh ")).collect();
    let list: Vec<_> = section.iter().copied().take_while(|line| *line != ".El").collect();
    let (plain, all) = listed_calls(&list);
    for link in Link::BOTH {
        const FILES: [&str; 7] = [
            "syscalls.c",
            "syscalls_channel.c",
            "channel_kit.c",
            "check.c",
            "kit.c",
            "place.c",
            "trace.c",
        ];
        let sources = FILES.map(c_file);
        let said = run_ok(&mut Command::new(compile("syscalls", &sources, link, &[])));
        if let Some((_, why)) = skipped_cases(&said).first() {
            return skipped(None, why);
        }
        let seen = |starts: &[&str]| -> Names {
            let lines = said.lines().filter_map(|line| {
                starts.iter().find_map(|start| line.strip_prefix(start)).map(str::to_owned)
            });
            lines.collect()
        };
        // A line with the function alone says that it has been called.
        let (called, calls): (Names, Names) =
            seen(&["plain "]).into_iter().partition(|line| !line.contains(' '));
        let exported: Names = symbols("--defined-only")
            .into_iter()
            .filter(|name| name.starts_with("ancil"))
            .collect();
        assert_eq!(called, exported, "functions called");
        check_list("calls always made", &calls, &plain);
        let calls: Names =
            seen(&["plain ", "rare "]).into_iter().filter(|line| line.contains(' ')).collect();
        let hidden = |line: &&String| {
            ANSWERED_BY_THE_PROCESS.iter().any(|call| line.ends_with(&format!(" {call}")))
        };
        let shown = |lines: &Names| lines.iter().filter(|line| !hidden(line)).cloned().collect();
        check_list("calls made at times", &shown(&calls), &shown(&all));
        check_list("flags", &seen(&["flag "]), &listed_flags(&section));
    }
    // Nothing is left that the calls above did not come to. The C library has large files under
    // names of their own.
    let needed =
        symbols("--undefined-only").into_iter().filter(|name| !NO_CALLS.contains(&&**name));
    let needed = needed.map(|name| name.trim_end_matches("64").to_owned());
    let needed: Names = needed.chain(BY_NUMBER.map(str::to_owned)).collect();
    let made: Names =
        all.iter().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect();
    check_list("functions of the C library", &needed, &made);
}
