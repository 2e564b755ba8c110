//! Python, in a process of its own on the same processor, which makes its rounds when told to.

use crate::world::missing;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The program, so that no file is needed when running.
pub const PROGRAM: &str = include_str!("rounds.py");

/// Whether there is one that can send descriptors.
pub fn is_there() -> bool {
    let mut command = Command::new("python3");
    command.args(["-c", "import socket; socket.send_fds"]).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        missing("python3 (3.9 or newer)");
    }
    works
}

/// The program behind the name, which may be that of a script.
pub fn executable() -> String {
    says("import sys; print(sys.executable)")
}

pub fn says(program: &str) -> String {
    let output = Command::new("python3").args(["-c", program]).output().expect("python3");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

pub struct Python {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it on the processor of the caller.
    pub fn start(kind: i32, descriptors: usize) -> Option<Python> {
        if !is_there() {
            return None;
        }
        let mut command = Command::new("python3");
        command.args(["-c", PROGRAM]).args([kind.to_string(), descriptors.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        Some(Python { child, to, from })
    }

    pub fn rounds(&mut self, rounds: usize) -> Duration {
        writeln!(self.to.as_mut().expect("a pipe"), "{rounds}").expect("python3 reads");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("python3 answers");
        Duration::from_nanos(line.trim().parse().expect("nanoseconds"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // At the end of its input it ends.
        self.to = None;
        let _ = self.child.wait();
    }
}
