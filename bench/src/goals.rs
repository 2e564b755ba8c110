//! What the library is to reach, and whether it does.

use crate::channels;
use crate::page::Markdown;
use crate::results::{all, named, number, text};
use crate::timing::median;
use crate::ways::{self, Cloexec};
use serde_json::Value;

/// What it is, the most that it may be, and the figure of a run.
type Goal = (&'static str, f64, fn(&Value) -> f64);

const TIMES: [Goal; 15] = [
    ("1 descriptor, to the floor", 1.02, |run| time(run, STREAM_1, OURS)),
    ("16 descriptors, to the floor", 1.01, |run| time(run, STREAM_16, OURS)),
    ("253 descriptors, to the floor", 1.003, |run| time(run, STREAM_253, OURS)),
    ("1 over seqpacket, to the floor", 1.02, |run| time(run, SEQPACKET_1, OURS)),
    ("1 by `send_fd`, to the floor", 1.01, |run| time(run, STREAM_1, ONE)),
    ("1 by `send_fd` over seqpacket, to the floor", 1.01, |run| time(run, SEQPACKET_1, ONE)),
    ("1 by `send_fd`, to the best other that sets close-on-exec at once", 1.003, |run| {
        time(run, STREAM_1, ONE) / best(run)
    }),
    ("16 and `close_fds`, to the floor", 0.75, |run| time(run, STREAM_16, CLOSE_FDS)),
    ("253 and `close_fds`, to the floor", 0.60, |run| time(run, STREAM_253, CLOSE_FDS)),
    ("1 with `LOSSLESS`, to without", 1.30, |run| lossless(run, STREAM_1)),
    ("16 with `LOSSLESS`, to without", 1.15, |run| lossless(run, STREAM_16)),
    ("64 in bulk, to one by one", 0.25, |run| ratio(&run["bulk"]["passing"], "in bulk")),
    ("message of 64 bytes, gathered, to seqpacket", 0.03, |run| {
        let cases = &run["channels"]["without"];
        ratio(results(cases, |case| case["x"] == channels::COUNTED), channels::GATHERED)
    }),
    ("message with a descriptor, gathered, to one by one", 0.17, |run| {
        handed_over(run, channels::GATHERED) / handed_over(run, channels::ONE_BY_ONE)
    }),
    ("message with a descriptor, to `send_fds`", 1.10, |run| {
        handed_over(run, channels::ONE_BY_ONE) / handed_over(run, channels::CALLS)
    }),
];

/// What is counted is the same in all runs.
const COUNTS: [Goal; 7] = [
    ("1 descriptor, to *floor, errno kept*", 1.2, |run| instructions(run, 1, OURS)),
    ("16 descriptors, to *floor, errno kept*", 1.25, |run| instructions(run, 16, OURS)),
    ("253 descriptors, to *floor, errno kept*", 1.1, |run| instructions(run, 253, OURS)),
    ("1 by `send_fd`, to *floor, errno kept*", 1.2, |run| instructions(run, 1, ONE)),
    ("1 by `recv_msg`", 500.0, |run| counted(run, 1, MSG)),
    ("1 with `LOSSLESS`", 320.0, |run| counted(run, 1, LOSSLESS)),
    ("message of 64 bytes, gathered", 260.0, |run| {
        let found = named(&run["counts"]["without"], channels::GATHERED);
        found.map_or(f64::NAN, |one| number(&one["instructions"]))
    }),
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
const MSG: &str = "libancillary, recv_msg";
const CLOSE_FDS: &str = "libancillary, close_fds";
const LOSSLESS: &str = "libancillary, LOSSLESS";

/// For each goal, and the runs: the median of the figure, what it is between, and whether it
/// holds.
pub fn table(runs: &[Value]) -> String {
    let mut table = Markdown::new(["time", "at most", "is", "in the runs", ""]);
    for (what, most, figure) in TIMES {
        let figures = || runs.iter().map(figure);
        let (low, high) = (figures().fold(f64::MAX, f64::min), figures().fold(0.0, f64::max));
        let row = row(what, most, median(figures()), format!("{low:.3} to {high:.3}"));
        table.row(row);
    }
    let times = table;
    let mut table = Markdown::new(["instructions", "at most", "is", "", ""]);
    for (what, most, figure) in COUNTS {
        table.row(row(what, most, figure(&runs[0]), String::new()));
    }
    format!("{times}\n{table}")
}

fn row(what: &str, most: f64, is: f64, between: String) -> [String; 5] {
    let digits = if most < 100.0 { 3 } else { 0 };
    let holds = match is {
        _ if is.is_nan() => "not measured",
        _ if is <= most => "holds",
        _ => "**missed**",
    };
    let is = if is.is_nan() { String::new() } else { format!("{is:.digits$}") };
    [what.into(), format!("{most}"), is, between, holds.into()]
}

fn ratio(results: &Value, name: &str) -> f64 {
    named(results, name).map_or(f64::NAN, |one| number(&one["ratio"]))
}

fn results(cases: &Value, of: impl Fn(&Value) -> bool) -> &Value {
    all(cases).iter().find(|case| of(case)).map_or(&Value::Null, |case| &case["results"])
}

fn compared(run: &Value, (kind, descriptors): Case) -> &Value {
    results(&run["compared"], |case| case["type"] == kind && case["descriptors"] == descriptors)
}

/// A way's time of a case, as a multiple of the floor.
fn time(run: &Value, case: Case, way: &str) -> f64 {
    ratio(compared(run, case), way)
}

/// To the time of a receive that is not.
fn lossless(run: &Value, case: Case) -> f64 {
    time(run, case, LOSSLESS) / time(run, case, OURS)
}

fn handed_over(run: &Value, way: &str) -> f64 {
    ratio(&run["channels"]["with"], way)
}

fn counted(run: &Value, descriptors: usize, way: &str) -> f64 {
    let results = results(&run["counts"]["descriptors"], |case| case["descriptors"] == descriptors);
    named(results, way).map_or(f64::NAN, |one| number(&one["instructions"]))
}

/// As a multiple of what a shared library takes that makes the system calls and keeps errno.
fn instructions(run: &Value, descriptors: usize, way: &str) -> f64 {
    counted(run, descriptors, way) / counted(run, descriptors, ways::KEEPING)
}

/// The least multiple of the floor among the other libraries that set close-on-exec at once.
fn best(run: &Value) -> f64 {
    let others = all(compared(run, STREAM_1)).iter().filter(|one| {
        let name = text(&one["name"]);
        !name.starts_with(OURS)
            && !name.starts_with(ways::FLOOR)
            && matches!(ways::cloexec(name), Cloexec::AtOnce)
    });
    others.map(|one| number(&one["ratio"])).fold(f64::NAN, f64::min)
}
