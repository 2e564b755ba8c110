//! Descriptors that go from one process to another: latency, throughput, and how these grow with
//! the payload and the number of senders. This library and the floor alone.

use crate::timing::{clocked, interleave, Contestant};
use crate::world::{self, pair, World};
use crate::{ancillary, hand, ways};
use serde_json::{json, Value};
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const TURN: Duration = Duration::from_millis(2);

/// With many threads, each has to make many rounds for waking it up not to count.
const LONG_TURN: Duration = Duration::from_millis(40);

const WAYS: [(&str, Way); 3] =
    [(ways::FLOOR, Way::Hand), ("libancillary", Way::Library), (ways::AGAIN, Way::Hand)];

const LONGEST: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Hand,
    Library,
}

impl Way {
    fn send(self, sock: RawFd, fds: &[RawFd], data: &[u8]) {
        match self {
            Way::Hand => hand::send(sock, fds, data),
            Way::Library => ancillary::send(sock, fds, data),
        }
    }

    fn receive(self, sock: RawFd, fds: &mut [MaybeUninit<RawFd>], data: &mut [u8]) {
        match self {
            Way::Hand => hand::receive(sock, fds, data),
            Way::Library => {
                let flags = if data.len() > 1 { ancillary::WAITALL } else { 0 };
                ancillary::receive(sock, fds, data, flags)
            }
        }
    }
}

/// What the other process is to do with so many messages.
#[derive(Clone, Copy)]
struct Task {
    way: Way,
    messages: usize,
    descriptors: usize,
    len: usize,
    /// Send each back; otherwise answer once, when all are there.
    echo: bool,
}

impl Task {
    fn encode(&self) -> [u8; 20] {
        let numbers = [
            (self.way == Way::Library) as usize,
            self.messages,
            self.descriptors,
            self.len,
            self.echo as usize,
        ];
        let mut bytes = [0; 20];
        for (place, number) in bytes.chunks_mut(4).zip(numbers) {
            place.copy_from_slice(&(number as u32).to_ne_bytes());
        }
        bytes
    }

    fn decode(bytes: [u8; 20]) -> Task {
        let number = |i: usize| {
            u32::from_ne_bytes(bytes[4 * i..4 * i + 4].try_into().expect("four bytes")) as usize
        };
        Task {
            way: if number(0) != 0 { Way::Library } else { Way::Hand },
            messages: number(1),
            descriptors: number(2),
            len: number(3),
            echo: number(4) != 0,
        }
    }
}

/// The other process.
struct Peer {
    pid: libc::pid_t,
    control: UnixStream,
    link: UnixStream,
}

impl Peer {
    /// Starts it on one of the processors, counted from the last, if there are as many.
    fn start(processor: usize) -> Option<Peer> {
        if processor >= world::processors().len() {
            world::missing("a second processor");
            return None;
        }
        let ((control, its_control), (link, its_link)) =
            (pair(libc::SOCK_STREAM), pair(libc::SOCK_STREAM));
        // SAFETY: this process has a single thread now.
        match unsafe { libc::fork() } {
            0 => {
                drop((control, link));
                world::pin(processor);
                obey(its_control, its_link);
                // SAFETY: no memory is involved.
                unsafe { libc::_exit(0) }
            }
            pid => {
                assert!(pid > 0, "fork: {}", std::io::Error::last_os_error());
                Some(Peer { pid, control, link })
            }
        }
    }

    fn begin(&self, task: Task) {
        (&self.control).write_all(&task.encode()).expect("a task");
    }

    fn wait(&self) {
        (&self.control).read_exact(&mut [0]).expect("an answer");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends when it reads the end.
        self.control.shutdown(std::net::Shutdown::Both).expect("an end");
        // SAFETY: there is no room for the status to be written to.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// In the other process.
fn obey(mut control: UnixStream, link: UnixStream) {
    let link = link.as_raw_fd();
    let mut data = vec![0; LONGEST];
    let mut bytes = [0; 20];
    while control.read_exact(&mut bytes).is_ok() {
        let task = Task::decode(bytes);
        let mut room = [const { MaybeUninit::uninit() }; hand::MOST];
        let fds = &mut room[..task.descriptors];
        for _ in 0..task.messages {
            task.way.receive(link, fds, &mut data[..task.len]);
            if task.echo {
                // SAFETY: it has just been received.
                let fd = unsafe { fds[0].assume_init() };
                task.way.send(link, &[fd], &data[..task.len]);
            }
            // SAFETY: they have just been received.
            unsafe { hand::close(fds) };
        }
        if !task.echo {
            control.write_all(&[0]).expect("a reader");
        }
    }
}

fn contestants<'a>(run: impl Fn(Way, usize) -> Duration + Copy + 'a) -> Vec<Contestant<'a>> {
    let contestant = |(name, way): (&str, Way)| -> Contestant<'a> {
        (name.into(), Box::new(move |messages| run(way, messages)))
    };
    WAYS.map(contestant).into()
}

