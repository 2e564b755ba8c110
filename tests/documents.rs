//! The documents and the manual pages: their code compiles, their commands run and print what they
//! are said to, and what they refer to is there.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::document::{displays, documents, literal_lines, manual, Block, Document, Step};
use common::program::{is_root, plain_message, until, End, Program};
use common::{compile, compiler, copy_source, in_flight, leave_cargo, missing, run, run_ok, said};
use common::{shipped, source, vendor, works, Link, TempDir};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::iter;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

type Names = BTreeSet<String>;

// ---- Commands ----------------------------------------------------------------------------------

/// Commands that are not run here, and why. Every other one is.
const NOT_RUN: &[(&str, &str)] = &[
    ("make check-c", ".ci/run does; it runs the same tests in C"),
    ("make check-make", ".ci/run does; it takes minutes"),
    ("make check-mutants", ".ci/run does; it takes minutes"),
    ("make check-as-user", ".ci/run does; it runs the same tests, and needs root"),
    ("make check", "this test is a part of it"),
    ("make check-hostile", ".ci/run does; it takes a minute"),
    ("make check-valgrind", ".ci/run does; it takes a minute"),
    ("make check-threads", ".ci/run does; it needs a sanitizer"),
    ("make fuzz", ".ci/run does; it takes minutes"),
    ("make check-deb", ".ci/run does; it needs Debian and root"),
    ("make check-msrv", ".ci/run does; it needs Debian and its older compiler"),
    ("make cross-check", ".ci/run does; it needs Debian and root"),
    ("make kernel-check", ".ci/run does; it takes minutes, and needs Debian's mirror"),
    ("make bench", "it takes minutes; .ci/run builds it"),
    ("make bench BENCH_PAGE=docs", "as above"),
    ("cargo test --test behaviour lossless", "it builds all tests once more"),
    (
        "target/tmp/programs/behaviour/lossless-shared --list",
        "it is there only after the one before",
    ),
    (
        "target/tmp/programs/behaviour/lossless-shared too_few_slots",
        "it is there only after the one before",
    ),
    ("sudo make install", "it changes the machine; tests/install.rs installs elsewhere"),
    ("sudo ldconfig", "it changes the machine"),
    ("sudo apt-get install build-essential debhelper cargo rustc", "it changes the machine"),
    ("sudo apt-get install gcc make cargo", "it changes the machine"),
    ("sudo dnf install gcc make cargo", "as above"),
    ("cargo vendor --locked", "make check-deb does what follows from here, on Debian"),
    ("cp -R pkg/debian debian", "as above"),
    ("dpkg-buildpackage -us -uc -b", "as above"),
    (
        "sudo apt-get install ../libancillary1_*.deb ../libancillary-dev_*.deb",
        "it changes the machine",
    ),
    ("cargo install --locked cargo-cyclonedx@0.5.9", ".ci/run does, but elsewhere"),
    ("make check-release", "make check-dist does what follows from here, in a clone"),
    ("git tag --sign --message 'libancillary 1.0.0' v1.0.0", "as above"),
    ("git verify-tag v1.0.0", "as above"),
    ("make dist", "as above"),
    ("gpg --armor --detach-sign build/dist/SHA256SUMS", "as above"),
    ("gpg --verify build/dist/SHA256SUMS.asc build/dist/SHA256SUMS", "as above"),
    ("cd build/dist && sha256sum --check SHA256SUMS", "as above"),
    ("cargo --version && xz --version && cargo-cyclonedx cyclonedx --version", "as above"),
];

/// Programs that a machine can lack, of those that commands use.
const TOOLS: [&str; 10] = [
    "bpftrace",
    "cmake",
    "mandoc",
    "meson",
    "pkg-config",
    "python3",
    "ss",
    "strace",
    "systemd-notify",
    "systemd-socket-activate",
];

