//! `server`, `worker` and `client`: a server hands live connections to an unrelated worker.

use crate::common::program::{
    connect, example, is_in_signals, leave_socket, local, make_nonblocking, processes,
    receive_by_hand, send_by_hand, shim, small_pipe, unprivileged, until, with_deadline,
    with_signals, End, Process, Program, DEADLINE, DESCRIPTORS, ENDINGS, PROCESSES,
};
use crate::common::{self, in_flight, Link, TempDir};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

// ---- What the tests are written with -------------------------------------------------------

pub fn worker(link: Link, socket: &Path, command: &[&str]) -> Program {
    let worker = Program::start(Command::new(example("worker", link)).arg(socket).args(command));
    assert_eq!(worker.says("Listening for descriptors on "), format!("{}.", socket.display()));
    worker
}

pub fn server(link: Link, address: &str, socket: &Path) -> (Program, u16) {
    let mut command = Command::new(example("server", link));
    let server = Program::start(command.args([address, "0"]).arg(socket));
    let port = port_of(&server);
    (server, port)
}

pub fn port_of(server: &Program) -> u16 {
    let place = server.says("Now waiting for incoming connections to ");
    place.rsplit_once(" port ").expect("a port").1.parse().expect("a number")
}

/// A worker and a server of it.
struct Service {
    server: Program,
    port: u16,
    worker: Program,
    dir: TempDir,
}

impl Service {
    fn start(link: Link, command: &[&str]) -> Service {
        let dir = TempDir::new();
        let worker = worker(link, &dir.path().join("socket"), command);
        let (server, port) = server(link, "127.0.0.1", &dir.path().join("socket"));
        worker.says("Connection from the server.");
        Service { server, port, worker, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }
}

/// Takes the place of a worker.
pub fn accept(listener: &UnixListener) -> UnixStream {
    listener.set_nonblocking(true).unwrap();
    let link = until("the server connects", || listener.accept().ok()).0;
    link.set_nonblocking(false).unwrap();
    link.set_read_timeout(Some(DEADLINE)).unwrap();
    link
}

/// Sends a question, if there is one, and reads the whole answer.
pub fn ask(to: impl ToSocketAddrs, question: &str) -> String {
    let mut stream = connect(to);
    stream.write_all(question.as_bytes()).expect("sending");
    stream.shutdown(Shutdown::Write).expect("end of sending");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// Clients that come without a break until this is dropped, whatever becomes of them.
struct Load {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn on(port: u16) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let client = || {
            let over = over.clone();
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let to = (Ipv4Addr::LOCALHOST, port).into();
                    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(1));
                    if let Ok(mut stream) = stream {
                        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
                        let _ = stream.read(&mut [0]);
                    }
                }
            })
        };
        Load { threads: (0..4).map(|_| client()).collect(), over }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

// ---- What the programs are for ---------------------------------------------------------------

#[test]
fn a_child_of_the_worker_answers_and_both_say_what_they_do() {
    for link in Link::BOTH {
        let service =
            Service::start(link, &["sh", "-c", "echo $$ $PPID $(cat); cat /proc/self/stat >&2"]);
        let answer = ask(local(service.port), "question");
        let words: Vec<&str> = answer.split_whitespace().collect();
        let (worker, server) = (service.worker.pid(), service.server.pid());
        assert!(![worker, server].contains(&words[0].parse().unwrap()), "{answer}");
        assert_eq!(words[1], worker.to_string(), "{answer}");
        assert_eq!(words[2], "question", "{answer}");
        // Standard error is the connection as well.
        assert_eq!(words[4], "(cat)", "{answer}");

        service.server.end_with(ENDINGS[1]);
        let place = format!("127.0.0.1 port {}", service.port);
        let expected = [
            format!("Now waiting for incoming connections to {place}"),
            "Connection transferred to the worker process.".into(),
            "Terminated.".into(),
        ];
        assert_eq!(service.server.all_lines(), expected);
        service.worker.says("Closed connection to server.");
        service.worker.end_with(ENDINGS[1]);
        let expected = [
            format!("Listening for descriptors on {}.", service.socket().display()),
            "Connection from the server.".into(),
            "Closed connection to server.".into(),
            "Terminated.".into(),
        ];
        assert_eq!(service.worker.all_lines(), expected);
        assert!(!service.socket().exists());
        assert!(service.server.complaints().is_empty());
        assert!(service.worker.complaints().is_empty());
    }
}

#[test]
fn the_client_prints_the_answer() {
    let service = Service::start(Link::Shared, &["tr", "a-z", "A-Z"]);
    let port = service.port.to_string();
    let long = "long text ".repeat(10_000);
    for text in [&["hello"][..], &[&long], &["two\nlines"], &[""], &[]] {
        let mut command = Command::new(example("client", Link::Shared));
        let client = Program::start(command.args(["localhost", &port]).args(text));
        assert_eq!(client.end(), End::Exited(0), "{:?}", client.complaints());
        assert!(client.all_lines().join("\n") == text.concat().to_uppercase());
        assert!(client.complaints().is_empty());
    }
}

#[test]
fn what_is_for_others_asks_for_no_usage() {
    let service = Service::start(Link::Shared, &["sh", "-c", "echo $0 $*; cat", "-h", "--help"]);
    let mut command = Command::new(example("client", Link::Shared));
    command.args(["--", "localhost", &service.port.to_string(), "--help"]);
    let client = Program::start(&mut command);
    assert_eq!(client.end(), End::Exited(0), "{:?}", client.complaints());
    assert_eq!(client.all_lines(), ["-h --help", "--help"]);
}

