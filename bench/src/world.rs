//! What all rounds share: a pair of sockets, files to pass, and the libraries opened when running.

use crate::glib::{self, Glib};
use crate::hand::MOST;
use crate::skalibs::{self, Skalibs};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock};

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
    /// Keeps the files open.
    _open: Vec<OwnedFd>,
}

impl World {
    pub fn new(kind: i32) -> World {
        let (here, there) = pair(kind);
        let open: Vec<OwnedFd> =
            (0..MOST).map(|_| File::open("/dev/null").expect("a file").into()).collect();
        let files: Vec<RawFd> = open.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: they stay open as long as there is this world, and nobody keeps one longer.
        let borrowed = files.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) }).collect();
        World { kind, here, there, files, borrowed, glib: None, skalibs: None, _open: open }
    }

    /// Opens the libraries that not every machine has, and names those that are missing.
    pub fn open_libraries(mut self) -> World {
        self.glib = opened(glib::FILE, Glib::open(pair(self.kind)));
        self.skalibs = opened(skalibs::FILE, Skalibs::open());
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

pub fn opened<T, E>(name: &str, found: Result<T, E>) -> Option<T> {
    if found.is_err() {
        missing(name);
    }
    found.ok()
}

/// The processors that the program may use, as it was started. To be asked before it is pinned:
/// a process inherits where it may run.
pub fn processors() -> &'static [usize] {
    static ALL: OnceLock<Vec<usize>> = OnceLock::new();
    ALL.get_or_init(|| {
        // SAFETY: a plain structure, for which all zeros are a value, of the size that is said.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let result = libc::sched_getaffinity(0, std::mem::size_of_val(&set), &mut set);
            assert_eq!(result, 0, "sched_getaffinity: {}", std::io::Error::last_os_error());
            (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
        }
    })
}

fn stay_on(processor: usize) {
    // SAFETY: a plain structure, for which all zeros are a value, of the size that is said.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set)
    };
    assert_eq!(result, 0, "sched_setaffinity: {}", std::io::Error::last_os_error());
}

/// Stays on one of the processors, counted from the last.
pub fn pin(from_last: usize) {
    let all = processors();
    let processor = all[all.len() - 1 - from_last];
    stay_on(processor);
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::sched_getcpu() }, processor as i32, "the processor in use");
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