fn found(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

/// What a command needs and this machine lacks.
fn lacking(command: &str) -> Option<String> {
    let words = || command.split(|c: char| c.is_whitespace() || "()&;'".contains(c));
    let uses = |tool: &&&str| words().any(|word| word == **tool);
    if let Some(tool) = TOOLS.iter().filter(uses).find(|tool| !found(tool)) {
        return Some((*tool).to_owned());
    }
    let known = |package: &&String| {
        let asked = Command::new("pkg-config").arg("--exists").arg(package).output();
        asked.expect("pkg-config").status.success()
    };
    packages(command).into_iter().find(|package| !known(&package))
}

/// The libraries beside ours that a command asks pkg-config for.
fn packages(command: &str) -> Vec<String> {
    let asked = command.split("$(pkg-config ").skip(1);
    let words = asked.flat_map(|rest| rest.split(')').next().expect("a text").split_whitespace());
    words.filter(|word| !word.starts_with("--") && *word != "ancillary").map(Into::into).collect()
}

/// Whether a line is as printed in a document, where `...` stands for anything, and a number of
/// four or five digits for any, such as that of a process. Spaces that align do not count.
fn is_like(line: &[u8], printed: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|c| c.is_ascii_digit()).count();
    let spaces = |text: &[u8]| text.iter().take_while(|c| **c == b' ').count();
    match printed {
        [] => line.is_empty(),
        [b'.', b'.', b'.', rest @ ..] => (0..=line.len()).any(|from| is_like(&line[from..], rest)),
        [b' ', ..] => {
            spaces(line) > 0 && is_like(&line[spaces(line)..], &printed[spaces(printed)..])
        }
        [b'0'..=b'9', ..] => {
            let (is, said) = (digits(line), digits(printed));
            let any = matches!(said, 4 | 5) && is > 0;
            (any || line[..is] == printed[..said]) && is_like(&line[is..], &printed[said..])
        }
        [c, rest @ ..] => line.first() == Some(c) && is_like(&line[1..], rest),
    }
}

/// Whether lines are as printed in a document, where a line `...` stands for any number of them.
fn are_like(lines: &[String], printed: &[String]) -> bool {
    match printed {
        [] => lines.is_empty(),
        [any, rest @ ..] if any == "..." => {
            (0..=lines.len()).any(|from| are_like(&lines[from..], rest))
        }
        [one, rest @ ..] => lines.first().is_some_and(|line| {
            is_like(line.as_bytes(), one.as_bytes()) && are_like(&lines[1..], rest)
        }),
    }
}

#[test]
fn printed_lines_are_compared() {
    for (line, printed, like) in [
        ("one two", "one two", true),
        ("one  two", "one two", true),
        ("one two", "one", false),
        ("one", "one two", false),
        ("process 7 of 3", "process 1234 of 3", true),
        ("process 7 of 4", "process 1234 of 3", false),
        ("process x", "process 1234", false),
        ("in /tmp/a/b.", "in /tmp/.../b.", true),
        ("in /tmp/a/c.", "in /tmp/.../b.", false),
    ] {
        assert_eq!(is_like(line.as_bytes(), printed.as_bytes()), like, "{line} {printed}");
    }
}

/// What a release has for who builds without a network: these sources, with the crates in them.
fn archive_with_crates(archive: &Path) {
    let dir = TempDir::new();
    let name = format!("libancillary-{}", env!("CARGO_PKG_VERSION"));
    copy_source(&dir.path().join(&name));
    vendor(&dir.path().join(&name).join("vendor"));
    run_ok(Command::new("tar").arg("-C").arg(dir.path()).arg("-cJf").arg(archive).arg(&name));
}

