//! The programs of `ffi-examples`: each understands every other, and they fail alike.
//!
//! They run with what `make install` installs.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::program::{receive_by_hand, send_by_hand, until, user, with_deadline};
use common::program::{End, Process, Program, DESCRIPTORS};
use common::{in_flight, kept, make, missing, run_ok, source, works, TempDir};
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;
use std::thread;

/// Makes the table of languages, each with its tests: those that all have, and those of its wrapper.
macro_rules! languages {
    ($($language:ident $(: $own:ident)*,)*) => {
        static LANGUAGES: [Language; [$(stringify!($language)),*].len()] =
            [$(Language::new(stringify!($language), $language)),*];
        $(mod $language {
            languages! { tests $language:
                reads_what_all_others_send
                knows_who_sends
                tells_why_sending_fails
                tells_why_receiving_fails
                keeps_descriptors_from_its_children
                is_interrupted
                asks_for_arguments
                $($own)*
            }
        })*
    };
    (tests $language:ident: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            super::with(stringify!($language), super::$test);
        })*
    };
}

// ---- The languages -----------------------------------------------------------------------------

languages! {
    cpp: passes_its_tests,
    go: hears_what_all_others_tell: passes_go_test,
    java: passes_the_class_of_tests,
    luajit: passes_the_script_of_tests,
    node: passes_the_script_of_tests,
    perl: passes_the_script_of_tests,
    php: passes_the_script_of_tests,
    python_cffi:
        hears_what_all_others_tell: passes_the_script_of_tests: waits_as_event_loops_do: differs_in_its_binding_alone,
    python_ctypes: hears_what_all_others_tell: passes_the_script_of_tests: waits_as_event_loops_do,
    ruby_ffi: hears_what_all_others_tell: passes_the_script_of_tests: differs_in_its_binding_alone,
    ruby_fiddle: hears_what_all_others_tell: passes_the_script_of_tests,
    rust: hears_what_all_others_tell: passes_cargo_test,
}

