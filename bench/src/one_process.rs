//! Rounds of send, receive and close in one process, on one processor.

use crate::python::Python;
use crate::timing::{clocked, interleave, Contestant};
use crate::ways::{self, Way};
use crate::world::{World, TYPES};
use serde_json::{json, Value};
use std::thread;
use std::time::Duration;

const TURN: Duration = Duration::from_micros(400);

const CASES: [(&str, usize); 4] =
    [("stream", 1), ("stream", 16), ("stream", 253), ("seqpacket", 1)];

/// The ways of which it is shown how the cost grows.
const GROWING: [&str; 5] =
    [ways::FLOOR, "libancillary", "libancillary, close_fds", "libancillary, LOSSLESS", ways::AGAIN];

fn contestant<'a>(way: Way, world: &'a World) -> Contestant<'a> {
    (way.name.into(), Box::new(move |rounds| clocked(|| (way.rounds)(world, rounds))))
}

/// All ways, for the numbers of descriptors and the types of socket.
pub fn compare(time: Duration) -> Value {
    json!(CASES.map(|(kind, descriptors)| compare_one(kind, kind, descriptors, time)))
}

/// All ways with one descriptor, in a program that has started another thread: from then on the
/// C library takes precautions for cancellation in each call.
pub fn compare_threaded(time: Duration) -> Value {
    thread::spawn(|| ()).join().expect("no panic in it");
    compare_one("stream, threads", "stream", 1, time)
}

fn compare_one(title: &str, kind: &str, descriptors: usize, time: Duration) -> Value {
    let kind = TYPES.iter().find(|(known, _)| *known == kind).expect("a type").1;
    let world = World::new(kind).open_libraries();
    let ways = ways::ways(descriptors, &world).into_iter();
    let mut contestants: Vec<_> = ways.map(|way| contestant(way, &world)).collect();
    if let Some(mut python) = Python::start(kind, descriptors) {
        contestants.push((ways::PYTHON.into(), Box::new(move |rounds| python.rounds(rounds))));
    }
    let results = interleave(contestants, TURN, time);
    json!({ "type": title, "descriptors": descriptors, "results": results })
}

/// How the cost grows with the number of descriptors in a message.
pub fn growth(time: Duration) -> Value {
    let world = World::new(libc::SOCK_STREAM);
    let cases = ways::COMPILED.map(|descriptors| {
        let ways = ways::ways(descriptors, &world).into_iter();
        let some = ways.filter(|way| GROWING.contains(&way.name));
        let contestants = some.map(|way| contestant(way, &world)).collect();
        json!({ "x": descriptors, "results": interleave(contestants, TURN, time) })
    });
    json!(cases)
}
