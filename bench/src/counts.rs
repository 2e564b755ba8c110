//! What a round takes that can be counted: instructions in user space, system calls, allocations.
//!
//! Valgrind counts them in two runs of this program, one of which makes twice as many rounds. The
//! difference is that of the rounds, without what it takes to start and to end.

use crate::world::{missing, World};
use crate::{python, ways};
use serde_json::{json, Value};
use std::io::Write;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::{env, fs, thread};

/// Of as many digits as its double, so that reading the number takes as long.
const ROUNDS: usize = 100;

/// The libraries that are opened when running have ways of these names.
const OPENED: [&str; 2] = ["GLib", "skalibs"];

const NUMBERS: [usize; 3] = [1, 16, 253];

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

/// What Valgrind counts of a run with so many rounds: instructions, system calls, allocations.
fn counted(way: &str, descriptors: usize, rounds: usize) -> [i64; 3] {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    let file = env::temp_dir().join(format!("ancillary-bench-{}-{run}", process::id()));
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--collect-systime=yes", "--compress-strings=no"]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    let (count, rounds) = (descriptors.to_string(), rounds.to_string());
    if way == ways::PYTHON {
        // Dictionaries in the same order in every run.
        command.env("PYTHONHASHSEED", "0");
        command.arg(python::executable()).args(["-c", python::PROGRAM]);
        command.args([&libc::SOCK_STREAM.to_string(), &count]);
    } else {
        command.arg(env::current_exe().expect("this program")).args(["rounds", way]);
        command.args([&count, &rounds]);
    }
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

/// What a round takes.
fn taken(way: &str, descriptors: usize) -> Value {
    let rounds = ROUNDS as i64;
    let [some, more] = [ROUNDS, 2 * ROUNDS].map(|rounds| counted(way, descriptors, rounds));
    let [instructions, calls, allocations] =
        [0, 1, 2].map(|i| (more[i] - some[i] + rounds / 2) / rounds);
    // Python takes memory from the C library for many objects at a time.
    let allocations = (way != ways::PYTHON).then_some(allocations);
    json!({
        "name": way, "instructions": instructions, "system calls": calls,
        "allocations": allocations,
    })
}

/// Counts for all ways, over a stream.
pub fn count() -> Value {
    if Command::new("valgrind").arg("--version").output().is_err() {
        missing("valgrind");
        return json!([]);
    }
    let world = World::new(libc::SOCK_STREAM).open_libraries();
    let mut ways: Vec<(usize, &str)> = Vec::new();
    for descriptors in NUMBERS {
        let all = ways::ways(descriptors, &world).into_iter().map(|way| way.name);
        let python = python::is_there().then_some(ways::PYTHON);
        let all = all.filter(|name| *name != ways::AGAIN).chain(python);
        ways.extend(all.map(|name| (descriptors, name)));
    }
    // Counts are not disturbed by what else runs.
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![Value::Null; ways.len()]));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |number| number.get()) {
            scope.spawn(|| loop {
                let which = next.fetch_add(1, Ordering::Relaxed);
                let Some((descriptors, way)) = ways.get(which) else { break };
                let result = taken(way, *descriptors);
                results.lock().expect("no panic in it")[which] = result;
            });
        }
    });
    let results = results.into_inner().expect("no panic in it");
    let cases = NUMBERS.map(|descriptors| {
        let all = ways.iter().zip(&results).filter(|((number, _), _)| *number == descriptors);
        let results: Vec<&Value> = all.map(|(_, result)| result).collect();
        json!({ "descriptors": descriptors, "results": results })
    });
    json!(cases)
}
