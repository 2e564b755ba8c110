//! The classic programs of descriptor passing, among the examples: a master and its workers, a
//! conversation over a Unix socket, and a server that restarts without losing anything.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::program::{
    self, connect, descriptors, example, group, local, rests, signal, until, with_deadline, End,
    Program, ENDINGS,
};
use common::{Link, TempDir};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

// ---- What the tests are written with -------------------------------------------------------

/// Starts a program with that many descriptors at most.
fn with_limit(descriptors: usize, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $0; exec \"$@\"", &descriptors.to_string()]).arg(program);
    command
}

/// Stops the threads of a test when it ends, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// ---- All of them -----------------------------------------------------------------------------

#[test]
fn usage_is_on_standard_output_when_asked_for_and_on_standard_error_when_wrong() {
    let wrong: [(&str, &[&[&str]]); 4] = [
        ("channel", &[&["1"], &["17"], &["2x"], &[""], &["-2"], &["2", "3"]]),
        ("echo_server", &[&["name", "more"]]),
        ("echo_client", &[&["name", "more"]]),
        ("restart", &[&["@name", "0"], &["0"; 17]]),
    ];
    program::usage_goes_to_whoever_asks_or_errs(Link::Static, &wrong);
}

#[test]
fn errors_name_what_failed_and_why() {
    let dir = TempDir::new();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "kept").unwrap();
    drop(UnixListener::bind(path("stale")).unwrap());
    let _live = UnixListener::bind(path("live")).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().port().to_string();
    let no_port = "not a port number, which is from 0 to 65535";
    let cases = [
        ("echo_server", path("file"), "File exists"),
        ("echo_server", path("live"), "Address already in use"),
        ("echo_server", path("missing/socket"), "No such file or directory"),
        ("echo_client", path("missing"), "No such file or directory"),
        ("echo_client", path("stale"), "Connection refused"),
        ("restart", "65536".into(), no_port),
        ("restart", "http".into(), no_port),
        ("restart", String::new(), no_port),
        ("restart", taken, "Address already in use"),
        ("restart", format!("@anc-{}-none", std::process::id()), "Connection refused"),
    ];
    for (name, argument, why) in cases {
        let program = Program::start(Command::new(example(name, Link::Shared)).arg(&argument));
        assert_eq!(program.end(), End::Exited(1), "{name} {argument:?}");
        assert!(program.all_lines().is_empty());
        assert_eq!(program.complaints(), [format!("{name}: {argument}: {why}")]);
    }
    assert_eq!(fs::read_to_string(path("file")).unwrap(), "kept");
}

// ---- The conversation ------------------------------------------------------------------------

const MESSAGE: usize = 1024;

struct EchoServer {
    program: Program,
    name: String,
    /// Holds the file.
    dir: TempDir,
}

impl EchoServer {
    fn start(link: Link, is_abstract: bool) -> EchoServer {
        let dir = TempDir::new();
        let name = match is_abstract {
            true => format!("@{}", dir.path().display()),
            false => dir.path().join("socket").to_str().unwrap().to_owned(),
        };
        let program = Program::start(Command::new(example("echo_server", link)).arg(&name));
        EchoServer::started(program, name, dir)
    }

    fn started(program: Program, name: String, dir: TempDir) -> EchoServer {
        assert_eq!(program.says("Listening on "), format!("{name}."));
        EchoServer { program, name, dir }
    }

    fn connect(&self) -> UnixStream {
        let stream = match self.name.strip_prefix('@') {
            None => UnixStream::connect(&self.name),
            Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name).unwrap()),
        };
        with_deadline(stream.expect("a connection"))
    }

    fn client(&self, link: Link) -> Command {
        let mut command = Command::new(example("echo_client", link));
        command.arg(&self.name);
        command
    }
}

fn echoes(stream: &mut UnixStream, message: &[u8]) {
    stream.write_all(message).expect("sending");
    receives(stream, message);
}

fn receives(stream: &mut UnixStream, message: &[u8]) {
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert!(answer == message);
}

#[test]
fn four_messages_are_answered_over_a_path_and_over_an_abstract_name() {
    for (link, is_abstract) in Link::BOTH.into_iter().flat_map(|link| [(link, false), (link, true)])
    {
        let server = EchoServer::start(link, is_abstract);
        let mut expected = vec![format!("Listening on {}.", server.name)];
        for client in 1..=2 {
            let program = Program::start(&mut server.client(link));
            assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
            let pid = program.pid();
            let text = |i| format!("Message {i} of 4 from process {pid}.");
            let lines: Vec<String> = (1..=4)
                .flat_map(|i| [format!("Sent:     {}", text(i)), format!("Answered: {}", text(i))])
                .collect();
            assert_eq!(program.all_lines(), lines);
            server.program.says(&format!("Client {client} has left."));
            expected.push(format!("Client {client} has connected."));
            expected.extend((1..=4).map(|i| format!("Client {client}: {}", text(i))));
            expected.push(format!("Client {client} has left."));
        }
        server.program.end_with(ENDINGS[1]);
        expected.push("Terminated.".into());
        assert_eq!(server.program.all_lines(), expected);
        assert!(server.program.complaints().is_empty());
        assert_eq!(fs::read_dir(server.dir.path()).unwrap().count(), 0, "the file is removed");
    }
}