/// Standard output can be non-blocking: that belongs to the open file, which others have as well.
#[test]
fn the_client_waits_for_who_reads_the_answer() {
    let whole: String = (0..20_000).map(|i| format!("{i:09}\n")).collect();
    let dir = TempDir::new();
    let file = dir.path().join("whole");
    fs::write(&file, &whole).unwrap();
    let service = Service::start(Link::Shared, &["cat", file.to_str().unwrap()]);
    let (mut read, write) = small_pipe();
    make_nonblocking(&write);
    let mut command = Command::new(example("client", Link::Shared));
    command.args(["localhost", &service.port.to_string()]);
    let client = Program::start_writing_to(&mut command, write);
    client.rests();
    let mut answer = String::new();
    read.read_to_string(&mut answer).unwrap();
    assert!(answer == whole, "{} of {} bytes", answer.len(), whole.len());
    assert_eq!(client.end(), End::Exited(0));
}

#[test]
fn two_hundred_clients_at_once_get_the_whole_answer() {
    let whole: String = (0..20_000).map(|i| format!("{i:09}\n")).collect();
    let dir = TempDir::new();
    let file = dir.path().join("whole");
    fs::write(&file, &whole).unwrap();
    let service = Service::start(Link::Shared, &["cat", file.to_str().unwrap()]);
    let _in_flight = in_flight::up_to(200);
    let together = Barrier::new(200);
    thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                together.wait();
                let answer = ask(local(service.port), "");
                assert!(answer == whole, "{} of {} bytes", answer.len(), whole.len());
            });
        }
    });
    service.server.says_times("Connection transferred to the worker process.", 200);
}

#[test]
fn five_thousand_connections_leave_no_descriptor_and_no_zombie() {
    let service = Service::start(Link::Shared, &["true"]);
    let count = || (service.server.descriptors(), service.worker.descriptors());
    let before = count();
    let left = AtomicUsize::new(5000);
    let take = |n: usize| n.checked_sub(1);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
                    assert_eq!(ask(local(service.port), ""), "");
                }
            });
        }
    });
    service.server.says_times("Connection transferred to the worker process.", 5000);
    until("no descriptor more than before", || (count() == before).then_some(()));
    until("no child of the worker", || {
        processes().iter().all(|process| process.parent != service.worker.pid()).then_some(())
    });
    assert_eq!(service.worker.out.lock().unwrap().0.len(), 2, "nothing went wrong with any");
}

#[test]
fn the_worker_serves_several_servers() {
    let service = Service::start(Link::Shared, &["echo", "served"]);
    let (second, port) = server(Link::Shared, "127.0.0.1", &service.socket());
    for port in [service.port, port, service.port] {
        assert_eq!(ask(local(port), ""), "served\n");
    }
    service.server.end_with(ENDINGS[0]);
    assert_eq!(ask(local(port), ""), "served\n");
    second.end_with(ENDINGS[2]);
    service.worker.says_times("Connection from the server.", 2);
    service.worker.says_times("Closed connection to server.", 2);
    let (_third, port) = server(Link::Shared, "localhost", &service.socket());
    assert_eq!(ask(local(port), ""), "served\n");
}

#[test]
fn the_server_notices_at_once_that_the_worker_is_gone() {
    for stop in [libc::SIGKILL, libc::SIGTERM] {
        let service = Service::start(Link::Shared, &["echo", "served"]);
        assert_eq!(ask(local(service.port), ""), "served\n");
        service.worker.signal(stop);
        assert_eq!(service.server.end(), End::Exited(1));
        assert_eq!(service.server.all_lines().last().unwrap(), "Lost connection.");
    }
    let service = Service::start(Link::Shared, &["true"]);
    let _load = Load::on(service.port);
    service.server.says_times("Connection transferred to the worker process.", 20);
    service.worker.signal(libc::SIGKILL);
    assert_eq!(service.server.end(), End::Exited(1));
    assert_eq!(service.server.all_lines().last().unwrap(), "Lost connection.");
}

#[test]
fn commands_go_on_when_the_worker_ends() {
    let service = Service::start(Link::Shared, &["sh", "-c", "echo ready; cat"]);
    let mut stream = connect(local(service.port));
    stream.read_exact(&mut [0; 6]).expect("ready");
    service.worker.end_with(ENDINGS[1]);
    stream.write_all(b"still there").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "still there");
}

// ---- Addresses -----------------------------------------------------------------------------

/// Whether this machine has IPv6.
fn has_ipv6() -> bool {
    let has = TcpListener::bind("[::1]:0").is_ok();
    if !has {
        common::missing("IPv6");
    }
    has
}

/// All places that a server names before it is served by.
fn places(server: &Program, count: usize) -> Vec<String> {
    let beginning = "Now waiting for incoming connections to ";
    (1..=count).map(|times| server.says_times(beginning, times)).collect()
}

