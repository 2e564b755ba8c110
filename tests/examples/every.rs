//! What holds for every program: how it is built, and what it says of wrong arguments.

use crate::common::program::{
    example, leave_socket, signal_state, until, user, with_signals, End, Program, ENDINGS,
};
use crate::common::{compiler, missing, run_ok, source, works, Link, TempDir};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

// ---- The sources -----------------------------------------------------------------------------

/// The programs and the header that they share.
fn sources() -> Vec<PathBuf> {
    let entries = fs::read_dir(source().join("c-examples")).expect("the examples");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|name| name != "md"));
    assert!(files.len() > 10, "{files:?}");
    files
}

#[test]
fn each_file_says_its_licence() {
    for file in sources() {
        let text = fs::read_to_string(&file).expect("text");
        let first = text.split("*/").next().expect("a comment");
        // REUSE-IgnoreStart
        let licence = "\n * SPDX-License-Identifier: MIT OR Apache-2.0\n ";
        // REUSE-IgnoreEnd
        assert!(text.starts_with("/* ") && first.ends_with(licence), "{}", file.display());
    }
}

/// Also of the header alone, of which nothing is used then.
#[test]
fn no_compiler_warns() {
    let mut compilers = vec![compiler()];
    if works(Command::new("clang").arg("--version")) {
        compilers.push(Command::new("clang"));
    } else {
        missing("clang");
    }
    let dir = TempDir::new();
    let mut files = sources();
    let unused = dir.path().join("unused.c");
    fs::write(&unused, "#include \"service.h\"\nint main(void)\n{\n    return 0;\n}\n").unwrap();
    files.push(unused);
    files.retain(|file| file.extension().is_some_and(|name| name == "c"));
    for compiler in &mut compilers {
        compiler
            .args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c"])
            .args(
                ["include", "c-examples"].map(|dir| format!("-I{}", source().join(dir).display())),
            )
            .args(&files)
            .current_dir(dir.path());
        run_ok(compiler);
    }
}

// ---- Arguments -------------------------------------------------------------------------------

/// Wrong arguments of each program.
const WRONG: [(&str, &[&[&str]]); 10] = [
    ("channel", &[&["1"], &["17"], &["2x"], &[""], &["-2"], &["2", "3"]]),
    ("client", &[&["127.0.0.1"], &["127.0.0.1", "1", "text", "more"], &["-x", "1"]]),
    ("echo_client", &[&["name", "more"], &["-x"], &["--names"]]),
    ("echo_server", &[&["name", "more"], &["-x"], &["--"]]),
    ("open", &[&["socket"], &["socket", "/"], &["socket", "/", "r", "more"], &["-x", "/", "r"]]),
    ("opend", &[&["socket"], &["-x", "0"]]),
    ("restart", &[&[":9", "0"], &["=9", "0"], &["0"; 17], &["-x"], &["-x", "0"]]),
    (
        "server",
        &[
            &["127.0.0.1"],
            &["127.0.0.1", "0"],
            &["127.0.0.1", "0", "worker", "more"],
            &["-b", "127.0.0.1", "0", "worker"],
            &["-b", "2", "127.0.0.1", "0", "worker", "more"],
            &["-x", "2", "127.0.0.1", "0", "worker"],
            &["127.0.0.1", "0", "worker", "-b", "2"],
            &["-b"],
        ],
    ),
    (
        "whoami",
        &[
            &["listen"],
            &["connect"],
            &["socket"],
            &["hear", "x"],
            &["listen", "x", "y"],
            &["-x", "listen", "x"],
        ],
    ),
    ("worker", &[&["socket"], &["-x", "true"], &["-x", "socket", "true"]]),
];

/// What could be right, or wrong only because of one more, and how many of it are the program's own:
/// in place of each of these, in front of each and behind the last, the usage can be asked for.
const OWN: [(&str, &[&str], usize); 11] = [
    ("channel", &["2"], 1),
    ("client", &["127.0.0.1", "1", "text"], 3),
    ("echo_client", &["name"], 1),
    ("echo_server", &["name"], 1),
    ("open", &["name", "/", "r"], 3),
    ("opend", &["name", "0"], 2),
    ("restart", &["-i", "0", "0"], 3),
    ("server", &["-b", "2", "127.0.0.1", "0", "name"], 5),
    ("whoami", &["listen", "name"], 2),
    ("whoami", &["connect", "name"], 2),
    // What stands behind these two is the command's.
    ("worker", &["name"], 1),
];

