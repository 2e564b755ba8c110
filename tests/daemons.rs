//! Conversations with running daemons, by C programs that have nothing but the library for it:
//! `tests/c/daemons`.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::program::{until, user, Program};
use common::{missing, pass, works, Link, TempDir};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The cases of a program, which finds a daemon at the socket of this name.
fn cases(name: &str, socket: &Path) -> Command {
    let program = common::cases(&format!("daemons/{name}"), Link::Shared, &[], &["place.c"]);
    let mut command = Command::new(program);
    command.env("SOCKET", socket).env("TMPDIR", socket.parent().expect("a folder"));
    command
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
    pass(&mut cases("bus", &socket));
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
    pass(&mut cases("fdholder", &socket));
    holds_nothing(&daemon);
}

#[test]
fn systemd_notify() {
    if !works(Command::new("systemd-notify").arg("--version")) {
        return missing("systemd-notify");
    }
    let dir = TempDir::new();
    pass(&mut cases("notify", &dir.path().join("socket")));
}
