//! `server -b`, and what `worker` makes of it: many connections in a message.

use super::connections::{accept, ask, port_of, server, worker};
use crate::common::program::{
    connect, example, local, receive_by_hand, send_by_hand, unprivileged, until, with_deadline,
    Program, DESCRIPTORS, ENDINGS, MOST_FDS, PROCESSES,
};
use crate::common::{self, in_flight, Link, TempDir};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

/// A server that passes up to so many connections in a message.
fn bulk_server(max: usize, socket: &Path) -> (Program, u16) {
    let mut command = Command::new(example("server", Link::Shared));
    command.args(["-b", &max.to_string(), "127.0.0.1", "0"]).arg(socket);
    let server = Program::start(&mut command);
    let port = port_of(&server);
    (server, port)
}

/// Connects so many clients while the server does not look.
fn connect_at_once(server: &Program, port: u16, count: usize) -> Vec<TcpStream> {
    server.stop();
    let clients = (0..count).map(|_| connect(local(port))).collect();
    server.signal(libc::SIGCONT);
    clients
}

fn answers(clients: Vec<TcpStream>) -> Vec<String> {
    let answer = |mut client: TcpStream| {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("an answer");
        answer
    };
    clients.into_iter().map(answer).collect()
}

#[test]
fn all_that_are_waiting_go_in_one_message_up_to_a_number() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let start = |max| match max {
        0 => server(Link::Shared, "127.0.0.1", &socket),
        _ => bulk_server(max, &socket),
    };
    let line_of = |fds: &usize| match fds {
        1 => "Connection transferred to the worker process.".into(),
        _ => format!("{fds} connections transferred to the worker process."),
    };
    // With the option and without it: how nine connections travel.
    for (max, expected) in [(4, &[4, 4, 1][..]), (3, &[3, 3, 3]), (1, &[1; 9]), (0, &[1; 9])] {
        let (server, port) = start(max);
        let link = accept(&listener);
        let before = server.descriptors();
        let clients = connect_at_once(&server, port, 9);
        let ports = |streams: &[TcpStream], of: fn(&TcpStream) -> u16| -> Vec<u16> {
            streams.iter().map(of).collect()
        };
        let mut received = Vec::new();
        for fds_expected in expected {
            let (data, fds) = receive_by_hand(&link);
            assert_eq!((&*data, fds.len()), (&[0][..], *fds_expected), "-b {max}");
            received.extend(fds.into_iter().map(TcpStream::from));
        }
        // In the order in which they came.
        let theirs = ports(&received, |stream| stream.peer_addr().unwrap().port());
        let ours = ports(&clients, |stream| stream.local_addr().unwrap().port());
        assert_eq!(theirs, ours, "-b {max}");
        until("its copies are closed", || (server.descriptors() == before).then_some(()));
        server.end_with(ENDINGS[1]);
        let lines = server.all_lines();
        let expected: Vec<String> = expected.iter().map(line_of).collect();
        assert_eq!(lines[1..lines.len() - 1], expected, "-b {max}");
        assert!(server.complaints().is_empty());
    }
}

#[test]
fn connections_in_bulk_are_all_served() {
    let _in_flight = in_flight::up_to(300);
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["echo", "served"]);
    let before = worker.descriptors();
    for (max, count) in [(64, 100), (253, 300), (7, 50)] {
        let (server, port) = bulk_server(max, &socket);
        let clients = connect_at_once(&server, port, count);
        assert_eq!(answers(clients), vec!["served\n"; count], "-b {max}");
        // One alone as well.
        assert_eq!(ask(local(port), ""), "served\n");
        server.end_with(ENDINGS[1]);
    }
    until("no descriptor more than before", || (worker.descriptors() == before).then_some(()));
    worker.end_with(ENDINGS[1]);
    assert!(worker.complaints().is_empty());
}

#[test]
fn a_full_link_delays_connections_in_bulk_and_loses_none() {
    let _in_flight = in_flight::up_to(400);
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let (server, port) = bulk_server(4, &socket);
    let link = accept(&listener);
    let clients: Vec<TcpStream> = (0..400).map(|_| connect(local(port))).collect();
    // Nobody receives: the link fills up, and those that come then gather.
    server.rests();
    let mut left = clients.len();
    while left > 0 {
        let (data, fds) = receive_by_hand(&link);
        assert_eq!(data, [0]);
        left -= fds.len();
    }
    server.end_with(ENDINGS[1]);
    assert!(server.complaints().is_empty());
}

#[test]
fn a_full_table_delays_connections_in_bulk_and_loses_none() {
    let _in_flight = in_flight::alone();
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["echo", "served"]);
    let (server, port) = bulk_server(10, &socket);
    worker.says("Connection from the server.");
    // The worker has room for some of them, and waits until it has for all.
    worker.set_limit(DESCRIPTORS, worker.lowest_free() + 9);
    let clients = connect_at_once(&server, port, 10);
    let full = worker.complains("worker: connections are delayed: ");
    assert_eq!(full, "Too many open files");
    worker.rests();
    worker.set_limit(DESCRIPTORS, u64::MAX);
    assert_eq!(answers(clients), ["served\n"; 10]);

    // The server has, and passes as many as it can take.
    server.set_limit(DESCRIPTORS, server.lowest_free() + 4);
    let clients = connect_at_once(&server, port, 10);
    assert_eq!(answers(clients), ["served\n"; 10]);
    assert_eq!(server.says_times("4 connections transferred", 2), " to the worker process.");
    server.end_with(ENDINGS[1]);
    worker.end_with(ENDINGS[1]);
    assert_eq!(worker.complaints().len(), 1, "said once");
    assert!(server.complaints().is_empty());
}