fn cpp(place: &Place) -> Ready {
    place.probe("c++", &["--version"])?;
    let flags = place.probe("pkg-config", &["--cflags", "--libs", "ancillary"])?;
    for name in ["pass", "test_ancillary"] {
        let mut build = place.command("c++");
        build.args(["-std=c++17", "-pthread", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
        build.arg(place.example("cpp").join(name).with_extension("cpp"));
        run_ok(build.args(flags.split_whitespace()).arg("-o").arg(place.build.join(name)));
    }
    Ok(place.command(place.build.join("pass")))
}

/// What the programs do with channels, in C.
static C: Language = Language::new("c", c);

fn c(place: &Place) -> Ready {
    let flags = place.probe("pkg-config", &["--cflags", "--libs", "ancillary"])?;
    let program = place.build.join("channel_pass");
    let mut build = place.command("cc");
    build.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
    build.arg(source().join("tests/c/channel_pass.c")).args(flags.split_whitespace());
    run_ok(build.arg("-o").arg(&program));
    Ok(place.command(program))
}

fn go(place: &Place) -> Ready {
    place.probe("go", &["version"])?;
    place.probe("pkg-config", &["--version"])?;
    let mut program = place.command(place.build.join("pass"));
    // Go does not see that a header has changed, and would take from its cache what it has made with
    // the one before.
    let mut header = DefaultHasher::new();
    fs::read(place.prefix.join("include/ancillary.h")).expect("the header").hash(&mut header);
    program.env("CGO_CFLAGS", format!("-O2 -g -DANCILLARY_HEADER={}", header.finish()));
    let mut build = place.command("go");
    build.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Without looking for a repository, which git may refuse to show to this user.
    build.current_dir(place.example("go")).args(["build", "-buildvcs=false", "-o"]);
    run_ok(build.arg(program.get_program()).arg("."));
    Ok(program)
}

fn java(place: &Place) -> Ready {
    const JNA: &str = "/usr/share/java/jna.jar";
    place.probe("javac", &["--release", "17", "-version"])?;
    File::open(JNA).map_err(|_| JNA.to_owned())?;
    let sources = ["Ancillary.java", "Pass.java", "TestAncillary.java"];
    let sources = sources.map(|name| place.example("java").join(name));
    let classes = place.build.join("classes");
    let mut compiler = place.command("javac");
    run_ok(compiler.args(["-Xlint:all", "-Werror", "-cp", JNA, "-d"]).arg(&classes).args(sources));
    // From a folder, a class could not be loaded any more when the table of descriptors is full.
    let archive = place.build.join("pass.jar");
    run_ok(place.command("jar").arg("cf").arg(&archive).arg("-C").arg(&classes).arg("."));
    let mut java = place.command("java");
    // With it, a thread of Java's opens files of the control group now and then.
    java.arg("-XX:-UseContainerSupport");
    java.arg("-cp").arg(env::join_paths([&archive, Path::new(JNA)]).unwrap()).arg("Pass");
    // To Java, C is a locale that has ASCII's characters alone, also for arguments.
    java.env("LC_ALL", "C.UTF-8");
    Ok(java)
}

fn luajit(place: &Place) -> Ready {
    place.probe("luajit", &["-v"])?;
    let mut luajit = place.command("luajit");
    luajit.arg(place.example("luajit/pass.lua"));
    Ok(luajit)
}

fn node(place: &Place) -> Ready {
    // Where .ci/run puts it.
    let modules = source().join("build/node_modules");
    let koffi = modules.join("koffi");
    place.probe("node", &["-e", "require(process.argv[1])", koffi.to_str().unwrap()])?;
    let mut node = place.command("node");
    node.env("NODE_PATH", modules).arg(place.example("node/pass.js"));
    Ok(node)
}

fn perl(place: &Place) -> Ready {
    place.probe("perl", &["-Mv5.36", "-MFFI::Platypus 2", "-e1"])?;
    let mut perl = place.command("perl");
    perl.arg(place.example("perl/pass.pl"));
    Ok(perl)
}

fn php(place: &Place) -> Ready {
    place.probe("php", &["-r", "PHP_VERSION_ID >= 80100 or exit(1); FFI::cdef();"])?;
    let mut php = place.command("php");
    php.arg(place.example("php/pass.php"));
    Ok(php)
}

fn python_cffi(place: &Place) -> Ready {
    place.probe("pkg-config", &["--version"])?;
    let mut python = python(place, "cffi")?;
    let wrapper = place.example("python/with-cffi");
    let mut build = place.command(python.get_program());
    run_ok(build.arg(wrapper.join("build_ancillary.py")).arg(&place.build));
    python.env("PYTHONPATH", env::join_paths([&wrapper, &place.build]).unwrap());
    python.arg(place.example("python/pass.py"));
    Ok(python)
}

fn python_ctypes(place: &Place) -> Ready {
    let mut python = python(place, "ctypes")?;
    python.env("PYTHONPATH", place.example("python/with-ctypes"));
    python.arg(place.example("python/pass.py"));
    Ok(python)
}

/// An interpreter that has a module: itself, and not what chooses one of several.
fn python(place: &Place, module: &str) -> Ready {
    let show = format!("import {module}, sys; print(sys.executable)");
    // Where .ci/run puts it.
    let environment = source().join("build/venv/bin/python");
    let program = place
        .probe(&environment, &["-c", &show])
        .or_else(|_| place.probe("python3", &["-c", &show]))?;
    let mut python = place.command(program.trim());
    python.env("PYTHONPYCACHEPREFIX", &place.build);
    Ok(python)
}

fn ruby_ffi(place: &Place) -> Ready {
    ruby(place, "ffi", "ruby/with-ffi")
}

fn ruby_fiddle(place: &Place) -> Ready {
    ruby(place, "fiddle", "ruby/with-fiddle")
}

fn ruby(place: &Place, library: &str, wrapper: &str) -> Ready {
    place.probe("ruby", &["-r", library, "-e", ""])?;
    let mut ruby = place.command("ruby");
    ruby.arg("-w").arg("-I").arg(place.example(wrapper)).arg(place.example("ruby/pass.rb"));
    Ok(ruby)
}

fn rust(place: &Place) -> Ready {
    let mut program = place.command(place.build.join("debug/pass"));
    program.env("RUSTFLAGS", format!("-L native={}", place.prefix.join("lib").display()));
    let mut build = place.command("cargo");
    build.args(["build", "--quiet", "--locked", "--manifest-path"]);
    build.arg(place.example("rust/Cargo.toml")).arg("--target-dir").arg(&place.build);
    build.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run_ok(&mut build);
    Ok(program)
}

// ---- How they are run --------------------------------------------------------------------------

/// A program ready to run, or what is missing for it.
type Ready = Result<Command, String>;

struct Language {
    name: &'static str,
    /// Looks for what it needs, and builds the program if it has to be built.
    prepare: fn(&Place) -> Ready,
    ready: OnceLock<Ready>,
}

/// What a language has to work with.
struct Place {
    /// Where the library is installed.
    prefix: PathBuf,
    /// A folder of its own for what it builds, kept from one run to the next.
    build: PathBuf,
}

impl Place {
    fn example(&self, path: &str) -> PathBuf {
        source().join("ffi-examples").join(path)
    }

    /// A program that finds the library, for running and for building.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        common::leave_cargo(&mut command);
        command
            .env("LD_LIBRARY_PATH", self.prefix.join("lib"))
            .env("PKG_CONFIG_PATH", self.prefix.join("lib/pkgconfig"))
            .env("LC_ALL", "C");
        command
    }

    /// What a program says that not every machine has.
    fn probe(&self, program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String, String> {
        match self.command(&program).args(arguments).output() {
            Ok(output) if output.status.success() => Ok(String::from_utf8(output.stdout).unwrap()),
            _ => Err(format!("{} {}", program.as_ref().display(), arguments.join(" "))),
        }
    }
}

/// Installs the library, once.
fn installed() -> &'static Path {
    static INSTALLED: OnceLock<PathBuf> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let prefix = kept().join("languages/prefix");
        make("install", &[format!("PREFIX={}", prefix.display())]);
        prefix
    })
}