#[test]
fn each_signal_ends_the_echo_server_also_under_load() {
    for ending in ENDINGS {
        let server = EchoServer::start(Link::Shared, false);
        let mode = fs::metadata(&server.name).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let clients: Vec<UnixStream> = (0..4).map(|_| server.connect()).collect();
        thread::scope(|scope| {
            for mut client in clients {
                scope.spawn(move || {
                    let mut message = [b'x'; MESSAGE];
                    while client.write_all(&message).and(client.read_exact(&mut message)).is_ok() {}
                });
            }
            server.program.says_times("Client 1: x", 20);
            server.program.end_with(ending);
        });
        assert!(!Path::new(&server.name).exists());
    }
}

#[test]
fn clients_do_not_wait_for_each_other() {
    let server = EchoServer::start(Link::Shared, true);
    let _silent = server.connect();
    let mut slow = server.connect();
    slow.write_all(b"half a mess").unwrap();
    // It sends without end and reads nothing, until no more goes.
    let mut greedy = server.connect();
    greedy.set_nonblocking(true).unwrap();
    let (mut sent, mut quiet) = (0, Instant::now());
    while quiet.elapsed() < Duration::from_millis(100) {
        match greedy.write(&[b'g'; 100]) {
            Ok(n) => (sent, quiet) = (sent + n, Instant::now()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(sent < 10 << 20, "nothing is collected for one that does not read");
    }
    rests(server.program.pid());

    let together = Barrier::new(50);
    thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                together.wait();
                let output = common::run(&mut server.client(Link::Static));
                assert!(output.status.success(), "{}", common::said(&output));
            });
        }
    });
    let mut rest = [b' '; MESSAGE - 11];
    slow.write_all(&rest).unwrap();
    slow.read_exact(&mut [0; 11]).unwrap();
    slow.read_exact(&mut rest).unwrap();
    // All that the greedy one has sent in whole messages comes back.
    greedy.set_nonblocking(false).unwrap();
    greedy.shutdown(Shutdown::Write).unwrap();
    let mut answers = Vec::new();
    greedy.read_to_end(&mut answers).unwrap();
    assert_eq!(answers.len(), sent / MESSAGE * MESSAGE);
    server.program.end_with(ENDINGS[0]);
}

#[test]
fn messages_have_exactly_1024_bytes_however_they_come() {
    let server = EchoServer::start(Link::Static, false);
    let mut client = server.connect();
    let bytes: Vec<u8> = (0..10 * MESSAGE).map(|i| (i * 7 % 256) as u8).collect();
    for (size, pause) in
        [(1, false), (1023, true), (1025, true), (3000, false), (10 * MESSAGE, false)]
    {
        for piece in bytes.chunks(size) {
            client.write_all(piece).unwrap();
            if pause {
                thread::sleep(Duration::from_millis(1));
            }
        }
        receives(&mut client, &bytes);
    }
    // Nothing comes back before the message is whole.
    client.write_all(&bytes[..MESSAGE - 1]).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(client);
    server.program.says("Client 1 has left in the middle of a message.");

    // What is printed cannot speak to the terminal, and is one line.
    let mut client = server.connect();
    let mut message = [0; MESSAGE];
    message[..12].copy_from_slice(b"a\x1b[31m\n\xc2\x9bb~\x7f");
    echoes(&mut client, &message);
    server.program.says("Client 2: a?[31m???b~?");
    echoes(&mut client, &[b'-'; MESSAGE]);
    assert_eq!(server.program.says("Client 2: --"), "-".repeat(MESSAGE - 2));
}

#[test]
fn the_echo_server_replaces_the_file_of_a_killed_one_only() {
    let first = EchoServer::start(Link::Shared, false);
    let mut command = Command::new(example("echo_server", Link::Shared));
    command.arg(&first.name);
    let second = Program::start(&mut command);
    assert_eq!(second.end(), End::Exited(1));
    let why = format!("echo_server: {}: Address already in use", first.name);
    assert_eq!(second.complaints(), [why]);
    echoes(&mut first.connect(), &[1; MESSAGE]);

    first.program.signal(libc::SIGKILL);
    assert_eq!(first.program.end(), End::Killed(libc::SIGKILL));
    let EchoServer { name, dir, .. } = first;
    let second = EchoServer::started(Program::start(&mut command), name, dir);
    echoes(&mut second.connect(), &[2; MESSAGE]);
    // Nor does it remove what is not its own.
    fs::rename(&second.name, second.dir.path().join("moved")).unwrap();
    fs::write(&second.name, "another").unwrap();
    second.program.end_with(ENDINGS[1]);
    assert_eq!(fs::read_to_string(&second.name).unwrap(), "another");
}

