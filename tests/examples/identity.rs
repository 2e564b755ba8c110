//! `whoami` shows who connects; `opend` opens files for those it may, and `open` asks it to.

use crate::common::program::{
    can_have_older_kernel, example, example_for_all, have_older_kernel, is_root, make_nonblocking,
    plain_message, reach, receive_by_hand, send_by_hand, small_pipe, until, user, End, Program,
    DEADLINE, DESCRIPTORS, ENDINGS, NOBODY,
};
use crate::common::{self, in_flight, Link, TempDir};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Less than the five seconds for which `opend` waits for a slow client.
const AT_ONCE: Duration = Duration::from_secs(4);

/// The exit status of `open` when the server did not open the file.
const REFUSED: Option<i32> = Some(2);

// ---- What the tests are written with -------------------------------------------------------

/// A server, and the folder of its socket, which other users go through or make a socket in.
struct Server {
    program: Program,
    client: PathBuf,
    dir: TempDir,
}

impl Server {
    fn start(
        change: impl FnOnce(&mut Command),
        [name, client]: [&str; 2],
        before: &[&str],
        after: &[&str],
    ) -> Server {
        let dir = TempDir::for_all();
        let client = example_for_all(client, Link::Shared, &dir);
        let socket = dir.path().join("socket");
        let mut command = Command::new(example_for_all(name, Link::Shared, &dir));
        change(command.args(before).arg(&socket).args(after));
        let program = Program::start(&mut command);
        assert_eq!(program.says("Listening on "), format!("{}.", socket.display()));
        Server { program, client, dir }
    }

    fn whoami(change: impl FnOnce(&mut Command)) -> Server {
        Server::start(change, ["whoami", "whoami"], &["listen"], &[])
    }

    fn opend(users: &[u32]) -> Server {
        Server::opend_with(|_| (), users)
    }

    fn opend_with(change: impl FnOnce(&mut Command), users: &[u32]) -> Server {
        let users: Vec<String> = users.iter().map(u32::to_string).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        Server::start(change, ["opend", "open"], &[], &users)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        fs::write(&file, content).unwrap();
        file
    }

    fn connect(&self) -> UnixStream {
        reach(&self.socket())
    }

    /// `whoami connect`
    fn visitor(&self, change: impl FnOnce(&mut Command)) -> Program {
        let mut command = Command::new(&self.client);
        change(command.arg("connect").arg(self.socket()));
        Program::start(&mut command)
    }

    /// `open`
    fn open(&self, path: impl AsRef<Path>, flags: &str) -> Command {
        let mut command = Command::new(&self.client);
        command.arg(self.socket()).arg(path.as_ref()).arg(flags);
        command
    }

    /// What whoami says about a connection, after it has closed that, without a security label:
    /// the lines from the one that begins so to the next about a message.
    fn said_about(&self, beginning: &str) -> Vec<String> {
        until("the end of what it says", || {
            let (lines, _) = &*self.program.out.lock().unwrap();
            let lines: Vec<String> = lines
                .iter()
                .skip_while(|line| !line.starts_with(beginning))
                .filter(|line| !line.starts_with("  security label "))
                .take(4)
                .cloned()
                .collect();
            (lines.len() == 4).then_some(lines)
        })
    }
}

/// Runs a command as another user.
fn become_user(command: &mut Command, id: u32, groups: &'static [u32]) {
    let change = move || {
        // SAFETY: the groups are there for all the time, and no other memory is involved.
        let result = unsafe {
            libc::setgroups(groups.len() as _, groups.as_ptr())
                | libc::setgid(id)
                | libc::setuid(id)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    };
    // SAFETY: the closure makes system calls alone.
    unsafe { command.pre_exec(change) };
}

/// Whether this kernel has SO_PASSRIGHTS.
fn can_refuse_descriptors() -> bool {
    let (socket, _other) = UnixStream::pair().unwrap();
    let off = 0i32;
    // SAFETY: the option is a number, which is there to be read.
    unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, 83, (&raw const off).cast(), 4) == 0
    }
}

/// What opend answers.
#[derive(Debug)]
struct Answer {
    status: i32,
    text: String,
    file: Option<OwnedFd>,
}

fn read_answer(stream: &UnixStream) -> Answer {
    let (data, fds) = receive_by_hand(stream);
    assert!(fds.len() <= 1, "{fds:?}");
    let fds_told = fds.len() as u16;
    let file = fds.into_iter().next();
    let number = |at: usize| u32::from_ne_bytes(data[at..at + 4].try_into().unwrap());
    let (status, text) = (number(8) as i32, &data[16..number(0) as usize]);
    assert_eq!(data, plain_message(status as u32, text, fds_told), "one message");
    assert!((status == 0) == text.is_empty() && (status == 0) == file.is_some());
    Answer { status, text: String::from_utf8(text.to_vec()).unwrap(), file }
}

/// Sends a request, whole or not, and reads the answer.
fn ask(server: &Server, request: impl AsRef<[u8]>) -> Answer {
    let mut stream = server.connect();
    // The answer can come before the request is sent.
    let _ = stream.write_all(request.as_ref());
    let answer = read_answer(&stream);
    assert_eq!(until_closed(stream), 0, "one answer");
    answer
}

/// Reads until the other side closes, which it can do before it has read all.
fn until_closed(mut stream: UnixStream) -> usize {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    rest.len()
}

