//! What the test programs share: the libraries as they are shipped, a C compiler, and what runs the
//! examples.

#![allow(dead_code)]
// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

pub mod document;
pub mod header;
pub mod program;

use std::collections::{BTreeSet, HashMap};
use std::env;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

pub type Names = BTreeSet<String>;

/// Where this package is.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of these tests, kept from one run to the next.
pub fn kept() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The libraries as `make` leaves them.
pub struct Shipped {
    /// Holds the libraries, and the links by which the linker and the loader find the shared one.
    pub dir: PathBuf,
    /// Holds the header.
    pub include: PathBuf,
    pub shared: PathBuf,
    pub archive: PathBuf,
}

/// Builds the libraries, once.
///
/// Cargo builds nothing of the kind for tests, so this runs `make`, which runs another cargo.
/// That one has a target folder of its own and so does not wait for the one that runs the tests.
pub fn shipped() -> &'static Shipped {
    static SHIPPED: OnceLock<Shipped> = OnceLock::new();
    SHIPPED.get_or_init(|| {
        let dir = kept().join("shipped");
        // Other test processes may be about the same. The lock ends with the file.
        let lock = File::create(kept().join("shipped.lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let mut make = Command::new("make");
        make.arg("-C").arg(source()).arg(format!("BUILD={}", dir.display()));
        leave_cargo(&mut make);
        run_ok(&mut make);
        let version = env!("CARGO_PKG_VERSION");
        let shipped = Shipped {
            include: source().join("include"),
            shared: dir.join(format!("libancillary.so.{version}")),
            archive: dir.join("libancillary.a"),
            dir,
        };
        assert!(shipped.shared.is_file(), "make built no {}", shipped.shared.display());
        assert!(shipped.archive.is_file(), "make built no {}", shipped.archive.display());
        shipped
    })
}

/// `make`, as a user or a packager calls it, with the libraries built already.
pub fn make(target: &str, variables: &[String]) {
    let mut make = Command::new("make");
    make.arg("-C").arg(source()).arg(target);
    make.arg(format!("BUILD={}", shipped().dir.display())).args(variables);
    leave_cargo(&mut make);
    run_ok(&mut make);
}

/// Makes a folder with a copy of the sources of the libraries, the examples and the manual.
pub fn copy_source(to: &Path) {
    const PARTS: [&str; 11] = [
        "Cargo.toml",
        "Cargo.lock",
        "Makefile",
        "build.rs",
        "c-examples",
        "docs",
        "include",
        "man",
        "pkg",
        "src",
        "tools",
    ];
    fs::create_dir(to).expect("a folder");
    run_ok(Command::new("cp").arg("-a").args(PARTS.map(|part| source().join(part))).arg(to));
}

/// Takes away what the cargo that runs the tests, or its user, has put into the environment for
/// that run: the libraries are to be what a plain `make` gives.
pub fn leave_cargo(command: &mut Command) {
    const NAMES: [&str; 9] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "LD_LIBRARY_PATH",
    ];
    const PREFIXES: [&str; 5] =
        ["CARGO_BUILD_", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PROFILE_", "CARGO_TARGET_"];
    for (name, _) in env::vars_os() {
        let given = name.to_string_lossy();
        if NAMES.contains(&&*given) || PREFIXES.iter().any(|prefix| given.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// Which of the libraries a program is linked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    Shared,
    Static,
}

impl Link {
    pub const BOTH: [Link; 2] = [Link::Shared, Link::Static];

    fn name(self) -> &'static str {
        match self {
            Link::Shared => "shared",
            Link::Static => "static",
        }
    }
}

/// The C compiler of this machine, with what it takes to compile for it, and no more.
pub fn compiler() -> Command {
    cc::Build::new()
        .target(env!("ANCILLARY_TEST_TARGET"))
        .host(env!("ANCILLARY_TEST_HOST"))
        .opt_level(1)
        .cargo_metadata(false)
        .try_get_compiler()
        .expect("a C compiler")
        .to_command()
}

/// Compiles a C program of the library's user, as C99 and without a warning, and returns its path.
///
/// It is compiled once in a process for each name and link.
pub fn compile(name: &str, sources: &[PathBuf], link: Link, extra: &[&str]) -> PathBuf {
    type Programs = Mutex<HashMap<(String, Link), Arc<OnceLock<PathBuf>>>>;
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    let program = {
        let mut programs = PROGRAMS.get_or_init(Programs::default).lock().expect("no panic in it");
        programs.entry((name.to_owned(), link)).or_default().clone()
    };
    program.get_or_init(|| compile_now(name, sources, link, extra)).clone()
}

fn compile_now(name: &str, sources: &[PathBuf], link: Link, extra: &[&str]) -> PathBuf {
    let shipped = shipped();
    let dir = kept().join("programs").join(env!("CARGO_CRATE_NAME"));
    let program = dir.join(format!("{name}-{}", link.name()));
    fs::create_dir_all(program.parent().expect("a folder")).expect("a folder for programs");
    let mut compiler = compiler();
    compiler
        .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g", "-pthread"])
        .arg("-I")
        .arg(&shipped.include)
        .args(sources)
        // Also libraries, which stand behind what needs them.
        .args(extra);
    match link {
        // The old kind of rpath, which goes before LD_LIBRARY_PATH: cargo sets that for tests. A
        // library that lies beside the program goes first.
        Link::Shared => compiler
            .arg("-L")
            .arg(&shipped.dir)
            .arg("-lancillary")
            .arg(format!("-Wl,--disable-new-dtags,-rpath,$ORIGIN:{}", shipped.dir.display())),
        Link::Static => compiler.arg(&shipped.archive),
    };
    // Another process may be running the program of that name.
    let unfinished = dir.join(format!("{name}-{}.{}", link.name(), process::id()));
    run_ok(compiler.arg("-o").arg(&unfinished));
    fs::rename(&unfinished, &program).expect("the program in its place");
    program
}

/// A file of the C test programs.
pub fn c_file(name: &str) -> PathBuf {
    source().join("tests/c").join(name)
}

/// Compiles a C test program, which is a list of cases: `name` is its file without the suffix, and
/// `more` the files it needs beside the harness.
pub fn cases(name: &str, link: Link, extra: &[&str], more: &[&str]) -> PathBuf {
    let own = format!("{name}.c");
    let files = [own.as_str(), "check.c", "kit.c"];
    let sources: Vec<_> = files.iter().chain(more).map(|file| c_file(file)).collect();
    let headers = format!("-I{}", c_file("").display());
    compile(name, &sources, link, &[extra, &[&headers]].concat())
}

/// Runs cases of a C test program, all of which have to pass.
pub fn pass(command: &mut Command) {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    for line in said(&output).lines().filter(|line| line.starts_with("skipped ")) {
        let program = Path::new(command.get_program()).file_name().expect("a name");
        announce(&format!("{line} ({})", program.to_string_lossy()));
    }
}

/// A folder for one test, removed with all that is in it. Its path is short enough for the name
/// of a socket in it.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    pub fn new() -> TempDir {
        TempDir::below(&env::temp_dir())
    }

    /// One in which all users may make files.
    pub fn for_all() -> TempDir {
        // TMPDIR may name one of a single user.
        let usual = env::temp_dir();
        let is_open = |dir: &Path| dir.metadata().is_ok_and(|found| found.mode() & 0o001 != 0);
        let all_reach_it = usual.ancestors().all(is_open);
        let dir = TempDir::below(if all_reach_it { &usual } else { Path::new("/tmp") });
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).expect("an open folder");
        dir
    }

    fn below(parent: &Path) -> TempDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("anc-{}-{count}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return TempDir { path },
                // Left there by a process of the same number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command says, on standard output and on standard error.
pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Runs a command that has to succeed, and returns its standard output.
pub fn run_ok(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Whether a command can be run, and succeeds.
pub fn works(command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Whether a test may do without a tool that not every machine has. Where
/// ANCILLARY_REQUIRE_ALL=1 is set, none may.
pub fn missing(tool: &str) {
    assert!(
        env::var("ANCILLARY_REQUIRE_ALL").as_deref() != Ok("1"),
        "{tool} is missing, and ANCILLARY_REQUIRE_ALL is set"
    );
    announce(&format!("skipped: {tool} is missing"));
}

/// Says something that is to be seen also when the test passes: what is printed is not.
pub fn announce(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Runs a tool that comes with the compiler, in the language of its source.
pub fn tool(name: &str, arguments: &[&str], file: &Path) -> String {
    run_ok(Command::new(name).env("LC_ALL", "C").args(arguments).arg(file))
}

/// The names that nm(1) lists: the first word of each line, without a version.
pub fn nm(arguments: &[&str], file: &Path) -> Names {
    let said = tool("nm", &[&["-f", "posix"], arguments].concat(), file);
    let symbols = said.lines().filter(|line| !line.ends_with(':'));
    symbols.filter_map(|line| line.split(['@', ' ']).next()).map(str::to_owned).collect()
}
