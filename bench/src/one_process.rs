//! Rounds of send, receive and close in one process, on one processor.

use crate::in_a_process;
use crate::python::Python;
use crate::results::{combined, number};
use crate::timing::{clocked, interleave, Contestant};
use crate::ways::{self, Way};
use crate::world::{World, TYPES};
use serde_json::{json, Value};
use std::thread;
use std::time::Duration;

const TURN: Duration = Duration::from_micros(400);

/// A title, and a number of descriptors.
const CASES: [(&str, usize); 5] =
    [("stream", 1), ("stream", 16), ("stream", 253), ("seqpacket", 1), (THREADED, 1)];

/// In a program that has started another thread: from then on the C library takes precautions for
/// cancellation in each call.
const THREADED: &str = "stream, threads";

/// How code and memory happen to lie stays as it is in a process, and makes its ratios differ from
/// those of another one. So each case is measured in as many.
pub const PROCESSES: u32 = 5;

/// The ways of which it is shown how the cost grows.
const GROWING: [&str; 5] =
    [ways::FLOOR, "libancillary", "libancillary, close_fds", "libancillary, LOSSLESS", ways::AGAIN];

fn contestant<'a>(way: Way, world: &'a World) -> Contestant<'a> {
    (way.name.into(), Box::new(move |rounds| clocked(|| (way.rounds)(world, rounds))))
}

/// All ways, for the numbers of descriptors and the types of socket.
pub fn compare(time: Duration) -> Value {
    json!(CASES.map(|(title, descriptors)| {
        let share = time / PROCESSES;
        let (number, share) = (descriptors.to_string(), share.as_secs_f64().to_string());
        let run =
            |_| in_a_process(&["compare", title, &number, &share, &fastrand::u64(..).to_string()]);
        let runs: Vec<Value> = (0..PROCESSES).map(run).collect();
        json!({ "type": title, "descriptors": descriptors, "results": apart(&runs) })
    }))
}

/// For each way the medians over the processes, and how far apart the ratio is in them.
fn apart(runs: &[Value]) -> Value {
    let mut results = combined(runs);
    for (i, result) in results.as_array_mut().expect("results").iter_mut().enumerate() {
        let ratios = || runs.iter().map(|run| number(&run[i]["ratio"]));
        let apart = ratios().fold(f64::MIN, f64::max) - ratios().fold(f64::MAX, f64::min);
        result["apart"] = apart.into();
    }
    results
}

/// All ways, in this process.
pub fn compare_here(title: &str, descriptors: usize, time: Duration) -> Value {
    if title == THREADED {
        thread::spawn(|| ()).join().expect("no panic in it");
    }
    let kind = TYPES.iter().find(|(name, _)| title.starts_with(name)).expect("a type").1;
    let world = World::new(kind).open_libraries();
    let ways = ways::ways(descriptors, &world).into_iter();
    let mut contestants: Vec<_> = ways.map(|way| contestant(way, &world)).collect();
    if let Some(mut python) = Python::start(kind, descriptors) {
        contestants.push((ways::PYTHON.into(), Box::new(move |rounds| python.rounds(rounds))));
    }
    interleave(contestants, TURN, time)
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