fn request(path: &Path, flags: &str) -> Vec<u8> {
    let mode = ["r", "w", "rw", "a"].iter().position(|mode| *mode == flags);
    plain_message(mode.map_or(0, |mode| mode as u32 + 1), path.as_os_str().as_bytes(), 0)
}

fn succeeded(command: &mut Command, input: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", common::said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `open`, which is to say one line of text why not.
fn refused(command: &mut Command) -> String {
    let output = common::run(command);
    assert_eq!(output.status.code(), REFUSED, "{}", common::said(&output));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    let text = text.strip_prefix("open: ").and_then(|text| text.strip_suffix('\n'));
    text.expect("one line of text").to_owned()
}

// ---- whoami --------------------------------------------------------------------------------

/// What /proc says of a process, as whoami is to say it.
fn identity(process: &Program) -> Vec<String> {
    let pid = process.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| -> Vec<&str> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        line.split_whitespace().collect()
    };
    let (users, groups, more) = (field("Uid:"), field("Gid:"), field("Groups:"));
    let more = if more.is_empty() { "none".to_owned() } else { more.join(" ") };
    let executable = match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(path) => path.display().to_string(),
        // Even root may not look everywhere.
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
            "not known: Permission denied".to_owned()
        }
    };
    vec![
        format!("Connection from process {pid}, user {}, group {}", users[1], groups[1]),
        format!("  groups {more}"),
        format!("  executable {executable}"),
        format!("  message from process {pid}, user {}, group {}", users[0], groups[0]),
    ]
}

/// Runs a visitor while whoami does not look, and returns what /proc says of it.
fn visit(server: &Server, change: impl FnOnce(&mut Command)) -> (Program, Vec<String>) {
    server.program.stop();
    let visitor = server.visitor(change);
    // It waits for whoami, connected.
    until("a sleeping visitor", || {
        let wait = fs::read_to_string(format!("/proc/{}/syscall", visitor.pid()));
        let wait = wait.unwrap_or_default();
        wait.starts_with(&format!("{} ", libc::SYS_read)).then_some(())
    });
    let expected = identity(&visitor);
    (visitor, expected)
}

#[test]
fn whoami_says_who_connected() {
    const MANY: [u32; 200] = {
        let mut groups = [0; 200];
        let mut i = 0;
        while i < 200 {
            groups[i] = 4_000_000_000 + i as u32;
            i += 1;
        }
        groups
    };
    static GROUPS: [&[u32]; 4] = [&[], &[65534], &[4, 24, 27, 1000], &MANY];
    let server = Server::whoami(|_| ());
    let check = |change: &dyn Fn(&mut Command)| {
        let (visitor, expected) = visit(&server, change);
        server.program.signal(libc::SIGCONT);
        assert_eq!(visitor.end(), End::Exited(0), "{:?}", visitor.complaints());
        assert!(visitor.all_lines().is_empty() && visitor.complaints().is_empty());
        assert_eq!(server.said_about(&expected[0]), expected);
        assert!(expected[2].ends_with("/whoami-shared"), "{expected:?}");
    };
    check(&|_| ());
    if is_root() {
        for groups in GROUPS {
            check(&|command| become_user(command, NOBODY, groups));
        }
    }
    server.program.end_at_once_with(ENDINGS[1]);
    assert!(!server.socket().exists());
}

#[test]
fn whoami_tells_effective_ids_from_real_ones() {
    if !is_root() {
        return common::missing("root");
    }
    let server = Server::whoami(|_| ());
    let change = || {
        // SAFETY: no memory is involved.
        let result = unsafe { libc::setresgid(NOBODY, 0, 0) | libc::setresuid(NOBODY, 0, 0) };
        assert_eq!(result, 0);
        Ok(())
    };
    // SAFETY: the closure makes system calls alone.
    let (visitor, expected) = visit(&server, |command| unsafe {
        command.pre_exec(change);
    });
    server.program.signal(libc::SIGCONT);
    assert_eq!(visitor.end(), End::Exited(0));
    assert!(expected[0].ends_with("user 0, group 0"));
    assert!(expected[3].ends_with("user 65534, group 65534"));
    assert_eq!(server.said_about(&expected[0]), expected);
}

#[test]
fn whoami_tells_the_sender_from_who_connected() {
    let server = Server::whoami(|_| ());
    let stream = server.connect();
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo hello; read closed"])
        .stdin(stream.try_clone().map(OwnedFd::from).unwrap());
    command.stdout(OwnedFd::from(stream));
    if is_root() {
        become_user(&mut command, NOBODY, &[]);
    }
    let mut sender = command.spawn().unwrap();
    let id = if is_root() { NOBODY } else { user() };
    let said = server.said_about(&format!(
        "Connection from process {}, user {},",
        std::process::id(),
        user()
    ));
    let sent = format!("  message from process {}, user {id}, ", sender.id());
    assert!(said[3].starts_with(&sent), "{said:?}");
    sender.wait().unwrap();
}

