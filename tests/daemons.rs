//! Conversations with running daemons, by C programs that have nothing but the library for it:
//! `tests/c/daemons`. Those that talk over a channel show formats of a caller's own.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::program::{is_root, until, user, End, Program};
use common::{missing, pass, run_ok, works, Link, TempDir};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The cases of a program, made of more files, which finds a daemon at the socket of this name.
fn cases(name: &str, more: &[&str], socket: &Path) -> Command {
    let program = common::cases(&format!("daemons/{name}"), Link::Shared, &[], more);
    let mut command = Command::new(program);
    command.env("SOCKET", socket).env("TMPDIR", socket.parent().expect("a folder"));
    command
}

/// Those of one that talks over a channel.
fn channel_cases(name: &str, more: &[&str], socket: &Path) -> Command {
    cases(&format!("channel_{name}"), &[&["daemons/talk.c"], more].concat(), socket)
}

/// Whether somebody listens at a socket file, as the kernel tells it.
fn listens(socket: &Path) -> bool {
    const LISTENING: &str = "00010000";
    let list = fs::read_to_string("/proc/net/unix").expect("a list of sockets");
    list.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(3) == Some(&LISTENING) && fields.last() == Some(&&*socket.to_string_lossy())
    })
}

/// Checks that a daemon has closed all it was sent: the files of `tests/c/kit.c`.
fn holds_nothing(daemon: &Program) {
    let fds = format!("/proc/{}/fd", daemon.pid());
    until("it has closed all", || {
        let mut open =
            fs::read_dir(&fds).unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        open.all(|file| !file.starts_with("/memfd:file (deleted)")).then_some(())
    });
}

/// What `tests/c/daemons/bus.c` counts on.
fn bus_configuration(socket: &Path) -> String {
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
  <limit name="max_message_unix_fds">16</limit>
</busconfig>
"#,
        socket.display()
    )
}

#[test]
fn dbus_daemon() {
    let dir = TempDir::new();
    let (socket, configuration) = (dir.path().join("socket"), dir.path().join("configuration"));
    fs::write(&configuration, bus_configuration(&socket)).unwrap();
    let mut command = Command::new("dbus-daemon");
    command.arg("--config-file").arg(&configuration).args(["--nofork", "--print-address=1"]);
    let Ok(daemon) = Program::try_start(&mut command) else {
        return missing("dbus-daemon");
    };
    daemon.says("unix:path=");
    const MORE: [&str; 1] = ["daemons/bus_message.c"];
    pass(&mut cases("bus", &MORE, &socket));
    pass(&mut channel_cases("bus", &MORE, &socket));
    holds_nothing(&daemon);
}

#[test]
fn s6_fdholderd() {
    let dir = TempDir::new();
    let (socket, rules) = (dir.path().join("socket"), dir.path().join("rules"));
    let own = rules.join(format!("uid/{}", user()));
    let rights = own.join("env");
    fs::create_dir_all(&rights).unwrap();
    fs::write(own.join("allow"), "").unwrap();
    fs::write(rights.join("S6_FDHOLDER_LIST"), "\n").unwrap();
    for right in ["STORE", "RETRIEVE"] {
        fs::write(rights.join(format!("S6_FDHOLDER_{right}_REGEX")), "^kept/\n").unwrap();
    }
    let mut command = Command::new("s6-fdholder-daemon");
    let Ok(daemon) = Program::try_start(command.arg("-1").arg("-i").arg(&rules).arg(&socket))
    else {
        return missing("s6-fdholderd");
    };
    // An empty line tells that it is ready.
    daemon.says("");
    const MORE: [&str; 1] = ["daemons/fdholder_message.c"];
    pass(&mut cases("fdholder", &MORE, &socket));
    pass(&mut channel_cases("fdholder", &MORE, &socket));
    holds_nothing(&daemon);
}

/// Starts a Wayland compositor that draws to nowhere, or on an X server.
fn start_weston(backend: &str, display: Option<&str>, socket: &Path) -> Program {
    let folder = socket.parent().expect("a folder");
    fs::set_permissions(folder, Permissions::from_mode(0o700)).expect("a folder of our own");
    let mut command = Command::new("weston");
    command.arg(format!("--backend={backend}-backend.so"));
    command
        .args(["--no-config", "--idle-time=0", "--socket"])
        .arg(socket.file_name().expect("a name"));
    command.env("XDG_RUNTIME_DIR", folder).env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY");
    if let Some(display) = display {
        command.args(["--use-pixman", "--shell=kiosk-shell.so"]).env("DISPLAY", display);
    }
    let compositor = Program::start(&mut command);
    until("weston listens", || listens(socket).then_some(()));
    compositor
}