#[test]
fn more_echo_clients_than_descriptors_wait_for_their_turn() {
    let dir = TempDir::new();
    let name = dir.path().join("socket").to_str().unwrap().to_owned();
    let mut command = with_limit(10, &example("echo_server", Link::Static));
    let server = EchoServer::started(Program::start(command.arg(&name)), name, dir);
    let before = descriptors(server.program.pid());
    let mut clients: Vec<UnixStream> = (0..30).map(|_| server.connect()).collect();
    server.program.complains("echo_server: accept: Too many open files");
    rests(server.program.pid());
    for (i, client) in clients.iter_mut().enumerate() {
        echoes(client, &[i as u8; MESSAGE]);
        client.shutdown(Shutdown::Both).unwrap();
    }
    until("all have left", || (descriptors(server.program.pid()) == before).then_some(()));
}

#[test]
fn the_echo_client_notices_a_bad_server() {
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    type Serve = fn(UnixStream);
    let cases: [(Serve, &str); 3] = [
        (drop, "echo_client: "),
        (
            |mut stream| {
                stream.read_exact(&mut [0; MESSAGE]).unwrap();
                stream.write_all(&[0; MESSAGE - 1]).unwrap();
            },
            "echo_client: receiving: the server has closed the connection",
        ),
        (
            |mut stream| {
                stream.read_exact(&mut [0; MESSAGE]).unwrap();
                stream.write_all(&[b'x'; MESSAGE]).unwrap();
            },
            "echo_client: receiving: the answer is not what was sent",
        ),
    ];
    for (serve, why) in cases {
        let mut command = Command::new(example("echo_client", Link::Shared));
        let client = Program::start(command.arg(&path));
        serve(listener.accept().unwrap().0);
        assert_eq!(client.end(), End::Exited(1));
        assert!(client.complaints()[0].starts_with(why), "{:?}", client.complaints());
    }
}

// ---- The master and its workers ----------------------------------------------------------------

/// Checks all that a run says.
fn channel_succeeds(program: &Program, workers: usize) {
    assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
    let lines = program.all_lines();
    assert!(program.complaints().is_empty(), "{:?}", program.complaints());
    let times = |line: &str| lines.iter().filter(|other| *other == line).count();
    for worker in 0..workers {
        let mut got = vec![format!("Worker {worker}: a file.")];
        got.extend(vec![format!("Worker {worker}: a listening socket."); 2]);
        let others = (0..workers).filter(|other| *other != worker);
        got.extend(others.map(|other| format!("Worker {worker}: a channel to worker {other}.")));
        for line in &got {
            let expected = got.iter().filter(|other| *other == line).count();
            // The one that dies may not have come to it.
            let fits = times(line) == expected || worker == 0 && times(line) < expected;
            assert!(fits, "{line:?} in {lines:?}");
        }
        // One dies, and all others hear of it.
        let (lost, ended) = ((worker > 0) as usize, "ended with exit status 0");
        let line = format!("Worker {worker}: no channel to worker 0 any more.");
        assert_eq!(times(&line), lost, "{lines:?}");
        assert_eq!(times(&format!("Master: worker {worker} {ended}.")), lost, "{lines:?}");
    }
    let death = lines.iter().position(|line| line == "Master: worker 0 was killed by signal 9.");
    let death = death.expect("the end of a worker");
    let mut bytes = 0;
    let mut counts = (0, 0);
    let answers = lines.iter().enumerate().filter_map(|(i, line)| {
        let words: Vec<usize> = line
            .strip_prefix("Client: Worker ")?
            .trim_end_matches('.')
            .split(" answers a client of worker ")
            .map(|word| word.parse().unwrap())
            .collect();
        bytes += line.len() - "Client: ".len() + 1;
        Some((i, words[0], words[1]))
    });
    for (n, (i, by, of)) in answers.enumerate() {
        let living = workers - (i > death) as usize;
        *(if i > death { &mut counts.1 } else { &mut counts.0 }) += 1;
        assert!(i < death || (by != 0 && of != 0), "{lines:?}");
        // Every second client comes by the socket whose clients are passed on to the next.
        let next = match (of + 1) % workers {
            0 if i > death => 1,
            next => next,
        };
        assert_eq!(by, if n % 2 == 0 || living == 1 { of } else { next }, "{lines:?}");
    }
    assert_eq!(counts, (2 * workers, 2 * workers), "{lines:?}");
    assert_eq!(times(&format!("Master: the workers have written {bytes} bytes.")), 1, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "Done.");
    program.leaves_nothing();
}