impl Language {
    const fn new(name: &'static str, prepare: fn(&Place) -> Ready) -> Language {
        Language { name, prepare, ready: OnceLock::new() }
    }

    fn ready(&self) -> &Ready {
        self.ready.get_or_init(|| {
            let build = kept().join("languages").join(self.name);
            fs::create_dir_all(&build).expect("a folder");
            (self.prepare)(&Place { prefix: installed().to_owned(), build })
        })
    }

    /// Another program with the environment of its own.
    fn like(&self, program: impl AsRef<OsStr>) -> Command {
        let ready = self.ready().as_ref().expect("a language that is there");
        let mut command = Command::new(program);
        for (name, value) in ready.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    fn program(&self) -> Command {
        let ready = self.ready().as_ref().expect("a language that is there");
        let mut program = self.like(ready.get_program());
        program.args(ready.get_args());
        program
    }

    fn command(&self, command: &str, socket: &Path, arguments: &[&str]) -> Command {
        let mut program = self.program();
        program.arg(command).arg(socket).args(arguments);
        program
    }
}

/// Runs a test of a language, if that is there.
fn with(name: &str, test: fn(&Language)) {
    let language = LANGUAGES.iter().find(|language| language.name == name).expect("it");
    match language.ready() {
        Ok(_) => test(language),
        Err(what) => missing(&format!("{name} ({what})")),
    }
}

/// The languages that are there. Of the others their own tests tell.
fn all() -> Vec<&'static Language> {
    LANGUAGES.iter().filter(|language| language.ready().is_ok()).collect()
}

