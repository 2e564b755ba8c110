//! The house: that each floor of the sources uses only those below it, and does only what it is
//! for; and that CONTRIBUTING.md has the map of it.
//!
//! `make map` draws that anew (ANCILLARY_WRITE_MAP=1).

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

#[path = "../common/mod.rs"]
mod common;
mod house;
mod lexer;
mod map;
mod reader;
mod rules;

use common::source;
use house::House;
use std::fs;

fn house() -> House {
    House::in_folder(&source().join("src"))
}

#[test]
fn each_floor_keeps_to_its_own() {
    let complaints = house().complaints();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Between the heading and the end of the block below it.
fn committed_map(page: &str) -> (usize, usize) {
    let heading = page.find("\n## The house\n").expect("a heading");
    let start = heading + page[heading..].find("\n```text\n").expect("a block") + 9;
    (start, start + page[start..].find("```\n").expect("its end"))
}

#[test]
fn the_map_is_that_of_the_house() {
    let path = source().join("CONTRIBUTING.md");
    let page = fs::read_to_string(&path).expect("CONTRIBUTING.md");
    let (start, end) = committed_map(&page);
    let now = map::map_of(&house());
    if std::env::var("ANCILLARY_WRITE_MAP").as_deref() == Ok("1") {
        let page = format!("{}{now}{}", &page[..start], &page[end..]);
        return fs::write(&path, page).expect("CONTRIBUTING.md");
    }
    for (now, committed) in now.lines().zip(page[start..end].lines()) {
        assert_eq!(now, committed, "'make map' draws it anew");
    }
    assert_eq!(now, &page[start..end], "'make map' draws it anew");
}

// ---- The test of the test ----------------------------------------------------------------------

/// A house with nothing wrong, but for these files in place of its own, or beside them.
fn house_with(changes: &[(&str, &str)]) -> House {
    let mut files = vec![
        ("lib.rs", "//! The house.\nmod c;\nmod message;\nmod rendezvous;\nmod sys;\n"),
        ("c/mod.rs", "//! What C sees.\npub mod fds;\npub mod flags;\n"),
        (
            "c/fds.rs",
            "//! Descriptors. And more.\nuse super::flags::Flags;\n\
             use crate::message::{self, receive::Receiver};\n\
             #[no_mangle]\npub unsafe extern \"C\" fn ancillary_fds(fds: *const i32) -> i32 {\n\
             message::send::send(Flags(1).0); 0 }\n",
        ),
        ("c/flags.rs", "//! What a caller asks for.\npub struct Flags(pub u32);\n"),
        ("message/mod.rs", "//! Messages.\npub mod control;\npub mod receive;\npub mod send;\n"),
        (
            "message/control.rs",
            "//! Control data.\nuse libc::{cmsghdr, c_int};\n\
             pub unsafe fn next(p: *const cmsghdr) -> *const cmsghdr { unsafe { p.add(1) } }\n\
             pub const SPACE: u32 = unsafe { libc::CMSG_SPACE(4) };\n",
        ),
        (
            "message/receive.rs",
            "//! Receiving.\nuse super::control;\nuse crate::sys::{Errno, socket};\n\
             pub struct Receiver<'a>(&'a u8);\n\
             pub fn f(e: Errno) { socket::receive(); control::next; let _ = '{'; }\n",
        ),
        ("message/send.rs", "//! Sending.\npub fn send(_: u32) { crate::sys::socket::send(); }\n"),
        ("rendezvous/mod.rs", "//! Names.\nuse crate::sys;\nfn f() { sys::socket::send(); }\n"),
        ("sys/mod.rs", "//! The system.\npub mod errno;\npub mod socket;\npub use errno::Errno;\n"),
        ("sys/errno.rs", "//! Errors.\npub struct Errno;\nfn f() { libc::__errno_location(); }\n"),
        (
            "sys/socket.rs",
            "//! Sockets.\nuse super::Errno;\npub fn send() { unsafe { libc::sendmsg() } }\n\
             pub fn receive() -> Errno { Errno }\nextern \"C\" { fn poll(); }\n",
        ),
    ];
    for (name, text) in changes {
        files.retain(|(known, _)| known != name);
        if !text.is_empty() {
            files.push((name, text));
        }
    }
    let owned = files.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned()));
    House::of(owned.collect())
}

/// Checks that a change gives just these complaints.
#[track_caller]
fn check(changes: &[(&str, &str)], complaints: &[&str]) {
    assert_eq!(house_with(changes).complaints(), complaints);
}

#[test]
fn a_good_house_gives_no_complaint() {
    check(&[], &[]);
}

#[test]
fn what_stands_elsewhere_is_found() {
    check(&[("plain.rs", "")], &[]);
    check(&[("plain.rs", "fn f() {}\n")], &["plain.rs: stands on no floor"]);
    check(&[("sys.rs", "fn f() {}\n")], &["sys.rs: stands on no floor"]);
    check(&[("more/mod.rs", "fn f() {}\n")], &["more/mod.rs: stands on no floor"]);
    check(&[("rendezvous/mod.rs", "")], &["rendezvous/mod.rs: is missing"]);
}