#[test]
fn whoami_believes_nothing_of_a_process_that_has_exited() {
    let server = Server::whoami(|_| ());
    for reaped in [false, true] {
        let (visitor, mut expected) = visit(&server, |_| ());
        visitor.signal(libc::SIGKILL);
        assert_eq!(visitor.end(), End::Killed(libc::SIGKILL));
        let kept = (!reaped).then_some(visitor);
        server.program.signal(libc::SIGCONT);
        expected[2] = "  executable not known: the process has exited".to_owned();
        assert_eq!(server.said_about(&expected[0]), expected);
        drop(kept);
    }
}

/// A process with a number that was another's.
struct Impostor(i32);

impl Impostor {
    /// Returns none where the kernel does not let us choose the number.
    fn with_number(pid: i32) -> Option<Impostor> {
        // SAFETY: the structure is a plain one, for which all zeros are a value; as with fork(2),
        // the child has memory of its own, and makes system calls alone.
        unsafe {
            let mut arguments: libc::clone_args = mem::zeroed();
            arguments.exit_signal = libc::SIGCHLD as u64;
            arguments.set_tid = (&raw const pid) as u64;
            arguments.set_tid_size = 1;
            let size = mem::size_of_val(&arguments);
            match libc::syscall(libc::SYS_clone3, &arguments, size) {
                0 => loop {
                    libc::pause();
                },
                -1 => None,
                child => {
                    assert_eq!(child, pid.into());
                    Some(Impostor(pid))
                }
            }
        }
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        // SAFETY: no memory is involved, and the child is not reaped yet.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

#[test]
fn whoami_is_not_deceived_when_a_number_is_used_again() {
    let server = Server::whoami(|_| ());
    let (visitor, mut expected) = visit(&server, |_| ());
    let pid = visitor.pid();
    drop(visitor);
    let Some(_impostor) = Impostor::with_number(pid) else {
        return common::missing("the right to choose the number of a process");
    };
    assert!(fs::read_link(format!("/proc/{pid}/exe")).is_ok(), "there is something to be believed");
    server.program.signal(libc::SIGCONT);
    expected[2] = "  executable not known: the process has exited".to_owned();
    assert_eq!(server.said_about(&expected[0]), expected);
}

#[test]
fn whoami_says_what_it_may_not_know() {
    if is_root() {
        let server = Server::whoami(|command| become_user(command, NOBODY, &[]));
        let (_visitor, mut expected) = visit(&server, |_| ());
        server.program.signal(libc::SIGCONT);
        expected[2] = "  executable not known: Permission denied".to_owned();
        assert_eq!(server.said_about(&expected[0]), expected);
    }
    if can_have_older_kernel() {
        let server = Server::whoami(have_older_kernel);
        let (_visitor, mut expected) = visit(&server, |_| ());
        server.program.signal(libc::SIGCONT);
        expected[2] = "  executable not known: this kernel gives no pidfd of a peer".to_owned();
        assert_eq!(server.said_about(&expected[0]), expected);
    }
}

#[test]
fn whoami_prints_a_strange_name_on_one_line() {
    let server = Server::whoami(|_| ());
    let strange = server.dir.path().join("a\nb\\\u{1b}[31mä");
    fs::hard_link(&server.client, &strange).unwrap();
    let mut command = Command::new(&strange);
    let visitor = Program::start(command.arg("connect").arg(server.socket()));
    assert_eq!(visitor.end(), End::Exited(0), "{:?}", visitor.complaints());
    let line = server.program.says("  executable ");
    // It may be gone before whoami looks.
    if !line.starts_with("not known") {
        assert!(line.ends_with("/a\\012b\\134\\033[31m\\303\\244"), "{line}");
    }
}

#[test]
fn whoami_goes_on_after_clients_of_every_kind() {
    let server = Server::whoami(|_| ());
    let program = &server.program;
    let start = Instant::now();
    let silent = server.connect();
    let visitor = server.visitor(|_| ());
    program.rests();
    until_closed(silent);
    program.says("  no message: none came in time");
    assert_eq!(visitor.end(), End::Exited(0));
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    let before = program.descriptors();

    drop(server.connect());
    program.says("  no message: the connection was closed");
    let mut garbage = server.connect();
    let _ = garbage.write_all(&[0xFF; 1 << 20]);
    program.says_times("  message from process ", 2);
    let mut plain = server.connect();
    match send_by_hand(&plain, b"with", &[0]) {
        Ok(()) => {
            assert!(!can_refuse_descriptors());
            program.says("  message with descriptors, which are not wanted here");
        }
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            plain.write_all(b"without").unwrap();
            program.says_times("  message from process ", 3);
        }
    }
    for _ in 0..100 {
        drop(server.connect());
    }
    program.says_times("  no message: the connection was closed", 101);
    until("no more descriptors", || (program.descriptors() == before).then_some(()));
    program.end_at_once_with(ENDINGS[0]);
}

#[test]
fn whoami_closes_descriptors_where_it_cannot_refuse_them() {
    if !can_have_older_kernel() {
        return;
    }
    let server = Server::whoami(have_older_kernel);
    let before = server.program.descriptors();
    let stream = server.connect();
    send_by_hand(&stream, b"with", &[0]).unwrap();
    server.program.says("  message with descriptors, which are not wanted here");
    until_closed(stream);
    assert_eq!(server.program.descriptors(), before);
}

// ---- opend: what it opens -------------------------------------------------------------------

#[test]
fn open_prints_and_writes_files() {
    let server = Server::opend(&[user()]);
    let text: String = (0..20_000).map(|i| format!("{i:09}\n")).collect();
    let file = server.file("a file \n with a strange name ", &text);
    assert!(succeeded(&mut server.open(&file, "r"), "") == text);
    assert_eq!(succeeded(&mut server.open(&file, "w"), "First"), "");
    assert_eq!(succeeded(&mut server.open(&file, "a"), "Last"), "");
    let text = format!("First{}Last", &text[5..]);
    assert!(fs::read_to_string(&file).unwrap() == text);
    assert!(succeeded(&mut server.open(&file, "rw"), "More") == text);
    assert!(fs::read_to_string(&file).unwrap() == format!("{text}More"));
    // More than the buffer of a pipe.
    assert_eq!(succeeded(&mut server.open(&file, "w"), &"x".repeat(1 << 20)), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), "x".repeat(1 << 20));

