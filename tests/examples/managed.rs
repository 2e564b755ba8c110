//! `restart` under those who manage services: as process 1, under supervisors, and with a manager
//! that wants to be told.

use super::restart::{ask, some_more, under_load, Restart, Way};
use crate::common::program::{
    group, install, processes, receive_message, signal, until, End, Process, Program, DEADLINE,
    ENDINGS,
};
use crate::common::{self, works, Link, TempDir};
use std::fs;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

/// The command that starts a program as process 1, if it can be done here.
fn as_process_1() -> Option<Command> {
    for options in [&["-p", "-f", "--mount-proc"][..], &["-U", "-r", "-p", "-f", "--mount-proc"]] {
        if works(Command::new("unshare").args(options).arg("true")) {
            let mut command = Command::new("unshare");
            command.args(options);
            return Some(command);
        }
    }
    common::missing("the right to make a pid namespace");
    None
}

// ---- In place ----------------------------------------------------------------------------------

#[test]
fn process_1_restarts_in_place() {
    if as_process_1().is_none() {
        return;
    }
    let server = Restart::start_as(Way::InPlace, Link::Shared, 2, |path| {
        let mut command = as_process_1().expect("it could be done before");
        command.arg(path);
        command
    });
    assert!(server.program.says("Process ").starts_with("1 listens on "));
    let (first, _) = server.now();
    assert_ne!(first, server.program.pid());
    let count = under_load(&server.ports, |asked| {
        for _ in 0..10 {
            some_more(asked);
            server.restart();
        }
        some_more(asked);
    });
    signal(first, libc::SIGTERM);
    assert_eq!(server.program.end(), End::Exited(0));
    let lines = server.program.all_lines();
    assert_eq!(
        lines[lines.len() - 2..],
        [format!("{count} requests served."), ENDINGS[1].1.into()]
    );
    assert!(server.program.complaints().is_empty(), "{:?}", server.program.complaints());
    server.program.leaves_nothing();
}

#[test]
fn process_1_goes_on_when_a_new_copy_fails_and_reaps_orphans() {
    if as_process_1().is_none() {
        return;
    }
    let server = Restart::start_as(Way::InPlace, Link::Static, 1, |path| {
        let mut command = as_process_1().expect("it could be done before");
        command.args(["sh", "-c", "sleep 0.3 & exec \"$@\"", "sh"]).arg(path);
        command
    });
    let stream = server.connect();
    server.replace("#!/bin/sh\n(sleep 0.2; exit) &\nexit 1\n");
    for times in 1..=2 {
        assert_eq!(server.fails_to_restart(times), "it ended early");
        assert_eq!(ask(&stream, "hello"), times as u64);
    }
    let (first, _) = server.now();
    until("no child of process 1, dead or alive", || {
        processes().iter().all(|process| process.parent != first).then_some(())
    });
    server.original(Link::Static);
    fs::rename(server.dir.path().join("original"), server.path()).unwrap();
    server.restart();
    assert_eq!(ask(&stream, "hello"), 3);
}

/// A process that a supervisor has put into a session of its own, to be killed with the test.
struct Supervised(i32);

