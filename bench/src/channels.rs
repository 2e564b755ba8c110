//! Messages on a channel, one by one and gathered, beside what else keeps messages apart.

use crate::ancillary::{self, Channel, MEMORY, MORE, TAKE};
use crate::glib::{self, Glib};
use crate::hand;
use crate::libuv::{self, Libuv};
use crate::timing::{clocked, interleave, Contestant};
use crate::world::{opened, pair};
use serde_json::{json, Value};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const TURN: Duration = Duration::from_micros(400);

const LENGTHS: [usize; 6] = [16, 64, 256, 1024, 4096, 16384];
/// The length for which it is counted what messages take.
pub const COUNTED: usize = 64;

/// So many are gathered by who has a few to send, if the memory has room for them.
const FEW: usize = 16;

/// With a payload as long as the header of a message.
pub const CALLS: &str = "send_fds and recv_fds";
pub const ONE_BY_ONE: &str = "channel, one by one";
/// As many as the memory holds, or descriptors as one system call carries.
pub const GATHERED: &str = "channel, gathered";

/// In front of a payload: the length of both, in as many bytes as a channel has there.
pub const HEADER: usize = 16;

fn with_header(len: usize) -> Vec<u8> {
    let mut message = vec![7; HEADER + len];
    message[..4].copy_from_slice(&((HEADER + len) as u32).to_ne_bytes());
    message
}

pub fn len_in(message: &[u8]) -> usize {
    u32::from_ne_bytes(message[..4].try_into().expect("four bytes")) as usize
}

/// A way to pass messages, so many at a time.
pub struct Way<'a> {
    pub name: &'static str,
    pub many: usize,
    pub pass: Box<dyn FnMut() + 'a>,
}

fn way<'a>(name: &'static str, many: usize, pass: impl FnMut() + 'a) -> Way<'a> {
    Way { name, many, pass: Box::new(pass) }
}

/// A round is one message.
fn contestant(mut way: Way) -> Contestant {
    let run = move |rounds: usize| {
        let times = rounds.div_ceil(way.many);
        let took = clocked(|| (0..times).for_each(|_| (way.pass)()));
        took.mul_f64(rounds as f64 / (times * way.many) as f64)
    };
    (way.name.into(), Box::new(run))
}

fn send(sock: &UnixStream, bytes: &[u8]) {
    let (sock, start) = (sock.as_raw_fd(), bytes.as_ptr().cast());
    // SAFETY: so many bytes are there.
    let n = unsafe { libc::send(sock, start, bytes.len(), libc::MSG_NOSIGNAL) };
    assert_eq!(n, bytes.len() as isize);
}

fn receive(sock: &UnixStream, bytes: &mut [u8]) {
    let (sock, start) = (sock.as_raw_fd(), bytes.as_mut_ptr().cast());
    // SAFETY: there is so much room.
    let n = unsafe { libc::recv(sock, start, bytes.len(), 0) };
    assert_eq!(n, bytes.len() as isize);
}

fn dup(fd: RawFd) -> RawFd {
    // SAFETY: no memory is involved.
    unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) }
}

fn close(fd: RawFd) {
    // SAFETY: no memory is involved, and the descriptor is ours.
    unsafe { libc::close(fd) };
}

/// Two channels that are connected.
fn channels() -> [Channel; 2] {
    let (here, there) = pair(libc::SOCK_STREAM);
    [here, there].map(Channel::new)
}

fn gathered<'a>(name: &'static str, many: usize, payload: &'a [u8]) -> Way<'a> {
    let [mut here, mut there] = channels();
    way(name, many, move || {
        (0..many).for_each(|_| here.send(payload, &mut [], MORE));
        here.flush();
        (0..many).for_each(|_| assert_eq!(there.receive(), payload.len()));
    })
}