// ---- What they say -----------------------------------------------------------------------------

/// A program that serves a number of connections, and what it says of each.
struct Receiver {
    program: Program,
    connections: usize,
    served: usize,
    lines: usize,
    /// How many descriptors it has between two connections.
    descriptors: Option<usize>,
    socket: PathBuf,
    _dir: TempDir,
}

impl Receiver {
    /// Starts one, and waits until it listens.
    fn start(of: &Language, command: &str, room: &[&str], connections: usize) -> Receiver {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let mut command = of.command(command, &socket, room);
        let program = Program::start(command.arg(connections.to_string()));
        until("it listens", || {
            assert!(program.err.lock().unwrap().0.is_empty(), "{:?}", program.complaints());
            socket.exists().then_some(())
        });
        let (served, lines) = (0, 0);
        Receiver { program, connections, served, lines, descriptors: None, socket, _dir: dir }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }

    /// What it says of the next connection, from `accepted` to `done`. Between two connections it
    /// always has the same number of descriptors.
    fn next(&mut self) -> Vec<String> {
        self.served += 1;
        self.program.says_times("done", self.served);
        let said = self.program.out.lock().unwrap().0[self.lines..].to_vec();
        self.lines += said.len();
        assert_eq!(said.first().map(String::as_str), Some("accepted"));
        assert_eq!(said.last().map(String::as_str), Some("done"));
        if self.served < self.connections {
            let now = self.program.descriptors();
            assert_eq!(now, *self.descriptors.get_or_insert(now), "descriptors are left");
        }
        said[1..said.len() - 1].to_vec()
    }

    /// Checks that it ends after the last connection, having had these things to complain about.
    fn ends(&self, complaints: &[&str]) {
        assert_eq!(self.program.end(), End::Exited(!complaints.is_empty() as i32));
        assert_eq!(self.program.complaints(), complaints);
        assert!(!self.socket.exists());
    }
}

/// The lines of a receiver about files from that process.
fn received(files: usize, payload: &str, pid: i32) -> Vec<String> {
    let mut lines = vec![
        format!("received {files} descriptors, {} bytes", payload.len()),
        format!("payload: {payload}"),
    ];
    lines.extend((1..=files).map(|i| format!("file {i} of {files}, made by {pid}")));
    lines
}

/// The lines of a receiver about three messages from that process, of which one has files.
fn heard(files: usize, payload: &str, pid: i32) -> Vec<String> {
    let message = |kind, files, payload: &str| {
        let bytes = payload.len();
        let beginning = format!("message {kind} from {pid}: {files} descriptors, {bytes} bytes");
        [beginning, format!("payload: {payload}")]
    };
    let mut lines = Vec::from(message(1, 0, payload));
    lines.extend(message(2, files, payload));
    lines.extend((1..=files).map(|i| format!("file {i} of {files}, made by {pid}")));
    lines.extend(message(3, 0, ""));
    lines
}

/// Runs a program that is to succeed, and returns its process number and what it says.
fn succeeds(command: &mut Command) -> (i32, Vec<String>) {
    let program = Program::start(command);
    assert_eq!(program.end(), End::Exited(0), "{command:?}: {:?}", program.complaints());
    assert!(program.complaints().is_empty(), "{command:?}: {:?}", program.complaints());
    (program.pid(), program.all_lines())
}

/// A listening socket of ours, in its folder.
fn listener() -> (TempDir, PathBuf, UnixListener) {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    (dir, socket, listener)
}

fn accept(listener: &UnixListener) -> UnixStream {
    with_deadline(until("it connects", || listener.accept().ok()).0)
}

// ---- The matrix --------------------------------------------------------------------------------

