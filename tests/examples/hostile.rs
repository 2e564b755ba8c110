//! The example programs, and a peer that does its worst: `tests/c/hostile.c`. While it does, others
//! are served within a second; afterwards nothing is left of it but what was said.
//!
//! ANCILLARY_TEST_SECONDS in the environment says for how long.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

#[path = "../common/mod.rs"]
mod common;

use common::program::{
    can_have_older_kernel, example, have_older_kernel, is_root, plain_message, processes, reach,
    receive_by_hand, send_by_hand, until, user, with_deadline, End, Program,
};
use common::{c_file, compile, Link, TempDir};
use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long anybody may wait for an answer.
const AT_MOST: Duration = Duration::from_secs(1);

/// By how much memory may differ, in kB: by some pages that happen to be in use.
const MOST_GROWTH: u64 = 128;

/// What is measured here is not to be another test's load. None where that cannot be: of other
/// users the kernel counts what is in flight, for all processes together.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static ALONE: Mutex<()> = Mutex::new(());
    if !is_root() {
        common::missing("root");
        return None;
    }
    Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn how_long() -> Duration {
    let seconds = env::var("ANCILLARY_TEST_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or(1.0))
}

fn seed() -> u64 {
    let given = env::var("ANCILLARY_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_nanos() as u64;
    let seed = given.unwrap_or_else(now);
    println!("ANCILLARY_TEST_SEED={seed}");
    seed
}

/// A server, which writes to files: these take everything at once.
struct Server {
    program: Program,
    dir: TempDir,
    socket: PathBuf,
}

impl Server {
    /// SOCKET among the arguments is that of the server.
    fn start(change: impl FnOnce(&mut Command), name: &str, arguments: &[&str]) -> Server {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" >out 2>err", "sh"]).current_dir(dir.path());
        command.arg(example(name, Link::Shared));
        command.args(arguments.iter().map(|argument| match *argument {
            "SOCKET" => socket.as_os_str(),
            other => other.as_ref(),
        }));
        change(&mut command);
        let server = Server { program: Program::start(&mut command), dir, socket };
        until("a server that listens", || {
            let out = fs::read(server.dir.path().join("out")).ok()?;
            out.ends_with(b".\n").then_some(())
        });
        server
    }

    fn connect(&self) -> UnixStream {
        reach(&self.socket)
    }

    fn wrote(&self, file: &str) -> String {
        String::from_utf8(fs::read(self.dir.path().join(file)).unwrap()).expect("text")
    }

    fn children(&self) -> usize {
        processes().iter().filter(|process| process.parent == self.program.pid()).count()
    }

    /// Waits until it has so many descriptors and no process, and returns how much memory it
    /// takes, in kB.
    fn settle(&self, descriptors: usize) -> u64 {
        until("no descriptor more than before", || {
            (self.program.descriptors() == descriptors).then_some(())
        });
        until("no process of the server", || (self.children() == 0).then_some(()));
        let memory = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.program.pid()));
        let memory = memory.unwrap();
        let line =
            memory.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("Anonymous");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Has somebody do the worst, and others, who are to be served.
    fn attack(&self, seed: u64, how_long: Duration, serve: &impl Fn(&Server)) {
        let sources = [c_file("hostile.c")];
        let hostile = Command::new(compile("hostile", &sources, Link::Shared, &[]))
            .arg(&self.socket)
            .arg(seed.to_string())
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("somebody hostile");
        let start = Instant::now();
        while start.elapsed() < how_long {
            let asked = Instant::now();
            serve(self);
            assert!(asked.elapsed() < AT_MOST, "took {:?}", asked.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        let output = hostile.wait_with_output().unwrap();
        println!("{}", common::said(&output));
        assert!(output.status.success());
    }

    /// Attacks it twice, so that what it needs for many peers at once is no growth.
    fn endure(self, serve: impl Fn(&Server), said: &[(&str, &[&str])]) {
        let (seed, how_long) = (seed(), how_long());
        let before = self.program.descriptors();
        serve(&self);
        self.attack(seed, how_long / 4, &serve);
        let memory = self.settle(before);
        self.attack(seed + 1, how_long, &serve);
        let growth = self.settle(before).saturating_sub(memory);
        assert!(growth <= MOST_GROWTH, "{growth} kB more than {memory} kB");
        serve(&self);
        for (file, lines) in said {
            let wrote = self.wrote(file);
            for line in *lines {
                assert!(wrote.contains(line), "{file} has no {line:?}");
            }
        }
        self.program.signal(libc::SIGTERM);
        assert_eq!(self.program.end(), End::Exited(0));
        assert!(!self.socket.exists());
    }
}

/// Passes a connection on, to be answered by the command.
fn pass_a_connection(server: &Server) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    send_by_hand(&server.connect(), b"\0", &[theirs.as_raw_fd()]).unwrap();
    drop(theirs);
    let mut answer = String::new();
    with_deadline(ours).read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served\n");
}

