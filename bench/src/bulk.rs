//! Connections that wait to be passed on, one by one and in bulk: the passing itself, and all
//! that the server example does for a connection.

use crate::timing::{clocked_on_processor, interleave, Contestant};
use crate::world::{missing, pair};
use crate::{ancillary, hand};
use serde_json::{json, Value};
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TURN: Duration = Duration::from_micros(400);

/// The least number of times that the server serves them, whatever that takes.
const TURNS: usize = 5;

/// As many connections are waiting.
const WAITING: usize = 64;

/// From sending to the last one closed by the receiver, which closes each by itself as the example
/// worker does: processor time of a connection.
pub fn passing(time: Duration) -> Value {
    let (here, there) = pair(libc::SOCK_STREAM);
    let (here, there) = (here.as_raw_fd(), there.as_raw_fd());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = listener.local_addr().expect("an address");
    let clients: Vec<TcpStream> =
        (0..WAITING).map(|_| TcpStream::connect(to).expect("a connection")).collect();
    let accepted: Vec<TcpStream> =
        clients.iter().map(|_| listener.accept().expect("a connection").0).collect();
    let connections: Vec<RawFd> = accepted.iter().map(|stream| stream.as_raw_fd()).collect();
    let connections = &connections;
    let each = move || {
        for connection in connections {
            ancillary::send_fd(here, *connection);
        }
        for _ in connections {
            // SAFETY: it has just been received.
            unsafe { libc::close(ancillary::receive_fd(there)) };
        }
    };
    let all = move || {
        let mut received = [const { MaybeUninit::uninit() }; WAITING];
        ancillary::send(here, connections, &[0]);
        ancillary::receive(there, &mut received, &mut [0], 0);
        // SAFETY: they have just been received.
        unsafe { hand::close(&received) };
    };
    // A round is one connection.
    fn contestant<'a>(name: &str, pass: impl Fn() + Copy + 'a) -> Contestant<'a> {
        let run = move |rounds: usize| {
            let times = rounds.div_ceil(WAITING);
            let took = clocked_on_processor(|| (0..times).for_each(|_| pass()));
            took.mul_f64(rounds as f64 / (times * WAITING) as f64)
        };
        (name.into(), Box::new(run))
    }
    interleave(vec![contestant("one by one", each), contestant("in bulk", all)], TURN, time)
}

/// The server example, and we in the place of its worker.
struct Server {
    child: Child,
    port: u16,
    link: UnixStream,
}

impl Server {
    fn start(program: &Path, options: &[&str]) -> Server {
        let name = format!("ancillary-bench-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixListener::bind_addr(&address).expect("a listener");
        listener.set_nonblocking(true).expect("a socket");
        let mut command = Command::new(program);
        command.args(options).args(["127.0.0.1", "0", &format!("@{name}")]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server");
        let link = loop {
            match listener.accept() {
                Ok((link, _)) => break link,
                Err(_) => assert!(child.try_wait().expect("a child").is_none(), "the server ended"),
            }
        };
        link.set_nonblocking(false).expect("a socket");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let port = line.trim().rsplit_once(' ').expect("a port").1.parse().expect("a number");
        // It goes on writing, as to a log.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Server { child, port, link }
    }

    fn signal(&self, number: i32) {
        // SAFETY: no memory is involved, and the process is our child.
        unsafe { libc::kill(self.child.id() as i32, number) };
    }

    /// Nanoseconds on a processor.
    fn used(&self) -> u64 {
        let path = format!("/proc/{}/schedstat", self.child.id());
        let text = fs::read_to_string(path).expect("statistics of the scheduler");
        text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
    }

    /// Lets clients come while it is stopped, and takes what it passes on after that. Returns
    /// the processor time that took it.
    fn serve(&mut self) -> Duration {
        self.signal(libc::SIGSTOP);
        let connect = |_| TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        let clients: Vec<TcpStream> = (0..WAITING).map(connect).collect();
        let before = self.used();
        self.signal(libc::SIGCONT);
        let mut left = WAITING;
        while left > 0 {
            let mut fds = [-1; WAITING];
            left -= ancillary::receive_up_to(self.link.as_raw_fd(), &mut fds);
        }
        // When it sleeps it has done all it does for them.
        let asleep = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it");
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
        };
        while !asleep() {
            std::thread::yield_now();
        }
        drop(clients);
        Duration::from_nanos(self.used() - before)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of the server for a connection.
pub fn serving(time: Duration) -> Value {
    let program = Path::new(env!("ANCILLARY_BUILD")).join("examples/server");
    if !program.exists() {
        missing("examples/server (make examples)");
        return json!([]);
    }
    let ways: [(&str, &[&str]); 2] = [("one by one", &[]), ("in bulk", &["-b", "64"])];
    let mut results = Vec::new();
    for (name, options) in ways {
        let mut server = Server::start(&program, options);
        let mut times = Vec::new();
        server.serve();
        let start = Instant::now();
        while start.elapsed() < time || times.len() < TURNS {
            times.push(server.serve().as_nanos() as f64 / WAITING as f64);
        }
        times.sort_by(f64::total_cmp);
        results.push(json!({ "name": name, "ns": times[times.len() / 2] }));
    }
    json!(results)
}