fn reads_what_all_others_send(receiver: &Language) {
    // With no payload a byte of zero comes. So many files take two messages.
    const CASES: [(usize, Option<&str>, &str); 2] =
        [(1, None, "\0"), (300, Some("dreißig mal zehn"), "dreißig mal zehn")];
    let mut receiver = Receiver::start(receiver, "recv", &["300"], all().len() * CASES.len());
    assert_eq!(fs::metadata(&receiver.socket).unwrap().mode() & 0o777, 0o600);
    for sender in all() {
        for (files, given, payload) in CASES {
            let _in_flight = in_flight::up_to(files);
            let mut command = sender.command("send", &receiver.socket, &[&files.to_string()]);
            let (pid, said) = succeeds(command.args(given));
            assert_eq!(said, [format!("sent {files} descriptors, {} bytes", payload.len())]);
            assert_eq!(receiver.next(), received(files, payload, pid), "from {}", sender.name);
        }
    }
    receiver.ends(&[]);
}

/// Those whose wrappers have channels, as far as they are there, and C.
fn with_channels() -> Vec<&'static Language> {
    const NAMES: [&str; 6] =
        ["go", "python_cffi", "python_ctypes", "ruby_ffi", "ruby_fiddle", "rust"];
    let wrapped = LANGUAGES.iter().filter(|language| NAMES.contains(&language.name));
    wrapped.chain([&C]).filter(|language| language.ready().is_ok()).collect()
}

fn hears_what_all_others_tell(receiver: &Language) {
    // The descriptors of the one are gathered with messages before and behind, those of the other
    // are split.
    const CASES: [(usize, Option<&str>); 2] = [(1, None), (300, Some("dreißig mal zehn"))];
    let senders = with_channels();
    let connections = senders.len() * CASES.len() + 1;
    let mut receiver = Receiver::start(receiver, "hear", &["300"], connections);
    for sender in senders {
        for (files, given) in CASES {
            let _in_flight = in_flight::up_to(files);
            let mut command = sender.command("tell", &receiver.socket, &[&files.to_string()]);
            let (pid, said) = succeeds(command.args(given));
            let payload = given.unwrap_or_default();
            assert_eq!(said, [format!("sent {files} descriptors, {} bytes", payload.len())]);
            assert_eq!(receiver.next(), heard(files, payload, pid), "from {}", sender.name);
        }
    }
    // The end comes within a message.
    receiver.connect().write_all(&20_u32.to_ne_bytes()).unwrap();
    assert!(receiver.next().is_empty());
    receiver.ends(&["hear: Protocol error"]);
}

#[test]
fn c_hears_what_all_others_tell() {
    match C.ready() {
        Ok(_) => hears_what_all_others_tell(&C),
        Err(what) => missing(&format!("C ({what})")),
    }
}

fn knows_who_sends(language: &Language) {
    // SAFETY: no memory is involved.
    let group = unsafe { libc::getegid() };
    let mut receiver = Receiver::start(language, "creds", &[], 3);
    // Each sends to one that is not itself.
    let all = all();
    let own = all.iter().position(|other| other.name == language.name).expect("it");
    let sender = all[(own + 1) % all.len()];
    let mut command = sender.command("send", &receiver.socket, &["0", "who?"]);
    let (pid, said) = succeeds(&mut command);
    assert_eq!(said, ["sent 0 descriptors, 4 bytes"]);
    let identity = format!("pid {pid} uid {} gid {group}", user());
    let expected = [format!("{identity}, 4 bytes"), "payload: who?".to_owned()];
    assert_eq!(receiver.next(), expected, "from {}", sender.name);
    let stream = receiver.connect();
    send_by_hand(&stream, b"x", &[stream.as_raw_fd()]).unwrap();
    assert!(receiver.next().is_empty());
    drop(receiver.connect());
    assert!(receiver.next().is_empty());
    receiver.ends(&["creds: Argument list too long", "creds: The peer has closed"]);

    // Who listens is on the other end for who connects, and that is this process.
    let (_dir, socket, _listener) = listener();
    let (_, said) = succeeds(&mut language.command("peer", &socket, &[]));
    assert_eq!(said, [format!("pid {} uid {} gid {group}", process::id(), user())]);
}