    server.program.says_times("User ", 5);
    let (lines, _) = &*server.program.out.lock().unwrap();
    assert_eq!(lines.len(), 6, "one line for each: {lines:?}");
    assert!(lines[1].ends_with("/a file \\012 with a strange name  r"), "{lines:?}");
    assert!(lines[1].contains(": Opened: /"), "{lines:?}");
}

/// Standard input and output can be non-blocking: that belongs to the open file, which others have
/// as well.
#[test]
fn open_waits_for_who_reads_and_writes() {
    let server = Server::opend(&[user()]);
    let text: String = (0..20_000).map(|i| format!("{i:09}\n")).collect();
    let (mut read, write) = small_pipe();
    make_nonblocking(&write);
    let file = server.file("file", &text);
    let program = Program::start_writing_to(&mut server.open(&file, "r"), write);
    program.rests();
    let mut said = String::new();
    read.read_to_string(&mut said).unwrap();
    assert!(said == text, "{} of {} bytes", said.len(), text.len());
    assert_eq!(program.end(), End::Exited(0));

    let (read, mut write) = small_pipe();
    make_nonblocking(&read);
    let program = Program::start_reading_from(&mut server.open(&file, "w"), read);
    server.program.says_times("User ", 2);
    program.rests();
    write.write_all("x".repeat(text.len()).as_bytes()).unwrap();
    drop(write);
    assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
    assert_eq!(fs::read_to_string(&file).unwrap(), "x".repeat(text.len()));
}

#[test]
fn only_the_users_of_the_rule_get_descriptors() {
    let server = Server::opend(&[7, user() + 1]);
    let file = server.file("file", "content");
    let expected = format!("{}: This user may not have files opened", file.display());
    assert_eq!(refused(&mut server.open(&file, "r")), expected);
    // It is refused for who it is, whatever it says, or if it says nothing.
    let answer = ask(&server, "");
    let before = server.program.descriptors();
    ask(&server, "");
    assert_eq!(answer.status, libc::EPERM);
    assert_eq!(answer.text, "This user may not have files opened");
    assert_eq!(server.program.descriptors(), before);

    if is_root() {
        let rule = [[0].as_slice(), &[0, 1000, NOBODY]];
        for (users, is_allowed) in rule.into_iter().zip([false, true]) {
            let server = Server::opend(users);
            let file = server.file("file", "content");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            let mut command = server.open(&file, "r");
            become_user(&mut command, NOBODY, &[0]);
            if is_allowed {
                assert_eq!(succeeded(&mut command, ""), "content");
            } else {
                refused(&mut command);
            }
            assert_eq!(succeeded(&mut server.open(&file, "r"), ""), "content");
        }
    }
}

#[test]
fn a_connection_belongs_to_who_made_it() {
    if !is_root() {
        return common::missing("root");
    }
    // Made by root, used by nobody, who has been given it.
    let server = Server::opend(&[0]);
    let file = server.file("file", "content");
    let stream = server.connect();
    let mut command = Command::new("sh");
    let asked = server.file("request", "");
    fs::write(&asked, request(&file, "r")).unwrap();
    command.args(["-c", "exec cat"]).stdin(File::open(asked).unwrap());
    command.stdout(OwnedFd::from(stream.try_clone().unwrap()));
    become_user(&mut command, NOBODY, &[]);
    assert!(command.status().unwrap().success());
    assert_eq!(read_answer(&stream).status, 0);
}

#[test]
fn a_descriptor_has_the_rights_asked_for_and_no_others() {
    let server = Server::opend(&[user()]);
    let file = server.file("file", "content");
    let link = server.dir.path().join("link");
    symlink(&file, &link).unwrap();
    for (flags, expected) in [
        ("r", libc::O_RDONLY),
        ("w", libc::O_WRONLY),
        ("rw", libc::O_RDWR),
        ("a", libc::O_WRONLY | libc::O_APPEND),
    ] {
        for path in [&file, &link] {
            let descriptor = ask(&server, request(path, flags)).file.expect(flags);
            // SAFETY: no memory is involved.
            let seen = unsafe { libc::fcntl(descriptor.as_raw_fd(), libc::F_GETFL) };
            // The kernel sets this one where a file can be large.
            assert_eq!(seen & !libc::O_LARGEFILE & !0o100000, expected, "{flags}: {seen:o}");
            let mut opened = File::from(descriptor);
            let can_read = opened.read(&mut [0; 10]).is_ok();
            let can_write = opened.write(b"").is_ok();
            assert_eq!(can_read, flags.contains('r'), "{flags}");
            assert_eq!(can_write, flags != "r", "{flags}");
        }
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "content", "nothing is truncated");
}