#[test]
fn any_address_takes_both_families() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let _worker = worker(Link::Shared, &socket, &["echo", "served"]);
    let families = if has_ipv6() { &["0.0.0.0", "::"][..] } else { &["0.0.0.0"] };
    for any in ["", "-", "?", "*", ":"] {
        let (server, port) = server(Link::Shared, any, &socket);
        let mut places = places(&server, families.len());
        places.sort();
        assert_eq!(
            places,
            families.iter().map(|any| format!("{any} port {port}")).collect::<Vec<_>>()
        );
        for _ in 0..3 {
            for address in ["127.0.0.1", "::1"].iter().take(families.len()) {
                assert_eq!(ask((*address, port), ""), "served\n");
            }
        }
        server.end_with(ENDINGS[1]);
    }
    if has_ipv6() {
        for address in ["::1", "::"] {
            let (server, port) = server(Link::Shared, address, &socket);
            assert_eq!(places(&server, 1), [format!("{address} port {port}")]);
            assert_eq!(ask(("::1", port), ""), "served\n");
            assert!(TcpStream::connect(local(port)).is_err());
        }
    }
}

/// Has a name stand for the addresses in ADDRESSES, and a call fail for those of IPv6 with the
/// error in FAILS: SOCKET or BIND, its number, and how often, if not always.
const NAMES: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(const char *call, int family)
{
    static int failed;
    const char *text = getenv("FAILS");
    char *times;
    if (family != AF_INET6 || !text || strncmp(text, call, strlen(call)) != 0)
        return 0;
    int error = (int)strtol(text + strlen(call), &times, 10);
    if (*times && failed == atoi(times))
        return 0;
    failed++;
    errno = error;
    return 1;
}

int socket(int family, int type, int protocol)
{
    return fails("SOCKET", family) ? -1 : (int)syscall(SYS_socket, family, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return fails("BIND", address->sa_family) ? -1 : (int)syscall(SYS_bind, fd, address, len);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    char addresses[300], *rest = addresses;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!node || strcmp(node, "name.invalid") != 0)
        return real(node, service, hints, res);
    strcpy(addresses, getenv("ADDRESSES"));
    for (char *one; (one = strsep(&rest, " "));) {
        int result = real(one, service, hints, res);
        if (result != 0)
            return result;
        res = &(*res)->ai_next;
    }
    return 0;
}
"#;

/// A worker, for servers on names that stand for what a test says.
struct Names {
    shim: PathBuf,
    _worker: Program,
    dir: TempDir,
}

impl Names {
    fn new() -> Names {
        let dir = TempDir::new();
        let worker = worker(Link::Shared, &dir.path().join("socket"), &["echo", "served"]);
        Names { shim: shim(NAMES, &dir), _worker: worker, dir }
    }

    fn serve(&self, addresses: &str, fails: &str, port: u16) -> Program {
        let mut command = Command::new(example("server", Link::Shared));
        command.args(["name.invalid", &port.to_string()]).arg(self.dir.path().join("socket"));
        command.env("LD_PRELOAD", &self.shim).env("ADDRESSES", addresses).env("FAILS", fails);
        Program::start(&mut command)
    }
}

#[test]
fn a_name_stands_for_all_its_addresses() {
    if !has_ipv6() {
        return;
    }
    let names = Names::new();
    // An address can come twice, and some that are not of this machine.
    let many = "127.0.0.1 192.0.2.1 ::1 127.0.0.1 2001:db8::1";
    // And the port that is free for one may be in use at another.
    let in_use = format!("BIND{} 3", libc::EADDRINUSE);
    for (addresses, fails) in [("::1 127.0.0.1", ""), (many, ""), ("127.0.0.1 ::1", &in_use)] {
        let server = names.serve(addresses, fails, 0);
        let mut places = places(&server, 2);
        places.sort();
        let port = port_of(&server);
        let expected = ["127.0.0.1", "::1"].map(|address| format!("{address} port {port}"));
        assert_eq!(places, expected);
        for address in ["127.0.0.1", "::1", "127.0.0.1", "::1"] {
            assert_eq!(ask((address, port), ""), "served\n");
        }
        server.end_with(ENDINGS[1]);
        assert!(server.complaints().is_empty());
    }
}

/// Whoever asks for one more would find nobody.
#[test]
fn more_addresses_than_the_server_can_listen_on_are_an_error() {
    let names = Names::new();
    let addresses = |count| {
        let all: Vec<_> = (1..=count).map(|last| format!("127.0.0.{last}")).collect();
        // One that comes twice, and one that is not there, are not counted.
        format!("{} 127.0.0.1 192.0.2.1", all.join(" "))
    };
    let server = names.serve(&addresses(16), "", 0);
    places(&server, 16);
    let port = port_of(&server);
    assert_eq!(ask(("127.0.0.16", port), ""), "served\n");
    server.end_with(ENDINGS[1]);
    let server = names.serve(&addresses(17), "", port);
    assert_eq!(server.end(), End::Exited(1));
    let why = "more than the 16 addresses that are listened on";
    assert_eq!(server.complaints(), [format!("server: 127.0.0.17 port {port}: {why}")]);
    assert!(server.all_lines().is_empty());
}