#[test]
fn workers_get_a_file_and_sockets_and_channels_to_each_other() {
    for link in Link::BOTH {
        for workers in [2, 3, 8, 16] {
            let mut command = Command::new(example("channel", link));
            channel_succeeds(&Program::start(command.arg(workers.to_string())), workers);
        }
    }
}

/// Sends and receives as much at once as a socket under pressure may: a few bytes or nothing.
const PIECES: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    static int is_full;
    struct msghdr piece = *msg;
    struct iovec first;
    if (is_full) {
        is_full = 0;
        errno = EAGAIN;
        return -1;
    }
    if (msg->msg_iovlen == 1 && msg->msg_iov[0].iov_len > 5) {
        first = msg->msg_iov[0];
        first.iov_len = 5;
        piece.msg_iov = &first;
        is_full = 1;
    }
    return syscall(SYS_sendmsg, fd, &piece, flags);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct iovec *whole = msg->msg_iov, first;
    if (msg->msg_iovlen == 1 && whole->iov_len > 3) {
        first = *whole;
        first.iov_len = 3;
        msg->msg_iov = &first;
    }
    ssize_t n = syscall(SYS_recvmsg, fd, msg, flags);
    msg->msg_iov = whole;
    return n;
}
"#;

#[test]
fn records_that_go_and_come_in_pieces_are_put_together() {
    let dir = TempDir::new();
    let (source, shim) = (dir.path().join("pieces.c"), dir.path().join("pieces.so"));
    fs::write(&source, PIECES).unwrap();
    common::run_ok(common::compiler().args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source));
    for workers in [2, 5] {
        let mut command = Command::new(example("channel", Link::Static));
        command.arg(workers.to_string()).env("LD_PRELOAD", &shim);
        channel_succeeds(&Program::start(&mut command), workers);
    }
}

#[test]
fn nothing_of_the_master_and_its_workers_is_left_whenever_it_ends() {
    let mut command = Command::new(example("channel", Link::Shared));
    command.arg("16");
    for round in 0..40 {
        let program = Program::start(&mut command);
        let start = Instant::now();
        let moment = Duration::from_micros(500 * round / 4);
        until("a moment", || (start.elapsed() > moment).then_some(()));
        let number = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL][round as usize % 4];
        if number == libc::SIGINT {
            // As a terminal does.
            signal(-program.pid(), number);
        } else {
            program.signal(number);
        }
        let end = program.end();
        // It may not have been ready for the signal yet, or be ready with all else.
        assert!(end == End::Killed(number) || end == End::Exited(0), "{end:?}");
        program.leaves_nothing();
        if end == End::Exited(0) {
            let lines = program.all_lines();
            let farewell = ENDINGS.iter().find(|(other, _)| *other == number).unwrap().1;
            assert!([farewell, "Done."].contains(&&**lines.last().unwrap()), "{lines:?}");
            assert!(program.complaints().is_empty(), "{:?}", program.complaints());
        }
    }
}

// ---- The server that restarts --------------------------------------------------------------------

/// A server, in all its copies, with a program file of its own.
struct Restart {
    /// The first copy. What all copies say goes to the same place.
    program: Program,
    ports: Vec<u16>,
    dir: TempDir,
    restarts: Mutex<usize>,
}

impl Restart {
    fn start(link: Link, ports: usize) -> Restart {
        Restart::start_as(link, ports, |path| Command::new(path))
    }

    fn start_as(link: Link, ports: usize, command: impl Fn(&Path) -> Command) -> Restart {
        let dir = TempDir::new();
        let path = dir.path().join("restart");
        fs::copy(example("restart", link), &path).unwrap();
        let program = Program::start(command(&path).args(vec!["0"; ports]));
        let begin = format!("Process {} listens on 127.0.0.1 port ", program.pid());
        let port = |i| program.says_times(&begin, i).trim_end_matches('.').parse().unwrap();
        let ports = (1..=ports).map(port).collect();
        Restart { program, ports, dir, restarts: Mutex::new(0) }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("restart")
    }

    /// Puts another program into the place of the one that is running.
    fn replace(&self, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }

    /// A copy of the program, for scripts that run it in the end.
    fn original(&self, link: Link) -> PathBuf {
        let path = self.dir.path().join("original");
        fs::copy(example("restart", link), &path).unwrap();
        path
    }