// ---- The tests of the wrappers ------------------------------------------------------------------

/// Beside the program there is one that tests the wrapper.
fn passes_the_script_of_tests(language: &Language) {
    let program = language.program();
    let mut arguments: Vec<_> = program.get_args().map(PathBuf::from).collect();
    let script = arguments.pop().expect("its file");
    let kind = script.extension().expect("that of the language");
    let tests = script.with_file_name("test_ancillary").with_extension(kind);
    passes(language.like(program.get_program()).args(arguments).arg(tests));
}

/// The wrappers for Python wait with what these have put in the place of its functions.
fn waits_as_event_loops_do(language: &Language) {
    let script = source().join("ffi-examples/python/test_event_loops.py");
    for event_loop in ["gevent", "eventlet"] {
        let python = language.program();
        let python = python.get_program();
        if works(language.like(python).args(["-c", &format!("import {event_loop}")])) {
            passes(language.like(python).arg(&script).arg(event_loop));
        } else {
            missing(&format!("{} ({event_loop})", language.name));
        }
    }
}

/// Two wrappers of a language are the same behind a line that says so.
fn differs_in_its_binding_alone(language: &Language) {
    const LINE: &str = "# ---- What follows is the same with ";
    let folder = source().join("ffi-examples").join(language.name.split('_').next().unwrap());
    let texts: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .flat_map(|entry| fs::read_dir(entry.unwrap().path()))
        .flatten()
        .map(|file| file.unwrap().path())
        .filter(|file| file.file_stem().is_some_and(|name| name == "ancillary"))
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let common: Vec<&str> = texts.iter().map(|text| text.split_once(LINE).unwrap().1).collect();
    assert_eq!(common.len(), 2);
    assert!(common[0] == common[1], "{} differ", folder.display());
}

/// Beside the class of the program there is one that tests the wrapper.
fn passes_the_class_of_tests(language: &Language) {
    let program = language.program();
    let mut arguments: Vec<_> = program.get_args().collect();
    arguments.pop();
    passes(language.like(program.get_program()).args(arguments).arg("TestAncillary"));
}

/// Beside the program there is one that tests the wrapper.
fn passes_its_tests(language: &Language) {
    let tests = Path::new(language.program().get_program()).with_file_name("test_ancillary");
    passes(&mut language.like(tests));
}

fn passes_cargo_test(language: &Language) {
    let program = language.program();
    let mut test = language.like("cargo");
    test.args(["test", "--quiet", "--locked", "--manifest-path"]);
    test.arg(source().join("ffi-examples/rust/Cargo.toml")).arg("--target-dir");
    passes(test.arg(Path::new(program.get_program()).ancestors().nth(2).unwrap()));
}

fn passes_go_test(language: &Language) {
    let program = kept().join("languages/go/tests");
    let mut build = language.like("go");
    build.current_dir(source().join("ffi-examples/go")).args(["test", "-c", "-o"]).arg(&program);
    let mut test = language.like(&program);
    // With all checks of pointers that are passed to C. Since Go 1.21 they have to be built in.
    match works(language.like("go").env("GOEXPERIMENT", "cgocheck2").arg("version")) {
        true => build.env("GOEXPERIMENT", "cgocheck2"),
        false => test.env("GODEBUG", "cgocheck=2"),
    };
    run_ok(build.arg("./ancillary"));
    passes(&mut test);
}

fn passes(command: &mut Command) {
    // Tests of wrappers send 600 descriptors in one call.
    let _in_flight = in_flight::up_to(650);
    let program = Program::start(command);
    assert_eq!(
        program.end(),
        End::Exited(0),
        "{:?}{:?}",
        program.all_lines(),
        program.complaints()
    );
}

// ---- Failures ----------------------------------------------------------------------------------