/// Another family would be no help: who asks for the one gets another program, or none.
#[test]
fn an_address_that_is_in_use_or_forbidden_is_an_error() {
    if !has_ipv6() {
        return;
    }
    let names = Names::new();
    for (taken, other) in [("127.0.0.1", "::1"), ("::1", "127.0.0.1")] {
        let listener = TcpListener::bind((taken, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        for addresses in [format!("{taken} {other}"), format!("{other} {taken}")] {
            let server = names.serve(&addresses, "", port);
            assert_eq!(server.end(), End::Exited(1));
            let why = format!("server: {taken} port {port}: Address already in use");
            assert_eq!(server.complaints(), [why]);
            assert!(TcpStream::connect((other, port)).is_err());
        }
    }
    let any = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = any.local_addr().unwrap().port().to_string();
    for _ in 0..2 {
        let mut command = Command::new(example("server", Link::Shared));
        let second = Program::start(command.args(["-", &port, "worker"]));
        assert_eq!(second.end(), End::Exited(1));
        let why = format!("server: 0.0.0.0 port {port}: Address already in use");
        assert_eq!(second.complaints(), [why]);
    }
    let forbidden = format!("BIND{}", libc::EACCES);
    let in_use = format!("BIND{}", libc::EADDRINUSE);
    let server = names.serve("127.0.0.1 ::1", &in_use, 0);
    assert!(server.complains("server: ::1 port ").ends_with(": Address already in use"));
    assert_eq!(server.end(), End::Exited(1));
    for addresses in ["::1 127.0.0.1", "127.0.0.1 ::1", "::1"] {
        let server = names.serve(addresses, &forbidden, 0);
        assert_eq!(server.end(), End::Exited(1));
        let complaints = server.complaints();
        assert!(complaints[0].starts_with("server: ::1 port "), "{complaints:?}");
        assert!(complaints[0].ends_with(": Permission denied"), "{complaints:?}");
    }
}

#[test]
fn a_family_or_an_address_that_is_not_there_is_none() {
    let names = Names::new();
    let absent = [
        (format!("SOCKET{}", libc::EAFNOSUPPORT), "Address family not supported by protocol"),
        (format!("BIND{}", libc::EADDRNOTAVAIL), "Cannot assign requested address"),
    ];
    for (fails, why) in absent {
        for addresses in ["::1 127.0.0.1", "127.0.0.1 ::1"] {
            let server = names.serve(addresses, &fails, 0);
            assert_eq!(ask(local(port_of(&server)), ""), "served\n");
            server.end_with(ENDINGS[1]);
            assert_eq!(server.all_lines()[0].split(' ').nth(6), Some("127.0.0.1"));
        }
        let server = names.serve("::1", &fails, 7);
        assert_eq!(server.end(), End::Exited(1));
        assert_eq!(server.complaints(), [format!("server: ::1 port 7: {why}")]);
    }
}

#[test]
fn a_worker_takes_the_place_of_one_that_was_killed_and_of_no_other() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let first = worker(Link::Shared, &socket, &["echo", "first"]);
    first.signal(libc::SIGKILL);
    first.end();
    assert!(socket.exists());
    let second = worker(Link::Shared, &socket, &["echo", "second"]);
    let mut command = Command::new(example("worker", Link::Shared));
    let third = Program::start(command.arg(&socket).args(["echo", "third"]));
    assert_eq!(third.end(), End::Exited(1));
    let complaint = format!("worker: {}: Address already in use", socket.display());
    assert_eq!(third.complaints(), [complaint]);
    let (server, port) = server(Link::Shared, "127.0.0.1", &socket);
    assert_eq!(ask(local(port), ""), "second\n");
    server.end_with(ENDINGS[1]);
    second.end_with(ENDINGS[1]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_socket_is_for_one_user_whatever_the_umask() {
    for mask in ["000", "022", "277"] {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("umask {mask}; exec \"$@\""), "sh"]);
        command.arg(example("worker", Link::Shared)).arg(&socket).arg("true");
        let worker = Program::start(&mut command);
        worker.says("Listening for descriptors on ");
        assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o7777, 0o600);
        worker.end_with(ENDINGS[1]);
    }
}

#[test]
fn the_path_may_be_long() {
    let dir = TempDir::new();
    for parts in [2, 4, 15] {
        let mut path = dir.path().to_path_buf();
        (0..parts).for_each(|_| path.push("folder ".repeat(30)));
        fs::create_dir_all(&path).unwrap();
        path.push("socket".repeat(40));
        let worker = worker(Link::Shared, &path, &["echo", "served"]);
        let (server, port) = server(Link::Shared, "127.0.0.1", &path);
        assert_eq!(ask(local(port), ""), "served\n");
        server.end_with(ENDINGS[1]);
        worker.end_with(ENDINGS[1]);
        assert!(!path.exists());
    }
}

#[test]
fn the_name_may_be_abstract() {
    let dir = TempDir::new();
    let name = PathBuf::from(format!("@{}", dir.path().file_name().unwrap().to_str().unwrap()));
    let file = dir.path().join(&name);
    fs::write(&file, "not of the worker").unwrap();
    let mut command = Command::new(example("worker", Link::Shared));
    command.arg(&name).args(["echo", "served"]).current_dir(dir.path());
    let worker = Program::start(&mut command);
    worker.says("Listening for descriptors on @");
    let (server, port) = server(Link::Shared, "127.0.0.1", &name);
    assert_eq!(ask(local(port), ""), "served\n");
    server.end_with(ENDINGS[1]);
    worker.end_with(ENDINGS[1]);
    assert!(file.exists());
}

#[test]
fn a_worker_that_waits_for_another_to_start_can_be_ended() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    for ending in ENDINGS {
        // Left behind: only what replaces a file has to wait.
        leave_socket(&socket);
        let lock = fs::File::open(dir.path()).unwrap();
        lock.lock().unwrap();
        let start = || {
            let mut command = Command::new(example("worker", Link::Shared));
            Program::start(command.arg(&socket).args(["echo", "served"]))
        };
        let (ended, waiting) = (start(), start());
        waiting.rests();
        ended.end_with(ending);
        assert!(ended.complaints().is_empty());
        assert!(socket.exists());
        drop(lock);
        waiting.says("Listening for descriptors on ");
        waiting.end_with(ending);
        assert!(!socket.exists());
    }
}

