//! The documents and the manual pages: their code compiles, their commands run and print what they
//! are said to, and what they refer to is there.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::document::{displays, documents, literal_lines, manual, Block, Document, Step};
use common::program::{until, End, Program};
use common::{compile, compiler, copy_source, leave_cargo, missing, run, run_ok, said};
use common::{shipped, source, Link, TempDir};
use std::collections::BTreeSet;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

type Names = BTreeSet<String>;

// ---- Commands ----------------------------------------------------------------------------------

/// Commands that are not run here, and why. Every other one is.
const NOT_RUN: [(&str, &str); 19] = [
    ("make check", "this test is a part of it"),
    ("make check-hostile", ".ci/run does; it takes a minute"),
    ("make check-valgrind", ".ci/run does; it takes a minute"),
    ("make check-threads", ".ci/run does; it needs a sanitizer"),
    ("make fuzz", ".ci/run does; it takes minutes"),
    ("make check-msrv", ".ci/run does; it needs Debian and its older compiler"),
    ("make cross-check", ".ci/run does; it needs root and Debian's other compilers"),
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
    ("cargo vendor --locked", "make check-deb does what follows from here, on Debian"),
    ("cp -R pkg/debian debian", "as above"),
    ("dpkg-buildpackage -us -uc -b", "as above"),
    (
        "sudo apt-get install ../libancillary1_*.deb ../libancillary-dev_*.deb",
        "it changes the machine",
    ),
];

/// Programs that a machine can lack, of those that commands use.
const TOOLS: [&str; 5] = ["cmake", "mandoc", "meson", "pkg-config", "python3"];

fn found(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok()
}

/// What a command needs and this machine lacks.
fn lacking(command: &str) -> Option<String> {
    let words = || command.split(|c: char| c.is_whitespace() || "()&;".contains(c));
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

    /// How many files a reader sees. While the library makes a socket, its file has a hidden name:
    /// nobody can connect to it by the one that is asked for.
    fn visible(&self) -> usize {
        self.files().iter().filter(|name| !name.starts_with('.')).count()
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
        shell
    }

    /// Runs the commands of a block. One with `&` behind goes on meanwhile; the next waits for the
    /// file that it makes.
    fn run(&self, steps: &[Step]) {
        let before = self.files();
        let mut built = Names::new();
        let mut in_background = Vec::new();
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
            if let Some(command) = command.strip_suffix('&') {
                let visible = self.visible();
                in_background.push(Program::start(&mut self.shell(command.trim())));
                until("a file of a program in the background", || {
                    (self.visible() > visible).then_some(())
                });
                continue;
            }
            let program = Program::start(&mut self.shell(command));
            let end = program.end();
            let complaints = program.complaints();
            if end != End::Exited(0) && complaints.iter().any(|line| line.contains(LACKING)) {
                return missing("a newer kernel");
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
        for program in in_background {
            assert_eq!(program.end(), End::Exited(0), "{:#?}", program.complaints());
            assert!(program.all_lines().is_empty() && program.complaints().is_empty());
            program.leaves_nothing();
        }
        if steps.iter().all(tidy) {
            let left: Names = self.files().difference(&before).cloned().collect();
            assert!(left.is_subset(&built), "{}: leaves {left:?}", steps[0].place);
        }
    }
}

/// What is said of an option that the kernel does not have.
const LACKING: &str = "Protocol not available";

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
            let used = commands.iter().any(|command| command.contains(tool));
            assert!(used, "{place}: no command uses {name}");
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
    let makefile = fs::read_to_string(source().join("Makefile")).expect("the Makefile");
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
            let name = format!("{page}.{count}");
            let (sources, folder) = (TempDir::new(), TempDir::new());
            let file = sources.path().join(format!("{name}.c"));
            fs::write(&file, program).expect("a file");
            let program = compile(&name, &[file], Link::Shared, &[]);
            run_ok(Command::new(program).current_dir(folder.path()).stdin(Stdio::null()));
            let left = fs::read_dir(folder.path()).expect("the folder").count();
            assert_eq!(left, 0, "{name} leaves files");
        }
        // What is no program is a structure of the header, which tests/manual.rs compares.
        for text in others {
            assert!(text.trim_start().starts_with("struct anc"), "{page}: what is this?\n{text}");
        }
    }
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
    let text = Document::read("README.md").text;
    let (_, promises) = text.split_once("\n## What it promises\n").expect("the section");
    let table = promises.split("\n## ").next().expect("a section");
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.ends_with("held by |"));
    let mut count = 0;
    for row in rows {
        assert!(row.contains("| `tests/"), "{row}");
        count += 1;
    }
    assert!(count > 10);
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
        let (program, test) = name.split_once("::").expect("a program and a test");
        let known = programs.lines().any(|line| {
            let line = line.trim_start();
            line.strip_prefix(program).is_some_and(|rest| rest.starts_with([' ', ';']))
        });
        assert!(known && programs.contains(&format!("fn {test}()")), "{name}");
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