    fn connect(&self) -> TcpStream {
        connect(local(self.ports[0]))
    }

    /// The process that serves, and what it said last when it took over.
    fn now(&self) -> (i32, String) {
        let lines = self.program.out.lock().unwrap();
        let took = |line: &String| {
            let (pid, rest) = line.strip_prefix("Process ")?.split_once(" took over from ")?;
            Some((pid.parse().unwrap(), rest.to_owned()))
        };
        lines.0.iter().rev().find_map(took).unwrap_or((self.program.pid(), String::new()))
    }

    /// Returns what the new copy says that it has taken over.
    fn restart(&self) -> String {
        let mut restarts = self.restarts.lock().unwrap();
        let (old, _) = self.now();
        signal(old, libc::SIGHUP);
        *restarts += 1;
        let (new, said) = until("a new copy", || Some(self.now()).filter(|(pid, _)| *pid != old));
        let beginning = format!("process {old}: ");
        assert!(new != old && said.starts_with(&beginning), "{said}");
        said[beginning.len()..].to_owned()
    }

    /// Asks for a restart that fails.
    fn fails_to_restart(&self, times: usize) -> String {
        let (pid, _) = self.now();
        signal(pid, libc::SIGHUP);
        let why = self.program.complains_times("restart: no new copy (", times);
        let end = format!("); process {pid} goes on");
        assert!(why.ends_with(&end), "{why}");
        assert_eq!(self.now().0, pid);
        why.strip_suffix(&end).unwrap().to_owned()
    }

    /// Ends it, checks how many requests it has counted, and that nothing is left.
    fn end(&self, (number, farewell): (i32, &str), served: u64) {
        signal(self.now().0, number);
        let lines = self.program.all_lines();
        let last = [format!("{served} requests served."), farewell.into()];
        assert_eq!(lines[lines.len() - 2..], last);
        assert_eq!(self.program.end(), End::Exited(0));
        self.program.leaves_nothing();
    }
}

/// Reads the answer to a request, and returns its number.
fn answer(from: &mut impl BufRead, request: &str) -> u64 {
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    let (number, rest) = line.split_once(' ').unwrap_or_else(|| panic!("an answer: {line:?}"));
    assert_eq!(rest.strip_suffix('\n'), Some(request));
    number.parse().expect("a number")
}

fn ask(stream: &TcpStream, request: &str) -> u64 {
    (&mut &*stream).write_all(format!("{request}\n").as_bytes()).expect("sending");
    answer(&mut BufReader::with_capacity(1, stream), request)
}

/// Clients that ask and ask, some over one connection and some over many, until they are told to
/// stop. Returns the numbers of all answers.
fn load(ports: &[u16], over: &AtomicBool, asked: &AtomicU64, client: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut round = 0;
    while !over.load(Ordering::Relaxed) {
        let stream = connect(local(ports[round % ports.len()]));
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        // Several requests in one piece, and one in several.
        let requests = if client % 2 == 0 { 200 } else { 5 };
        for i in 0..requests {
            let texts: Vec<String> = (0..3).map(|j| format!("{client} {round} {i} {j}")).collect();
            let (first, second) = (format!("{}\n{}\n", texts[0], texts[1]), &texts[2]);
            let (a, b) = second.split_at(second.len() / 2);
            for part in [format!("{first}{a}"), format!("{b}\n")] {
                (&stream).write_all(part.as_bytes()).expect("sending");
            }
            numbers.extend(texts.iter().map(|text| answer(&mut reader, text)));
            asked.fetch_add(3, Ordering::Relaxed);
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
        // The end of sending ends the connection from the other side, which leaves this side's
        // port free for another one.
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("an end without an error");
        assert!(rest.is_empty());
        round += 1;
    }
    numbers
}

/// Runs something while eight clients ask, and returns how many requests were answered.
fn under_load(ports: &[u16], run: impl FnOnce(&AtomicU64)) -> u64 {
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let client = |i| {
            let (over, asked) = (&over, &asked);
            scope.spawn(move || load(ports, over, asked, i))
        };
        let clients: Vec<_> = (0..8).map(client).collect();
        {
            let _stop = Stop(&over);
            run(&asked);
        }
        let numbers: Vec<u64> = clients.into_iter().flat_map(|c| c.join().unwrap()).collect();
        let count = numbers.len() as u64;
        let different: HashSet<u64> = numbers.into_iter().collect();
        assert_eq!(different.len() as u64, count, "no number twice");
        assert_eq!(different.into_iter().max(), Some(count), "no number missing");
        count
    })
}

/// Waits until the clients have asked some more.
fn some_more(asked: &AtomicU64) {
    let before = asked.load(Ordering::Relaxed);
    until("more requests", || (asked.load(Ordering::Relaxed) > before + 50).then_some(()));
}

