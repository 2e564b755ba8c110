//! What a C program and its linker see of the library: the header, the names, the ELF files.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::header::split_comments;
use common::{
    c_file, compile, compiler, nm, run, run_ok, said, shipped, source, tool, Link, Names, TempDir,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All that the library needs of the C library.
const NEEDED: [&str; 31] = [
    "__errno_location",
    "bind",
    "clock_gettime",
    "close",
    "connect",
    "dup3",
    "fchmod",
    "fchmodat",
    "fcntl",
    "flock",
    "fstatat64",
    "getgid",
    "getpid",
    "getsockopt",
    "getuid",
    "linkat",
    "listen",
    "memcpy",
    "memmove",
    "memset",
    "openat",
    "poll",
    "pthread_setcancelstate",
    "recvmsg",
    "renameat",
    "sendmsg",
    "setsockopt",
    "socket",
    "strnlen",
    "syscall",
    "unlinkat",
];

// --- the header ---

fn header() -> String {
    fs::read_to_string(shipped().include.join("ancillary.h")).expect("the header")
}

/// The functions that the header declares: what stands before a parenthesis, outside comments.
fn declared() -> Names {
    let (code, _) = split_comments(&header());
    let names: Names = code
        .split('(')
        .filter_map(|before| before.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next())
        .filter(|name| name.starts_with("ancil"))
        .map(str::to_owned)
        .collect();
    assert!(
        names.contains("ancillary_send_fd") && names.contains("ancillary_version"),
        "{names:?}"
    );
    names
}

fn constant(name: &str) -> String {
    let define = format!("#define {name} ");
    let header = header();
    let line = header.lines().find_map(|line| line.strip_prefix(&define));
    line.unwrap_or_else(|| panic!("no {define}")).to_owned()
}

#[test]
fn versions_agree() {
    let parts = ["MAJOR", "MINOR", "PATCH"];
    let version = parts.map(|part| constant(&format!("ANCILLARY_VERSION_{part}"))).join(".");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
}

/// Compiles a text that uses the header, without making anything of it.
fn check_text(mut compiler: Command, text: &str, options: &[&str]) -> Result<(), String> {
    let dir = TempDir::new();
    let file = dir.path().join("text");
    fs::write(&file, text).expect("a file");
    compiler.args(["-c", "-o", "/dev/null", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    compiler.args(options).arg("-I").arg(&shipped().include).arg(&file);
    let output = run(&mut compiler);
    if output.status.success() {
        return Ok(());
    }
    Err(said(&output))
}

const ALONE: &str = "#include <ancillary.h>\n#include <ancillary.h>\n";

/// With other headers before it, and behind it; and with all kinds of numbers in what is a macro.
const USES: [&str; 4] = [
    ALONE,
    "#include <stdio.h>\n#include <sys/socket.h>\n#include <unistd.h>\n#include <ancillary.h>\n",
    "#include <ancillary.h>\n#include <sys/un.h>\n#include <stdint.h>\n#include <errno.h>\n",
    "#include <ancillary.h>
size_t size(int i, unsigned u, long l, size_t s, signed char c, short h);
size_t size(int i, unsigned u, long l, size_t s, signed char c, short h)
{
    return ANCILLARY_CONTROL_SIZE(i) + ANCILLARY_CONTROL_SIZE(u) + ANCILLARY_CONTROL_SIZE(l) +
        ANCILLARY_CONTROL_SIZE(s) + ANCILLARY_CONTROL_SIZE(c) + ANCILLARY_CONTROL_SIZE(h);
}
",
];

/// Every way to compile the header that a user may have: none warns.
fn header_compiles(new: impl Fn() -> Command, language: &str, standards: &[&str]) {
    let strict = ["-Wconversion", "-Wsign-conversion", "-Wundef", "-Wcast-qual", "-Wshadow"];
    for standard in standards {
        let standard = format!("-std={standard}");
        let mut options = vec!["-x", language, &standard];
        options.extend(strict);
        for text in USES {
            check_text(new(), text, &options)
                .unwrap_or_else(|said| panic!("{standard}:\n{text}\n{said}"));
        }
    }
}

const C: [&str; 7] = ["gnu89", "c89", "c99", "c11", "c17", "gnu17", "c2x"];
const CPP: [&str; 7] = ["c++98", "c++11", "c++14", "c++17", "c++20", "c++2b", "gnu++17"];

fn found(tool: &str) -> bool {
    let version = Command::new(tool).arg("--version").output();
    let found = version.is_ok_and(|output| output.status.success());
    if !found {
        common::missing(tool);
    }
    found
}

#[test]
fn header_compiles_as_c() {
    header_compiles(compiler, "c", &C);
    if found("clang") {
        header_compiles(|| Command::new("clang"), "c", &C);
    }
}

#[test]
fn header_compiles_as_cpp() {
    for compiler in ["c++", "clang++"] {
        if found(compiler) {
            header_compiles(|| Command::new(compiler), "c++", &CPP);
        }
    }
}

#[test]
fn header_names_are_those_of_c() {
    if !found("c++") {
        return;
    }
    let dir = TempDir::new();
    let (file, program) = (dir.path().join("text.cc"), dir.path().join("program"));
    let text = "int main() { return ancillary_max_fds() != ANCILLARY_MAX_FDS; }\n";
    fs::write(&file, format!("{ALONE}{text}")).expect("a file");
    let mut compiler = Command::new("c++");
    compiler.arg("-I").arg(&shipped().include).arg(&file).arg(&shipped().archive);
    run_ok(compiler.arg("-o").arg(&program));
    run_ok(&mut Command::new(&program));
}

#[test]
fn header_has_no_comments_of_cpp() {
    assert!(!header().contains("//"));
}

#[test]
fn null_is_warned_of_where_it_is_never_right() {
    let text = format!("{ALONE}int main(void) {{ return ancillary_peer_creds(0, NULL); }}\n");
    let warned = check_text(compiler(), &text, &["-x", "c", "-std=c99"]).expect_err("NULL");
    assert!(warned.contains("nonnull"), "{warned}");
    let blank = ["-x", "c", "-std=c99", "-DANCILLARY_NONNULL(argument)="];
    check_text(compiler(), &text, &blank).unwrap_or_else(|said| panic!("{said}"));
}

#[test]
fn unused_results_are_warned_of() {
    let calls = [
        "ancillary_version()",
        "ancillary_max_fds()",
        "ancillary_send_fd(0, 0)",
        "ancillary_recv_fd(0)",
        "ancillary_send_fds(0, 0, 0, 0, 0, 0)",
        "ancillary_recv_fds(0, 0, 0, 0, 0, 0)",
        "ancillary_send_msg(0, 0, 0)",
        "ancillary_recv_msg(0, 0, 0)",
        "ancillary_control_size(0)",
        "ancillary_encode(0, 0)",
        "ancillary_decode(0, 0, 0, 0)",
        "ancillary_channel_send(0, 0, 0)",
        "ancillary_channel_flush(0, 0)",
        "ancillary_channel_recv(0, 0, 0)",
        "ancillary_channel_events(0)",
        "ancillary_set_passcred(0, 0)",
        "ancillary_set_passpidfd(0, 0)",
        "ancillary_set_passrights(0, 0)",
        "ancillary_send_creds(0, 0, 0, 0, 0)",
        "ancillary_recv_creds(0, 0, 0, 0, 0)",
        "ancillary_peer_creds(0, 0)",
        "ancillary_peer_pidfd(0)",
        "ancillary_peer_groups(0, 0, 0)",
        "ancillary_peer_label(0, 0, 0)",
        "ancillary_place_fds(0, 0, 0)",
        "ancillary_listen(0, 0, 0, 0)",
        "ancillary_connect(0, 0, 0)",
    ];
    let program = |statement: &str| format!("{ALONE}int main(void) {{ {statement}; return 0; }}\n");
    let options = ["-x", "c", "-std=c99", "-DANCILLARY_NONNULL(argument)="];
    for call in calls {
        let ignored = check_text(compiler(), &program(call), &options).expect_err(call);
        assert!(ignored.contains("unused-result"), "{call}:\n{ignored}");
        let used = program(&format!("if ({call}) return 1"));
        check_text(compiler(), &used, &options).unwrap_or_else(|said| panic!("{call}:\n{said}"));
    }
    let mut named: Names =
        calls.iter().filter_map(|call| call.split('(').next()).map(str::to_owned).collect();
    // Those that return nothing.
    named.extend(["ancillary_close_fds", "ancillary_channel_drop"].map(str::to_owned));
    // The older library's programs compile unchanged, and need not look at what they return.
    let newer = declared().into_iter().filter(|name| !name.starts_with("ancil_")).collect();
    assert_eq!(named, newer);
}

#[test]
fn header_and_library_agree() {
    for link in Link::BOTH {
        let program =
            compile("abi", &[c_file("abi.c"), c_file("check.c"), c_file("kit.c")], link, &[]);
        run_ok(&mut Command::new(&program));
        let needed = dynamic(&program, "NEEDED");
        assert_eq!(needed.contains("libancillary.so.1"), link == Link::Shared, "{needed:?}");
    }
}

// --- names ---

/// What readelf(1) shows of the dynamic section under a tag: what is in brackets, or else the
/// rest of the line.
fn dynamic(file: &Path, tag: &str) -> Names {
    let said = tool("readelf", &["-d", "-W"], file);
    let tag = format!("({tag})");
    let values = said.lines().filter_map(|line| Some(line.split_once(&tag)?.1));
    values.map(|value| value.split(['[', ']']).nth(1).unwrap_or(value).trim().to_owned()).collect()
}

/// The symbols that a shared library exports, with their versions.
fn exported(file: &Path) -> Names {
    let said = tool("readelf", &["--dyn-syms", "-W"], file);
    let rows = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 8 && row[0] != "Num:" && row[6] != "UND")
        .filter(|row| row[4] != "LOCAL")
        .map(|row| row[7].to_owned())
        .collect()
}

fn names(list: &[&str]) -> Names {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn shared_library_exports_what_the_header_declares() {
    let version = "ANCILLARY_1.0";
    let mut expected: Names = declared().iter().map(|name| format!("{name}@@{version}")).collect();
    expected.insert(version.to_owned());
    assert_eq!(exported(&shipped().shared), expected);
}

#[test]
fn archive_exports_what_the_header_declares() {
    assert_eq!(nm(&["--extern-only", "--defined-only"], &shipped().archive), declared());
}

#[test]
fn version_script_names_what_the_header_declares() {
    let script =
        fs::read_to_string(source().join("pkg/ancillary.map")).expect("the version script");
    let (_, global) = script.split_once("global:").expect("global names");
    let (global, local) = global.split_once("local:").expect("local names");
    let listed: Names = global
        .split(';')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, declared());
    assert!(local.trim_start().starts_with("*;"), "{local}");
}

#[test]
fn nothing_is_needed_but_the_c_library() {
    assert_eq!(dynamic(&shipped().shared, "NEEDED"), names(&["libc.so.6"]));
    let allowed = names(&NEEDED);
    for (file, arguments) in [
        (&shipped().shared, &["-D", "--undefined-only"][..]),
        (&shipped().archive, &["--undefined-only"][..]),
    ] {
        let undefined = nm(arguments, file);
        let more: Vec<_> = undefined.difference(&allowed).collect();
        assert!(more.is_empty(), "{} needs {more:?}", file.display());
        assert!(undefined.contains("sendmsg"), "{undefined:?}");
    }
}

#[test]
fn nothing_panics_unwinds_or_allocates() {
    const PARTS: [&str; 8] =
        ["panic", "unwind", "eh_personality", "core3fmt", "__rust", "__rg_", "__rdl_", "alloc"];
    const WHOLE: [&str; 5] = ["free", "abort", "exit", "_exit", "__stack_chk_fail"];
    for file in [&shipped().shared, &shipped().archive] {
        let all = nm(&[], file);
        assert!(all.contains("ancillary_send_fds"), "{all:?}");
        let bad: Vec<_> = all
            .iter()
            .filter(|name| {
                let lower = name.to_lowercase();
                PARTS.iter().any(|part| lower.contains(part)) || WHOLE.contains(&lower.as_str())
            })
            .collect();
        assert!(bad.is_empty(), "{} has {bad:?}", file.display());
    }
}

#[test]
fn nothing_is_kept_between_calls() {
    let said = tool("nm", &["-f", "posix"], &shipped().archive);
    for line in said.lines() {
        let kind = line.split_whitespace().nth(1).unwrap_or_default();
        assert!(!"bBdDcCsSgGvV".contains(kind) || kind.is_empty(), "data that can change: {line}");
    }
    let sections = tool("readelf", &["-S", "-W"], &shipped().archive);
    assert!(!sections.contains(".tdata") && !sections.contains(".tbss"), "{sections}");
}

// --- files ---

#[test]
fn shared_library_has_its_names() {
    let shipped = shipped();
    let soname = "libancillary.so.1";
    assert_eq!(dynamic(&shipped.shared, "SONAME"), names(&[soname]));
    let whole = shipped.shared.canonicalize().expect("the library");
    for link in [soname, "libancillary.so"] {
        assert_eq!(shipped.dir.join(link).canonicalize().expect(link), whole);
    }
}

#[test]
fn shared_library_is_small() {
    let dir = TempDir::new();
    let stripped = dir.path().join("stripped.so");
    run_ok(Command::new("strip").arg("-o").arg(&stripped).arg(&shipped().shared));
    // What is loaded of it, and all of it. That holds as many empty pages as there are segments, so
    // it says nothing of its own where a page is of 64 kB, as on arm64.
    let segments = tool("readelf", &["-l", "-W"], &stripped);
    let loads = segments.lines().filter(|line| line.trim_start().starts_with("LOAD "));
    let numbers = loads.map(|line| line.split_whitespace().filter_map(hexadecimal).collect());
    let numbers: Vec<Vec<u64>> = numbers.collect();
    let loaded: u64 = numbers.iter().map(|of_segment| of_segment[3]).sum();
    let page = numbers.iter().map(|of_segment| of_segment[5]).max().expect("a segment");
    let whole = fs::metadata(&stripped).expect("the stripped library").len();
    assert!(loaded > 0 && loaded < 64_000, "{loaded} bytes are loaded");
    assert!(page > 4096 || whole < 64_000, "{whole} bytes");
    assert_eq!(exported(&stripped), exported(&shipped().shared));
}

#[test]
fn archive_holds_one_object() {
    let members = tool("ar", &["t"], &shipped().archive);
    assert_eq!(members.lines().collect::<Vec<_>>(), ["ancillary.o"]);
}

#[test]
fn shared_library_is_hardened() {
    let shared = &shipped().shared;
    for tag in ["TEXTREL", "RPATH", "RUNPATH"] {
        assert_eq!(dynamic(shared, tag), Names::new(), "{tag}");
    }
    let now = |tag, word| dynamic(shared, tag).iter().any(|value| value.contains(word));
    assert!(now("FLAGS", "BIND_NOW") || now("FLAGS_1", "NOW") || now("BIND_NOW", ""));
    assert!(!now("FLAGS", "TEXTREL"));
    let segments = tool("readelf", &["-l", "-W"], shared);
    // The loader protects whole pages only: type, offset, address, physical address, size in the
    // file and in memory.
    let relro = segments.lines().find(|line| line.contains("GNU_RELRO")).expect("a GNU_RELRO");
    let numbers: Vec<u64> = relro.split_whitespace().filter_map(hexadecimal).collect();
    assert_eq!((numbers[1] + numbers[4]) % 4096, 0, "{relro}");
    let all = segments.lines().map(str::split_whitespace).map(Vec::from_iter);
    for segment in all.filter(|words| words.len() >= 7) {
        // What stands between the sizes and the alignment.
        let flags = segment[6..segment.len() - 1].concat();
        assert!(segment[0] != "GNU_STACK" || flags == "RW", "{segments}");
        assert!(
            segment[0] != "LOAD" || !(flags.contains('W') && flags.contains('E')),
            "{segments}"
        );
    }
}

#[test]
fn archive_links_with_another_rust_library() {
    let dir = TempDir::new();
    let at = |name: &str| dir.path().join(name);
    let other =
        "#[no_mangle] pub extern \"C\" fn other() -> usize { format!(\"{:?}\", [1]).len() }\n";
    fs::write(at("other.rs"), other).expect("a file");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut rustc = Command::new(rustc);
    rustc.args(["--crate-type", "staticlib", "--edition", "2021", "-o"]);
    run_ok(rustc.arg(at("libother.a")).arg(at("other.rs")));
    let text = "#include <ancillary.h>\nsize_t other(void);\n\
                int main(void) { return other() != 3 || ancillary_max_fds() < 1; }\n";
    fs::write(at("main.c"), text).expect("a file");
    // In either order, and each named twice.
    for order in [["libother.a", "ours"], ["ours", "libother.a"]] {
        let archives = order.map(|name| match name {
            "ours" => shipped().archive.clone(),
            name => at(name),
        });
        let mut compiler = compiler();
        compiler.arg("-I").arg(&shipped().include).arg(at("main.c")).args(&archives);
        compiler.args(&archives).args(["-pthread", "-ldl", "-lm", "-o"]).arg(at("main"));
        run_ok(&mut compiler);
        run_ok(&mut Command::new(at("main")));
    }
}

#[test]
fn archive_asks_for_no_executable_stack() {
    let sections = tool("readelf", &["-S", "-W"], &shipped().archive);
    let note: Vec<_> = sections.lines().filter(|line| line.contains(".note.GNU-stack")).collect();
    assert_eq!(note.len(), 1, "{sections}");
    let flags = note[0].split("PROGBITS").nth(1).expect("its type").split_whitespace().nth(4);
    assert_eq!(flags, Some("0"), "{}", note[0]);
}

// --- loading ---

/// Loads a shared library as an interpreter of another language would, and finds all functions.
fn load(library: &Path) {
    let dir = TempDir::new();
    let program: PathBuf = dir.path().join("load");
    run_ok(compiler().args(["-std=c99", "-o"]).arg(&program).arg(c_file("load.c")).arg("-ldl"));
    let said = run_ok(Command::new(&program).arg(library).args(declared()));
    assert_eq!(said.trim(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn shared_library_loads() {
    load(&shipped().shared);
}

#[test]
fn shared_library_can_be_loaded_ten_thousand_times() {
    let dir = TempDir::new();
    let program = dir.path().join("reload");
    let sources = ["reload.c", "check.c", "kit.c"].map(c_file);
    run_ok(compiler().args(["-std=c99", "-pthread", "-o"]).arg(&program).args(sources).arg("-ldl"));
    run_ok(Command::new(&program).env("RELOAD_LIBRARY", &shipped().shared));
}

/// The one that cargo links, without versions: for development, and for who has no make.
#[test]
fn library_of_cargo_loads_as_well() {
    let target = env!("ANCILLARY_TEST_TARGET");
    let library = shipped().dir.join(format!("cargo/{target}/release/libancillary.so"));
    load(&library);
    assert_eq!(exported(&library), declared());
    assert_eq!(dynamic(&library, "SONAME"), names(&["libancillary.so.1"]));
    assert_eq!(dynamic(&library, "NEEDED"), names(&["libc.so.6"]));
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}
