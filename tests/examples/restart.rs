//! `restart`: a server that restarts without losing anything.

use crate::common::program::{
    connect, descriptors, example, group, install, is_in_signals, local, processes, rests,
    send_until_full, signal, signal_state, until, with_limit, with_signals, End, Program,
    DESCRIPTORS, ENDINGS,
};
use crate::common::{self, in_flight, Link, TempDir};
use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

// ---- What the tests are written with -------------------------------------------------------

/// Stops the threads of a test when it ends, also by a panic.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How a server gets a new copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is a child, and the old one ends.
    Child,
    /// The process executes it.
    InPlace,
}

impl Way {
    const BOTH: [Way; 2] = [Way::Child, Way::InPlace];
}

/// A server, in all its copies, with a program file of its own.
pub struct Restart {
    /// What was started: the first copy, or what starts that. What all say goes to the same place.
    pub program: Program,
    pub ports: Vec<u16>,
    pub dir: TempDir,
    way: Way,
    /// The first copy, and what it calls itself.
    first: i32,
    name: String,
    restarts: Mutex<usize>,
}

impl Restart {
    fn start(link: Link, ports: usize) -> Restart {
        Restart::start_way(Way::Child, link, ports)
    }

    fn start_way(way: Way, link: Link, ports: usize) -> Restart {
        Restart::start_as(way, link, ports, |path| {
            let mut command = Command::new(path);
            command.args((way == Way::InPlace).then_some("-i"));
            command
        })
    }

    pub fn start_as(
        way: Way,
        link: Link,
        ports: usize,
        command: impl Fn(&Path) -> Command,
    ) -> Restart {
        let dir = TempDir::new();
        let path = dir.path().join("restart");
        install(&example("restart", link), &path);
        let program = Program::start(command(&path).args(vec!["0"; ports]));
        let said = |i| {
            let line = program.says_times("Process ", i);
            let (name, port) = line.split_once(" listens on 127.0.0.1 port ").expect("a port");
            (name.to_owned(), port.trim_end_matches('.').parse().expect("a number"))
        };
        let ports = (1..=ports).map(|i| said(i).1).collect();
        let name = said(1).0;
        // In a pid namespace the first process has another number than here.
        let inside = || processes().into_iter().find(|process| process.parent == program.pid());
        let first = match name.as_str() {
            "1" => inside().expect("a process").pid,
            name => name.parse().expect("a number"),
        };
        Restart { program, ports, dir, way, first, name, restarts: Mutex::new(0) }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("restart")
    }

    /// Puts another program into the place of the one that is running.
    pub fn replace(&self, text: &str) {
        let [text_only, new] = ["text", "new"].map(|name| self.dir.path().join(name));
        fs::write(&text_only, text).unwrap();
        install(&text_only, &new);
        fs::rename(&new, self.path()).unwrap();
    }

    /// A copy of the program, for scripts that run it in the end.
    pub fn original(&self, link: Link) -> PathBuf {
        let path = self.dir.path().join("original");
        install(&example("restart", link), &path);
        path
    }

    pub fn connect(&self) -> TcpStream {
        connect(local(self.ports[0]))
    }

    /// The process that serves, and what it said last when it took over.
    pub fn now(&self) -> (i32, String) {
        let lines = self.program.out.lock().unwrap();
        let took = |line: &String| {
            let (pid, rest) = line.strip_prefix("Process ")?.split_once(" took over from ")?;
            Some((pid.parse().unwrap(), rest.to_owned()))
        };
        lines.0.iter().rev().find_map(took).unwrap_or((self.first, String::new()))
    }

    /// Returns what the new copy says that it has taken over.
    pub fn restart(&self) -> String {
        let mut restarts = self.restarts.lock().unwrap();
        let (old, _) = self.now();
        signal(old, libc::SIGHUP);
        *restarts += 1;
        if self.way == Way::InPlace {
            let goes_on = format!("Process {} goes on in a new copy: ", self.name);
            return self.program.says_times(&goes_on, *restarts);
        }
        let (new, said) = until("a new copy", || Some(self.now()).filter(|(pid, _)| *pid != old));
        let beginning = format!("process {old}: ");
        assert!(new != old && said.starts_with(&beginning), "{said}");
        said[beginning.len()..].to_owned()
    }