/// A copy of the sources, in which `make` has been run and the files of a document are saved, on a
/// machine where the library is installed.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new(blocks: &[Block]) -> Place {
        let place = Place { dir: TempDir::new() };
        copy_source(&place.top());
        let build = place.top().join("build");
        run_ok(Command::new("cp").arg("-a").arg(&shipped().dir).arg(build));
        run_ok(&mut place.shell(&format!("make install PREFIX={}", place.prefix().display())));
        for block in blocks {
            if let Some(name) = block.file() {
                let file = place.top().join(name);
                assert!(!file.exists(), "{}: {name} is there already", block.place);
                fs::write(file, &block.text).expect("a file");
            }
        }
        let archive = format!("libancillary-{}-vendored.tar.xz", env!("CARGO_PKG_VERSION"));
        if blocks.iter().any(|block| block.text.contains(&archive)) {
            archive_with_crates(&place.top().join(archive));
        }
        place
    }

    fn prefix(&self) -> PathBuf {
        self.dir.path().join("prefix")
    }

    fn top(&self) -> PathBuf {
        self.dir.path().join("top")
    }

    fn files(&self) -> Names {
        let entries = fs::read_dir(self.top()).expect("the folder");
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Compilers, the loader and pkg-config look there by themselves when the library is installed
    /// for all.
    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.top());
        leave_cargo(&mut shell);
        let prefix = self.prefix();
        shell
            .env("CPATH", prefix.join("include"))
            .env("LIBRARY_PATH", prefix.join("lib"))
            .env("LD_LIBRARY_PATH", prefix.join("lib"))
            .env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"))
            .env("TMPDIR", self.dir.path());
        if command.starts_with("cmake ") {
            // As `make DESTDIR=/another BUILD=another install` of a program that is built with it.
            shell.env("MAKEFLAGS", " -- DESTDIR=/another LIBDIR=/another BUILD=another");
        }
        shell
    }

    /// Runs the commands of a block.
    fn run(&self, steps: &[Step]) {
        let before = self.files();
        let mut built = Names::new();
        // Those of make say on standard error what they are doing.
        let tidy = |step: &Step| step.command.starts_with("cc ") || step.command.starts_with("./");
        for step in steps {
            let Step { command, output, place } = step;
            if NOT_RUN.iter().any(|(other, _)| other == command) {
                continue;
            }
            if let Some(what) = lacking(command) {
                return missing(&what);
            }
            built.extend(command.split(" -o ").skip(1).map(|rest| {
                rest.split_whitespace().next().expect("the name of a program").to_owned()
            }));
            let traced = command.strip_prefix(TRACE);
            if traced.is_some() && !may_trace() {
                return missing("root, with mounts of its own");
            }
            let mut shell = self.shell(traced.map_or(command, |_| WITH_EVENTS));
            let program = Program::start(shell.env("TRACED", traced.unwrap_or_default()));
            let end = program.end();
            let complaints = program.complaints();
            let lacks = complaints.iter().find_map(|line| lacking_kernel(line));
            if let Some(what) = lacks.filter(|_| end != End::Exited(0)) {
                return missing(what);
            }
            assert_eq!(end, End::Exited(0), "{place}: {command}: {complaints:#?}");
            let lines = program.all_lines();
            if let Some(printed) = output {
                assert!(
                    are_like(&lines, printed),
                    "{place}: {command} prints\n{}\nand not\n{}",
                    lines.join("\n"),
                    printed.join("\n")
                );
                assert!(complaints.is_empty() || !tidy(step), "{place}: {complaints:#?}");
            }
            program.leaves_nothing();
        }
        if steps.iter().all(tidy) {
            let left: Names = self.files().difference(&before).cloned().collect();
            assert!(left.is_subset(&built), "{}: leaves {left:?}", steps[0].place);
        }
    }
}

/// How a command begins that traces the kernel, and how it is run: where the events are that the
/// kernel offers, which not every machine has mounted.
const TRACE: &str = "sudo bpftrace ";
const WITH_EVENTS: &str = "unshare --mount sh -c '
    mount -t tracefs none /sys/kernel/tracing && eval \"exec bpftrace $TRACED\"'";