fn tells_why_sending_fails(sender: &Language) {
    let (_dir, socket, listener) = listener();
    let (reader, mut writer) = io::pipe().unwrap();
    let mut command = sender.command("send", &socket, &["2", "-"]);
    let program = Program::start_reading_from(&mut command, reader);
    let mut fewest = usize::MAX;
    let mut connection = |round| {
        // It has connected and comes to wait for a line: what it holds then is what it has left over.
        // Before that it can have its socket twice, as net.FileConn of Go does.
        let stream = accept(&listener);
        if round > 0 {
            fewest = until("no descriptor more than before", || {
                Some(program.descriptors()).filter(|now| *now <= fewest)
            });
        }
        stream
    };
    // Neither text nor a C string, and with an end as of a line elsewhere.
    const BYTES: &[u8] = b"k\xffp\0t\r";
    let arrives = |stream, times| {
        let (payload, files) = receive_by_hand(&stream);
        assert_eq!((&payload[..], files.len()), (BYTES, 2));
        program.says_times("sent 2 descriptors, 6 bytes", times);
    };
    for round in 0..6 {
        let stream = connection(round);
        if round % 2 == 0 {
            drop(stream);
            writer.write_all(b"lost\n").unwrap();
            program.complains_times("send: Broken pipe", round / 2 + 1);
        } else {
            writer.write_all(&[BYTES, b"\n"].concat()).unwrap();
            arrives(stream, round / 2 + 1);
        }
    }
    // The last line need not end.
    let stream = connection(6);
    writer.write_all(BYTES).unwrap();
    drop(writer);
    arrives(stream, 4);
    assert_eq!(program.end(), End::Exited(1));
    assert_eq!(program.all_lines().len(), 4);
    assert_eq!(program.complaints(), ["send: Broken pipe"; 3]);

    // It had connected for another line.
    drop(accept(&listener));

    // So many files there is no room for.
    let (reader, mut writer) = io::pipe().unwrap();
    let mut command = sender.command("send", &socket, &["300", "-"]);
    let program = Program::start_reading_from(&mut command, reader);
    let _stream = accept(&listener);
    program.set_limit(DESCRIPTORS, 100);
    writer.write_all(b"lost\n").unwrap();
    drop(writer);
    assert_eq!(program.end(), End::Exited(1));
    assert_eq!(program.complaints(), ["send: Too many open files"]);
    assert!(program.all_lines().is_empty());

    let nowhere = socket.with_extension("none");
    for (command, arguments) in [("send", &["1"][..]), ("peer", &[])] {
        let program = Program::start(&mut sender.command(command, &nowhere, arguments));
        assert_eq!(program.end(), End::Exited(1));
        assert_eq!(program.complaints(), [format!("{command}: No such file or directory")]);
        assert!(program.all_lines().is_empty());
    }
}

fn tells_why_receiving_fails(receiver: &Language) {
    let dir = TempDir::new();
    let name = dir.path().join("file");
    fs::write(&name, "content\n").unwrap();
    let send = |stream: &UnixStream, files: usize| {
        let files: Vec<_> = (0..files).map(|_| File::open(&name).unwrap()).collect();
        let fds: Vec<_> = files.iter().map(|file| file.as_raw_fd()).collect();
        send_by_hand(stream, b"hello\n", &fds).unwrap();
    };
    let receives = |receiver: &mut Receiver, files: usize| {
        send(&receiver.connect(), files);
        let said = receiver.next();
        // The payload ends a line, and the program ends it as well.
        let beginning = [&format!("received {files} descriptors, 6 bytes"), "payload: hello", ""];
        assert_eq!(said[..3], beginning);
        assert_eq!(said[3..], vec!["content"; files]);
    };
    let mut receiver = Receiver::start(receiver, "recv", &["2"], 6);
    receives(&mut receiver, 1);

    send(&receiver.connect(), 3);
    assert!(receiver.next().is_empty());
    drop(receiver.connect());
    assert!(receiver.next().is_empty());
    receives(&mut receiver, 2);

    // The table is full when the message comes, not when the connection does.
    let stream = receiver.connect();
    receiver.program.says_times("accepted", 5);
    receiver.program.fill_table();
    send(&stream, 2);
    receiver.program.complains_times("recv: ", 3);
    receiver.program.set_limit(DESCRIPTORS, u64::MAX);
    drop(stream);
    assert!(receiver.next().is_empty());
    receives(&mut receiver, 0);
    receiver.ends(&[
        "recv: Argument list too long",
        "recv: The peer has closed",
        "recv: Too many open files",
    ]);
}

