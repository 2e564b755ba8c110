//! `echo_server` and `echo_client`: a conversation over a Unix socket.

use crate::common::program::{
    descriptors, example, make_nonblocking, rests, send_until_full, small_pipe, until,
    with_deadline, with_limit, End, Program, ENDINGS,
};
use crate::common::{self, Link, TempDir};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

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
    let sent = send_until_full(&greedy, &[b'g'; 100], 10 << 20);
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

#[test]
fn the_echo_client_waits_for_who_reads_what_it_says() {
    let server = EchoServer::start(Link::Shared, true);
    let (mut read, mut write) = small_pipe();
    write.write_all(&[b'\n'; 4096]).unwrap();
    make_nonblocking(&write);
    let client = Program::start_writing_to(&mut server.client(Link::Shared), write);
    client.rests();
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    assert_eq!(said.trim_start().lines().count(), 8, "{said}");
    assert_eq!(client.end(), End::Exited(0));
}