    /// Asks for a restart that fails.
    pub fn fails_to_restart(&self, times: usize) -> String {
        let (pid, _) = self.now();
        signal(pid, libc::SIGHUP);
        let why = self.program.complains_times("restart: no new copy (", times);
        let name = if pid == self.first { self.name.clone() } else { pid.to_string() };
        let end = format!("); process {name} goes on");
        assert!(why.ends_with(&end), "{why}");
        assert_eq!(self.now().0, pid);
        why.strip_suffix(&end).unwrap().to_owned()
    }

    /// Ends it, checks how many requests it has counted, and that nothing is left.
    pub fn end(&self, (number, farewell): (i32, &str), served: u64) {
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

pub fn ask(stream: &TcpStream, request: &str) -> u64 {
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
pub fn under_load(ports: &[u16], run: impl FnOnce(&AtomicU64)) -> u64 {
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
pub fn some_more(asked: &AtomicU64) {
    let before = asked.load(Ordering::Relaxed);
    until("more requests", || (asked.load(Ordering::Relaxed) > before + 50).then_some(()));
}

#[test]
fn twenty_restarts_lose_no_connection_and_no_request() {
    for (link, way) in Link::BOTH.into_iter().zip(Way::BOTH).chain([(Link::Static, Way::Child)]) {
        let server = Restart::start_way(way, link, 2);
        let count = under_load(&server.ports, |asked| {
            for _ in 0..20 {
                some_more(asked);
                server.restart();
            }
            some_more(asked);
        });
        if way == Way::Child {
            assert_eq!(server.program.says_times("Process ", 42).split(' ').nth(1), Some("took"));
            assert_eq!(server.program.end(), End::Exited(0), "the first copy has ended");
        }
        server.end(ENDINGS[1], count);
        assert!(server.program.complaints().is_empty(), "{:?}", server.program.complaints());
    }
}

#[test]
fn six_hundred_connections_are_taken_over_as_they_are() {
    Way::BOTH.into_iter().for_each(take_over_six_hundred);
}

fn take_over_six_hundred(way: Way) {
    let _in_flight = in_flight::up_to(600);
    let server = Restart::start_way(way, Link::Static, 3);
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
    Way::BOTH.into_iter().for_each(take_over_answers);
}

fn take_over_answers(way: Way) {
    let server = Restart::start_way(way, Link::Shared, 1);
    // Until nothing more goes: then an answer is half sent, and requests are half read.
    let greedy = server.connect();
    greedy.set_nonblocking(true).unwrap();
    let text = format!("{}\n", "y".repeat(599)).repeat(100);
    let sent = send_until_full(&greedy, text.as_bytes(), usize::MAX);
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
#define _GNU_SOURCE
#include <ancillary.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    const char *kind = getenv("IMPOSTOR");
    static char bytes[100000], out[64];
    int is_strange = strcmp(kind, "says something else") == 0;
    struct ancillary_channel link = {.size = sizeof link, .sock = argc == 2 ? atoi(argv[1] + 1) : -1,
                                     .out_data = out, .out_size = sizeof out};
    struct ancillary_frame ready = {.type = is_strange ? 2 : 1, .id = (unsigned)getpid()};
    if (ancillary_channel_send(&link, &ready, 0) < 0)
        return 1;
    if (strcmp(kind, "reads nothing") == 0)
        return 0;
    if (strcmp(kind, "reads a little") == 0)
        return read(link.sock, bytes, 10) < 0;
    if (strcmp(kind, "reads all but does not confirm") == 0) {
        const struct timeval moment = {.tv_usec = 300000};
        setsockopt(link.sock, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
        while (read(link.sock, bytes, sizeof bytes) > 0)
            ;
        return 0;
    }
    if (strcmp(kind, "confirms otherwise") == 0) {
        ready.type = 3;
        if (ancillary_channel_send(&link, &ready, 0) < 0)
            return 1;
        while (read(link.sock, bytes, sizeof bytes) > 0)
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
    Way::BOTH.into_iter().for_each(fail_to_take_over);
}

fn fail_to_take_over(way: Way) {
    let dir = TempDir::new();
    let source = dir.path().join("impostor.c");
    fs::write(&source, IMPOSTOR).unwrap();
    let impostor = common::compile("impostor", &[source], Link::Static, &[]);
    let impostor = impostor.display();

    let _in_flight = in_flight::up_to(300);
    let server = Restart::start_way(way, Link::Static, 1);
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
        ("it ended early", script(&format!("exec {original} :99"))),
        // Half-way there is no room for more descriptors.
        ("", script(&format!("ulimit -n 100; exec {original} $1"))),
        // It is not the process that was started.
        ("it is another program", script(&format!("{original} $1; exit 1"))),
        (
            "it is another program",
            script(&format!("IMPOSTOR='says something else' exec {impostor} $1")),
        ),
        (
            "it does not confirm",
            script(&format!("IMPOSTOR='confirms otherwise' exec {impostor} $1")),
        ),
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
    let _in_flight = in_flight::up_to(2 * 300);
    thread::scope(|scope| {
        for script in scripts {
            scope.spawn(move || {
                let server = Restart::start(Link::Static, 1);
                let stream = server.connect();
                let mut number = 0;
                // More than fits into the buffers of a socket.
                let others: Vec<TcpStream> = (0..300).map(|_| server.connect()).collect();
                goes_on(&server, &stream, &mut number);
                server.replace(&format!("#!/bin/sh\n{script}\n"));
                assert_eq!(server.fails_to_restart(1), "it takes too long");
                drop(others);
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

/// What /proc/net/unix says of the Unix sockets of a process: all but their addresses.
fn unix_sockets(pid: i32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inodes: Vec<String> = entries
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned())
        })
        .collect();
    let list = fs::read_to_string("/proc/net/unix").unwrap();
    let is_its =
        |line: &&str| line.split_whitespace().nth(6).is_some_and(|n| inodes.contains(&n.into()));
    list.lines().filter(is_its).map(str::to_owned).collect()
}

#[test]
fn strangers_have_no_way_in() {
    let server = Restart::start(Link::Static, 1);
    let original = server.original(Link::Static);
    server.replace(&format!("#!/bin/sh\nsleep 0.3\nexec {} $1\n", original.display()));
    let mut number = 0;
    let stream = server.connect();
    goes_on(&server, &stream, &mut number);
    let server_pid = server.program.pid();
    assert!(unix_sockets(server_pid).is_empty());
    let served = thread::scope(|scope| {
        let restart = scope.spawn(|| server.restart());
        let copy = until("a copy", || {
            let is_copy = |pid: &i32| *pid != server_pid && !unix_sockets(*pid).is_empty();
            group(server_pid).into_iter().find(is_copy)
        });
        // A socket at each end, neither of which has a name.
        for pid in [server_pid, copy] {
            let sockets = unix_sockets(pid);
            assert!(sockets.iter().all(|line| line.split_whitespace().count() == 7), "{sockets:?}");
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
        let server = Restart::start_as(Way::Child, Link::Static, 1, command);
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
    Way::BOTH.into_iter().for_each(restart_often);
}

fn restart_often(way: Way) {
    let server = Restart::start_way(way, Link::Shared, 1);
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
    let server = Restart::start_as(Way::Child, Link::Static, 1, limited);
    let streams: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    server.program.complains_times("restart: accept: Too many open files", 1);
    rests(server.program.pid());
    // There is no room for a restart now.
    server.fails_to_restart(1);
    for (i, stream) in streams.into_iter().enumerate() {
        assert_eq!(ask(&stream, "hello"), i as u64 + 1);
    }
    until("room", || (descriptors(server.program.pid()) < 15).then_some(()));
    server.program.set_limit(DESCRIPTORS, u64::MAX);
    assert!(server.restart().starts_with("40 requests served, "));
    server.end(ENDINGS[1], 40);
}

#[test]
fn each_copy_has_the_signals_as_the_first_got_them() {
    for way in Way::BOTH {
        let server = Restart::start_as(way, Link::Shared, 1, |path| {
            let mut command = with_signals("INT,CHLD", "TERM,USR1", path);
            command.args((way == Way::InPlace).then_some("-i"));
            command
        });
        for copy in 0..3 {
            if copy > 0 {
                server.restart();
            }
            let (pid, _) = server.now();
            assert_eq!(signal_state(pid, libc::SIGINT), [true, false, false], "copy {copy}");
            assert_eq!(signal_state(pid, libc::SIGUSR1), [false, false, true], "copy {copy}");
        }
        // What the next one begins with. (A shell would change it.)
        server.replace("#!/bin/cat /proc/self/status\n");
        assert_eq!(server.fails_to_restart(1), "it ended early");
        let status = format!("SigBlk:{}", server.program.says("SigBlk:"));
        let blocked = [libc::SIGUSR1, libc::SIGCHLD, libc::SIGHUP, libc::SIGPIPE]
            .map(|number| is_in_signals(&status, "SigBlk:", number));
        assert_eq!(blocked, [true, false, false, false]);
        let status = format!("SigIgn:{}", server.program.says("SigIgn:"));
        let ignored = [libc::SIGINT, libc::SIGTERM, libc::SIGPIPE]
            .map(|number| is_in_signals(&status, "SigIgn:", number));
        assert_eq!(ignored, [true, false, false]);
        assert_eq!(ask(&server.connect(), "hello"), 1);
        server.end(ENDINGS[1], 1);
    }
}

/// The new program could take over, and cannot be executed a moment later.
#[test]
fn a_server_goes_on_when_it_cannot_execute_the_new_copy() {
    let server = Restart::start_way(Way::InPlace, Link::Static, 1);
    let original = server.original(Link::Static);
    let stream = server.connect();
    (&stream).write_all(b"ha").unwrap();
    let mut number = 0;
    for times in 1..=3 {
        server.replace(&format!("#!/bin/sh\nrm \"$0\"\nexec {} \"$1\"\n", original.display()));
        assert_eq!(server.fails_to_restart(times), "No such file or directory");
        goes_on(&server, &server.connect(), &mut number);
        assert_eq!(group(server.program.pid()), [server.program.pid()]);
    }
    // Nothing is inherited but one end of the channel.
    server.replace("#!/bin/sh\nls -l /proc/self/fd\nexit 1\n");
    assert_eq!(server.fails_to_restart(4), "it ended early");
    server.end(ENDINGS[1], number);
    let lines = server.program.all_lines();
    assert!(lines.iter().any(|line| line.contains(" -> pipe:")), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains(" -> socket:")).count(), 1, "{lines:?}");
    drop(stream);
}

/// Who waits for the service is to hear that it has ended, and finds the ports free.
#[test]
fn a_copy_that_is_to_give_back_never_serves() {
    let server = Restart::start_way(Way::InPlace, Link::Shared, 1);
    let original = server.original(Link::Shared);
    let stream = server.connect();
    assert_eq!(ask(&stream, "hello"), 1);
    let script = "case \"$1\" in :*) exec \"$0\" \"$1\";; *) exit 3;; esac";
    let script = script.replace("$0", original.to_str().unwrap());
    server.replace(&format!("#!/bin/sh\n{script}\n"));
    signal(server.program.pid(), libc::SIGHUP);
    assert_eq!(server.program.end(), End::Exited(3));
    server.program.leaves_nothing();
    assert_eq!((&stream).read(&mut [0]).unwrap(), 0);
    assert!(TcpStream::connect(local(server.ports[0])).is_err());
    assert!(server.program.complaints().is_empty(), "{:?}", server.program.complaints());
}