// ---- The command -----------------------------------------------------------------------------

#[test]
fn a_command_that_cannot_run_is_reported_to_the_worker_alone() {
    let dir = TempDir::new();
    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    let plain = plain.to_str().unwrap();
    let missing = dir.path().join("missing");
    let missing = missing.to_str().unwrap();
    for (command, status, reason) in [
        (missing, 127, "No such file or directory"),
        ("no-command-of-this-name", 127, "No such file or directory"),
        (plain, 126, "Permission denied"),
    ] {
        let service = Service::start(Link::Shared, &[command]);
        for times in 1..=2 {
            assert_eq!(ask(local(service.port), ""), "");
            service.worker.says_times("Process ", times);
        }
        service.worker.end_with(ENDINGS[1]);
        let ended = format!(" ended with exit status {status}.");
        let lines = service.worker.all_lines();
        assert!(lines[2..4].iter().all(|line| line.ends_with(&ended)), "{lines:?}");
        let complaint = format!("worker: {command}: {reason}");
        assert_eq!(service.worker.complaints(), [complaint.clone(), complaint]);
    }
}

#[test]
fn a_folder_that_may_not_be_searched_hides_no_command() {
    let dir = TempDir::for_all();
    let (hidden, socket) = (dir.path().join("hidden"), dir.path().join("socket"));
    fs::create_dir(&hidden).unwrap();
    let mut command = unprivileged("worker", &dir);
    // It can be listed, so that it can be removed.
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).unwrap();
    command.env("PATH", format!("{}:/usr/bin:/bin", hidden.display()));
    let worker = Program::start(command.arg(&socket).arg("no-command-of-this-name"));
    worker.says("Listening for descriptors on ");
    let (server, port) = server(Link::Shared, "127.0.0.1", &socket);
    assert_eq!(ask(local(port), ""), "");
    assert!(worker.says("Process ").ends_with(" ended with exit status 127."));
    server.end_with(ENDINGS[1]);
    worker.end_with(ENDINGS[1]);
}

#[test]
fn the_end_of_a_command_is_told_if_it_was_a_signal() {
    let service = Service::start(Link::Shared, &["sh", "-c", "echo $$; kill -KILL $$"]);
    let pid = ask(local(service.port), "");
    let line = service.worker.says("Process ");
    assert_eq!(line, format!("{} was killed by signal 9.", pid.trim()));
}

/// A command that lists its descriptors.
const LIST: [&str; 3] = ["ls", "-l", "/proc/self/fd"];

fn only_the_connection_is_in(list: &str) {
    let mut numbers = Vec::new();
    for (name, target) in list.lines().filter_map(|line| line.split_once(" -> ")) {
        // ls itself has the directory open.
        if !target.starts_with("/proc/") {
            assert!(target.starts_with("socket:"), "{list}");
            numbers.push(name.split_whitespace().last().unwrap());
        }
    }
    assert_eq!(numbers, ["0", "1", "2"], "{list}");
}

#[test]
fn a_command_inherits_no_descriptor_but_the_connection() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let mut command = Command::new("sh");
    // The worker itself was given more than it should have been.
    command.args(["-c", "exec 7<&0 9</dev/null; exec \"$@\"", "sh"]);
    command.arg(example("worker", Link::Shared)).arg(&socket).args(LIST);
    let worker = Program::start(&mut command);
    worker.says("Listening for descriptors on ");
    let (_server, port) = server(Link::Shared, "127.0.0.1", &socket);
    only_the_connection_is_in(&ask(local(port), ""));
}

/// What event loops accept is non-blocking, and what a command reads and writes must not be.
#[test]
fn a_command_gets_a_connection_that_blocks() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["sh", "-c", "cat; head -c 4000000 /dev/zero"]);
    let link = UnixStream::connect(&socket).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    make_nonblocking(&theirs);
    send_by_hand(&link, b"\0", &[theirs.as_raw_fd()]).unwrap();
    drop(theirs);
    worker.says("Connection from the server.");
    let command = until("a command", || {
        processes().into_iter().find(|process| process.parent == worker.pid())
    });
    until("it waits", || (Process::now(command.pid)?.state == 'S').then_some(()));
    let mut ours = with_deadline(ours);
    ours.write_all(b"question").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    ours.read_to_end(&mut answer).unwrap();
    assert_eq!((answer.len(), &answer[..8]), (4_000_008, &b"question"[..]));
}

#[test]
fn a_command_gets_the_signals_as_the_worker_got_them() {
    const ALL: [i32; 7] = [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGPIPE,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGCHLD,
    ];
    let cases: [(&str, &str, &[i32], &[i32]); 4] = [
        ("", "", &[], &[]),
        ("HUP", "", &[libc::SIGHUP], &[]),
        (
            "INT,PIPE,USR1",
            "USR2,TERM",
            &[libc::SIGINT, libc::SIGPIPE, libc::SIGUSR1],
            &[libc::SIGUSR2, libc::SIGTERM],
        ),
        // A command that waits for children would be surprised.
        ("CHLD", "", &[], &[]),
    ];
    for (ignore, block, ignored, blocked) in cases {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let mut command = with_signals(ignore, block, &example("worker", Link::Shared));
        let worker = Program::start(command.arg(&socket).args(["cat", "/proc/self/status"]));
        worker.says("Listening for descriptors on ");
        let (_server, port) = server(Link::Shared, "127.0.0.1", &socket);
        let status = ask(local(port), "");
        for number in ALL {
            for (name, set) in [("SigIgn:", ignored), ("SigBlk:", blocked)] {
                let is_in = is_in_signals(&status, name, number);
                assert_eq!(is_in, set.contains(&number), "{ignore}, {block}: {name} {number}");
            }
        }
    }
}