#[test]
fn a_use_of_what_is_above_is_found() {
    const USES: [&str; 9] = [
        "use crate::c::flags::Flags;\n",
        "use crate::c;\n",
        "use crate::{c::flags, sys};\n",
        "use crate::{sys, c::{self, flags::{Flags as Asked}}};\n",
        "use super::super::c::flags;\n",
        "use crate as house; use house::c::flags;\n",
        "fn f() -> crate::c::flags::Flags { loop {} }\n",
        "fn f() { let x = <crate::c::flags::Flags as Into<u32>>::into(y); }\n",
        "pub use crate::c::flags::*;\n",
    ];
    for text in USES {
        for (file, floor) in
            [("message/more.rs", "c"), ("rendezvous/more.rs", "c"), ("sys/more.rs", "c")]
        {
            let found = house_with(&[(file, text)]).complaints();
            assert!(!found.is_empty(), "{file}: {text}");
            for one in found {
                assert_eq!(one, format!("{file}:1: uses {floor}"), "{text}");
            }
        }
    }
    check(&[("sys/more.rs", "\nuse crate::message::control;\n")], &["sys/more.rs:2: uses message"]);
    check(
        &[("message/more.rs", "use crate::rendezvous::x;\n")],
        &["message/more.rs:1: uses rendezvous"],
    );
    check(
        &[("rendezvous/more.rs", "fn f() { crate::message::send::send(1) }\n")],
        &["rendezvous/more.rs:1: uses message"],
    );
    check(&[("sys/more.rs", "fn f() { crate::panic() }\n")], &["sys/more.rs:1: uses lib.rs"]);
    // What it passes on is no way around.
    check(
        &[
            ("c/flags.rs", "pub struct Flags(pub u32);\npub use crate::sys::Errno;\n"),
            ("message/more.rs", "use crate::c::flags::Errno;\n"),
        ],
        &["message/more.rs:1: uses c"],
    );
    check(
        &[
            ("c/flags.rs", "pub struct Flags(pub u32);\npub use libc::c_int;\n"),
            ("message/more.rs", "fn f(_: crate::c::flags::c_int) {}\n"),
        ],
        &["message/more.rs:1: uses c"],
    );
}

/// It is not taken for what it is not.
#[test]
fn what_only_looks_like_a_use_is_none() {
    const TEXTS: [&str; 8] = [
        "// use crate::c::flags;\n",
        "/* use crate::c; /* crate::c::flags */ crate::c */\n",
        "const X: &str = \"crate::c::flags\";\n",
        "const X: &str = r#\"\" crate::c::flags \"#; const Y: char = '\"'; const Z: &[u8] = b\"\\\"\";\n",
        "fn f<'c>(x: &'c u8) { let c = 'c'; c::x(); }\n",
        "/// As crate::c::flags\nmod c { pub fn x() {} }\nfn f() { c::x(); }\n",
        "fn f() { my::crate_::c::x(); }\n",
        "use core::ptr as c;\nfn f() { c::null(); }\n",
    ];
    for text in TEXTS {
        check(&[("sys/more.rs", text)], &[]);
    }
}

#[test]
fn a_circle_is_found() {
    check(
        &[
            ("sys/one.rs", "use super::two::B;\npub struct A;\n"),
            ("sys/two.rs", "pub struct B;\nfn f(a: super::one::A) {}\n"),
        ],
        &["sys/one.rs:1 -> sys/two.rs:2: a circle"],
    );
    check(
        &[
            (
                "sys/one.rs",
                "pub struct A;\nuse crate::sys::{two as other};\nfn f() { other::g() }\n",
            ),
            ("sys/two.rs", "pub fn g() {}\nuse crate::sys::three::*;\n"),
            ("sys/three.rs", "use crate::sys::one;\nfn f() -> one::A { one::A }\n"),
        ],
        &["sys/one.rs:3 -> sys/two.rs:2 -> sys/three.rs:2: a circle"],
    );
    // What a module passes on is not its own.
    check(
        &[
            ("sys/one.rs", "pub use super::two::B;\npub struct A;\n"),
            ("sys/two.rs", "pub struct B;\nfn f(a: super::one::A) {}\n"),
            ("sys/three.rs", "use super::one::B;\n"),
        ],
        &[],
    );
    check(
        &[
            ("sys/mod.rs", "pub mod errno; pub mod socket; pub use errno::*; pub struct Own;\n"),
            ("sys/errno.rs", "use super::{Errno, Own};\npub struct Errno;\n"),
        ],
        &[],
    );
    // But what it passes on and uses itself is.
    check(
        &[
            ("sys/one.rs", "pub use super::two::B;\npub struct A(B);\n"),
            ("sys/two.rs", "pub struct B;\nfn f(a: super::one::A) {}\n"),
        ],
        &["sys/one.rs:1 -> sys/two.rs:2: a circle"],
    );
    // A module inside of a file is that file.
    check(&[("sys/one.rs", "pub struct A;\nmod tests { use super::*; use super::A; }\n")], &[]);
}

