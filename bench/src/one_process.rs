//! Rounds of send, receive and close in one process, on one processor.

use crate::python::Python;
use crate::timing::{clocked, interleave, median, Contestant};
use crate::ways::{self, Way};
use crate::world::{World, TYPES};
use serde_json::{json, Value};
use std::env;
use std::process::Command;
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
        let runs: Vec<Value> =
            (0..PROCESSES).map(|_| in_a_process(title, descriptors, share)).collect();
        json!({ "type": title, "descriptors": descriptors, "results": combined(&runs) })
    }))
}

/// The results of `compare_here` in a process of its own.
fn in_a_process(title: &str, descriptors: usize, time: Duration) -> Value {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["compare", title, &descriptors.to_string(), &time.as_secs_f64().to_string()]);
    command.arg(fastrand::u64(..).to_string());
    let output = command.output().expect("this program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    serde_json::from_slice(&output.stdout).expect("results")
}

/// For each way the medians over the processes, and between what the ratio is in them.
fn combined(runs: &[Value]) -> Value {
    let names = runs[0].as_array().expect("results").iter().map(|result| &result["name"]);
    let ways = names.enumerate().map(|(i, name)| {
        let figures = |what| runs.iter().map(move |run| run[i][what].as_f64().expect("a figure"));
        json!({
            "name": name, "ns": median(figures("ns")), "ratio": median(figures("ratio")),
            "low": figures("ratio").fold(f64::MAX, f64::min),
            "high": figures("ratio").fold(f64::MIN, f64::max),
        })
    });
    ways.collect()
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