#[test]
fn the_worker_hears_of_its_children_whatever_it_was_started_with() {
    for (ignored, blocked) in [("CHLD", ""), ("", "CHLD"), ("CHLD", "CHLD")] {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let mut command = with_signals(ignored, blocked, &example("worker", Link::Shared));
        command.arg(&socket).args(["sh", "-c", "kill -KILL $$"]);
        let worker = Program::start(&mut command);
        worker.says("Listening for descriptors on ");
        let (_server, port) = server(Link::Shared, "127.0.0.1", &socket);
        assert_eq!(ask(local(port), ""), "");
        assert!(worker.says("Process ").ends_with(" was killed by signal 9."));
    }
}

#[test]
fn closed_standard_descriptors_do_no_harm() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let start = |program: &str, closed: &str, arguments: &[&OsStr]| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec \"$@\" {closed}"), "sh"]);
        Program::start(command.arg(example(program, Link::Shared)).args(arguments))
    };
    let command = LIST.map(OsStr::new);
    let arguments = [&[socket.as_os_str()], &command[..]].concat();
    let worker = start("worker", "<&- >&- 2>&-", &arguments);
    until("the worker listens", || UnixStream::connect(&socket).ok());
    let arguments = ["127.0.0.1", "0"].map(OsStr::new);
    let server = start("server", "<&- 2>&-", &[&arguments[..], &[socket.as_os_str()]].concat());
    only_the_connection_is_in(&ask(local(port_of(&server)), ""));
    for number in [0, 2] {
        let target = fs::read_link(format!("/proc/{}/fd/{number}", server.pid())).unwrap();
        assert_eq!(target, Path::new("/dev/null"));
    }
    server.end_with(ENDINGS[1]);
    worker.signal(libc::SIGTERM);
    assert_eq!(worker.end(), End::Exited(0));
}

// ---- Signals ---------------------------------------------------------------------------------

#[test]
fn each_signal_ends_each_program_when_idle() {
    for ending in ENDINGS {
        let service = Service::start(Link::Shared, &["true"]);
        service.server.end_with(ending);
        service.worker.says("Closed connection to server.");
        service.worker.end_with(ending);
        assert!(!service.socket().exists());
    }
}

#[test]
fn each_signal_ends_each_program_under_load() {
    for ending in ENDINGS {
        for of_server in [true, false] {
            let service = Service::start(Link::Shared, &["true"]);
            let _load = Load::on(service.port);
            service.server.says_times("Connection transferred to the worker process.", 50);
            if of_server {
                service.server.end_with(ending);
            } else {
                service.worker.end_with(ending);
                assert!(!service.socket().exists());
            }
        }
    }
}

/// Starts a program many times and sends it a signal ever a little later, until it was fully
/// running in half of them.
fn signal_at_various_moments(command: impl Fn() -> Command, after: impl Fn()) {
    let mut orderly = 0;
    for round in 0.. {
        if round >= 50 && orderly >= 25 {
            break;
        }
        assert!(round < 1000, "it came to its end {orderly} times only");
        let (number, farewell) = ENDINGS[round % 3];
        let program = Program::start(&mut command());
        let start = Instant::now();
        while start.elapsed() < Duration::from_micros(round as u64 * 40) {
            std::hint::spin_loop();
        }
        program.signal(number);
        match program.end() {
            End::Exited(0) => {
                assert_eq!(program.all_lines().last().map(String::as_str), Some(farewell));
                orderly += 1;
            }
            // It had not come to main yet.
            End::Killed(by) if by == number => {
                assert_eq!((program.all_lines().len(), program.complaints().len()), (0, 0));
            }
            end => panic!("round {round}: {end:?} after {number}: {:?}", program.complaints()),
        }
        after();
    }
}

#[test]
fn each_signal_ends_a_program_that_is_just_starting() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let start_worker = || {
        let mut command = Command::new(example("worker", Link::Shared));
        command.arg(&socket).arg("true");
        command
    };
    signal_at_various_moments(start_worker, || assert!(!socket.exists()));

    let _worker = worker(Link::Shared, &socket, &["true"]);
    let start_server = || {
        let mut command = Command::new(example("server", Link::Shared));
        command.args(["127.0.0.1", "0"]).arg(&socket);
        command
    };
    signal_at_various_moments(start_server, || ());
}