#[test]
fn the_worker_endures() {
    let Some(_alone) = alone() else { return };
    let server = Server::start(|_| (), "worker", &["SOCKET", "echo", "served"]);
    let said = [
        "worker: malformed message: no descriptor came with it",
        "worker: malformed message: not all that came with it are connections",
        "worker: too many servers: ",
    ];
    server.endure(pass_a_connection, &[("err", &said)]);
}

/// Has a file opened.
fn ask_for_a_file(server: &Server) {
    let mut stream = server.connect();
    stream.write_all(&plain_message(1, "/proc/version", 0)).unwrap();
    let (answer, fds) = receive_by_hand(&stream);
    assert_eq!((answer, fds.len()), (plain_message(0, "", 1), 1));
}

/// Has all its places in use and full, so that their memory is no growth afterwards.
fn fill_places(server: &Server) {
    let longest = plain_message(1, [b'/'; 4096], 0);
    let (most, last) = longest.split_at(longest.len() - 1);
    let before = server.program.descriptors();
    let are_here = (0..10).any(|_| {
        let late = server.wrote("out").matches(" in time\n").count();
        let clients: Vec<UnixStream> = (0..256).map(|_| server.connect()).collect();
        clients.iter().for_each(|mut client| client.write_all(most).unwrap());
        let are_here = until("all clients, or one that is late", || {
            let is_late = server.wrote("out").matches(" in time\n").count() > late;
            let are_here = server.program.descriptors() == before + 256;
            (are_here || is_late).then_some(are_here)
        });
        for mut client in &clients {
            // It may have been late.
            let _ = client.write_all(last);
            receive_by_hand(client);
        }
        until("no client", || (server.program.descriptors() == before).then_some(()));
        are_here
    });
    assert!(are_here);
}

fn opend_endures(change: impl FnOnce(&mut Command), more: &[&str]) {
    let server = Server::start(change, "opend", &["SOCKET", &user().to_string()]);
    let said = [
        "The request has no end, or descriptors came with it\n",
        "More came than one request: ",
        "The request did not come in time\n",
        "The path does not begin with a slash: x r\n",
        "Malformed request\n",
    ];
    fill_places(&server);
    server.endure(ask_for_a_file, &[("out", &said), ("out", more)]);
}

#[test]
fn opend_endures_where_descriptors_are_refused() {
    let Some(_alone) = alone() else { return };
    opend_endures(|_| (), &[]);
}

#[test]
fn opend_endures_where_descriptors_come() {
    let Some(_alone) = alone() else { return };
    if can_have_older_kernel() {
        opend_endures(have_older_kernel, &["or descriptors came with it: "]);
    }
}

/// Says who it is, and waits until that has been heard.
fn visit(server: &Server) {
    let mut stream = server.connect();
    stream.write_all(b"Who am I?").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0);
}

fn whoami_endures(change: impl FnOnce(&mut Command), more: &[&str]) {
    let server = Server::start(change, "whoami", &["listen", "SOCKET"]);
    let said = [
        "  no message: the connection was closed\n",
        "  no message: none came in time\n",
        "  message from process ",
    ];
    server.endure(visit, &[("out", &said), ("out", more)]);
}

#[test]
fn whoami_endures_where_descriptors_are_refused() {
    let Some(_alone) = alone() else { return };
    whoami_endures(|_| (), &[]);
}

#[test]
fn whoami_endures_where_descriptors_come() {
    let Some(_alone) = alone() else { return };
    if can_have_older_kernel() {
        whoami_endures(have_older_kernel, &["  message with descriptors, which are not wanted"]);
    }
}