#[test]
fn a_limit_of_processes_delays_connections_in_bulk_and_loses_none() {
    let dir = TempDir::for_all();
    let socket = dir.path().join("socket");
    let mut command = unprivileged("worker", &dir);
    let Ok(worker) = Program::try_start(command.arg(&socket).args(["echo", "served"])) else {
        return common::missing("a user without privileges");
    };
    worker.says("Listening for descriptors on ");
    let (server, port) = bulk_server(10, &socket);
    worker.set_limit(PROCESSES, 0);
    let clients = connect_at_once(&server, port, 15);
    assert_eq!(worker.complains("worker: fork: "), "Resource temporarily unavailable");
    worker.rests();
    worker.set_limit(PROCESSES, u64::MAX);
    assert_eq!(answers(clients), ["served\n"; 15]);
    worker.end_with(ENDINGS[1]);
    assert_eq!(worker.complaints().len(), 1, "said once");
}

#[test]
fn the_worker_takes_one_and_several_from_other_programs() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let worker = worker(Link::Shared, &socket, &["echo", "served"]);
    let before = worker.descriptors();
    let link = UnixStream::connect(&socket).unwrap();
    for count in [1, 4, 1, 2] {
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| UnixStream::pair().map(|(a, b)| (with_deadline(a), b)).unwrap())
            .unzip();
        let fds: Vec<RawFd> = theirs.iter().map(|stream| stream.as_raw_fd()).collect();
        send_by_hand(&link, b"!", &fds).unwrap();
        drop(theirs);
        for mut stream in ours {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "served\n");
        }
    }
    drop(link);
    worker.says("Closed connection to server.");
    until("no descriptor more than before", || (worker.descriptors() == before).then_some(()));
    assert!(worker.err.lock().unwrap().0.is_empty());
}

/// A server that has a link, and this process, which has some to the same worker.
fn share_a_worker(socket: &Path, command: &[&str]) -> (Program, Program, u16, Vec<UnixStream>) {
    let worker = worker(Link::Shared, socket, command);
    let (server, port) = server(Link::Shared, "127.0.0.1", socket);
    let links: Vec<_> = (0..3).map(|_| UnixStream::connect(socket).unwrap()).collect();
    worker.says_times("Connection from the server.", 1 + links.len());
    (worker, server, port, links)
}

#[test]
fn servers_take_turns_whatever_they_have() {
    let dir = TempDir::new();
    let (worker, server, port, links) =
        share_a_worker(&dir.path().join("socket"), &["sh", "-c", "echo $$"]);
    // The identifiers of processes say in which order they were started.
    let wrap: i32 = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap().trim().parse().unwrap();
    let turn = |answer: &str| {
        let pid: i32 = answer.trim().parse().expect("a number");
        (pid - worker.pid()).rem_euclid(wrap)
    };
    // So this process is the next, when both have something.
    ask(local(port), "");
    let (ours, theirs) = UnixStream::pair().unwrap();
    worker.stop();
    for link in &links {
        send_by_hand(link, b"\0", &[theirs.as_raw_fd()]).unwrap();
        send_by_hand(link, b"\0", &[theirs.as_raw_fd(); MOST_FDS]).unwrap();
    }
    drop(theirs);
    let before = worker.descriptors();
    let mut other = connect(local(port));
    server.says_times("Connection transferred to the worker process.", 2);
    worker.signal(libc::SIGCONT);
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    let held = worker.descriptors().saturating_sub(before);
    assert!(held <= MOST_FDS + 1, "{held}");
    let mut answers = String::new();
    with_deadline(ours).read_to_string(&mut answers).unwrap();
    assert_eq!(answers.lines().count(), links.len() * (1 + MOST_FDS));
    let earlier = answers.lines().filter(|line| turn(line) < turn(&answer)).count();
    assert_eq!(earlier, 1);
    worker.end_with(ENDINGS[1]);
    assert!(worker.complaints().is_empty());
}

#[test]
fn a_process_with_many_links_takes_no_place_from_another() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    // Of all links that of the server is the oldest.
    let (worker, _server, port, mut links) = share_a_worker(&socket, &["echo", "served"]);
    links.resize_with(63 + 2, || UnixStream::connect(&socket).unwrap());
    worker.complains_times("worker: too many servers: ", 2);
    worker.says_times("Closed connection to server.", 2);
    for (number, link) in links.into_iter().map(with_deadline).enumerate() {
        link.set_nonblocking(number >= 2).unwrap();
        let is_open = (&link).read(&mut [0]).is_err();
        assert_eq!(is_open, number >= 2, "link {number}");
    }
    assert_eq!(ask(local(port), ""), "served\n");
}

#[test]
fn a_message_for_which_there_is_no_room_delays_no_other_peer() {
    let dir = TempDir::new();
    let (worker, _server, port, links) =
        share_a_worker(&dir.path().join("socket"), &["echo", "served"]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    worker.set_limit(DESCRIPTORS, worker.lowest_free() + 9);
    send_by_hand(&links[0], b"\0", &[theirs.as_raw_fd(); 10]).unwrap();
    drop(theirs);
    worker.complains("worker: connections are delayed: ");
    for _ in 0..10 {
        assert_eq!(ask(local(port), ""), "served\n");
    }
    worker.rests();
    worker.set_limit(DESCRIPTORS, u64::MAX);
    let mut answers = String::new();
    with_deadline(ours).read_to_string(&mut answers).unwrap();
    assert_eq!(answers, "served\n".repeat(10));
    worker.end_with(ENDINGS[1]);
    assert_eq!(worker.complaints().len(), 1, "said once");
}