#[test]
fn a_signal_goes_before_connections_that_wait() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (read, mut write) = small_pipe();
    let mut read = BufReader::new(read);
    let mut command = Command::new(example("server", Link::Shared));
    let command = command.args(["127.0.0.1", "0"]).arg(&socket);
    let server = Program::start_writing_to(command, write.try_clone().unwrap());
    let link = accept(&listener);
    let mut line = String::new();
    read.read_line(&mut line).unwrap();
    let port = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();

    // With no room for its line, the server waits a little, in which it takes no signal.
    write.write_all(&[b'\n'; 4096]).unwrap();
    let _clients: Vec<TcpStream> = (0..50).map(|_| connect(local(port))).collect();
    assert_eq!(receive_by_hand(&link).1.len(), 1);
    server.signal(libc::SIGTERM);
    drop(write);
    let mut rest = String::new();
    read.read_to_string(&mut rest).unwrap();
    assert_eq!(server.end(), End::Exited(0));
    assert!(rest.ends_with("\nTerminated.\n"), "{rest}");
    assert!(receive_by_hand(&link).0.is_empty(), "it went on with the next connection");
}

#[test]
fn a_signal_ends_a_server_that_looks_up_a_name() {
    const SLOW: &str = "
        #define _GNU_SOURCE
        #include <netdb.h>
        #include <unistd.h>

        int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                        struct addrinfo **res)
        {
            (void)node, (void)service, (void)res;
            if (hints->ai_flags & AI_NUMERICHOST)
                return EAI_NONAME;
            if (write(STDERR_FILENO, \"looking up\\n\", 11) == 11)
                for (;;)
                    pause();
            return EAI_FAIL;
        }";
    let dir = TempDir::new();
    let slow = shim(SLOW, &dir);
    for ending in ENDINGS {
        let mut command = Command::new(example("server", Link::Shared));
        command.args(["name.invalid", "0", "worker"]).env("LD_PRELOAD", &slow);
        let server = Program::start(&mut command);
        server.complains("looking up");
        server.end_with(ending);
    }
}

// ---- When something is short -------------------------------------------------------------------

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_service() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let (read, write) = small_pipe();
    // Of each of these there is a line.
    let command = ["sh", "-c", "kill -KILL $$"];
    let mut worker = Command::new(example("worker", Link::Shared));
    let worker = Program::start_writing_to(worker.arg(&socket).args(command), write);
    until("the worker listens", || UnixStream::connect(&socket).ok());
    let (server, port) = server(Link::Shared, "127.0.0.1", &socket);
    for _ in 0..200 {
        assert_eq!(ask(local(port), ""), "");
    }
    // Nor does one whose reader has gone.
    drop(read);
    for _ in 0..5 {
        assert_eq!(ask(local(port), ""), "");
    }
    server.end_with(ENDINGS[1]);
    worker.signal(libc::SIGTERM);
    assert_eq!(worker.end(), End::Exited(0));

    let (read, write) = small_pipe();
    let mut read = BufReader::new(read);
    let mut server = Command::new(example("server", Link::Shared));
    let _worker = self::worker(Link::Shared, &socket, &["echo", "served"]);
    let server = server.args(["127.0.0.1", "0"]).arg(&socket);
    let server = Program::start_writing_to(server, write);
    let mut line = String::new();
    read.read_line(&mut line).unwrap();
    let port = line.trim().rsplit_once(' ').unwrap().1.parse().unwrap();
    for _ in 0..200 {
        assert_eq!(ask(local(port), ""), "served\n");
    }
    drop(read);
    for _ in 0..5 {
        assert_eq!(ask(local(port), ""), "served\n");
    }
    server.signal(libc::SIGTERM);
    assert_eq!(server.end(), End::Exited(0));
}

#[test]
fn a_full_link_delays_connections_and_loses_none() {
    let _in_flight = in_flight::up_to(400);
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (server, port) = server(Link::Shared, "127.0.0.1", &socket);
    let link = accept(&listener);
    // More than the link holds, while nobody receives.
    let clients: Vec<TcpStream> = (0..400).map(|_| connect(local(port))).collect();
    server.says_times("Connection transferred to the worker process.", 200);
    server.rests();
    let mut peers: Vec<u16> = Vec::new();
    for _ in &clients {
        let (data, fds) = receive_by_hand(&link);
        // What goes over the wire: one zero byte with one descriptor, and nothing else.
        assert_eq!((&*data, fds.len()), (&[0][..], 1));
        let stream = TcpStream::from(fds.into_iter().next().unwrap());
        peers.push(stream.peer_addr().unwrap().port());
    }
    peers.sort_unstable();
    let mut expected: Vec<u16> =
        clients.iter().map(|client| client.local_addr().unwrap().port()).collect();
    expected.sort_unstable();
    assert_eq!(peers, expected);
    server.says_times("Connection transferred to the worker process.", 400);

    // The link is full again, and a signal comes, or the worker goes.
    let clients: Vec<TcpStream> = (0..400).map(|_| connect(local(port))).collect();
    server.says_times("Connection transferred to the worker process.", 600);
    server.end_with(ENDINGS[1]);
    drop(clients);
}

#[test]
fn a_full_link_to_a_worker_that_goes_is_noticed() {
    let _in_flight = in_flight::up_to(400);
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (server, port) = server(Link::Shared, "127.0.0.1", &socket);
    let link = accept(&listener);
    let _clients: Vec<TcpStream> = (0..400).map(|_| connect(local(port))).collect();
    server.says_times("Connection transferred to the worker process.", 200);
    drop(link);
    assert_eq!(server.end(), End::Exited(1));
    assert_eq!(server.all_lines().last().unwrap(), "Lost connection.");
}