impl Drop for Supervised {
    fn drop(&mut self) {
        // SAFETY: no memory is involved. It may have ended, and its number hardly be another's yet.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

/// Children of a process that are not about to end.
fn children(parent: i32) -> Vec<i32> {
    let are = |process: &Process| process.parent == parent && process.state != 'Z';
    processes().into_iter().filter(are).map(|process| process.pid).collect()
}

#[test]
fn a_supervisor_keeps_the_one_process_that_it_has_started() {
    if which("s6-supervise").is_none() {
        return common::missing("s6-supervise");
    }
    let dir = TempDir::new();
    let service = dir.path().join("service");
    fs::create_dir(&service).unwrap();
    let server = Restart::start_as(Way::InPlace, Link::Shared, 1, |path| {
        let run = dir.path().join("run");
        fs::write(&run, format!("#!/bin/sh\nexec {} 0\n", path.display())).unwrap();
        install(&run, &service.join("run"));
        let mut command = Command::new("sh");
        // The arguments of the program are in the script.
        command.args(["-c", "exec s6-supervise \"$0\""]).arg(&service);
        command
    });
    let control = |option: &str| {
        common::run_ok(Command::new("s6-svc").arg(option).arg(&service));
    };
    let (first, _) = server.now();
    let supervised = Supervised(first);
    let count = under_load(&server.ports, |asked| {
        for times in 1..=5 {
            some_more(asked);
            control("-h");
            let goes_on = format!("Process {first} goes on in a new copy: ");
            server.program.says_times(&goes_on, times);
            assert_eq!(children(server.program.pid()), [first]);
        }
        some_more(asked);
    });
    // Down, and then the supervisor itself.
    control("-dx");
    server.program.says(&format!("{count} requests served."));
    assert_eq!(server.program.end(), End::Exited(0));
    mem::forget(supervised);
    assert!(server.program.complaints().is_empty(), "{:?}", server.program.complaints());
}

fn which(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.exists())
}

/// What starts a server and says when that has ended, in a file of that name, with a word in the
/// environment.
fn waited_for(name: &str, variable: &str) -> impl Fn(&Path) -> Command {
    let name = name.to_owned();
    let script = format!("#!/bin/sh\n{variable} \"$@\" &\nwait $!\necho It has ended.\n");
    move |path| {
        let folder = path.parent().unwrap();
        fs::write(folder.join("text"), &script).unwrap();
        install(&folder.join("text"), &folder.join(&name));
        let mut command = Command::new(folder.join(&name));
        command.arg(path).env_remove("NOTIFY_SOCKET").env_remove("SYSTEMD_EXEC_PID");
        command
    }
}

#[test]
fn who_is_waited_for_keeps_its_number() {
    let executed = "sh -c 'SYSTEMD_EXEC_PID=$$ exec \"$@\"' -";
    for (name, variable, way) in [
        ("runsv", "", Way::InPlace),
        ("supervise", "", Way::InPlace),
        // That of a service around it.
        ("runsv", "env NOTIFY_SOCKET=/nowhere", Way::InPlace),
        ("other", executed, Way::InPlace),
        ("other", "env SYSTEMD_EXEC_PID=1", Way::Child),
        ("other", "", Way::Child),
    ] {
        let server = Restart::start_as(way, Link::Static, 1, waited_for(name, variable));
        let stream = server.connect();
        assert_eq!(ask(&stream, "before"), 1);
        server.restart();
        assert_eq!(ask(&stream, "after"), 2, "{name} {variable}");
        if way == Way::Child {
            server.program.says("It has ended.");
            assert_eq!(server.program.end(), End::Exited(0));
        } else {
            assert_eq!(group(server.program.pid()).len(), 2, "{name} {variable}");
            signal(server.now().0, libc::SIGTERM);
            assert_eq!(server.program.all_lines().last().unwrap(), "It has ended.");
        }
    }
}

// ---- Somebody is told ----------------------------------------------------------------------------

/// A manager of services, which listens for what they say of themselves: sd_notify(3).
struct Manager {
    socket: UnixDatagram,
    name: String,
    _dir: TempDir,
}

/// One message, and the process that sent it.
#[derive(Debug)]
struct Notice {
    text: String,
    pid: i32,
    fd: Option<OwnedFd>,
}

impl Manager {
    fn new(is_abstract: bool) -> Manager {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let (socket, name) = if is_abstract {
            let address = SocketAddr::from_abstract_name(path.to_str().unwrap()).unwrap();
            (UnixDatagram::bind_addr(&address), format!("@{}", path.display()))
        } else {
            (UnixDatagram::bind(&path), path.display().to_string())
        };
        let socket = socket.expect("a socket");
        let on = 1i32;
        // SAFETY: the option is a number, which is there to be read.
        let result = unsafe {
            let option = (&raw const on).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, option, 4)
        };
        assert_eq!(result, 0);
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Manager { socket, name, _dir: dir }
    }

    /// Takes the next message.
    fn hears(&self) -> Notice {
        let mut data = [0u8; 4096];
        let mut control = [0u64; 32];
        // SAFETY: the structure is a plain one, for which all zeros are a value; what it refers to
        // lives longer than it; the kernel says in headers what it has filled in, in which the
        // macros find their way, and a descriptor in it is ours.
        unsafe {
            let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
            let mut message: libc::msghdr = mem::zeroed();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = mem::size_of_val(&control) as _;
            let len = receive_message(self.socket.as_raw_fd(), &mut message);
            let text = String::from_utf8(data[..len].to_vec()).expect("text");
            let (mut pid, mut fd) = (0, None);
            let mut header = libc::CMSG_FIRSTHDR(&message);
            while !header.is_null() {
                let content = libc::CMSG_DATA(header);
                match (*header).cmsg_type {
                    libc::SCM_CREDENTIALS => {
                        pid = content.cast::<libc::ucred>().read_unaligned().pid;
                    }
                    libc::SCM_RIGHTS => {
                        let one = content.cast::<i32>().read_unaligned();
                        fd = Some(OwnedFd::from_raw_fd(one));
                    }
                    other => panic!("a control message of type {other}"),
                }
                header = libc::CMSG_NXTHDR(&message, header);
            }
            Notice { text, pid, fd }
        }
    }