#[test]
fn weston_without_a_screen() {
    if !works(Command::new("weston").arg("--version")) {
        return missing("weston");
    }
    let dir = TempDir::new();
    let socket = dir.path().join("wayland");
    let compositor = start_weston("headless", None, &socket);
    const CASES: [&str; 2] = ["memory_is_shared", "what_cannot_be_shared_is_an_error"];
    pass(channel_cases("wayland", &[], &socket).args(CASES));
    holds_nothing(&compositor);
}

#[test]
fn weston_with_a_keyboard() {
    if !works(Command::new("weston").arg("--version")) {
        return missing("weston");
    }
    let mut command = Command::new("Xvfb");
    let Ok(screen) = Program::try_start(command.args(["-displayfd", "1", "-nolisten", "tcp"]))
    else {
        return missing("Xvfb");
    };
    // A line with the number that it has chosen.
    let display = format!(":{}", screen.says(""));
    let dir = TempDir::new();
    let socket = dir.path().join("wayland");
    let compositor = start_weston("x11", Some(&display), &socket);
    pass(channel_cases("wayland", &[], &socket).arg("a_keymap_comes_with_a_descriptor"));
    drop(compositor);
    // So that it removes what it has made in /tmp.
    screen.signal(libc::SIGTERM);
    assert_eq!(screen.end(), End::Exited(0));
}

#[test]
fn qemu_storage_daemon() {
    let dir = TempDir::new();
    let (socket, disk) = (dir.path().join("socket"), dir.path().join("disk"));
    // What `tests/c/daemons/channel_vhost.c` counts on.
    let sectors: Vec<_> = (0..64).flat_map(|number| [number; 512]).collect();
    fs::write(&disk, sectors).unwrap();
    let mut command = Command::new("qemu-storage-daemon");
    command
        .arg("--blockdev")
        .arg(format!("driver=file,node-name=disk,read-only=on,filename={}", disk.display()));
    command.arg("--export").arg(format!(
        "type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={}",
        socket.display()
    ));
    let Ok(daemon) = Program::try_start(&mut command) else {
        return missing("qemu-storage-daemon");
    };
    until("it listens", || listens(&socket).then_some(()));
    pass(&mut channel_cases("vhost", &[], &socket));
    holds_nothing(&daemon);
}

#[test]
fn records_of_web_servers() {
    let dir = TempDir::new();
    pass(&mut channel_cases("records", &[], &dir.path().join("none")));
}

#[test]
fn systemd_notify() {
    if !works(Command::new("systemd-notify").arg("--version")) {
        return missing("systemd-notify");
    }
    let dir = TempDir::new();
    pass(&mut cases("notify", &["place.c", "users.c"], &dir.path().join("socket")));
}

/// Starts journald where it sees nothing of this machine but its number: folders of its own for
/// what it writes, and no log of the kernel.
const START_JOURNALD: &str = "
    set -e
    mount --make-rprivate /
    mount -t tmpfs none /run
    mount -t tmpfs none /var/log
    mount --bind /dev/null /dev/kmsg
    mkdir -p /run/systemd/journald.conf.d
    printf '[Journal]\\nStorage=volatile\\nReadKMsg=no\\nRateLimitIntervalSec=0\\n' \
        > /run/systemd/journald.conf.d/test.conf
    exec /lib/systemd/systemd-journald
";

#[test]
fn systemd_journald() {
    if !Path::new("/lib/systemd/systemd-journald").exists() {
        return missing("systemd-journald");
    }
    let own_mounts = |script| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]);
        command
    };
    if !is_root() || !works(&mut own_mounts("mount -t tmpfs none /var/log")) {
        return missing("root, with mounts of its own");
    }
    let daemon = Program::start(&mut own_mounts(START_JOURNALD));
    let root = format!("/proc/{}/root", daemon.pid());
    let socket = Path::new(&root).join("run/systemd/journal/socket");
    let messages = || {
        let folder = format!("{root}/run/log/journal");
        let identity = fs::read_dir(folder).ok()?.next()?.ok()?.path();
        let mut journalctl = Command::new("journalctl");
        let options = ["--quiet", "--all", "--output=cat", "--identifier=ancillary"];
        let said = run_ok(journalctl.arg("--directory").arg(identity).args(options));
        let lines: Vec<_> = said.lines().map(str::to_owned).collect();
        (lines.last()? == "the last").then_some(lines)
    };
    until("journald listens", || socket.exists().then_some(()));
    let dir = TempDir::new();
    pass(cases("journal", &["place.c", "users.c"], &socket).env("TMPDIR", dir.path()));
    let sealed = "s".repeat(1 << 20);
    let logged = until("all is in the journal", messages);
    assert!(logged == ["the first", sealed.as_str(), "the last"], "{} messages", logged.len());
    holds_nothing(&daemon);
}
