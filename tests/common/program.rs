//! Runs the example programs: what they say, how they end, and what /proc tells of them.

// The types of some fields and constants differ from one C library to the next.
#![allow(clippy::unnecessary_cast)]

use super::{compile, compiler, run_ok, shipped, skipped, source, start_afresh, Link, TempDir};
use std::fs;
use std::io::{self, pipe, BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// No test waits longer than this for anything, which is also enough to build something on a busy
/// machine.
pub const DEADLINE: Duration = Duration::from_secs(600);

/// The signals that end programs, and the last line after each.
pub const ENDINGS: [(i32, &str); 3] = [
    (libc::SIGINT, "Interrupted; exiting."),
    (libc::SIGTERM, "Terminated."),
    (libc::SIGHUP, "Hanging up."),
];

/// Limits, as numbers.
pub const DESCRIPTORS: u32 = libc::RLIMIT_NOFILE as u32;
pub const PROCESSES: u32 = libc::RLIMIT_NPROC as u32;

/// A user without any privilege, also for limits that do not bind root.
pub const NOBODY: u32 = 65534;

pub fn user() -> u32 {
    // SAFETY: no memory is involved.
    unsafe { libc::geteuid() }
}

pub fn is_root() -> bool {
    user() == 0
}

/// Looks again and again until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

// ---- Programs ------------------------------------------------------------------------------

/// Compiles an example.
pub fn example(name: &str, link: Link) -> PathBuf {
    let file = source().join("c-examples").join(format!("{name}.c"));
    compile(name, &[file], link, &[])
}

/// An example where all users can run it, with the library: the checkout, and what is compiled in
/// it, may lie below a folder that only its owner may search.
pub fn example_for_all(name: &str, link: Link, dir: &TempDir) -> PathBuf {
    let program = example(name, link);
    if link == Link::Shared {
        install(&shipped().dir.join("libancillary.so.1"), &dir.path().join("libancillary.so.1"));
    }
    let there = dir.path().join(program.file_name().unwrap());
    install(&program, &there);
    there
}

/// Copies a program, for all users to run.
///
/// A process of its own writes it: one that another thread starts meanwhile could hold our
/// descriptor for a while, and what is open for writing cannot be run (execve(2), ETXTBSY).
pub fn install(from: &Path, to: &Path) {
    run_ok(Command::new("install").args(["-m", "755"]).arg(from).arg(to));
}

/// Compiles what stands in front of the C library in a program (LD_PRELOAD), into a folder.
pub fn shim(text: &str, dir: &TempDir) -> PathBuf {
    let [source, shim] = ["shim.c", "shim.so"].map(|name| dir.path().join(name));
    fs::write(&source, text).expect("a file");
    run_ok(compiler().args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source).arg("-ldl"));
    shim
}

/// An example as a user whom limits bind.
pub fn unprivileged(name: &str, dir: &TempDir) -> Command {
    let mut command = Command::new(example_for_all(name, Link::Static, dir));
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Starts a program with that many descriptors at most, until its limit is raised.
pub fn with_limit(descriptors: usize, program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n $0; exec \"$@\"", &descriptors.to_string()]).arg(program);
    command
}

/// Starts a program that finds some signals ignored and others blocked, by their names.
pub fn with_signals(ignored: &str, blocked: &str, program: &Path) -> Command {
    let mut command = Command::new("env");
    for (option, signals) in [("--ignore-signal", ignored), ("--block-signal", blocked)] {
        if !signals.is_empty() {
            command.arg(format!("{option}={signals}"));
        }
    }
    command.arg(program);
    command
}

/// Runs a command as on a kernel without SO_PEERPIDFD and SO_PASSRIGHTS.
pub fn have_older_kernel(command: &mut Command) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    // Where seccomp(2) shows the number of the call, and the lower half of its third argument.
    let option = 16 + 2 * 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
    let mut filter = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, libc::SYS_getsockopt as u32, 1, 0),
        step(EQUAL, libc::SYS_setsockopt as u32, 0, 3),
        step(LOAD, option, 0, 0),
        step(EQUAL, 77, 2, 0),
        step(EQUAL, 83, 1, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT as u32, 0, 0),
    ];
    let change = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the program points to the filter, which lives longer.
        let result = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                | libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the closure makes system calls alone.
    unsafe { command.pre_exec(change) };
}