fn may_trace() -> bool {
    is_root() && works(Command::new("unshare").args(["--mount", "true"]))
}

/// What a program that failed lacks of the kernel, by what it says.
fn lacking_kernel(complaint: &str) -> Option<&'static str> {
    const LACKING: [(&str, &str); 9] = [
        ("cgroup of the caller: No such file", "cgroups of version 2"),
        ("landlock: this kernel", "Landlock that scopes abstract names (Linux 6.12)"),
        ("landlock: ", "a kernel with Landlock"),
        ("unshare: ", "the right to make a user namespace"),
        ("strace: ", "the right to trace"),
        ("mount: ", "a kernel with tracefs"),
        ("ERROR: Error attaching probe", "a kernel that bpftrace can look into"),
        ("Protocol not available", "a newer kernel"),
        ("io_uring_queue_init: ", "a kernel that permits io_uring"),
    ];
    LACKING.iter().find(|(said, _)| complaint.contains(said)).map(|(_, what)| *what)
}

fn run_commands(document: &Document) {
    let place = Place::new(&document.blocks);
    for block in &document.blocks {
        let steps = block.steps();
        if !steps.is_empty() {
            place.run(&steps);
        }
    }
}

#[test]
fn commands_do_what_is_printed() {
    let documents: Vec<_> = documents().into_iter().filter(has_commands).collect();
    thread::scope(|scope| {
        for document in &documents {
            scope.spawn(|| run_commands(document));
        }
    });
}

fn has_commands(document: &Document) -> bool {
    document.blocks.iter().any(|block| !block.steps().is_empty())
}

fn commands(document: &Document) -> Vec<String> {
    document.blocks.iter().flat_map(Block::steps).map(|step| step.command).collect()
}

#[test]
fn every_block_is_a_file_or_commands() {
    const OTHERS: [&str; 1] = ["text"];
    for document in documents() {
        let commands = commands(&document);
        for block in &document.blocks {
            let place = &block.place;
            let Some(name) = block.file() else {
                let language = block.language.as_str();
                let known = OTHERS.contains(&language) || !block.steps().is_empty();
                assert!(known, "{place}: what is in a block of {language:?}?");
                continue;
            };
            let tool = match name {
                "CMakeLists.txt" => "cmake",
                "meson.build" => "meson",
                _ => name,
            };
            // What these tools build is named in their files.
            let lists = |other: &Block| matches!(other.language.as_str(), "cmake" | "meson");
            let used = commands.iter().any(|command| command.contains(tool))
                || document.blocks.iter().any(|other| lists(other) && other.text.contains(tool));
            // Functions alone are compiled by the test below.
            let alone = block.language == "c" && !block.text.contains(" main(");
            assert!(used || alone, "{place}: no command uses {name}");
        }
    }
}

#[test]
fn commands_that_are_not_run_are_in_the_documents() {
    let all: Vec<_> = documents().iter().flat_map(commands).collect();
    for (command, _) in NOT_RUN {
        assert!(all.iter().any(|other| other == command), "{command} is in no document");
    }
}

/// Commands that are named in passing, which change nothing or build what tests build: that there
/// is such a target, or such a page.
#[test]
fn commands_in_the_text_are_possible() {
    let makefiles = ["Makefile", "maintain.mk"].map(|name| fs::read_to_string(source().join(name)));
    let makefile = makefiles.map(|text| text.expect("a makefile")).join("\n");
    let is_target = |name: &str| makefile.lines().any(|line| line.starts_with(&format!("{name}:")));
    for document in documents() {
        for command in document.quoted().into_iter().chain(commands(&document)) {
            let words: Vec<_> = command.split_whitespace().collect();
            let possible = match words[..] {
                ["make"] => true,
                ["sudo", "make", target, ..] | ["make", target, ..] => {
                    is_target(target) || target.contains('=')
                }
                ["man", page] => source().join(page).exists(),
                ["cc" | "cargo" | "cmake" | "meson" | "python3", _, ..] => {
                    commands(&document).contains(&command)
                }
                _ => true,
            };
            assert!(possible, "{}: {command}", document.name);
        }
    }
}

