// SPDX-License-Identifier: MIT OR Apache-2.0

//! Passes files between processes, as ../README.md says.

// What is not used here is for others.
#[allow(dead_code)]
mod ancillary;

use ancillary::{Channel, Creds, MORE, PLAIN};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, ErrorKind, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{self, ExitCode};

const USAGE: &str = "\
Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
       pass tell SOCKET N [PAYLOAD]
       pass hear SOCKET MAX [TIMES]";

const PAYLOAD_ROOM: usize = 65536;

/// Tells why something has failed, and returns whether all of it went well.
fn attempt(command: &str, result: io::Result<bool>) -> bool {
    result.unwrap_or_else(|error| {
        let text = error.to_string();
        // Behind strerror(3) comes the number.
        eprintln!("{command}: {}", text.split(" (os error").next().unwrap_or_default());
        false
    })
}

fn closed() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "The peer has closed")
}

/// Writes a line of bytes, whatever they are.
fn say(line: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)?;
    out.write_all(b"\n")
}

/// Makes a temporary file without a name, which is at its beginning.
fn unnamed(content: &str) -> io::Result<File> {
    let name = env::temp_dir().join(format!("pass-{}", process::id()));
    let mut options = OpenOptions::new();
    let mut file = options.read(true).write(true).create_new(true).mode(0o600).open(&name)?;
    fs::remove_file(name)?;
    file.write_all(content.as_bytes())?;
    // The receiver shares the position.
    file.rewind()?;
    Ok(file)
}

fn make_files(count: usize) -> io::Result<Vec<File>> {
    let content = |i| format!("file {i} of {count}, made by {}\n", process::id());
    (1..=count).map(|i| unnamed(&content(i))).collect()
}

/// Sends, and closes the files and the socket.
fn send_and_close(sock: UnixStream, count: usize, payload: &[u8]) -> io::Result<usize> {
    if count == 0 {
        return ancillary::send_creds(&sock, payload, 0);
    }
    let files = make_files(count)?;
    let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    ancillary::send(&sock, &borrowed, payload, 0)
}

fn send_one(sock: UnixStream, count: usize, payload: &[u8]) -> io::Result<bool> {
    let sent = send_and_close(sock, count, payload)?;
    say(format!("sent {count} descriptors, {sent} bytes").as_bytes())?;
    Ok(true)
}

/// Sends each line of standard input on a connection of its own.
fn send_lines(path: &Path, count: usize) -> io::Result<bool> {
    let mut fine = true;
    loop {
        let sock = ancillary::connect(path, 0)?;
        let mut line = Vec::new();
        if io::stdin().lock().read_until(b'\n', &mut line)? == 0 {
            return Ok(fine);
        }
        let payload = line.strip_suffix(b"\n").unwrap_or(&line);
        fine &= attempt("send", send_one(sock, count, payload));
    }
}

fn tell(sock: UnixStream, count: usize, payload: &[u8]) -> io::Result<bool> {
    let number = process::id();
    let mut channel = Channel::new(sock, PAYLOAD_ROOM, count, PLAIN, 0);
    let mut files = make_files(count)?.into_iter().map(Into::into).collect();
    channel.send(1, number, payload, &[], MORE)?;
    channel.send_owned(2, number, payload, &mut files, MORE)?;
    channel.send(3, number, b"", &[], MORE)?;
    channel.flush(0)?;
    drop(channel);
    say(format!("sent {count} descriptors, {} bytes", payload.len()).as_bytes())?;
    Ok(true)
}

fn hear(sock: UnixStream, room: usize) -> io::Result<()> {
    let mut channel = Channel::new(sock, PAYLOAD_ROOM, room, PLAIN, 0);
    while let Some(message) = channel.receive(0)? {
        let (count, length) = (message.files.len(), message.data.len());
        let (kind, id) = (message.kind, message.id);
        say(format!("message {kind} from {id}: {count} descriptors, {length} bytes").as_bytes())?;
        say(&[b"payload: ", &message.data[..]].concat())?;
        print_all(message.files)?;
    }
    Ok(())
}

fn print_all(files: Vec<OwnedFd>) -> io::Result<()> {
    files
        .into_iter()
        .try_for_each(|file| io::copy(&mut File::from(file), &mut io::stdout()).map(drop))
}

fn receive_files(sock: UnixStream, room: usize) -> io::Result<()> {
    let mut payload = vec![0; PAYLOAD_ROOM];
    let (length, files) = ancillary::receive(&sock, room, &mut payload, ancillary::WAITALL)?;
    if length == 0 {
        return Err(closed());
    }
    say(format!("received {} descriptors, {length} bytes", files.len()).as_bytes())?;
    say(&[b"payload: ", &payload[..length]].concat())?;
    print_all(files)
}

fn receive_creds(sock: UnixStream) -> io::Result<()> {
    ancillary::pass_creds(&sock)?;
    let mut payload = vec![0; PAYLOAD_ROOM];
    let (length, sender) = ancillary::receive_creds(&sock, &mut payload, 0)?;
    if length == 0 {
        return Err(closed());
    }
    say(format!("{}, {length} bytes", identity(sender)).as_bytes())?;
    say(&[b"payload: ", &payload[..length]].concat())
}

fn identity(Creds { pid, uid, gid }: Creds) -> String {
    format!("pid {pid} uid {uid} gid {gid}")
}

/// Has each connection served, and closed.
fn serve(
    command: &str,
    path: &Path,
    times: usize,
    receive: impl Fn(UnixStream) -> io::Result<()>,
) -> io::Result<bool> {
    let listener = ancillary::listen(path, 0o600, ancillary::REPLACE)?;
    let mut fine = true;
    let served = (0..times).try_for_each(|_| {
        let (sock, _) = listener.accept()?;
        say(b"accepted")?;
        fine &= attempt(command, receive(sock).map(|()| true));
        say(b"done")
    });
    fs::remove_file(path)?;
    served.map(|()| fine)
}

fn peer(path: &Path) -> io::Result<bool> {
    let other = ancillary::peer(&ancillary::connect(path, 0)?)?;
    say(identity(other).as_bytes()).map(|()| true)
}

fn number(text: &OsStr) -> Option<usize> {
    let text = text.to_str()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Does what the arguments ask for, if they are right.
fn run(arguments: &[&OsStr]) -> Option<io::Result<bool>> {
    let [command, path, rest @ ..] = arguments else { return None };
    let path = Path::new(path);
    let one = OsStr::new("1");
    Some(match (command.to_str()?, rest) {
        ("send", [count, payload]) if *payload == "-" => send_lines(path, number(count)?),
        (command @ ("send" | "tell"), [count, payload @ ..]) if payload.len() <= 1 => {
            let (count, payload) = (number(count)?, payload.first().map(|p| p.as_bytes()));
            let send = if command == "send" { send_one } else { tell };
            ancillary::connect(path, 0)
                .and_then(|sock| send(sock, count, payload.unwrap_or_default()))
        }
        (command @ ("recv" | "hear"), [room, times @ ..]) if times.len() <= 1 => {
            let (room, times) = (number(room)?, number(times.first().unwrap_or(&one))?);
            let receive = if command == "recv" { receive_files } else { hear };
            serve(command, path, times, |sock| receive(sock, room))
        }
        ("creds", times) if times.len() <= 1 => {
            serve("creds", path, number(times.first().unwrap_or(&one))?, receive_creds)
        }
        ("peer", []) => peer(path),
        _ => return None,
    })
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let Some(result) = run(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match attempt(&arguments[0].to_string_lossy(), result) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