#[test]
fn a_call_of_the_system_is_found() {
    let cases: [(&str, &[&str]); 12] = [
        ("fn f() { unsafe { libc::close(3) }; }\n", &["libc::close"]),
        ("use libc::{c_int, close as end};\nfn f(_: c_int) { end(3) }\n", &["libc::close"]),
        ("use libc::*;\n", &["libc::*"]),
        ("use libc as c;\nfn f() { c::getpid(); }\n", &["libc::getpid"]),
        ("fn f() { [3].map(libc::close); }\n", &["libc::close"]),
        ("fn f() { ::libc::abort(); }\n", &["libc::abort"]),
        ("fn f() { libc::flock(3, 4); }\n", &["libc::flock"]),
        ("fn f() { crate::sys::passed_on(3); }\n", &["libc::shutdown"]),
        ("fn f(_: libc::size_t, _: libc::iovec) -> libc::c_int { libc::EINVAL }\n", &[]),
        ("use libc::{self, msghdr, ssize_t, SOCK_STREAM};\n", &[]),
        ("use crate::sys::ucred;\n", &[]),
        ("extern \"C\" fn f() {}\n", &[]),
    ];
    let sys = "pub use libc::{ucred, shutdown as passed_on};\npub mod errno;\npub mod socket;\n\
               pub use errno::Errno;\n";
    for (text, names) in cases {
        for file in ["c/more.rs", "message/more.rs", "rendezvous/more.rs"] {
            let line = text.lines().position(|line| line.contains("fn f")).unwrap_or(0) + 1;
            let line = if text.contains("as end") { 1 } else { line };
            let expected: Vec<String> =
                names.iter().map(|name| format!("{file}:{line}: uses {name}")).collect();
            let house = house_with(&[(file, text), ("sys/mod.rs", sys)]);
            assert_eq!(house.complaints(), expected, "{text}");
        }
    }
    check(
        &[("message/more.rs", "extern \"C\" { fn pthread_testcancel(); }\n")],
        &["message/more.rs:1: declares functions of others"],
    );
    check(
        &[("message/more.rs", "fn f() { core::arch::asm!(\"syscall\"); }\n")],
        &["message/more.rs:1: speaks to the machine"],
    );
    check(
        &[("sys/more.rs", "#[no_mangle]\npub extern \"C\" fn ancillary_x() {}\n")],
        &["sys/more.rs:1: has a name that C sees"],
    );
}

#[test]
fn a_calculation_with_pointers_is_found() {
    let found = ["message/more.rs:1: calculates with pointers"];
    const WRONG: [&str; 6] = [
        "fn f(p: *const u8) { unsafe { *p.add(1) }; }\n",
        "unsafe fn f(p: *mut u8) { if true { unsafe { let q = { p.offset(-1) }; } } }\n",
        "fn f(p: &[u8]) { p.as_ptr().wrapping_add(1); }\n",
        "fn f(p: usize) { (p as *const u8).wrapping_sub(1); }\n",
        "fn f(p: *const u8) { p.cast::<u8>().wrapping_offset(1); }\n",
        "fn f(p: *const u8, q: *const u8) { unsafe { p.offset_from(q) }; }\n",
    ];
    const RIGHT: [&str; 4] = [
        "fn f(a: usize) { a.wrapping_add(1); unsafe { g(a.wrapping_sub(1)) }; }\n",
        "fn f(a: Sum) { a.add(1); unsafe { g() }; a.sub(1); }\n",
        "fn f(a: &[usize]) { a.len().wrapping_add(1); (a as usize).wrapping_add(2); }\n",
        "impl Add for X { fn add(self, x: X) -> X { x } }\n",
    ];
    for text in WRONG {
        check(&[("message/more.rs", text)], &found);
        check(&[("message/control.rs", text)], &[]);
    }
    for text in RIGHT {
        check(&[("message/more.rs", text)], &[]);
    }
}

#[test]
fn a_file_too_long_to_be_read_in_one_go_is_found() {
    check(&[("sys/more.rs", &"//\n".repeat(350))], &[]);
    check(&[("sys/more.rs", &"//\n".repeat(351))], &["sys/more.rs: 351 lines, over 350"]);
}

#[test]
fn a_map_shows_what_is_where() {
    let map = map::map_of(&house_with(&[]));
    let lines: Vec<&str> = map.lines().collect();
    assert_eq!(
        lines[..8],
        [
            "src/",
            "  lib.rs          The house.",
            "",
            "src/c/",
            "  mod.rs          What C sees.",
            "  fds.rs          Descriptors.",
            "                  uses c::flags, message::receive, message::send",
            "  flags.rs        What a caller asks for.",
        ]
    );
    let long =
        "//! Words that go on and on for so long that no line could take all of them, and so\n\
                //! there are two. This is not said.\n//!\n//! Nor this.\n";
    let map = map::map_of(&house_with(&[("sys/more.rs", long)]));
    assert!(map.contains(
        "  more.rs         Words that go on and on for so long that no line could take\n                  \
         all of them, and so there are two.\n"
    ), "{map}");
    assert!(map.lines().all(|line| line.len() <= 78), "{map}");
}