/// The ways of messages without descriptors.
pub fn without(message: &[u8]) -> Vec<Way<'_>> {
    let payload = &message[HEADER..];
    let fit = MEMORY / message.len().next_multiple_of(8);
    let packets = pair(libc::SOCK_SEQPACKET);
    let mut room = payload.to_vec();
    let packet = way("seqpacket, a call each", 1, move || {
        send(&packets.0, payload);
        receive(&packets.1, &mut room);
    });
    let stream = pair(libc::SOCK_STREAM);
    let mut room = message.to_vec();
    let parts = way("stream, header and then body", 1, move || {
        send(&stream.0, message);
        receive(&stream.1, &mut room[..HEADER]);
        let len = len_in(&room);
        receive(&stream.1, &mut room[HEADER..len]);
    });
    let [mut here, mut there] = channels();
    let one_by_one = way(ONE_BY_ONE, 1, move || {
        here.send(payload, &mut [], 0);
        assert_eq!(there.receive(), payload.len());
    });
    let few = gathered("channel, 16 gathered", FEW.min(fit), payload);
    let all = gathered(GATHERED, fit, payload);
    let mut ways = vec![packet, one_by_one, few, all, parts];
    if let Some(glib) = opened(glib::FILE, Glib::open(pair(libc::SOCK_STREAM))) {
        let mut room = message.to_vec();
        ways.push(way("GLib, header and then body", 1, move || {
            glib.send(message);
            glib.receive(&mut room[..HEADER]);
            let len = len_in(&room);
            glib.receive(&mut room[HEADER..len]);
        }));
    }
    if let Some(libuv) = opened(libuv::FILE, Libuv::open(pair(libc::SOCK_STREAM))) {
        ways.push(way("libuv, IPC pipes", 1, move || libuv.pass(message, None)));
    }
    ways
}

/// The ways to hand over a descriptor with each message: it is duplicated, sent, closed here,
/// received, and closed.
pub fn with(file: RawFd) -> Vec<Way<'static>> {
    let calls = pair(libc::SOCK_STREAM);
    let call = way("send_fd and recv_fd", 1, move || {
        let fd = dup(file);
        ancillary::send_fd(calls.0.as_raw_fd(), fd);
        close(fd);
        close(ancillary::receive_fd(calls.1.as_raw_fd()));
    });
    let calls = pair(libc::SOCK_STREAM);
    let call_with_payload = way(CALLS, 1, move || {
        let fd = dup(file);
        ancillary::send(calls.0.as_raw_fd(), &[fd], &[7; HEADER]);
        close(fd);
        let mut received = [MaybeUninit::uninit()];
        ancillary::receive(calls.1.as_raw_fd(), &mut received, &mut [0; HEADER], 0);
        // SAFETY: it has just been received.
        unsafe { hand::close(&received) };
    });
    let [mut here, mut there] = channels();
    let one_by_one = way(ONE_BY_ONE, 1, move || {
        here.send(&[], &mut [dup(file)], TAKE);
        there.receive();
    });
    let [mut here, mut there] = channels();
    let all = way(GATHERED, hand::MOST, move || {
        (0..hand::MOST).for_each(|_| here.send(&[], &mut [dup(file)], TAKE | MORE));
        here.flush();
        (0..hand::MOST).for_each(|_| assert_eq!(there.receive(), 0));
    });
    let mut ways = vec![call, call_with_payload, one_by_one, all];
    if let Some(glib) = opened(glib::FILE, Glib::open(pair(libc::SOCK_STREAM))) {
        // It duplicates what it sends.
        ways.push(way("GLib", 1, move || glib.round(&[file])));
    }
    if let Some(libuv) = opened(libuv::FILE, Libuv::open(pair(libc::SOCK_STREAM))) {
        let message = with_header(0);
        ways.push(way("libuv, IPC pipes", 1, move || libuv.pass(&message, Some(dup(file)))));
    }
    ways
}

fn measured(ways: Vec<Way>, time: Duration) -> Value {
    interleave(ways.into_iter().map(contestant).collect(), TURN, time)
}

/// Messages of several lengths, and descriptors handed over.
pub fn compare(time: Duration) -> Value {
    let cases = LENGTHS
        .map(|len| json!({ "x": len, "results": measured(without(&with_header(len)), time) }));
    let (file, _other_end) = pair(libc::SOCK_STREAM);
    json!({ "without": cases, "with": measured(with(file.as_raw_fd()), time) })
}

/// The kinds of messages for which it is counted what they take.
pub const KINDS: [&str; 2] = ["without", "with"];

/// Does something with the ways to pass messages of a kind, for what counts.
pub fn of_kind<T>(kind: &str, use_them: impl FnOnce(Vec<Way>) -> T) -> T {
    let (file, _other_end) = pair(libc::SOCK_STREAM);
    let message = with_header(COUNTED);
    use_them(match kind {
        "without" => without(&message),
        "with" => with(file.as_raw_fd()),
        _ => panic!("{kind}: not known"),
    })
}

/// Passes messages, in a process that does nothing else.
pub fn pass(kind: &str, name: &str, times: usize) {
    of_kind(kind, |ways| {
        let mut way = ways.into_iter().find(|way| way.name == name).expect("a way of that name");
        (0..times).for_each(|_| (way.pass)());
    });
}