#[test]
fn twenty_restarts_lose_no_connection_and_no_request() {
    for link in Link::BOTH {
        let server = Restart::start(link, 2);
        let count = under_load(&server.ports, |asked| {
            for _ in 0..20 {
                some_more(asked);
                server.restart();
            }
            some_more(asked);
        });
        assert_eq!(server.program.says_times("Process ", 42).split(' ').nth(1), Some("took"));
        assert_eq!(server.program.end(), End::Exited(0), "the first copy has ended");
        server.end(ENDINGS[1], count);
        assert!(server.program.complaints().is_empty(), "{:?}", server.program.complaints());
    }
}

#[test]
fn six_hundred_connections_are_taken_over_as_they_are() {
    let server = Restart::start(Link::Static, 3);
    let before = descriptors(server.program.pid());
    let streams: Vec<TcpStream> = (0..600).map(|i| connect(local(server.ports[i % 3]))).collect();
    let number = std::cell::Cell::new(0);
    let next = || {
        number.set(number.get() + 1);
        number.get()
    };
    for stream in &streams {
        assert_eq!(ask(stream, "before"), next());
    }
    // Each has sent the beginning of a request.
    for (i, mut stream) in streams.iter().enumerate() {
        stream.write_all(format!("part {i}").as_bytes()).unwrap();
    }
    (&streams[0]).write_all(b"\n").unwrap();
    assert_eq!(answer(&mut BufReader::with_capacity(1, &streams[0]), "part 0"), next());
    for _ in 0..5 {
        let said = server.restart();
        assert_eq!(said, format!("{} requests served, 600 connections.", number.get()));
        assert_eq!(descriptors(server.now().0), before + 600);
    }
    rests(server.now().0);
    for (i, stream) in streams.iter().enumerate() {
        let request = if i == 0 { String::new() } else { format!("part {i}") };
        (&mut &*stream).write_all(b"\n").unwrap();
        assert_eq!(answer(&mut BufReader::with_capacity(1, stream), &request), next());
    }
    // An ending that happens meanwhile is noticed by the next.
    drop(streams);
    until("all are closed", || server.restart().ends_with(" 0 connections.").then_some(()));
    assert_eq!(ask(&server.connect(), "after"), next());
    server.end(ENDINGS[0], number.get());
}

#[test]
fn answers_that_nobody_reads_yet_are_taken_over() {
    let server = Restart::start(Link::Shared, 1);
    // Until nothing more goes: then an answer is half sent, and requests are half read.
    let greedy = server.connect();
    greedy.set_nonblocking(true).unwrap();
    let (mut sent, mut quiet) = (0, Instant::now());
    let text = format!("{}\n", "y".repeat(599)).repeat(100);
    while quiet.elapsed() < Duration::from_millis(200) {
        match (&greedy).write(&text.as_bytes()[sent % 600..]) {
            Ok(n) => (sent, quiet) = (sent + n, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    rests(server.program.pid());
    let served: u64 = server.restart().split(' ').next().unwrap().parse().unwrap();
    assert!(served > 0 && served < sent as u64 / 600, "{served}");
    rests(server.now().0);
    greedy.set_nonblocking(false).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let rest = 600 - sent % 600;
            (&greedy).write_all(&text.as_bytes()[600 - rest..600]).unwrap();
            server.restart();
            (&greedy).write_all(b"last").unwrap();
            server.restart();
            (&greedy).write_all(b"\nnot a whole one").unwrap();
            greedy.shutdown(Shutdown::Write).unwrap();
        });
        let mut reader = BufReader::new(&greedy);
        let whole = sent as u64 / 600 + 1;
        for number in 1..=whole {
            assert_eq!(answer(&mut reader, &"y".repeat(599)), number);
        }
        assert_eq!(answer(&mut reader, "last"), whole + 1);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        server.end(ENDINGS[1], whole + 1);
    });
}