    /// Takes the next message, which is to be that of a process.
    fn hears_from(&self, pid: i32, text: &str) {
        let notice = self.hears();
        assert_eq!((notice.text.as_str(), notice.pid), (text, pid));
        assert!(notice.fd.is_none());
    }

    /// Takes the next message, which is to say that a process reloads, since then.
    fn hears_of_reload(&self, pid: i32, since: u64) {
        let notice = self.hears();
        let time = notice.text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
        let time: u64 = time.parse().expect("a number alone");
        assert!((since..=microseconds()).contains(&time), "{since} {time}");
        assert_eq!(notice.pid, pid);
    }
}

/// On the clock that the protocol names.
fn microseconds() -> u64 {
    // SAFETY: the structure is a plain one, for which all zeros are a value, and there to be
    // written to.
    let time = unsafe {
        let mut time: libc::timespec = mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time), 0);
        time
    };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// The protocol, as the program that comes with systemd speaks it.
#[test]
fn the_manager_understands_systemd_notify() {
    if which("systemd-notify").is_none() {
        return common::missing("systemd-notify");
    }
    for is_abstract in [false, true] {
        let manager = Manager::new(is_abstract);
        let pid = std::process::id();
        let mut command = Command::new("systemd-notify");
        command.args(["--ready", &format!("--pid={pid}")]).env("NOTIFY_SOCKET", &manager.name);
        let program = Program::start(&mut command);
        let notice = manager.hears();
        let mut lines: Vec<_> = notice.text.lines().collect();
        lines.sort();
        assert_eq!(lines, [&format!("MAINPID={pid}"), "READY=1"]);
        // It waits until the manager has closed what came with this.
        let barrier = manager.hears();
        assert_eq!(barrier.text, "BARRIER=1");
        drop(barrier.fd.expect("a descriptor"));
        assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
    }
}

#[test]
fn a_manager_is_told_and_follows_the_service_to_another_process() {
    for is_abstract in [false, true] {
        let manager = Manager::new(is_abstract);
        let server = Restart::start_as(Way::Child, Link::Shared, 1, |path| {
            let mut command = Command::new("sh");
            // As one that systemd has started.
            command.args(["-c", "SYSTEMD_EXEC_PID=$$ exec \"$@\"", "-"]).arg(path);
            command.env("NOTIFY_SOCKET", &manager.name);
            command
        });
        let (mut main, _) = server.now();
        manager.hears_from(main, "READY=1");
        for _ in 0..3 {
            let asked = microseconds();
            server.restart();
            let (new, _) = server.now();
            manager.hears_of_reload(main, asked);
            // Who was the main process says it, while that is still believed.
            manager.hears_from(main, &format!("MAINPID={new}"));
            manager.hears_from(new, "READY=1");
            main = new;
        }
        let asked = microseconds();
        let original = server.original(Link::Shared);
        server.replace("#!/bin/sh\nexit 1\n");
        assert_eq!(server.fails_to_restart(1), "it ended early");
        manager.hears_of_reload(main, asked);
        manager.hears_from(main, "READY=1");
        fs::rename(original, server.path()).unwrap();
        server.end(ENDINGS[1], 0);
        manager.hears_from(main, "STOPPING=1");
        let complaints = server.program.complaints();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
    }
}

#[test]
fn a_manager_is_told_of_a_restart_in_place() {
    let manager = Manager::new(false);
    let server = Restart::start_as(Way::InPlace, Link::Static, 1, |path| {
        let mut command = Command::new(path);
        command.arg("-i").env("NOTIFY_SOCKET", &manager.name);
        command
    });
    let (main, _) = server.now();
    manager.hears_from(main, "READY=1");
    for _ in 0..3 {
        let asked = microseconds();
        server.restart();
        manager.hears_of_reload(main, asked);
        manager.hears_from(main, "READY=1");
    }
    server.end(ENDINGS[0], 0);
    manager.hears_from(main, "STOPPING=1");
}

#[test]
fn a_manager_that_does_not_listen_is_no_trouble() {
    let dir = TempDir::new();
    let missing = dir.path().join("missing").display().to_string();
    let full = Manager::new(false);
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"STATUS=full", &full.name).is_ok() {}
    for (name, why) in
        [(&missing, "No such file or directory"), (&full.name, "Resource temporarily unavailable")]
    {
        let server = Restart::start_as(Way::Child, Link::Static, 1, |path| {
            let mut command = Command::new(path);
            command.env("NOTIFY_SOCKET", name);
            command
        });
        let stream = server.connect();
        assert_eq!(ask(&stream, "before"), 1);
        server.restart();
        assert_eq!(ask(&stream, "after"), 2);
        server.end(ENDINGS[1], 2);
        for line in server.program.complaints() {
            assert_eq!(line, format!("restart: {name}: {why}"));
        }
    }
}