/// Others.
const ASKED: [(&str, &[&str]); 4] = [
    ("opend", &["--", "-h", "0"]),
    ("server", &["-hb2", "127.0.0.1"]),
    ("worker", &["-h", "true", "more"]),
    ("worker", &["name", "--help", "more"]),
];

/// Arguments with which a program says how it is called.
fn asking(name: &str) -> Vec<Vec<&'static str>> {
    let mut all = vec![vec![], vec!["-h"], vec!["--help"]];
    for (_, given, own) in OWN.iter().filter(|(other, ..)| *other == name) {
        for (i, help) in (0..=*own).flat_map(|i| ["-h", "--help"].map(|help| (i, help))) {
            let (before, behind) = given.split_at(i);
            all.push([before, &[help], behind].concat());
            all.push([before, &[help], behind.get(1..).unwrap_or_default()].concat());
        }
    }
    all.extend(ASKED.iter().filter(|(other, _)| *other == name).map(|(_, asked)| asked.to_vec()));
    all
}

#[test]
fn usage_is_on_standard_output_when_asked_for_and_on_standard_error_when_wrong() {
    let dir = TempDir::new();
    for (name, wrong) in WRONG {
        let begins = format!("Usage: {name} ");
        let run = |arguments: &[&str]| {
            let mut command = Command::new(example(name, Link::Static));
            // A program that takes one for the name of a socket may go on with it.
            let program = Program::start(command.args(arguments).current_dir(dir.path()));
            let (out, err) = (program.all_lines().join("\n"), program.complaints().join("\n"));
            (program.end(), [out, err])
        };
        for arguments in asking(name) {
            let (status, [out, err]) = run(&arguments);
            assert_eq!(status, End::Exited(0), "{name} {arguments:?}");
            assert!(out.starts_with(&begins) && err.is_empty(), "{out}{err}");
        }
        for arguments in wrong {
            let (status, [out, err]) = run(arguments);
            assert_eq!(status, End::Exited(1), "{name} {arguments:?}");
            assert!(err.starts_with(&begins) && out.is_empty(), "{out}{err}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no socket was made");
}

/// It is an option more likely, in the wrong place.
#[test]
fn a_name_that_begins_with_a_minus_is_no_socket() {
    let dir = TempDir::new();
    let cases: [(&str, &[&str]); 8] = [
        ("echo_client", &["--", "-x"]),
        ("echo_server", &["--", "-x"]),
        ("open", &["--", "-x", "/", "r"]),
        ("opend", &["--", "-x", "0"]),
        ("server", &["127.0.0.1", "0", "-x"]),
        ("whoami", &["connect", "-x"]),
        ("whoami", &["listen", "-x"]),
        ("worker", &["--", "-x", "true"]),
    ];
    for (name, arguments) in cases {
        let mut command = Command::new(example(name, Link::Static));
        let program = Program::start(command.args(arguments).current_dir(dir.path()));
        let said = [format!("{name}: -x: not the name of a socket: ./-x would be one")];
        assert_eq!(program.complaints(), said, "{arguments:?}");
        assert_eq!(program.end(), End::Exited(1));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no socket was made");
    // Of that kind.
    let mut command = Command::new(example("echo_server", Link::Static));
    let server = Program::start(command.arg("./-x").current_dir(dir.path()));
    server.says("Listening on ./-x.");
    server.end_with(ENDINGS[1]);
}

#[test]
fn errors_name_what_failed_and_why() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // As a program that was killed leaves it.
    let stale = &*path("stale");
    leave_socket(Path::new(stale));
    let live = &*path("live");
    let _live = UnixListener::bind(live).unwrap();
    let plain = &*path("plain");
    fs::write(plain, "mine").unwrap();
    let missing = &*path("missing");
    let inside = &*path("missing/socket");
    let long = &*path(&"x".repeat(108));
    let too_long = &*path(&"x".repeat(300));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = &*taken.local_addr().unwrap().port().to_string();
    let no_port = "not a port number, which is from 0 to 65535";
    let closed = "Bad file descriptor";
    let no_target = "not a port number, which is from 1 to 65535";
    let no_file = "No such file or directory";
    let no_count = "not a number of connections, which is from 1 to 253";
    let no_user = "not the number of a user";
    let no_mode = "not one of r, w, rw and a";
    let in_use = "Address already in use";
    let refused = "Connection refused";
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("client", &["127.0.0.1", "0"], "0", no_target),
        ("client", &["127.0.0.1", "65536"], "65536", no_target),
        ("client", &["127.0.0.1", "4294967377"], "4294967377", no_target),
        ("client", &["127.0.0.1", "http"], "http", no_target),
        ("client", &["127.0.0.1", "-1", "text"], "-1", no_target),
        ("client", &["127.0.0.1", ""], "", no_target),
        ("client", &["127.0.0.1", "1"], "127.0.0.1", refused),
        ("client", &["1.2.3.4.5", "1"], "1.2.3.4.5", ""),
        ("echo_client", &[missing], missing, no_file),
        ("echo_client", &[stale], stale, refused),
        ("echo_server", &[inside], inside, no_file),
        ("echo_server", &[live], live, in_use),
        ("echo_server", &[plain], plain, "File exists"),
        ("open", &["", "/", "r"], "", no_file),
        ("open", &[missing, "/", "x"], "x", no_mode),
        ("open", &[missing, "/", ""], "", no_mode),
        ("open", &[missing, "/", "rwa"], "rwa", no_mode),
        ("open", &[missing, "/", "?"], "?", no_mode),
        ("open", &[missing, "/", "r"], missing, no_file),
        ("open", &[stale, "/", "r"], stale, refused),
        ("opend", &["", "0"], "", no_file),
        ("opend", &[too_long, "0"], too_long, "File name too long"),
        ("opend", &[inside, "0"], inside, no_file),
        ("opend", &[live, "0"], live, in_use),
        ("opend", &[missing, "0", "root"], "root", no_user),
        ("opend", &[missing, "-1"], "-1", no_user),
        ("opend", &[missing, "4294967295"], "4294967295", no_user),
        ("opend", &[missing, "18446744073709551616"], "18446744073709551616", no_user),
        ("opend", &[missing, ""], "", no_user),
        ("restart", &[":2"], "taking over", closed),
        ("restart", &[":3x"], "taking over", closed),
        ("restart", &["=99"], "taking over", closed),
        ("restart", &["65536"], "65536", no_port),
        ("restart", &["http"], "http", no_port),
        ("restart", &["0", "0", "http"], "http", no_port),
        ("restart", &[taken, "http"], "http", no_port),
        ("restart", &[""], "", no_port),
        ("restart", &[taken], taken, in_use),
        ("server", &["-b", "0", "127.0.0.1", "0", stale], "0", no_count),
        ("server", &["-b", "254", "127.0.0.1", "0", stale], "254", no_count),
        ("server", &["-b", "-1", "127.0.0.1", "0", stale], "-1", no_count),
        ("server", &["-b", "", "127.0.0.1", "0", stale], "", no_count),
        ("server", &["127.0.0.1", "65536", stale], "65536", no_port),
        ("server", &["127.0.0.1", "http?", stale], "http?", no_port),
        ("server", &["127.0.0.1", "-1", stale], "-1", no_port),
        ("server", &["127.0.0.1", "", stale], "", no_port),
        ("server", &["127.0.0.1", taken, stale], &format!("127.0.0.1 port {taken}"), in_use),
        (
            "server",
            &["192.0.2.1", "0", stale],
            "192.0.2.1 port 0",
            "Cannot assign requested address",
        ),
        ("server", &["1.2.3.4.5", "0", stale], "1.2.3.4.5", ""),
        ("server", &["127.0.0.1", "0", stale], stale, refused),
        ("server", &["127.0.0.1", "0", missing], missing, no_file),
        ("server", &["127.0.0.1", "0", long], long, no_file),
        ("server", &["127.0.0.1", "0", too_long], too_long, "File name too long"),
        ("server", &["127.0.0.1", "0", ""], "", no_file),
        ("whoami", &["listen", ""], "", no_file),
        ("whoami", &["listen", too_long], too_long, "File name too long"),
        ("whoami", &["listen", inside], inside, no_file),
        ("whoami", &["listen", live], live, in_use),
        ("whoami", &["connect", ""], "", no_file),
        ("whoami", &["connect", missing], missing, no_file),
        ("whoami", &["connect", stale], stale, refused),
        ("worker", &[live, "true"], live, in_use),
        ("worker", &[plain, "true"], plain, "File exists"),
        ("worker", &[inside, "true"], inside, no_file),
        ("worker", &[too_long, "true"], too_long, "File name too long"),
        ("worker", &["", "true"], "", no_file),
    ];
    for (name, arguments, what, why) in cases {
        let program = Program::start(Command::new(example(name, Link::Shared)).args(*arguments));
        assert_eq!(program.end(), End::Exited(1), "{name} {arguments:?}");
        assert!(program.all_lines().is_empty());
        let complaints = program.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        // What the C library says of a name that it does not find differs.
        let whole = format!("{name}: {what}: {why}");
        let is_it =
            if why.is_empty() { str::starts_with } else { |said: &str, whole| said == whole };
        assert!(is_it(&complaints[0], &whole), "{complaints:?}");
    }
    for path in [stale, live] {
        assert!(Path::new(path).exists(), "the file of another is left alone");
    }
    assert_eq!(fs::read_to_string(plain).unwrap(), "mine");
}

// ---- Signals ---------------------------------------------------------------------------------

/// Starts each program that goes on until a signal ends it, with some signals ignored and some
/// blocked, and has it looked at when it has said that it is ready.
fn each_service(ignored: &str, blocked: &str, look: impl Fn(&str, &Program)) {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let _worker = UnixListener::bind(path("worker")).unwrap();
    let user = user().to_string();
    let services: [(&str, &[&str], &str); 6] = [
        ("echo_server", &[&path("echo_server")], "Listening on "),
        ("opend", &[&path("opend"), &user], "Listening on "),
        ("restart", &["0"], "Process "),
        ("server", &["127.0.0.1", "0", &path("worker")], "Now waiting for incoming connections "),
        ("whoami", &["listen", &path("whoami")], "Listening on "),
        ("worker", &[&path("of-worker"), "true"], "Listening for descriptors on "),
    ];
    for (name, arguments, ready) in services {
        let mut command = with_signals(ignored, blocked, &example(name, Link::Shared));
        let program = Program::start(command.args(arguments));
        program.says(ready);
        look(name, &program);
    }
}

/// As nohup(1) and shells do for what they run in the background.
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    for (i, ignored) in ["INT", "TERM", "HUP"].into_iter().enumerate() {
        each_service(ignored, "", |name, program| {
            for (k, (number, _)) in ENDINGS.into_iter().enumerate() {
                // It is how a restart is asked for.
                let is_needed = name == "restart" && number == libc::SIGHUP;
                let is_ignored = i == k && !is_needed;
                let [ignores, catches, _] = signal_state(program.pid(), number);
                assert_eq!((ignores, catches), (is_ignored, !is_ignored), "{name} {ignored}");
            }
            if (name, ignored) != ("restart", "HUP") {
                program.signal(ENDINGS[i].0);
            }
            program.end_with(ENDINGS[if i == 1 { 0 } else { 1 }]);
        });
    }
}