#[test]
fn requests_are_lines_of_at_most_1024_bytes() {
    let server = Restart::start(Link::Shared, 1);
    let stream = server.connect();
    let longest = "l".repeat(1023);
    for (i, request) in [longest.as_str(), "", "a b", "\t\0\u{e9}"].iter().enumerate() {
        assert_eq!(ask(&stream, request), i as u64 + 1);
    }
    (&stream).write_all(format!("{longest}m{longest}\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(&stream);
    assert_eq!(answer(&mut reader, &format!("{longest}m")), 5);
    assert_eq!(answer(&mut reader, &longest), 6);
    server.end(ENDINGS[1], 6);
}

/// A new copy that is not what it should be.
const IMPOSTOR: &str = r#"
#include <ancillary.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *kind = getenv("IMPOSTOR");
    static char bytes[100000];
    int link = argc == 2 ? ancillary_connect(argv[1], SOCK_STREAM, 0) : -1;
    if (link < 0)
        return 1;
    if (strcmp(kind, "reads nothing") == 0)
        return 0;
    if (strcmp(kind, "reads a little") == 0)
        return read(link, bytes, 10) < 0;
    if (strcmp(kind, "reads all but does not confirm") == 0) {
        const struct timeval moment = {.tv_usec = 300000};
        setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
        while (read(link, bytes, sizeof bytes) > 0)
            ;
        return 0;
    }
    for (;;)
        pause();
}
"#;

/// Checks that the same process goes on with the same connections.
fn goes_on(server: &Restart, stream: &TcpStream, number: &mut u64) {
    *number += 2;
    assert_eq!(ask(stream, "old"), *number - 1);
    assert_eq!(ask(&server.connect(), "new"), *number);
}

#[test]
fn a_server_goes_on_when_the_new_copy_fails() {
    let dir = TempDir::new();
    let source = dir.path().join("impostor.c");
    fs::write(&source, IMPOSTOR).unwrap();
    let impostor = common::compile("impostor", &[source], Link::Static, &[]);
    let impostor = impostor.display();

    let server = Restart::start(Link::Static, 1);
    let original = server.original(Link::Static);
    let original = original.display();
    let stream = server.connect();
    let others: Vec<TcpStream> = (0..300).map(|_| server.connect()).collect();
    let mut number = 0;
    goes_on(&server, &stream, &mut number);
    (&stream).write_all(b"ol").unwrap();
    let before = descriptors(server.program.pid());
    let script = |line: &str| format!("#!/bin/sh\n{line}\n");
    let failing = [
        ("it ended early", script("exit 1")),
        ("it ended early", script("kill -9 $$")),
        ("it ended early", "neither a program nor a script".into()),
        ("it ended early", "#!/no/such/interpreter".into()),
        // It takes over other servers' sockets only, or none.
        ("it ended early", script(&format!("exec {original} 0 0 0 http"))),
        ("it ended early", script(&format!("exec {original} @another-name"))),
        // Half-way there is no room for more descriptors.
        ("", script(&format!("ulimit -n 100; exec {original} $1"))),
        // It is not the process that was started.
        ("it ended early", script(&format!("{original} $1; exit 1"))),
        ("", script(&format!("IMPOSTOR='reads nothing' exec {impostor} $1"))),
        ("", script(&format!("IMPOSTOR='reads a little' exec {impostor} $1"))),
        (
            "it ended before it confirmed",
            script(&format!("IMPOSTOR='reads all but does not confirm' exec {impostor} $1")),
        ),
    ];
    let mut times = 0;
    for (why, program) in failing {
        server.replace(&program);
        times += 1;
        let said = server.fails_to_restart(times);
        assert!(said.starts_with(why), "{program}: {said}");
        number += 1;
        (&stream).write_all(b"d\n").unwrap();
        assert_eq!(answer(&mut BufReader::with_capacity(1, &stream), "old"), number, "{program}");
        goes_on(&server, &stream, &mut number);
        (&stream).write_all(b"ol").unwrap();
    }
    fs::remove_file(server.path()).unwrap();
    assert_eq!(server.fails_to_restart(times + 1), "it ended early");
    until("no descriptor more", || (descriptors(server.program.pid()) <= before).then_some(()));
    // No child is left, either.
    assert_eq!(group(server.program.pid()), [server.program.pid()]);

    // With a good program in the place again all is well.
    symlink(server.dir.path().join("original"), server.path()).unwrap();
    until("the new connections are closed", || {
        server.restart().ends_with(" 301 connections.").then_some(())
    });
    (&stream).write_all(b"d\n").unwrap();
    number += 1;
    assert_eq!(answer(&mut BufReader::with_capacity(1, &stream), "old"), number);
    for other in others.iter().step_by(50) {
        goes_on(&server, other, &mut number);
    }
    server.end(ENDINGS[1], number);
}

#[test]
fn a_server_goes_on_when_the_new_copy_hangs() {
    let dir = TempDir::new();
    let source = dir.path().join("hanging.c");
    fs::write(&source, IMPOSTOR).unwrap();
    let hanging = common::compile("hanging", &[source], Link::Static, &[]);
    let scripts = ["exec sleep 60".into(), format!("IMPOSTOR=hangs exec {} $1", hanging.display())];
    thread::scope(|scope| {
        for script in scripts {
            scope.spawn(move || {
                let server = Restart::start(Link::Static, 1);
                let stream = server.connect();
                let mut number = 0;
                goes_on(&server, &stream, &mut number);
                server.replace(&format!("#!/bin/sh\n{script}\n"));
                assert_eq!(server.fails_to_restart(1), "it takes too long");
                goes_on(&server, &stream, &mut number);
                assert_eq!(group(server.program.pid()), [server.program.pid()]);

                // A signal does not wait for a copy that hangs before it takes over.
                if script.contains("sleep") {
                    signal(server.program.pid(), libc::SIGHUP);
                    until("a child", || (group(server.program.pid()).len() == 2).then_some(()));
                    goes_on(&server, &stream, &mut number);
                    let start = Instant::now();
                    server.end(ENDINGS[0], number);
                    assert!(start.elapsed() < Duration::from_secs(4));
                }
            });
        }
    });
}

#[test]
fn strangers_are_given_nothing() {
    let server = Restart::start(Link::Static, 1);
    let original = server.original(Link::Static);
    server.replace(&format!("#!/bin/sh\nsleep 0.3\nexec {} $1\n", original.display()));
    let mut number = 0;
    let stream = server.connect();
    goes_on(&server, &stream, &mut number);
    let names = || -> HashSet<String> {
        let list = fs::read_to_string("/proc/net/unix").unwrap();
        let names = list.lines().filter_map(|line| line.split_once('@'));
        names.map(|(_, name)| name.to_owned()).filter(|n| n.starts_with("restart-")).collect()
    };
    let served = thread::scope(|scope| {
        let restart = scope.spawn(|| server.restart());
        // The script has the name as its argument.
        let name = until("the name", || {
            group(server.program.pid()).iter().find_map(|pid| {
                let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
                line.split('\0').find_map(|word| Some(word.strip_prefix('@')?.to_owned()))
            })
        });
        assert!(names().contains(&name));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for _ in 0..100 {
            let mut stranger = UnixStream::connect_addr(&address).unwrap();
            let mut got = Vec::new();
            stranger.read_to_end(&mut got).expect("the end");
            assert!(got.is_empty());
        }
        goes_on(&server, &stream, &mut number);
        restart.join().unwrap()
    });
    assert!(served.starts_with(&format!("{number} requests served, ")), "{served}");
    goes_on(&server, &stream, &mut number);
    server.end(ENDINGS[1], number);
}

#[test]
fn it_is_started_again_by_the_path_that_it_was_started_with() {
    let in_folder = |path: &Path| {
        let mut command = Command::new("./restart");
        command.current_dir(path.parent().unwrap());
        command
    };
    let by_search = |path: &Path| {
        let folder = path.parent().unwrap().to_str().unwrap();
        let mut command = Command::new("sh");
        let paths = format!("{folder}:{}", std::env::var("PATH").unwrap());
        command.env("PATH", paths).args(["-c", "exec restart \"$@\"", "sh"]);
        command
    };
    let commands: [&dyn Fn(&Path) -> Command; 2] = [&in_folder, &by_search];
    for command in commands {
        let server = Restart::start_as(Link::Static, 1, command);
        assert_eq!(ask(&server.connect(), "first"), 1);
        // As an upgrade does: another file in the place of the one that is running.
        let original = server.original(Link::Static);
        for number in 2..5 {
            fs::rename(&original, server.path()).unwrap();
            server.restart();
            assert_eq!(ask(&server.connect(), "next"), number);
            server.original(Link::Static);
        }
        server.end(ENDINGS[1], 4);
    }
}

#[test]
fn many_signals_make_one_restart_after_the_other() {
    let server = Restart::start(Link::Shared, 1);
    let count = under_load(&server.ports, |asked| {
        for _ in 0..200 {
            let (pid, _) = server.now();
            // It may just have ended; as a zombie or not at all, it is no other process.
            // SAFETY: no memory is involved.
            unsafe { libc::kill(pid, libc::SIGHUP) };
            thread::sleep(Duration::from_micros(500));
        }
        some_more(asked);
        until("one server", || (group(server.program.pid()).len() == 1).then_some(()));
        some_more(asked);
    });
    server.end(ENDINGS[0], count);
}

#[test]
fn more_clients_than_descriptors_wait_for_their_turn() {
    let limited = |path: &Path| with_limit(20, path);
    let server = Restart::start_as(Link::Static, 1, limited);
    let streams: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    server.program.complains_times("restart: accept: Too many open files", 1);
    rests(server.program.pid());
    // There is no room for a restart now.
    server.fails_to_restart(1);
    for (i, stream) in streams.into_iter().enumerate() {
        assert_eq!(ask(&stream, "hello"), i as u64 + 1);
    }
    until("room", || (descriptors(server.program.pid()) < 15).then_some(()));
    assert!(server.restart().starts_with("40 requests served, "));
    server.end(ENDINGS[1], 40);
}