// ---- Code --------------------------------------------------------------------------------------

/// Compiles C, as C99 and without a warning, and leaves it at that. Compilers differ in what they
/// warn of.
fn compiles(name: &str, text: &str, more: &[String]) {
    let dir = TempDir::new();
    fs::write(dir.path().join("code.c"), text).expect("a file");
    static CLANG: OnceLock<bool> = OnceLock::new();
    let clang = *CLANG.get_or_init(|| {
        let found = found("clang");
        if !found {
            missing("clang");
        }
        found
    });
    let others = clang.then(|| Command::new("clang"));
    for mut compiler in iter::once(compiler()).chain(others) {
        compiler
            .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "code.c", "-I"])
            .arg(source().join("include"))
            .args(more)
            .current_dir(dir.path());
        let output = run(&mut compiler);
        assert!(output.status.success(), "{name}:\n{}", said(&output));
    }
}

#[test]
fn code_compiles_without_a_warning() {
    for document in documents() {
        let commands = commands(&document);
        for block in document.blocks.iter().filter(|block| block.language == "c") {
            let name = block.file().expect("a name");
            let uses = |command: &&String| command.contains(name);
            let packages: Names =
                commands.iter().filter(uses).flat_map(|command| packages(command)).collect();
            let mut flags = Vec::new();
            if !packages.is_empty() {
                let command =
                    format!("$(pkg-config {})", Vec::from_iter(packages.clone()).join(" "));
                if let Some(what) = lacking(&command) {
                    missing(&what);
                    continue;
                }
                let asked = run_ok(Command::new("pkg-config").arg("--cflags").args(&packages));
                flags = asked.split_whitespace().map(str::to_owned).collect();
            }
            compiles(&block.place, &block.text, &flags);
        }
    }
}

/// The manual pages: names and texts.
fn pages() -> Vec<(String, String)> {
    let page = |file: PathBuf| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read_to_string(&file).expect("a page"))
    };
    manual().into_iter().map(page).collect()
}

#[test]
fn examples_of_the_manual_compile_and_run() {
    for (page, text) in pages() {
        let (programs, others): (Vec<_>, Vec<_>) =
            displays(&text).into_iter().partition(|text| text.contains("int main("));
        assert!(!programs.is_empty(), "{page} has no example");
        for (count, program) in programs.into_iter().enumerate() {
            // One with a name takes arguments: a test of its own gives them.
            if let Some(name) = file_of(&program) {
                assert!(NAMED_PROGRAMS.contains(&name), "{page}: who runs {name}?");
                continue;
            }
            let name = format!("{page}.{count}");
            let (sources, folder) = (TempDir::new(), TempDir::new());
            let file = sources.path().join(format!("{name}.c"));
            fs::write(&file, program).expect("a file");
            let mut libraries = Vec::new();
            if text.contains("#include <liburing.h>") {
                if let Some(what) = lacking("$(pkg-config liburing)") {
                    missing(&what);
                    continue;
                }
                libraries.push("-luring");
            }
            let program = compile(&name, &[file], Link::Shared, &libraries);
            let mut command = Command::new(program);
            let output = run(command.current_dir(folder.path()).stdin(Stdio::null()));
            if let Some(what) = lacking_kernel(&said(&output)).filter(|_| !output.status.success())
            {
                missing(what);
                continue;
            }
            assert!(output.status.success(), "{name}: {}", said(&output));
            let left = fs::read_dir(folder.path()).expect("the folder").count();
            assert_eq!(left, 0, "{name} leaves files");
        }
        // What is no program is a structure of the header, which tests/manual.rs compares.
        for text in others {
            assert!(text.trim_start().starts_with("struct anc"), "{page}: what is this?\n{text}");
        }
    }
}