#[test]
fn a_full_table_of_descriptors_is_survived() {
    const FULL: &str = "Too many open files";
    let service = Service::start(Link::Shared, &["echo", "served"]);
    // The worker's: connections wait, which costs it nothing, and are served when there is room.
    service.worker.fill_table();
    let mut delayed = connect(local(service.port));
    assert_eq!(service.worker.complains("worker: connections are delayed: "), FULL);
    service.worker.rests();
    service.worker.set_limit(DESCRIPTORS, u64::MAX);
    let mut answer = String::new();
    delayed.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served\n");

    // The server's: connections wait.
    service.server.fill_table();
    let mut waiting = connect(local(service.port));
    assert_eq!(service.server.complains("server: accept: "), FULL);
    service.server.rests();
    service.server.set_limit(DESCRIPTORS, u64::MAX);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "served\n");

    // The worker's, when the next server comes: that one waits.
    service.server.end_with(ENDINGS[1]);
    service.worker.says("Closed connection to server.");
    service.worker.fill_table();
    let (server, port) = server(Link::Shared, "127.0.0.1", &service.socket());
    assert_eq!(service.worker.complains("worker: accept: "), FULL);
    service.worker.rests();
    service.worker.set_limit(DESCRIPTORS, u64::MAX);
    assert_eq!(ask(local(port), ""), "served\n");
    server.end_with(ENDINGS[1]);
    service.worker.end_with(ENDINGS[1]);
    assert_eq!(service.worker.complaints().len(), 2, "each said once");
}

#[test]
fn a_limit_of_processes_delays_connections_and_loses_none() {
    let dir = TempDir::for_all();
    let socket = dir.path().join("socket");
    let mut command = unprivileged("worker", &dir);
    let Ok(worker) = Program::try_start(command.arg(&socket).args(["echo", "served"])) else {
        return common::missing("a user without privileges");
    };
    worker.says("Listening for descriptors on ");
    let (_server, port) = server(Link::Shared, "127.0.0.1", &socket);
    assert_eq!(ask(local(port), ""), "served\n");
    worker.set_limit(PROCESSES, 0);
    let clients: Vec<TcpStream> = (0..3).map(|_| connect(local(port))).collect();
    assert_eq!(worker.complains("worker: fork: "), "Resource temporarily unavailable");
    worker.rests();
    worker.set_limit(PROCESSES, u64::MAX);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "served\n");
    }
    worker.end_with(ENDINGS[1]);
    assert_eq!(worker.complaints().len(), 1, "said once");
}

#[test]
fn a_limit_of_descriptors_in_flight_delays_connections_and_loses_none() {
    let _in_flight = in_flight::alone();
    let dir = TempDir::for_all();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = unprivileged("server", &dir);
    let Ok(server) = Program::try_start(command.args(["127.0.0.1", "0"]).arg(&socket)) else {
        return common::missing("a user without privileges");
    };
    let port = port_of(&server);
    let link = accept(&listener);
    server.set_limit(DESCRIPTORS, 10);
    let clients: Vec<TcpStream> = (0..40).map(|_| connect(local(port))).collect();
    server.says("Connection transferred to the worker process.");
    server.rests();
    for _ in &clients {
        assert_eq!(receive_by_hand(&link).1.len(), 1);
    }
    server.says_times("Connection transferred to the worker process.", 40);
    server.end_with(ENDINGS[1]);
    assert!(server.complaints().is_empty());
}

// ---- Other programs of the pattern -------------------------------------------------------------

#[test]
fn the_worker_serves_other_programs_and_survives_malformed_messages() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["sh", "-c", "echo served $(cat)"]);
    let before = worker.descriptors();
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(DEADLINE)).unwrap();
    let passed = theirs.as_raw_fd();
    let file = File::open("/dev/null").unwrap();
    let malformed: [(&[u8], &[RawFd], &str); 4] = [
        (b"x", &[], "no descriptor came with it"),
        // The first byte takes the descriptor, and the second has none.
        (b"xy", &[passed], "no descriptor came with it"),
        (b"x", &[file.as_raw_fd()], "not all that came with it are connections"),
        (b"x", &[passed, file.as_raw_fd()], "not all that came with it are connections"),
    ];
    for (times, (data, fds, why)) in malformed.iter().enumerate() {
        let mut link = UnixStream::connect(&socket).unwrap();
        link.set_read_timeout(Some(DEADLINE)).unwrap();
        send_by_hand(&link, data, fds).unwrap();
        // The worker closes the link by itself.
        assert_eq!(link.read(&mut [0]).unwrap_or(0), 0);
        worker.says_times("Closed connection to server.", times + 1);
        let complaint = worker.complains_times("worker: malformed message: ", times + 1);
        assert_eq!(complaint, *why);
    }

    // The byte may have any value.
    let link = UnixStream::connect(&socket).unwrap();
    send_by_hand(&link, b"!", &[passed]).unwrap();
    drop(theirs);
    // Of one malformed message a command was started as well.
    (&ours).write_all(b"by hand").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    (&ours).read_to_string(&mut answer).unwrap();
    assert!(answer.contains("by hand"), "{answer}");

    // Ending with what it has not read yet is no reason to worry either.
    drop(link);
    let (_server, port) = server(Link::Shared, "127.0.0.1", &socket);
    assert_eq!(ask(local(port), "after all"), "served after all\n");
    drop(_server);
    until("no descriptor more than before", || (worker.descriptors() == before).then_some(()));
}

#[test]
fn the_worker_removes_its_own_file_only() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["true"]);
    fs::rename(&socket, dir.path().join("moved")).unwrap();
    fs::write(&socket, "another").unwrap();
    worker.end_with(ENDINGS[1]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "another");
}