/// Whether have_older_kernel() can do its work: a 32-bit program makes other system calls.
pub fn can_have_older_kernel() -> bool {
    let can = cfg!(target_pointer_width = "64");
    if !can {
        skipped(None, "a 32-bit program cannot be run as on an older kernel");
    }
    can
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
}

/// The lines that programs have written so far, and whether there can be no more.
pub type Lines = Arc<Mutex<(Vec<String>, bool)>>;

fn collect(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let collected = lines.clone();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            collected.lock().unwrap().0.push(line.expect("a line of text"));
        }
        collected.lock().unwrap().1 = true;
    });
    lines
}

fn wait_for(lines: &Lines, beginning: &str, times: usize) -> String {
    until(&format!("{times} × {beginning:?}"), || {
        let (lines, ended) = &*lines.lock().unwrap();
        let line = lines.iter().filter_map(|line| line.strip_prefix(beginning)).nth(times - 1);
        assert!(line.is_some() || !ended, "no line {beginning:?} in {lines:?}");
        line.map(str::to_owned)
    })
}

fn all(what: &str, lines: &Lines) -> Vec<String> {
    until(what, || {
        let (lines, ended) = &*lines.lock().unwrap();
        ended.then(|| lines.clone())
    })
}

/// A running program, the leader of a process group of its own. All of the group is killed when
/// this is dropped; the program is reaped only then, so that its number is never another's.
pub struct Program {
    child: Child,
    pub out: Lines,
    pub err: Lines,
}