/// The programs of the manual that have names, and tests of their own.
const NAMED_PROGRAMS: [&str; 2] = ["keeper.c", "fetch.c"];

/// The name of a program that begins with a comment that says it.
fn file_of(program: &str) -> Option<&str> {
    program.strip_prefix("/* ")?.split_whitespace().next()
}

/// A program of the manual that has a name.
fn named_program(name: &str) -> PathBuf {
    let file = format!("{name}.c");
    let all = pages().into_iter().flat_map(|(_, text)| displays(&text));
    let program = all.into_iter().find(|text| file_of(text) == Some(&file));
    let sources = TempDir::new();
    let path = sources.path().join(&file);
    fs::write(&path, program.unwrap_or_else(|| panic!("no {file} in the manual"))).expect("a file");
    compile(name, &[path], Link::Shared, &[])
}

/// Sends on a stream until no more fits.
fn flood(mut stream: &UnixStream, bytes: &[u8]) {
    stream.set_nonblocking(true).expect("a socket");
    while stream.write(bytes).is_ok() {}
}

#[test]
fn the_server_of_the_manual_serves_a_hundred_clients() {
    const CLIENTS: usize = 100;
    let _in_flight = in_flight::up_to(1200);
    let dir = TempDir::new();
    let (socket, files) = (dir.path().join("socket"), dir.path().join("files"));
    fs::create_dir(&files).expect("a folder");
    fs::write(files.join("one"), "first\n").expect("a file");
    fs::write(files.join("two"), "second\n").expect("a file");
    let mut command = Command::new(named_program("keeper"));
    let server = Program::start(command.arg(&socket).arg(&files));
    until("the socket", || socket.exists().then_some(()));
    let fetch = named_program("fetch");
    let start = |names: &[&str]| Program::start(Command::new(&fetch).arg(&socket).args(names));
    let served = || {
        let client = start(&["one", "missing", "../files/one", "two"]);
        assert_eq!(client.end(), End::Exited(1));
        assert_eq!(client.all_lines(), ["first", "second"]);
        let said = ["missing: No such file or directory", "../files/one: Permission denied"];
        assert_eq!(client.complaints(), said);
        client.leaves_nothing();
    };
    served();

    // Some say nothing, and some ask and never read: another is served as before. These get few
    // files, which are in flight.
    let connect = || UnixStream::connect(&socket).expect("a connection");
    let others: Vec<_> = (1..CLIENTS).map(|_| connect()).collect();
    for mut other in others.iter().step_by(10) {
        other.write_all(&plain_message(1, "one", 0).repeat(20)).expect("a socket");
        flood(other, &plain_message(1, "missing", 0));
    }
    served();
    // Who makes no sense is disconnected.
    drop(others);
    let mut other = connect();
    other.write_all(&[1; 16]).expect("a socket");
    assert_eq!(other.read(&mut [0]).expect("the end"), 0);

    // There are more than it takes at a time, and each has more requests than it answers at once.
    let names = ["one", "two"].repeat(40);
    let clients: Vec<_> = (0..CLIENTS + CLIENTS / 5).map(|_| start(&names)).collect();
    for client in clients {
        assert_eq!(client.end(), End::Exited(0), "{:?}", client.complaints());
        assert_eq!(client.all_lines(), ["first", "second"].repeat(40));
        client.leaves_nothing();
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.end(), End::Exited(0));
    assert!(server.complaints().is_empty(), "{:?}", server.complaints());
    server.leaves_nothing();
    assert!(!socket.exists());
}

