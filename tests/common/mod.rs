//! What the test programs share: the libraries as they are shipped, a C compiler, and what runs the
//! examples.

#![allow(dead_code)]
// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

pub mod document;
pub mod header;
pub mod in_flight;
pub mod program;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock};
use std::thread;

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
        let dir = kept().join("libraries");
        // Other test processes may be about the same. The lock ends with the file.
        let lock = File::create(kept().join("libraries.lock")).expect("a lock file");
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
    let output = try_make(target, variables);
    assert!(output.status.success(), "make {target}: {}\n{}", output.status, said(&output));
}

pub fn try_make(target: &str, variables: &[String]) -> Output {
    let mut make = Command::new("make");
    make.arg("-C").arg(source()).arg(target);
    make.arg(format!("BUILD={}", shipped().dir.display())).args(variables);
    leave_cargo(&mut make);
    run(&mut make)
}

/// Makes a folder with a copy of the sources of the libraries, the examples and the manual.
pub fn copy_source(to: &Path) {
    const PARTS: [&str; 14] = [
        "Cargo.toml",
        "Cargo.lock",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "Makefile",
        "build.rs",
        "c-examples",
        "docs",
        "include",
        "maintain.mk",
        "man",
        "pkg",
        "src",
        "tools",
    ];
    fs::create_dir(to).expect("a folder");
    run_ok(Command::new("cp").arg("-a").args(PARTS.map(|part| source().join(part))).arg(to));
}

/// Makes a folder with the crates that the library and its tests are made of.
pub fn vendor(to: &Path) {
    let there = env::var_os("VENDOR").map_or_else(|| source().join("vendor"), PathBuf::from);
    if there.is_dir() {
        run_ok(Command::new("cp").arg("-RL").arg(there).arg(to));
        return;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["vendor", "--quiet", "--locked", "--manifest-path"]);
    run_ok(cargo.arg(source().join("Cargo.toml")).arg(to));
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
    let program = Path::new(command.get_program()).file_name().expect("a name");
    let program = program.to_string_lossy().into_owned();
    let _in_flight = in_flight_of(&program);
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    for (case, why) in skipped_cases(&said(&output)) {
        skipped(Some(&case), &why);
    }
}

/// The cases that a C test program has skipped, each with the reason.
pub fn skipped_cases(said: &str) -> Vec<(String, String)> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("skipped ")?.split_once(": "));
    lines.map(|(case, why)| (case.to_owned(), why.to_owned())).collect()
}

/// What a C test program needs of what may be in flight: all, if it lowers the limit for itself.
fn in_flight_of(program: &str) -> in_flight::InFlight {
    let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
    let text = fs::read_to_string(c_file(name).with_extension("c")).unwrap_or_default();
    match ["leave_slots(", "set_limit("].iter().any(|function| text.contains(function)) {
        true => in_flight::alone(),
        false => in_flight::up_to(1000),
    }
}

/// Where temporary folders are made: where the user has them, unless the names of sockets would be
/// too long there, or no program may be run.
fn temporary() -> &'static Path {
    static TEMPORARY: OnceLock<PathBuf> = OnceLock::new();
    TEMPORARY.get_or_init(|| {
        let places = [env::temp_dir(), "/tmp".into(), kept().to_owned()];
        let fit = places.iter().find(|place| place.as_os_str().len() <= 50 && may_run_in(place));
        fit.unwrap_or_else(|| panic!("TMPDIR has to name a folder for programs, with a short name"))
            .clone()
    })
}

fn may_run_in(folder: &Path) -> bool {
    let name = CString::new(folder.as_os_str().as_bytes()).expect("a name");
    // SAFETY: the structure is a plain one, for which all zeros are a value, and there to be
    // written to; the name has its end.
    unsafe {
        let mut found: libc::statvfs = mem::zeroed();
        libc::statvfs(name.as_ptr(), &mut found) == 0 && found.f_flag & libc::ST_NOEXEC == 0
    }
}

/// A folder for one test, removed with all that is in it. Its path is short enough for the name
/// of a socket in it.
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    pub fn new() -> TempDir {
        TempDir::below(temporary())
    }

    /// One in which all users may make files.
    pub fn for_all() -> TempDir {
        // TMPDIR may name one of a single user.
        let is_open = |dir: &Path| dir.metadata().is_ok_and(|found| found.mode() & 0o001 != 0);
        let all_reach_it = temporary().ancestors().all(is_open);
        let dir = TempDir::below(if all_reach_it { temporary() } else { Path::new("/tmp") });
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

/// The files below a folder, with what they hold; links with what they name.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).expect("a file");
            found.insert(path, content);
        }
    }
    found
}

/// Names and times of change of all files below a folder.
pub fn state(folder: &Path) -> Vec<(PathBuf, i64, i64)> {
    let times = |path: PathBuf| {
        let file = fs::symlink_metadata(&path).expect("a file");
        (path, file.ctime(), file.ctime_nsec())
    };
    files(folder).into_keys().map(times).collect()
}

/// What who runs the tests happens to have open is not for the programs that they start, nor is a
/// low limit of descriptors.
fn start_afresh() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        in_flight::raise_limit();
        let open = fs::read_dir("/proc/self/fd").expect("the descriptors");
        let numbers = open.map(|entry| entry.expect("one").file_name());
        let numbers = numbers.filter_map(|name| name.to_str()?.parse::<i32>().ok());
        for number in numbers.filter(|number| *number > libc::STDERR_FILENO) {
            // SAFETY: no memory is involved, and the descriptor stays open.
            unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    });
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    start_afresh();
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

/// What only root has: with ANCILLARY_REQUIRE_ALL=1 others may do without it.
const OF_ROOT: [&str; 5] = [
    "root",
    "root, with mounts of its own",
    "the right to choose the number of a process",
    "the right to make a pid namespace",
    "the right to make a network namespace",
];

/// Skips a test, or what is left of it, for want of what not every machine has. Where
/// ANCILLARY_REQUIRE_ALL=1 is set, that is a failure.
pub fn missing(what: &str) {
    assert!(
        env::var("ANCILLARY_REQUIRE_ALL").as_deref() != Ok("1")
            || (OF_ROOT.contains(&what) && !program::is_root()),
        "{what} is missing, and ANCILLARY_REQUIRE_ALL is set"
    );
    skipped(None, what);
}

/// Says that this test, or a case of it, is skipped, and why; also for the summary of `make check`.
pub fn skipped(case: Option<&str>, why: &str) {
    let test = format!("{}::{}", env!("CARGO_CRATE_NAME"), thread::current().name().unwrap_or("?"));
    let (kind, name) = match case {
        None => ("test", test),
        Some(case) => ("case", format!("{test}: {case}")),
    };
    announce(&format!("skipped {name}: {why}"));
    if let Some(report) = env::var_os("ANCILLARY_TEST_REPORT") {
        let mut file = File::options().append(true).open(report).expect("the report");
        // With one call, since others write there as well.
        file.write_all(format!("{kind}\t{name}\t{why}\n").as_bytes()).expect("a line");
    }
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