/// Puts a program into a process group of its own, where signals do what they do by default: the
/// tests may run in the background, or under nohup, with some ignored.
fn detached(command: &mut Command) -> &mut Command {
    start_afresh();
    let receptive = || {
        for (number, _) in ENDINGS {
            // SAFETY: no memory is involved.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls alone.
    unsafe { command.process_group(0).pre_exec(receptive) }
}

impl Program {
    pub fn start(command: &mut Command) -> Program {
        Program::try_start(command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    pub fn try_start(command: &mut Command) -> io::Result<Program> {
        Program::try_start_reading(command, Stdio::null())
    }

    /// Starts a program that reads from a pipe.
    pub fn start_reading_from(command: &mut Command, pipe: PipeReader) -> Program {
        let started = Program::try_start_reading(command, pipe.into());
        // The command keeps the pipe open.
        command.stdin(Stdio::null());
        started.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    fn try_start_reading(command: &mut Command, input: Stdio) -> io::Result<Program> {
        let command = detached(command).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        Ok(Program { child, out, err })
    }

    /// Starts a program whose lines are left in a pipe.
    pub fn start_writing_to(command: &mut Command, pipe: PipeWriter) -> Program {
        command.stderr(pipe.try_clone().unwrap()).stdout(pipe);
        let child = detached(command).stdin(Stdio::null()).spawn().expect("a program");
        // The command keeps the pipe open.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Program { child, out: Lines::default(), err: Lines::default() }
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Sends it a signal. It is not reaped, so its number is its own.
    pub fn signal(&self, number: i32) {
        signal(self.pid(), number);
    }

    /// Stops it, so that what is done until it continues is done before it looks.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        until("it stops", || (Process::now(self.pid())?.state == 'T').then_some(()));
    }

    /// Waits for a line on standard output that begins so, and returns the rest of it.
    pub fn says(&self, beginning: &str) -> String {
        self.says_times(beginning, 1)
    }

    /// Waits for that many lines on standard output that begin so, and returns the rest of the
    /// last.
    pub fn says_times(&self, beginning: &str, times: usize) -> String {
        wait_for(&self.out, beginning, times)
    }

    /// Waits for a line on standard error that begins so, and returns the rest of it.
    pub fn complains(&self, beginning: &str) -> String {
        self.complains_times(beginning, 1)
    }

    /// Waits for that many lines on standard error that begin so, and returns the rest of the
    /// last.
    pub fn complains_times(&self, beginning: &str, times: usize) -> String {
        wait_for(&self.err, beginning, times)
    }

    fn ended(&self) -> Option<End> {
        // SAFETY: the structure is a plain one, for which all zeros are a value.
        let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // SAFETY: `info` is there to be written to.
        let result = unsafe { libc::waitid(libc::P_PID, self.child.id(), &mut info, flags) };
        assert_eq!(result, 0);
        // SAFETY: waitid filled it in, if only with zeros.
        match unsafe { (info.si_pid(), info.si_code, info.si_status()) } {
            (0, ..) => None,
            (_, libc::CLD_EXITED, status) => Some(End::Exited(status)),
            (_, _, number) => Some(End::Killed(number)),
        }
    }

    pub fn end(&self) -> End {
        until("the end of a program", || self.ended())
    }

    /// All lines of standard output, once all who write to it have ended.
    pub fn all_lines(&self) -> Vec<String> {
        all("the end of the output", &self.out)
    }

    /// All lines of standard error, once all who write to it have ended.
    pub fn complaints(&self) -> Vec<String> {
        all("the end of the errors", &self.err)
    }

    /// Ends it with a signal, and checks that it takes that well.
    pub fn end_with(&self, ending: (i32, &str)) {
        self.end_within(Duration::from_secs(10), ending);
    }

    /// Ends it with a signal, and checks that it takes that well and at once, without the two seconds
    /// or more for which servers wait for slow clients, and has never had anything to complain about.
    pub fn end_at_once_with(&self, ending: (i32, &str)) {
        self.end_within(Duration::from_millis(1900), ending);
        assert!(self.complaints().is_empty(), "{:?}", self.complaints());
    }

    fn end_within(&self, limit: Duration, (number, farewell): (i32, &str)) {
        let sent = Instant::now();
        self.signal(number);
        assert_eq!(self.end(), End::Exited(0), "signal {number}: {:?}", self.complaints());
        assert!(sent.elapsed() < limit, "took {:?}", sent.elapsed());
        assert_eq!(self.all_lines().last().map(String::as_str), Some(farewell));
    }

    /// Checks that nothing of its process group is running.
    pub fn leaves_nothing(&self) {
        until("nothing runs", || group(self.pid()).is_empty().then_some(()));
    }

    pub fn descriptors(&self) -> usize {
        descriptors(self.pid())
    }

    /// The number that its next descriptor will have.
    pub fn lowest_free(&self) -> u64 {
        let fds = format!("/proc/{}/fd", self.pid());
        (0..).find(|number| !Path::new(&format!("{fds}/{number}")).is_symlink()).unwrap()
    }

    /// Changes a limit of it, up to the most that it was started with.
    pub fn set_limit(&self, resource: u32, limit: u64) {
        let pid = self.pid();
        let change = move || {
            // SAFETY: both point to a structure of the kind, or to none.
            unsafe {
                let mut now: libc::rlimit64 = mem::zeroed();
                let mut result = libc::prlimit64(pid, resource as _, ptr::null(), &mut now);
                if result == 0 {
                    now.rlim_cur = limit.min(now.rlim_max);
                    result = libc::prlimit64(pid, resource as _, &now, ptr::null_mut());
                }
                match result {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            }
        };
        let owner = fs::metadata(format!("/proc/{pid}")).unwrap().uid();
        if owner == user() {
            return change().expect("another limit");
        }
        // What root may do to others is a matter of capabilities. The user itself may do it.
        let mut command = Command::new("true");
        // SAFETY: the closure makes system calls alone.
        unsafe { command.uid(owner).gid(owner).pre_exec(change) };
        run_ok(&mut command);
    }

    /// Leaves it no room for another descriptor.
    pub fn fill_table(&self) {
        self.set_limit(DESCRIPTORS, self.lowest_free());
    }

    /// Checks that it does not turn in circles while it waits for something.
    pub fn rests(&self) {
        rests(self.pid());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: no memory is involved, and the group is that of our child, not yet reaped.
        unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}

/// A pipe that is soon full.
pub fn small_pipe() -> (PipeReader, PipeWriter) {
    let (read, write) = pipe().expect("a pipe");
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) }, 4096);
    (read, write)
}

/// Has nobody wait for this open file, whoever uses it.
pub fn make_nonblocking(file: &impl AsRawFd) {
    // SAFETY: no memory is involved.
    let result = unsafe {
        let flags = libc::fcntl(file.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(file.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

// ---- Processes -----------------------------------------------------------------------------

pub fn signal(pid: i32, number: i32) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(pid, number) }, 0, "signal {number} to process {pid}");
}

/// What /proc says of a process.
pub struct Process {
    pub pid: i32,
    pub state: char,
    pub parent: i32,
    pub group: i32,
    /// The time it has used.
    pub ticks: u64,
}

impl Process {
    /// Returns none if there is no such process, or none any more.
    pub fn now(pid: i32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in front of the last parenthesis may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
        let number = |i: usize| fields[i].parse::<i64>().expect("a number");
        Some(Process {
            pid,
            state: fields[0].chars().next()?,
            parent: number(1) as i32,
            group: number(2) as i32,
            ticks: (number(11) + number(12)) as u64,
        })
    }
}

/// Whether a process ignores a signal, catches it, or has it blocked, in this order.
pub fn signal_state(pid: i32, number: i32) -> [bool; 3] {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    ["SigIgn:", "SigCgt:", "SigBlk:"].map(|name| is_in_signals(&status, name, number))
}

/// Whether a signal is in a set of /proc/PID/status.
pub fn is_in_signals(status: &str, name: &str, number: i32) -> bool {
    let set = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
    u64::from_str_radix(set.trim(), 16).expect("a number") & (1 << (number - 1)) != 0
}

/// All processes there are.
pub fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // They come and go meanwhile.
    numbers.filter_map(Process::now).collect()
}

/// The running processes of a group.
pub fn group(number: i32) -> Vec<i32> {
    let running = |process: &Process| process.group == number && process.state != 'Z';
    processes().iter().filter(|process| running(process)).map(|process| process.pid).collect()
}

pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Checks that a process does not turn in circles while it waits for something.
pub fn rests(pid: i32) {
    let ticks = || Process::now(pid).expect("a process").ticks;
    let before = ticks();
    thread::sleep(Duration::from_millis(300));
    let used = ticks() - before;
    assert!(used <= 3, "it used {used} of 30 ticks");
}

// ---- Connections ---------------------------------------------------------------------------

/// Sends a text again and again to one that does not read, until no more goes: less than `most` bytes.
/// Returns how many. The socket does not block.
pub fn send_until_full(mut stream: impl Write, text: &[u8], most: usize) -> usize {
    let (mut sent, mut quiet) = (0, Instant::now());
    while quiet.elapsed() < Duration::from_secs(1) {
        match stream.write(&text[sent % text.len()..]) {
            Ok(n) => (sent, quiet) = (sent + n, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(sent < most, "nothing is collected for one that does not read");
    }
    sent
}

/// Leaves the file of a socket as a program does that was killed. What another test starts in this
/// moment can have the socket until it is executed.
pub fn leave_socket(path: &Path) {
    drop(UnixListener::bind(path).expect("a socket"));
    until("nobody listens", || UnixStream::connect(path).is_err().then_some(()));
}

pub fn local(port: u16) -> (&'static str, u16) {
    ("127.0.0.1", port)
}

/// Connects over TCP. Neither reading nor writing takes longer than the deadline.
pub fn connect(to: impl ToSocketAddrs) -> TcpStream {
    let to = to.to_socket_addrs().unwrap().next().unwrap();
    let stream = TcpStream::connect_timeout(&to, DEADLINE).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Neither reading nor writing takes longer than the deadline from now on.
pub fn with_deadline(stream: UnixStream) -> UnixStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Connects to a socket file. While its queue is full connect(2) waits, which SO_SNDTIMEO ends; but
/// that has to be set before.
pub fn reach(path: &Path) -> UnixStream {
    // SAFETY: no memory is involved.
    let sock = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(sock >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it is nobody else's.
    let stream = with_deadline(unsafe { UnixStream::from_raw_fd(sock) });
    // SAFETY: the structure is a plain one, for which all zeros are a value.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as _;
    let path = path.as_os_str().as_bytes();
    assert!(path.len() < address.sun_path.len());
    for (to, from) in address.sun_path.iter_mut().zip(path) {
        *to = *from as _;
    }
    let len = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the address is there, and of that size.
    let result = unsafe { libc::connect(sock, ptr::addr_of!(address).cast(), len) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    stream
}

/// So many descriptors the kernel takes in a message: SCM_MAX_FD, unix(7).
pub const MOST_FDS: usize = 253;

/// Room for a control message with descriptors.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fds: [RawFd; MOST_FDS],
}

/// A message as a program without the library sends and receives it.
fn with_message<T>(data: &mut [u8], fds: usize, run: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    // SAFETY: these are plain structures, for which all zeros are a value; they live as long as
    // the message that refers to them.
    unsafe {
        let mut control: Control = mem::zeroed();
        control.header.cmsg_level = libc::SOL_SOCKET;
        control.header.cmsg_type = libc::SCM_RIGHTS;
        let len = libc::CMSG_LEN((fds * mem::size_of::<RawFd>()) as u32);
        control.header.cmsg_len = len as _;
        let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        if fds > 0 {
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = len as _;
        }
        run(&mut message)
    }
}

/// A message on a channel in the plain format, with so many descriptors.
pub fn plain_message(kind: u32, payload: impl AsRef<[u8]>, descriptors: u16) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut message = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    message.extend(descriptors.to_ne_bytes());
    message.extend([0; 2]);
    message.extend(kind.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(payload);
    message.resize(message.len().next_multiple_of(8), 0);
    message
}

/// Sends data with descriptors, if the kernel lets it.
pub fn send_by_hand(stream: &UnixStream, data: &[u8], fds: &[RawFd]) -> io::Result<()> {
    assert!(fds.len() <= MOST_FDS);
    let sent = with_message(&mut data.to_vec(), fds.len(), |message| {
        // SAFETY: the message is whole, and its control buffer has room for the descriptors.
        unsafe {
            for (i, fd) in fds.iter().enumerate() {
                (&raw mut (*message.msg_control.cast::<Control>()).fds[i]).write(*fd);
            }
            libc::sendmsg(stream.as_raw_fd(), message, libc::MSG_NOSIGNAL)
        }
    });
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    assert_eq!(sent, data.len() as isize);
    Ok(())
}

/// Receives a message, and returns the length of its payload.
///
/// # Safety
///
/// The message is whole.
pub unsafe fn receive_message(socket: RawFd, message: &mut libc::msghdr) -> usize {
    loop {
        // SAFETY: as promised to this function.
        let len = unsafe { libc::recvmsg(socket, message, libc::MSG_CMSG_CLOEXEC) };
        let error = io::Error::last_os_error();
        // While a thread blocks all signals, as it does to start another or a process, also those
        // are kept that are ignored; they interrupt a socket that has a time limit.
        if len >= 0 || error.raw_os_error() != Some(libc::EINTR) {
            return len.try_into().unwrap_or_else(|_| panic!("no message: {error}"));
        }
    }
}

/// Receives with much more room than the message should need.
pub fn receive_by_hand(stream: &UnixStream) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut data = vec![0xAA; 200];
    let (len, fds) = with_message(&mut data, 4, |message| {
        // SAFETY: the message is whole; the kernel says in the header how many descriptors of its
        // room it filled, and they are ours.
        unsafe {
            let len = receive_message(stream.as_raw_fd(), message);
            assert_eq!(message.msg_flags & libc::MSG_CTRUNC, 0);
            let control = &*message.msg_control.cast::<Control>();
            let fds = match message.msg_controllen {
                0 => 0,
                _ => (control.header.cmsg_len as usize - libc::CMSG_LEN(0) as usize) / 4,
            };
            let fds = control.fds[..fds].iter().map(|fd| OwnedFd::from_raw_fd(*fd));
            (len, fds.collect())
        }
    });
    data.truncate(len);
    (data, fds)
}