#[test]
fn lines_of_the_manual_compile() {
    for (page, text) in pages() {
        for line in literal_lines(&text) {
            if line.starts_with("cc ") {
                let place = Place::new(&[]);
                let program = "#include <ancillary.h>\nint main(void) { return 0; }\n";
                fs::write(place.top().join("program.c"), program).expect("a file");
                run_ok(&mut place.shell(&line));
                continue;
            }
            // With what the text around it takes for granted.
            let start =
                "#include <ancillary.h>\nvoid run(int s, int fd);\nvoid run(int s, int fd)\n";
            let code = format!("{start}{{\n(void)s; (void)fd;\n{line}\n;\n}}\n");
            compiles(&page, &code, &["-Wno-unused".to_owned()]);
        }
    }
}

// ---- What is referred to -----------------------------------------------------------------------

/// As sites for code make them of headings.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn anchors(file: &Path) -> Names {
    let text = fs::read_to_string(file).expect("a document");
    let prose: String = text.split("```").step_by(2).collect();
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let here = source().join(&document.name);
        let folder = here.parent().expect("a folder");
        for link in document.prose().split("](").skip(1) {
            let link = link.split(')').next().expect("a link");
            if link.starts_with("https://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let file = if path.is_empty() { here.clone() } else { folder.join(path) };
            assert!(file.exists(), "{}: {link} is not there", document.name);
            let known = anchor.is_empty() || anchors(&file).contains(anchor);
            assert!(known, "{}: no heading for {link}", document.name);
        }
    }
}

#[test]
fn errors_of_the_cookbook_are_those_of_the_manual() {
    let text = Document::read("docs/cookbook.md").text;
    let (_, section) = text.split_once("\n### Errors and their usual causes\n").expect("a section");
    let table = section.split("```").next().expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| "));
    let says = rows.filter_map(|row| row.split('|').next()).collect::<Vec<_>>().join("\n");
    let manual: Vec<_> = pages().into_iter().map(|(_, text)| text).collect();
    let listed = |name: &str| {
        let is_item = |line: &str| line.starts_with(".It Bq Er ") && line.contains(name);
        manual.iter().any(|page| page.lines().any(is_item))
    };
    let names = quoted(&says);
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert!(listed(name), "no page lists {name}");
    }
}

