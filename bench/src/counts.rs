//! What a round takes that can be counted: instructions in user space, system calls, allocations.
//!
//! Valgrind counts them in two runs of this program, one of which makes twice as many rounds. The
//! difference is that of the rounds, without what it takes to start and to end.

use crate::world::{missing, World};
use crate::{channels, python, ways};
use serde_json::{json, Value};
use std::io::{self, Write};
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::{env, fs, thread};

/// Of as many digits as its double, so that reading the number takes as long.
const ROUNDS: usize = 100;

/// The libraries that are opened when running have ways of these names.
const OPENED: [&str; 2] = ["GLib", "skalibs"];

const NUMBERS: [usize; 3] = [1, 16, 253];

/// How many rounds to make.
pub fn asked() -> usize {
    let mut line = String::new();
    io::stdin().read_line(&mut line).expect("a line");
    line.trim().parse().expect("a number")
}

/// Makes rounds, in a process that does nothing else.
pub fn rounds(way: &str, descriptors: usize, rounds: usize) {
    let mut world = World::new(libc::SOCK_STREAM);
    if OPENED.contains(&way) {
        world = world.open_libraries();
    }
    let all = ways::ways(descriptors, &world);
    let way = all.iter().find(|known| known.name == way).expect("a way of that name");
    (way.rounds)(&world, rounds);
}

/// What Valgrind counts of a run: instructions, system calls, allocations.
fn counted(program: &[&str], rounds: usize) -> [i64; 3] {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let file = env::temp_dir().join(format!("ancillary-bench-{}-{run}", process::id()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--collect-systime=yes", "--compress-strings=no"]);
    command.arg(format!("--callgrind-out-file={}", file.display())).args(program);
    // Dictionaries of Python in the same order in every run.
    command.env("PYTHONHASHSEED", "0");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("valgrind");
    let _ = writeln!(child.stdin.take().expect("a pipe"), "{rounds}");
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    let profile = fs::read_to_string(&file).expect("what was counted");
    let _ = fs::remove_file(&file);
    let totals = profile.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
    let mut totals = totals.split(' ').map(|word| word.parse().expect("a number"));
    let mut total = || totals.next().unwrap_or(0);
    [total(), total(), allocations(&profile)]
}

/// By how much two runs differ of a program that reads how many rounds it is to make: what one
/// takes.
fn taken(program: &[&str]) -> [f64; 3] {
    let [some, more] = [ROUNDS, 2 * ROUNDS].map(|rounds| counted(program, rounds));
    [0, 1, 2].map(|i| (more[i] - some[i]) as f64 / ROUNDS as f64)
}

/// The calls of the functions that allocate, in the format of Callgrind: a line with the name of
/// the function called, and one with the number of calls.
fn allocations(profile: &str) -> i64 {
    let mut called = "";
    let mut sum = 0;
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("cfn=") {
            // With calls that go in a circle, it is numbered.
            called = name.split('\'').next().unwrap_or(name);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            if ["malloc", "calloc", "realloc", "posix_memalign"].contains(&called) {
                let number = calls.split(' ').next().and_then(|number| number.parse::<i64>().ok());
                sum += number.expect("a number of calls");
            }
        }
    }
    sum
}

/// What is counted: a way, and for what.
enum Case {
    Descriptors(usize, &'static str),
    /// A kind of messages, and how many are passed at a time.
    Messages(&'static str, &'static str, usize),
}

impl Case {
    fn count(&self) -> Value {
        let this = env::current_exe().expect("this program");
        let this = this.to_str().expect("a name of letters");
        let round = |value: f64| value.round() as i64;
        match *self {
            Case::Descriptors(descriptors, way) => {
                let (count, python) = (descriptors.to_string(), python::executable());
                let kind = libc::SOCK_STREAM.to_string();
                let [instructions, calls, allocations] = taken(&match way {
                    ways::PYTHON => vec![&python, "-c", python::PROGRAM, &kind, &count],
                    _ => vec![this, "rounds", way, &count],
                });
                // Python takes memory from the C library for many objects at a time.
                let allocations = (way != ways::PYTHON).then(|| round(allocations));
                json!({
                    "name": way, "instructions": round(instructions),
                    "system calls": round(calls), "allocations": allocations,
                })
            }
            Case::Messages(kind, way, many) => {
                let all = taken(&[this, "messages", kind, way]);
                let [instructions, calls, _] = all.map(|all| all / many as f64);
                json!({ "name": way, "instructions": round(instructions), "system calls": calls })
            }
        }
    }
}

/// Counts for all ways: to pass descriptors over a stream, and to pass messages.
pub fn count() -> Value {
    if Command::new("valgrind").arg("--version").output().is_err() {
        missing("valgrind");
        return json!({});
    }
    let world = World::new(libc::SOCK_STREAM).open_libraries();
    let mut cases = Vec::new();
    for descriptors in NUMBERS {
        let all = ways::ways(descriptors, &world).into_iter().map(|way| way.name);
        let python = python::is_there().then_some(ways::PYTHON);
        let all = all.filter(|name| *name != ways::AGAIN).chain(python);
        cases.extend(all.map(|name| Case::Descriptors(descriptors, name)));
    }
    for kind in channels::KINDS {
        let ways = channels::of_kind(kind, |ways| -> Vec<_> {
            ways.iter().map(|way| (way.name, way.many)).collect()
        });
        cases.extend(ways.into_iter().map(|(name, many)| Case::Messages(kind, name, many)));
    }
    // Counts are not disturbed by what else runs.
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![Value::Null; cases.len()]));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |number| number.get()) {
            scope.spawn(|| loop {
                let which = next.fetch_add(1, Ordering::Relaxed);
                let Some(case) = cases.get(which) else { break };
                let result = case.count();
                results.lock().expect("no panic in it")[which] = result;
            });
        }
    });
    let results = results.into_inner().expect("no panic in it");
    let of = |wanted: &dyn Fn(&Case) -> bool| -> Vec<&Value> {
        cases.iter().zip(&results).filter(|(case, _)| wanted(case)).map(|(_, one)| one).collect()
    };
    let descriptors = NUMBERS.map(|number| {
        let results = of(&|case| matches!(case, Case::Descriptors(of, _) if *of == number));
        json!({ "descriptors": number, "results": results })
    });
    let [without, with] = channels::KINDS
        .map(|kind| of(&|case| matches!(case, Case::Messages(of, ..) if *of == kind)));
    json!({ "descriptors": descriptors, "without": without, "with": with })
}