/// Nothing blocks signals to keep them from a program for good: who does it forgets it.
#[test]
fn a_signal_that_was_blocked_ends_a_program_all_the_same() {
    for ending in [ENDINGS[0], ENDINGS[1]] {
        each_service("", "INT,TERM,HUP", |_, program| program.end_with(ending));
    }
}

// ---- Waiting to listen ------------------------------------------------------------------------

/// Who may read the directory of a socket can lock it. Then the library waits, while a socket that
/// nobody listens on is to be replaced, and so do these.
#[test]
fn a_start_beside_a_lock_ends() {
    let dir = TempDir::new();
    let lock = File::open(dir.path()).expect("the folder");
    lock.lock().expect("the lock");
    let user = user().to_string();
    let services: [(&str, &[&str], &[&str]); 4] = [
        ("echo_server", &[], &[]),
        ("opend", &[], &[&user]),
        ("whoami", &["listen"], &[]),
        ("worker", &[], &["true"]),
    ];
    let begin = |kind: &str| {
        services.map(|(name, before, behind)| {
            let socket = dir.path().join(format!("{name}.{kind}"));
            leave_socket(&socket);
            let mut command = Command::new(example(name, Link::Shared));
            let program = Program::start(command.args(before).arg(&socket).args(behind));
            (name, socket, program)
        })
    };
    let waiting = begin("a");
    for (_, _, program) in begin("b") {
        until("it waits", || signal_state(program.pid(), ENDINGS[1].0)[1].then_some(()));
        program.end_at_once_with(ENDINGS[1]);
        assert_eq!(program.all_lines().len(), 1);
    }
    for (name, socket, program) in waiting {
        assert_eq!(program.end(), End::Exited(1));
        let why = "Device or resource busy";
        assert_eq!(program.complaints(), [format!("{name}: {}: {why}", socket.display())]);
        assert!(program.all_lines().is_empty());
        assert!(socket.exists(), "it is as it was");
    }
    drop(lock);
    for (_, socket, program) in begin("c") {
        program.says("Listening ");
        program.end_with(ENDINGS[1]);
        assert!(!socket.exists());
    }
}
