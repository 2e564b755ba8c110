//! Conversations with programs that pass descriptors by what their languages have for it, without the
//! library or with its control data alone: `tests/peers`. The other side is `tests/c/peers.c`.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{cases, compiler, leave_cargo, missing, pass, run_ok, shipped, source, works};
use common::{Link, TempDir};
use std::path::{Path, PathBuf};
use std::process::Command;

/// For those that pass one descriptor with a byte of their own.
const ONE_AT_A_TIME: &[&str] =
    &["each_is_answered", "several_may_queue", "answers_outlive_the_peer"];
const ALL: &[&str] = &[];

fn file(name: &str) -> PathBuf {
    source().join("tests/peers").join(name)
}

fn talk_with(peer: &Path, script: Option<&Path>, which: &[&str]) {
    let dir = TempDir::new();
    let mut command = Command::new(cases("peers", Link::Shared, &[], &[]));
    command.args(which).env("PEER", peer).env_remove("PEER_SCRIPT").env("TMPDIR", dir.path());
    // For those that use it.
    command.env("LD_LIBRARY_PATH", &shipped().dir);
    if let Some(script) = script {
        command.env("PEER_SCRIPT", script);
    }
    pass(&mut command);
}

/// Talks with a script, if its interpreter has what it needs.
fn interpreted(interpreter: &str, probe: &[&str], name: &str, script: &str, which: &[&str]) {
    match works(Command::new(interpreter).args(probe)) {
        true => talk_with(interpreter.as_ref(), Some(&file(script)), which),
        false => missing(name),
    }
}

#[test]
fn c_by_hand() {
    let dir = TempDir::new();
    let program = dir.path().join("hand");
    let options = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    run_ok(compiler().args(options).arg(file("hand.c")).arg("-o").arg(&program));
    talk_with(&program, None, ALL);
}

/// Talks with a program in Go, which is built in this environment.
fn go(name: &str, variables: &[(&str, &str)]) {
    if !works(Command::new("go").arg("version")) {
        return missing("Go");
    }
    let dir = TempDir::new();
    let program = dir.path().join("go");
    let mut go = Command::new("go");
    leave_cargo(&mut go);
    // It takes no other version of itself and no folder of the user's.
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOCACHE", dir.path().join("cache"));
    go.envs(variables.iter().copied());
    run_ok(go.arg("build").arg("-o").arg(&program).arg(file(name)));
    talk_with(&program, None, ALL);
}

#[test]
fn go_unix_rights() {
    // Without a C compiler.
    go("go.go", &[("CGO_ENABLED", "0")]);
}

#[test]
fn go_with_our_control_data() {
    let (include, dir) = (shipped().include.display(), shipped().dir.display());
    let (cflags, ldflags) = (format!("-I{include}"), format!("-L{dir} -lancillary"));
    go("control.go", &[("CGO_ENABLED", "1"), ("CGO_CFLAGS", &cflags), ("CGO_LDFLAGS", &ldflags)]);
}

#[test]
fn perl_io_fdpass() {
    interpreted("perl", &["-MIO::FDPass", "-e1"], "Perl's IO::FDPass", "fdpass.pl", ONE_AT_A_TIME);
}

#[test]
fn perl_socket_msghdr() {
    interpreted("perl", &["-MSocket::MsgHdr", "-e1"], "Perl's Socket::MsgHdr", "msghdr.pl", ALL);
}

#[test]
fn python_send_fds() {
    let probe = ["-c", "from socket import send_fds"];
    interpreted("python3", &probe, "Python 3.9", "python.py", ALL);
}

#[test]
fn python_with_our_control_data() {
    interpreted("python3", &["-c", "import ctypes"], "Python's ctypes", "control.py", ALL);
}

#[test]
fn ruby_send_io() {
    interpreted("ruby", &["-rsocket", "-e1"], "Ruby", "ruby.rb", ONE_AT_A_TIME);
}
