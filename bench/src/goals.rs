//! What the library is to reach, and whether it does in a run.

use crate::ways::{self, Cloexec};
use serde_json::Value;

type Figure = fn(&Value) -> f64;

/// What it is, the figure, and the most that it may be.
const GOALS: [(&str, Figure, f64); 16] = [
    ("one descriptor, to the floor", |run| time(run, 0, OURS), 1.01),
    ("one, send_fd, to the floor", |run| time(run, 0, ONE), 1.01),
    ("16 descriptors, to the floor", |run| time(run, 1, OURS), 1.005),
    ("253 descriptors, to the floor", |run| time(run, 2, OURS), 1.005),
    ("one over seqpacket, to the floor", |run| time(run, 3, OURS), 1.01),
    ("one over seqpacket, send_fd, to the floor", |run| time(run, 3, ONE), 1.01),
    ("one, to the best that sets close-on-exec", |run| time(run, 0, ONE) / best(run), 1.003),
    ("16, closed together, to the floor", |run| time(run, 1, CLOSE_FDS), 0.75),
    ("253, closed together, to the floor", |run| time(run, 2, CLOSE_FDS), 0.60),
    ("one, lossless, to plain", |run| time(run, 0, LOSSLESS) / time(run, 0, OURS), 1.30),
    ("16, lossless, to plain", |run| time(run, 1, LOSSLESS) / time(run, 1, OURS), 1.15),
    ("64 passed in bulk, to one by one", |run| in_bulk(&run["bulk"]["passing"]), 0.25),
    ("instructions, one descriptor", |run| instructions(run, 0, OURS), 180.0),
    ("instructions, one, send_fd", |run| instructions(run, 0, ONE), 180.0),
    ("instructions, 16 descriptors", |run| instructions(run, 1, OURS), 380.0),
    ("instructions, 253 descriptors", |run| instructions(run, 2, OURS), 3800.0),
];

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
fn time(run: &Value, case: usize, way: &str) -> f64 {
    named(&run["compared"][case]["results"], way, "ratio")
}

fn instructions(run: &Value, case: usize, way: &str) -> f64 {
    named(&run["counts"][case]["results"], way, "instructions")
}

/// The least multiple of the floor among the other libraries that set close-on-exec at once.
fn best(run: &Value) -> f64 {
    let results = run["compared"][0]["results"].as_array().map_or(&[][..], Vec::as_slice);
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
