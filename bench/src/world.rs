//! What all rounds share: a pair of sockets, files to pass, and the libraries opened when running.

use crate::glib::{self, Glib};
use crate::hand::MOST;
use crate::skalibs::{self, Skalibs};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

/// The types of socket that are measured.
pub const TYPES: [(&str, i32); 2] =
    [("stream", libc::SOCK_STREAM), ("seqpacket", libc::SOCK_SEQPACKET)];

pub struct World {
    pub kind: i32,
    pub here: UnixStream,
    pub there: UnixStream,
    /// Descriptors of different open files.
    pub files: Vec<RawFd>,
    pub borrowed: Vec<BorrowedFd<'static>>,
    pub glib: Option<Glib>,
    pub skalibs: Option<Skalibs>,
}

impl World {
    pub fn new(kind: i32) -> World {
        let (here, there) = pair(kind);
        let files: Vec<RawFd> =
            (0..MOST).map(|_| File::open("/dev/null").expect("a file").into_raw_fd()).collect();
        // SAFETY: they stay open until the end.
        let borrowed = files.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) }).collect();
        World { kind, here, there, files, borrowed, glib: None, skalibs: None }
    }

    /// Opens the libraries that not every machine has, and names those that are missing.
    pub fn open_libraries(mut self) -> World {
        self.glib = there(glib::FILE, Glib::open(pair(self.kind)));
        self.skalibs = there(skalibs::FILE, Skalibs::open());
        self
    }

    pub fn ends(&self) -> (RawFd, RawFd) {
        (self.here.as_raw_fd(), self.there.as_raw_fd())
    }
}

/// A connected pair, in the type of the standard library whatever the kind of socket.
pub fn pair(kind: i32) -> (UnixStream, UnixStream) {
    let mut ends = [0; 2];
    // SAFETY: there is room for two.
    let result =
        unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    assert_eq!(result, 0, "socketpair: {}", std::io::Error::last_os_error());
    // SAFETY: they are new.
    let [here, there] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (here.into(), there.into())
}

/// Says once that something is missing, and what.
pub fn missing(what: &str) {
    static NAMED: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let mut named = NAMED.lock().expect("no panic in it");
    if named.get_or_insert_with(HashSet::new).insert(what.to_owned()) {
        eprintln!("skipped: {what} is missing");
    }
}

fn there<T, E>(name: &str, found: Result<T, E>) -> Option<T> {
    if found.is_err() {
        missing(name);
    }
    found.ok()
}

/// Stays on one processor of those it may use, counted from the last.
pub fn pin(from_last: usize) {
    // SAFETY: plain structures, for which all zeros are a value, of the size that is said.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = std::mem::size_of_val(&set);
        assert_eq!(libc::sched_getaffinity(0, size, &mut set), 0);
        let all: Vec<usize> =
            (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect();
        set = std::mem::zeroed();
        libc::CPU_SET(all[all.len() - 1 - from_last % all.len()], &mut set);
        assert_eq!(libc::sched_setaffinity(0, size, &set), 0);
    }
}

/// May use all processors again.
pub fn unpin() {
    // SAFETY: a plain structure, of the size that is said; the kernel leaves out what is not there.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (0..libc::CPU_SETSIZE as usize).for_each(|cpu| libc::CPU_SET(cpu, &mut set));
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set);
    }
}

/// Lets as many descriptors be open, and in flight, as this user may have.
pub fn raise_limit() {
    // SAFETY: a plain structure to be filled in and read.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}