fn keeps_descriptors_from_its_children(receiver: &Language) {
    let mut receiver = Receiver::start(receiver, "recv", &["1"], 1);
    let stream = receiver.connect();
    let (reader, mut writer) = io::pipe().unwrap();
    send_by_hand(&stream, b"pipe", &[reader.as_raw_fd()]).unwrap();
    drop(stream);
    let pipe = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).unwrap();
    drop(reader);
    // While it reads from the pipe, its sockets are open as well.
    let pid = receiver.program.pid();
    until("it has the pipe", || {
        let pipes = close_on_exec(pid, pipe.to_str().unwrap());
        pipes.first().map(|closes| assert!(closes))
    });
    let sockets = close_on_exec(pid, "socket:");
    assert!(sockets.len() >= 2 && sockets.iter().all(|closes| *closes), "{sockets:?}");
    writer.write_all(b"read\n").unwrap();
    drop(writer);
    assert_eq!(receiver.next()[2..], ["read"]);
    receiver.ends(&[]);
}

/// Whether the descriptors of a process that begin so are closed when it runs a program.
fn close_on_exec(pid: i32, beginning: &str) -> Vec<bool> {
    let mut closes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let number = path.file_name().unwrap().to_str().unwrap();
        // Others come and go meanwhile.
        let Ok(link) = fs::read_link(&path) else { continue };
        if !link.to_str().unwrap().starts_with(beginning) {
            continue;
        }
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        closes.push(flags & libc::O_CLOEXEC != 0);
    }
    closes
}

fn is_interrupted(language: &Language) {
    let receiver = Receiver::start(language, "recv", &["1"], 1);
    let _stream = receiver.connect();
    receiver.program.says("accepted");
    interrupt(&receiver.program);

    let (_dir, socket, listener) = listener();
    let (reader, mut writer) = io::pipe().unwrap();
    let mut command = language.command("send", &socket, &["1", "-"]);
    let sender = Program::start_reading_from(&mut command, reader);
    let stream = accept(&listener);
    let line = [&vec![b'x'; 1 << 20][..], b"\n"].concat();
    // It is more than fits into the pipe.
    thread::spawn(move || writer.write_all(&line));
    // Some of it is there, and there is no room for all.
    until("it sends", || (waiting(&stream) > 0).then_some(()));
    interrupt(&sender);
}

/// How many bytes are there to be received.
fn waiting(stream: &UnixStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: `bytes` is there to be written to.
    assert_eq!(unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &mut bytes) }, 0);
    bytes
}

/// Ends a program that waits in a call.
fn interrupt(program: &Program) {
    until("it waits", || (Process::now(program.pid())?.state == 'S').then_some(()));
    program.signal(libc::SIGINT);
    assert_ne!(program.end(), End::Exited(0));
}

fn asks_for_arguments(language: &Language) {
    const WRONG: [&[&str]; 4] =
        [&[], &["peer"], &["send", "socket", "x"], &["peer", "socket", "more"]];
    for arguments in WRONG {
        let program = Program::start(language.program().args(arguments));
        assert_eq!(program.end(), End::Exited(2), "{arguments:?}");
        program.complains("Usage: pass ");
        assert!(program.all_lines().is_empty());
    }
}