/// A descriptor goes there and back.
pub fn latency(time: Duration) -> Value {
    let world = World::new(libc::SOCK_STREAM);
    let cases = [("one", 0), ("two", 1)].into_iter().filter_map(|(processors, its)| {
        let peer = Peer::start(its)?;
        let link = peer.link.as_raw_fd();
        let run = |way: Way, messages| {
            peer.begin(Task { way, messages, descriptors: 1, len: 1, echo: true });
            let mut back = [MaybeUninit::uninit()];
            clocked(|| {
                for _ in 0..messages {
                    way.send(link, &world.files[..1], &[0]);
                    way.receive(link, &mut back, &mut [0]);
                    // SAFETY: it has just been received.
                    unsafe { hand::close(&back) };
                }
            })
        };
        let results = interleave(contestants(run), TURN, time);
        Some(json!({ "processors": processors, "results": results }))
    });
    cases.collect()
}

/// Sends messages, and waits until all have been received.
fn stream(peer: &Peer, world: &World, task: Task) -> Duration {
    let data = vec![0; task.len];
    peer.begin(task);
    clocked(|| {
        for _ in 0..task.messages {
            task.way.send(peer.link.as_raw_fd(), &world.files[..task.descriptors], &data);
        }
        peer.wait();
    })
}

/// One process sends, another one receives.
pub fn throughput(time: Duration) -> Value {
    let Some(peer) = Peer::start(1) else { return json!([]) };
    let world = World::new(libc::SOCK_STREAM);
    let cases = [1, 16, 253].map(|descriptors| {
        let run = |way, messages| {
            stream(&peer, &world, Task { way, messages, descriptors, len: 1, echo: false })
        };
        json!({ "descriptors": descriptors, "results": interleave(contestants(run), TURN, time) })
    });
    json!(cases)
}

/// How the cost of a message with one descriptor grows with the payload.
pub fn growth_by_payload(time: Duration) -> Value {
    let Some(peer) = Peer::start(1) else { return json!([]) };
    let world = World::new(libc::SOCK_STREAM);
    let cases = (0..=20).step_by(2).map(|power| {
        let len = 1 << power;
        let run = |way, messages| {
            stream(&peer, &world, Task { way, messages, descriptors: 1, len, echo: false })
        };
        json!({ "x": len, "results": interleave(contestants(run), TURN, time) })
    });
    cases.collect()
}

/// How the cost of a message with one descriptor grows with the number of threads that send to
/// one receiver, through the same socket. They share a processor, and the receiver has another.
pub fn growth_by_senders(time: Duration) -> Value {
    let Some(peer) = Peer::start(1) else { return json!([]) };
    let world = World::new(libc::SOCK_STREAM);
    let cases = (0..=6).map(|power| {
        let senders = 1 << power;
        let run = |way: Way, messages: usize| {
            let share = messages.div_ceil(senders);
            let all = share * senders;
            peer.begin(Task { way, messages: all, descriptors: 1, len: 1, echo: false });
            let together = Barrier::new(senders + 1);
            let took = thread::scope(|scope| {
                for _ in 0..senders {
                    scope.spawn(|| {
                        together.wait();
                        together.wait();
                        for _ in 0..share {
                            way.send(peer.link.as_raw_fd(), &world.files[..1], &[0]);
                        }
                    });
                }
                together.wait();
                // All are there, and none begins before the clock.
                let start = Instant::now();
                together.wait();
                peer.wait();
                start.elapsed()
            });
            took.mul_f64(messages as f64 / all as f64)
        };
        json!({ "x": senders, "results": interleave(contestants(run), LONG_TURN, time) })
    });
    cases.collect()
}