#[test]
fn what_cannot_be_opened_is_said_and_nothing_is_made() {
    let server = Server::opend(&[user()]);
    let dir = server.dir.path();
    let missing = dir.join("missing");
    for flags in ["r", "w", "rw", "a"] {
        let text = refused(&mut server.open(&missing, flags));
        assert_eq!(text, format!("{}: No such file or directory", missing.display()));
        assert!(!missing.exists());
        assert_eq!(ask(&server, request(&missing, flags)).status, libc::ENOENT);
    }
    symlink("endless", dir.join("endless")).unwrap();
    let file = server.file("file", "content");
    let long = "x".repeat(4090 - dir.as_os_str().len());
    for (path, flags, status) in [
        (dir, "r", libc::EISDIR),
        (dir, "w", libc::EISDIR),
        (&dir.join("endless"), "r", libc::ELOOP),
        (&file.join("inside"), "r", libc::ENOTDIR),
        (&dir.join(&long), "r", libc::ENAMETOOLONG),
        (&server.socket(), "rw", libc::EOPNOTSUPP),
        (Path::new("/dev/null"), "rw", libc::EOPNOTSUPP),
        (Path::new(""), "r", libc::EINVAL),
        (Path::new("relative"), "r", libc::EINVAL),
    ] {
        assert_eq!(ask(&server, request(path, flags)).status, status, "{path:?} {flags}");
        refused(&mut server.open(path, flags));
    }
    let output = common::run(&mut server.open("/".repeat(5000), "r"));
    assert_eq!(output.status.code(), Some(1), "too long for a request");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
}

#[test]
fn nothing_that_is_opened_holds_the_server_up() {
    const F_SETSIG: i32 = 10;
    let server = Server::opend(&[user()]);
    let pipe = server.dir.path().join("pipe");
    common::run_ok(Command::new("mkfifo").arg(&pipe));
    // The holder of a lease is told with SIGIO when somebody wants the file, and has 45 seconds.
    let leased = server.file("leased", "content");
    let holder = OpenOptions::new().read(true).write(true).open(&leased).unwrap();
    // SAFETY: no memory is involved.
    let result = unsafe {
        // Instead of SIGIO one that is ignored.
        libc::fcntl(holder.as_raw_fd(), F_SETSIG, libc::SIGURG)
            | libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    let start = Instant::now();
    for flags in ["r", "w", "rw", "a"] {
        assert_eq!(ask(&server, request(&pipe, flags)).status, libc::EOPNOTSUPP);
        assert_eq!(ask(&server, request(&leased, flags)).status, libc::EAGAIN);
    }
    assert!(start.elapsed() < Duration::from_secs(20), "took {:?}", start.elapsed());
    drop(holder);
    // A program that another test starts in this moment can have it until it is executed.
    until("the lease is gone", || (ask(&server, request(&leased, "r")).status == 0).then_some(()));
}

// ---- opend: clients of every kind -----------------------------------------------------------

#[test]
fn bad_requests_get_an_error_and_a_closed_connection() {
    let server = Server::opend(&[user()]);
    let file = server.file("file", "content");
    let good = request(&file, "r");
    let check = |request: &[u8], status: i32| {
        let start = Instant::now();
        let answer = ask(&server, request);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(start.elapsed() < AT_ONCE, "took {:?}", start.elapsed());
    };
    // The longest path that is one.
    let longest = format!("{}{}", "/".repeat(4095 - file.as_os_str().len()), file.display());
    check(&request(Path::new(&longest), "rw"), 0);
    check(&request(Path::new(&"/".repeat(4096)), "r"), libc::ENAMETOOLONG);
    check(&request(Path::new(&"/".repeat(4097)), "r"), libc::EMSGSIZE);
    check(&request(Path::new(&"/".repeat(1 << 20)), "r"), libc::EMSGSIZE);
    check(&[b'x'; 1 << 20], libc::EBADMSG);
    for path in ["", " ", "relative", "\0/etc/passwd", "/etc/passwd\0", "/etc\0/passwd"] {
        check(&request(Path::new(path), "r"), libc::EINVAL);
    }
    for kind in [0, 5, 256, u32::MAX] {
        check(&plain_message(kind, "/etc/passwd", 0), libc::EINVAL);
    }
    // Descriptors that do not come, no size that is one, and what the format does not know.
    check(&plain_message(1, "/etc/passwd", 1), libc::EBADMSG);
    for size in [0u32, 15] {
        check(&[&size.to_ne_bytes(), &good[4..]].concat(), libc::EBADMSG);
    }
    check(&[&good[..6], &[1], &good[7..]].concat(), libc::EBADMSG);
    check(&[&good[..], &good].concat(), libc::EBADMSG);
    check(&[&good[..], b"x".repeat(16).as_slice()].concat(), libc::EBADMSG);
    check(&good, 0);
}

#[test]
fn a_request_can_come_in_pieces_and_must_come_to_an_end() {
    let server = Server::opend(&[user()]);
    let file = server.file("file", "content");
    let mut good = request(&file, "r");
    // It is answered before what fills it up to a multiple of 8 has come.
    good.truncate(16 + file.as_os_str().len());
    let mut slow = server.connect();
    for byte in &good {
        slow.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(read_answer(&slow).status, 0);

    let longer = plain_message(1, [b'/'; 4096], 0);
    for half in [&good[..10], &good[..17], &good[..good.len() - 1], &longer[..longer.len() - 1]] {
        let mut stream = server.connect();
        stream.write_all(half).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_answer(&stream).status, libc::EBADMSG);
        until_closed(stream);
        // Nobody is there to be answered.
        server.connect().write_all(half).unwrap();
    }
    drop(server.connect());
    server.connect().write_all(&good).unwrap();
    assert_eq!(ask(&server, &good).status, 0);
    server.program.end_at_once_with(ENDINGS[0]);
}

#[test]
fn descriptors_with_a_request_are_refused_or_closed() {
    let here: (fn(&mut Command), bool) = (|_| (), can_refuse_descriptors());
    let older: (fn(&mut Command), bool) = (have_older_kernel, false);
    for (kernel, refuses) in if can_have_older_kernel() { vec![here, older] } else { vec![here] } {
        let server = Server::opend_with(kernel, &[user()]);
        let file = server.file("file", "content");
        let good = request(&file, "r");
        // The message says of the descriptor, too.
        let with = plain_message(1, file.as_os_str().as_bytes(), 1);
        let before = server.program.descriptors();
        for i in 0..100 {
            let stream = server.connect();
            let sent = send_by_hand(&stream, if i % 2 == 0 { &good } else { &with }, &[0]);
            if refuses {
                assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EPERM));
            } else {
                sent.unwrap();
                assert_eq!(read_answer(&stream).status, libc::EBADMSG);
            }
        }
        assert_eq!(ask(&server, &good).status, 0);
        until("no more descriptors", || (server.program.descriptors() == before).then_some(()));
    }
}

