//! What the library is to reach, and whether it does in a run.

use crate::ways::{self, Cloexec};
use serde_json::Value;

type Figure = fn(&Value) -> f64;

/// What it is, the figure, and the most that it may be.
const GOALS: [(&str, Figure, f64); 16] = [
    ("one descriptor, to the floor", |run| time(run, STREAM_1, OURS), 1.01),
    ("one, send_fd, to the floor", |run| time(run, STREAM_1, ONE), 1.01),
    ("16 descriptors, to the floor", |run| time(run, STREAM_16, OURS), 1.005),
    ("253 descriptors, to the floor", |run| time(run, STREAM_253, OURS), 1.005),
    ("one over seqpacket, to the floor", |run| time(run, SEQPACKET_1, OURS), 1.01),
    ("one over seqpacket, send_fd, to the floor", |run| time(run, SEQPACKET_1, ONE), 1.01),
    ("one, to the best that sets close-on-exec", |run| time(run, STREAM_1, ONE) / best(run), 1.003),
    ("16, closed together, to the floor", |run| time(run, STREAM_16, CLOSE_FDS), 0.75),
    ("253, closed together, to the floor", |run| time(run, STREAM_253, CLOSE_FDS), 0.60),
    ("one, lossless, to plain", |run| lossless(run, STREAM_1), 1.30),
    ("16, lossless, to plain", |run| lossless(run, STREAM_16), 1.15),
    ("64 passed in bulk, to one by one", |run| in_bulk(&run["bulk"]["passing"]), 0.25),
    ("instructions, one descriptor", |run| instructions(run, 1, OURS), 180.0),
    ("instructions, one, send_fd", |run| instructions(run, 1, ONE), 180.0),
    ("instructions, 16 descriptors", |run| instructions(run, 16, OURS), 380.0),
    ("instructions, 253 descriptors", |run| instructions(run, 253, OURS), 3800.0),
];

/// A type of socket, and a number of descriptors.
type Case = (&'static str, usize);

const STREAM_1: Case = ("stream", 1);
const STREAM_16: Case = ("stream", 16);
const STREAM_253: Case = ("stream", 253);
const SEQPACKET_1: Case = ("seqpacket", 1);

const OURS: &str = "libancillary";
/// The functions for one descriptor without a payload, as other libraries have them.
const ONE: &str = "libancillary, send_fd";
const CLOSE_FDS: &str = "libancillary, close_fds";
const LOSSLESS: &str = "libancillary, LOSSLESS";

/// Prints for each whether it is reached.
pub fn print(run: &Value) {
    for (what, figure, most) in GOALS {
        let is = figure(run);
        let reached = match is {
            _ if is.is_nan() => "not measured",
            _ if is <= most => "reached",
            _ => "MISSED",
        };
        println!("{what:42} {is:9.3} of {most:8.3}  {reached}");
    }
}

fn named(results: &Value, name: &str, what: &str) -> f64 {
    let found = results.as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    found.and_then(|one| one[what].as_f64()).unwrap_or(f64::NAN)
}

/// A way's time of a case, as a multiple of the floor.
fn time(run: &Value, case: Case, way: &str) -> f64 {
    named(compared(run, case), way, "ratio")
}

/// To the time of a receive that is not.
fn lossless(run: &Value, case: Case) -> f64 {
    time(run, case, LOSSLESS) / time(run, case, OURS)
}

fn instructions(run: &Value, descriptors: usize, way: &str) -> f64 {
    let of = |case: &Value| case["descriptors"] == descriptors;
    named(results(&run["counts"], of), way, "instructions")
}

fn compared(run: &Value, (kind, descriptors): Case) -> &Value {
    results(&run["compared"], |case| case["type"] == kind && case["descriptors"] == descriptors)
}

fn results(cases: &Value, of: impl Fn(&Value) -> bool) -> &Value {
    let found = cases.as_array().and_then(|all| all.iter().find(|case| of(case)));
    found.map_or(&Value::Null, |case| &case["results"])
}

/// The least multiple of the floor among the other libraries that set close-on-exec at once.
fn best(run: &Value) -> f64 {
    let results = compared(run, STREAM_1).as_array().map_or(&[][..], Vec::as_slice);
    let others = results.iter().filter(|one| {
        let name = one["name"].as_str().unwrap_or_default();
        !name.starts_with(OURS)
            && !name.starts_with(ways::FLOOR)
            && matches!(ways::cloexec(name), Cloexec::AtOnce)
    });
    others.filter_map(|one| one["ratio"].as_f64()).fold(f64::NAN, f64::min)
}

fn in_bulk(passing: &Value) -> f64 {
    named(passing, "in bulk", "ratio")
}