/// A file of the sources that stands between backquotes, by its folder.
#[test]
fn named_files_are_there() {
    const FOLDERS: [&str; 8] =
        ["c-examples/", "docs/", "include/", "man/", "pkg/", "src/", "tests/", "tools/"];
    let mut count = 0;
    for document in documents() {
        let folder = source().join(&document.name);
        let folder = folder.parent().expect("a folder");
        for name in document.quoted() {
            let is_path = |c: char| c.is_alphanumeric() || "/._-".contains(c);
            if FOLDERS.iter().any(|start| name.starts_with(start)) && name.chars().all(is_path) {
                let there = source().join(&name).exists() || folder.join(&name).exists();
                assert!(there, "{}: {name} is not there", document.name);
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count} found");
}

// ---- Tests that are named ------------------------------------------------------------------------

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Whether a file of tests has this one.
fn has_test(file: &str, name: &str) -> bool {
    let text = fs::read_to_string(source().join(file)).unwrap_or_else(|_| panic!("no {file}"));
    let defined = match file.ends_with(".c") {
        true => format!("CASE({name})"),
        // Other attributes can stand in between.
        false => format!("]\nfn {name}()"),
    };
    text.contains(&defined)
}

/// The tests that the rows of tables name: a file, and what is in it.
fn tests_named(document: &Document) -> Vec<(String, String)> {
    let mut named = Vec::new();
    let prose = document.prose();
    for row in prose.lines().filter(|line| line.starts_with('|')) {
        let mut file = None;
        for word in quoted(row.rsplit('|').nth(1).expect("the last column")) {
            if word.starts_with("tests/") {
                file = Some(word);
            } else if let Some(file) = file {
                named.push((file.to_owned(), word.to_owned()));
            }
        }
    }
    named
}

#[test]
fn named_tests_are_there() {
    let mut count = 0;
    for document in documents() {
        for (file, name) in tests_named(&document) {
            assert!(has_test(&file, &name), "{}: {name} is not in {file}", document.name);
            count += 1;
        }
    }
    assert!(count > 30, "{count} found");
}

#[test]
fn every_promise_names_a_test() {
    let text = Document::read("docs/promises.md").text;
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.ends_with("held by |"));
    let mut count = 0;
    for row in rows {
        assert!(row.contains("| `tests/"), "{row}");
        count += 1;
    }
    assert!(count > 10);
}

/// Programs of cases that `tests/README.md` has in a line with others.
const IN_A_LINE_WITH: [(&str, &str); 3] = [
    ("peers.c", "tests/peers.rs"),
    ("reload.c", "tests/abi.rs"),
    ("syscalls.c", "tests/system_calls.rs"),
];

#[test]
fn every_program_of_tests_is_on_their_map() {
    let map = Document::read("tests/README.md");
    let prose = map.prose();
    let named: BTreeSet<_> = quoted(&prose).into_iter().collect();
    let listed = |folder: &str| {
        let entries = fs::read_dir(source().join(folder)).expect("a folder");
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file())
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    for path in listed("tests").filter(|path| path.extension().is_some_and(|is| is == "rs")) {
        let name = format!("tests/{}", name(&path));
        assert!(named.contains(&name[..]), "{name}");
    }
    for path in listed("tests/c").filter(|path| path.extension().is_some_and(|is| is == "c")) {
        let name = name(&path);
        let other = IN_A_LINE_WITH.iter().find(|(program, _)| *program == name);
        let home = other.map_or(&name[..], |(_, home)| home);
        let is_program = fs::read_to_string(&path).expect("a text").contains("\nCHECK_MAIN(");
        assert!(!is_program || named.contains(home), "{name}");
    }
}

/// What `make check` is said to print is what it does.
#[test]
fn printed_tests_are_there() {
    let text = Document::read("README.md").text;
    let lines = text.lines().filter_map(|line| line.strip_prefix("test "));
    let names: Vec<_> = lines.filter_map(|line| line.strip_suffix(" ... ok")).collect();
    assert!(!names.is_empty());
    let programs = fs::read_to_string(source().join("tests/behaviour.rs")).expect("the tests");
    for name in names {
        let program = name.strip_prefix("shared::").expect("with the shared library");
        let known = programs.lines().any(|line| {
            let line = line.trim_start();
            line.strip_prefix(program).is_some_and(|rest| rest.starts_with([' ', ';']))
        });
        assert!(known, "{name}");
    }
}

/// The versions of Linux that a text names, from 4.18 on.
fn versions(text: &str) -> BTreeSet<(u32, u32)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let version = |word: &str| {
        let (major, minor) = word.trim_end_matches('.').split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    words.filter_map(version).filter(|version| *version > (4, 18)).collect()
}

#[test]
fn versions_of_linux_are_those_of_the_manual() {
    let page = fs::read_to_string(source().join("man/ancillary.7")).expect("the overview");
    let (_, section) = page.split_once(".Sh LINUX VERSIONS\n").expect("the section");
    let manual = versions(section.split(".Sh ").next().expect("a section"));
    let document = Document::read("docs/kernels.md").text;
    let table = document.split("\n## ").next().expect("the first section");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let first = rows.map(|row| row.split('|').nth(1).expect("a column"));
    assert_eq!(versions(&first.collect::<Vec<_>>().join("\n")), manual);
}

#[test]
fn the_picture_is_what_its_program_draws() {
    if let Some(what) = lacking("python3") {
        return missing(&what);
    }
    let drawn = run_ok(Command::new("python3").arg(source().join("tools/picture.py")));
    let there = fs::read_to_string(source().join("docs/passing.svg")).expect("the picture");
    assert!(drawn == there, "docs/passing.svg differs: make picture");
}