#[test]
fn a_hundred_clients_at_once_get_what_they_asked_for() {
    let _in_flight = in_flight::up_to(100);
    let server = Server::opend(&[user()]);
    let files: Vec<PathBuf> =
        (0..100).map(|i| server.file(&format!("file{i}"), &format!("content of {i}"))).collect();
    let together = Barrier::new(100);
    thread::scope(|scope| {
        for (i, file) in files.iter().enumerate() {
            let (server, together) = (&server, &together);
            scope.spawn(move || {
                together.wait();
                assert_eq!(succeeded(&mut server.open(file, "r"), ""), format!("content of {i}"));
            });
        }
    });
}

#[test]
fn clients_that_do_nothing_hold_nobody_up() {
    let _in_flight = in_flight::up_to(100);
    let server = Server::opend(&[user()]);
    let good = request(&server.file("file", "content"), "r");
    let start = Instant::now();
    let silent: Vec<UnixStream> = (0..100)
        .map(|i| {
            let mut stream = server.connect();
            stream.write_all(&good[..i % 20]).unwrap();
            stream
        })
        .collect();
    // These do not read their answers.
    let unread: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&good).unwrap();
            stream
        })
        .collect();
    // This one never comes to an end.
    let mut slow = server.connect();
    slow.write_all(&plain_message(1, [b'/'; 4096], 0)[..16]).unwrap();
    let mut ended = false;
    while !ended {
        let asked = Instant::now();
        assert_eq!(ask(&server, &good).status, 0);
        assert!(asked.elapsed() < AT_ONCE, "took {:?}", asked.elapsed());
        ended = slow.write_all(b"x").is_err();
        assert!(start.elapsed() < Duration::from_secs(20));
        thread::sleep(Duration::from_millis(20));
    }
    assert!(start.elapsed() > Duration::from_millis(4900));
    for stream in silent.iter().chain([&slow]) {
        assert_eq!(read_answer(stream).status, libc::ETIMEDOUT);
    }
    // What was sent is there also after the server has closed.
    for stream in &unread {
        assert_eq!(read_answer(stream).status, 0);
    }
    server.program.rests();
}

#[test]
fn there_is_a_limit_of_clients_who_may_be_slow() {
    let server = Server::opend(&[user()]);
    let good = request(&server.file("file", "content"), "r");
    let silent: Vec<UnixStream> = (0..300).map(|_| server.connect()).collect();
    let asked = Instant::now();
    assert_eq!(ask(&server, &good).status, 0);
    // Those that had waited longest made room.
    assert_eq!(read_answer(&silent[0]).status, libc::ETIMEDOUT);
    assert!(asked.elapsed() < AT_ONCE, "took {:?}", asked.elapsed());
    server.program.rests();
    let open = server.program.descriptors();
    assert!((256..270).contains(&open), "{open}");
    drop(silent);
    server.program.end_at_once_with(ENDINGS[2]);
}

#[test]
fn who_is_refused_drives_nobody_out() {
    if !is_root() {
        return common::missing("root");
    }
    let server = Server::opend(&[0]);
    let file = server.file("file", "content");
    let mut all: Vec<UnixStream> = (0..256).map(|_| server.connect()).collect();
    for _ in 0..3 {
        let mut command = server.open(&file, "r");
        become_user(&mut command, NOBODY, &[]);
        refused(&mut command);
    }
    for stream in &mut all {
        stream.write_all(&request(&file, "r")).unwrap();
        assert_eq!(read_answer(stream).status, 0);
    }
}

#[test]
fn a_thousand_requests_leave_no_descriptor() {
    let server = Server::opend(&[user()]);
    let file = server.file("file", "content");
    let before = server.program.descriptors();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..250 {
                    let (flags, status) =
                        [("r", 0), ("a", 0), ("w", 0), ("x", libc::EINVAL)][i % 4];
                    assert_eq!(ask(&server, request(&file, flags)).status, status);
                }
            });
        }
    });
    until("no more descriptors", || (server.program.descriptors() == before).then_some(()));
    server.program.end_at_once_with(ENDINGS[1]);
    assert_eq!(server.program.all_lines().len(), 1002);
}

#[test]
fn a_full_table_of_descriptors_passes() {
    let server = Server::opend(&[user()]);
    let program = &server.program;
    let good = request(&server.file("file", "content"), "r");
    let lowest = program.lowest_free();
    // Room for the client and no file; then for no client.
    program.set_limit(DESCRIPTORS, lowest + 1);
    assert_eq!(ask(&server, &good).status, libc::EMFILE);
    program.set_limit(DESCRIPTORS, lowest);
    let mut stream = server.connect();
    stream.write_all(&good).unwrap();
    assert_eq!(program.complains("opend: accept: "), "Too many open files");
    program.rests();
    program.set_limit(DESCRIPTORS, u64::MAX);
    assert_eq!(read_answer(&stream).status, 0);
    assert_eq!(program.err.lock().unwrap().0.len(), 1);

    let server = Server::whoami(|_| ());
    let program = &server.program;
    let lowest = program.lowest_free();
    // Room for the visitor and no pidfd; then for no visitor.
    program.set_limit(DESCRIPTORS, lowest + 1);
    assert_eq!(server.visitor(|_| ()).end(), End::Exited(0));
    assert_eq!(program.says("  executable "), "not known: Too many open files");
    program.set_limit(DESCRIPTORS, lowest);
    let visitor = server.visitor(|_| ());
    assert_eq!(program.complains("whoami: accept: "), "Too many open files");
    program.rests();
    program.set_limit(DESCRIPTORS, u64::MAX);
    assert_eq!(visitor.end(), End::Exited(0));
    assert_eq!(program.err.lock().unwrap().0.len(), 1);
}

#[test]
fn descriptors_that_nobody_receives_come_to_an_end() {
    if !is_root() {
        return common::missing("root");
    }
    // The kernel counts what is on its way for each user. This one is nobody else's.
    let change = |command: &mut Command| {
        let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: the closure makes a system call alone; the limits are there to be read.
        unsafe {
            command.pre_exec(move || {
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
                Ok(())
            })
        };
        become_user(command, 100_000 + std::process::id(), &[]);
    };
    let server = Server::opend_with(change, &[0]);
    let file = server.file("file", "content");
    // The server is to read it, whatever the umask.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let good = request(&file, "r");
    let unread: Vec<UnixStream> = (0..70)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(&good).unwrap();
            stream
        })
        .collect();
    assert_eq!(ask(&server, &good).status, libc::ETOOMANYREFS);
    for (i, stream) in unread.iter().enumerate() {
        let expected = if i <= 64 { 0 } else { libc::ETOOMANYREFS };
        assert_eq!(read_answer(stream).status, expected, "{i}");
    }
    assert_eq!(ask(&server, &good).status, 0);
}

// ---- Signals, usage and errors ----------------------------------------------------------------

#[test]
fn each_signal_ends_each_server_at_once() {
    for ending in ENDINGS {
        let servers = [Server::whoami(|_| ()), Server::opend(&[user()])];
        for server in &servers {
            server.program.end_at_once_with(ending);
            assert!(!server.socket().exists());
        }
        // While they wait for somebody.
        let servers = [Server::whoami(|_| ()), Server::opend(&[user()])];
        for server in &servers {
            let before = server.program.descriptors();
            let silent = server.connect();
            until("a client", || (server.program.descriptors() > before).then_some(()));
            server.program.end_at_once_with(ending);
            assert!(!server.socket().exists());
            until_closed(silent);
        }
    }
}

#[test]
fn a_signal_ends_opend_under_load() {
    for ending in ENDINGS {
        let server = Server::opend(&[user()]);
        let good = request(&server.file("file", "content"), "r");
        thread::scope(|scope| {
            for _ in 0..4 {
                // Some always wait to be accepted.
                scope.spawn(|| loop {
                    let streams: Vec<_> =
                        (0..50).map_while(|_| UnixStream::connect(server.socket()).ok()).collect();
                    for mut stream in &streams {
                        let _ = stream.write_all(&good);
                    }
                    if streams.is_empty() {
                        break;
                    }
                });
            }
            server.program.says_times("User ", 500);
            server.program.end_at_once_with(ending);
            assert!(!server.socket().exists());
        });
    }
}

#[test]
fn servers_remove_their_own_file_only() {
    for server in [Server::whoami(|_| ()), Server::opend(&[user()])] {
        fs::rename(server.socket(), server.dir.path().join("moved")).unwrap();
        fs::write(server.socket(), "another").unwrap();
        server.program.end_at_once_with(ENDINGS[1]);
        assert_eq!(fs::read_to_string(server.socket()).unwrap(), "another");
    }
}

#[test]
fn closed_standard_descriptors_do_no_harm() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    let start = |name: &str, arguments: &[&Path]| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]);
        Program::start(command.arg(example(name, Link::Shared)).args(arguments))
    };
    let user = user().to_string();
    let server = start("opend", &[&socket, Path::new(&user)]);
    let connected = || UnixStream::connect(&socket).ok();
    let stream = until("opend listens", connected);
    drop(stream);
    assert_eq!(start("open", &[&socket, &file, Path::new("w")]).end(), End::Exited(0));
    // Nobody hears why not; least of all the file.
    assert_eq!(start("open", &[&socket, dir.path(), Path::new("r")]).end(), End::Exited(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
    server.signal(libc::SIGTERM);
    assert_eq!(server.end(), End::Exited(0));

    let server = start("whoami", &[Path::new("listen"), &socket]);
    drop(until("whoami listens", connected));
    assert_eq!(start("whoami", &[Path::new("connect"), &socket]).end(), End::Exited(0));
    server.signal(libc::SIGTERM);
    assert_eq!(server.end(), End::Exited(0));
}

#[test]
fn a_log_that_nobody_reads_does_not_stop_the_servers() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let user = user().to_string();
    let strange = plain_message(1, format!("/{}/", "\u{1}".repeat(4000)), 0);
    for (name, arguments) in
        [("opend", [&*socket, Path::new(&user)]), ("whoami", [Path::new("listen"), &*socket])]
    {
        let mut command = Command::new(example(name, Link::Shared));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let listening = || UnixStream::connect(&socket).ok();
        until("a server that listens", listening);
        for _ in 0..if name == "opend" { 100 } else { 1000 } {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            stream.write_all(&strange).unwrap();
            if name == "opend" {
                assert_eq!(read_answer(&stream).status, libc::ENAMETOOLONG);
            }
            until_closed(stream);
        }
        // SAFETY: no memory is involved, and the child is not reaped yet.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
        assert!(child.wait().unwrap().success());
        assert!(!socket.exists());
        let mut log = String::new();
        child.stdout.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(log.len() > 60_000 && log.len() <= 65_536 && log.ends_with('\n'), "{}", log.len());

        // Nor does one whose reader is gone.
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        for _ in 0..2 {
            let mut stream = until("a server that listens", listening);
            stream.write_all(&strange).unwrap();
            until_closed(stream);
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn open_does_not_trust_the_server() {
    let dir = TempDir::new();
    let socket = dir.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let bad = File::open("/dev/null").unwrap();
    let fd = bad.as_raw_fd();
    let (not_one, with_error) =
        ("not one descriptor came with it", "a descriptor came with an error");
    let cases: [(Vec<u8>, &[i32], i32, &str); 12] = [
        (plain_message(0, "", 0), &[], 1, &format!("malformed answer: {not_one}")),
        (plain_message(0, "", 2), &[fd, fd], 1, &format!("malformed answer: {not_one}")),
        (plain_message(5, "", 1), &[fd], 1, &format!("malformed answer: {with_error}")),
        (plain_message(0, "", 1), &[], 1, "receiving the answer: Protocol error"),
        (plain_message(0, "", 1)[..15].into(), &[fd], 1, "receiving the answer: Protocol error"),
        (plain_message(5, "no", 0)[..17].into(), &[], 1, "receiving the answer: Protocol error"),
        (vec![b'x'; 128], &[], 1, "receiving the answer: Bad message"),
        (plain_message(5, [b'x'; 4097], 0), &[], 1, "receiving the answer: Message too long"),
        (vec![], &[], 1, "receiving the answer: the server has closed"),
        (plain_message(5, "", 0), &[], 2, "/: "),
        (plain_message(5, "x".repeat(123), 0), &[], 2, &format!("/: {}", "x".repeat(123))),
        (plain_message(5, "a\nb\u{1b}[0mc", 0), &[], 2, "/: a\\012b\\033[0mc"),
    ];
    for (data, fds, status, text) in cases {
        let mut command = Command::new(example("open", Link::Shared));
        let program = Program::start(command.arg(&socket).args(["/", "r"]));
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 24];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked[..], plain_message(1, "/", 0));
        if fds.is_empty() {
            stream.write_all(&data).unwrap();
        } else {
            send_by_hand(&stream, &data, fds).unwrap();
        }
        drop(stream);
        assert_eq!(program.end(), End::Exited(status));
        assert_eq!(program.complaints(), [format!("open: {text}")]);
        assert!(program.all_lines().is_empty());
    }
}

#[test]
fn what_a_killed_server_leaves_behind_is_replaced() {
    let servers: [(&str, &[&str], &[&str]); 2] =
        [("whoami", &["listen"], &[]), ("opend", &[], &["0"])];
    for (name, before, after) in servers {
        let dir = TempDir::new();
        let socket = dir.path().join("socket");
        let start = || {
            let mut command = Command::new(example(name, Link::Shared));
            let program = Program::start(command.args(before).arg(&socket).args(after));
            program.says("Listening on ");
            program
        };
        let killed = start();
        killed.signal(libc::SIGKILL);
        assert_eq!(killed.end(), End::Killed(libc::SIGKILL));
        assert!(socket.exists());
        start().end_with(ENDINGS[1]);
        assert!(!socket.exists());
    }
}
