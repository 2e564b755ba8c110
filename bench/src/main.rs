//! Measures what it takes to pass descriptors: this library beside the hand-written system calls,
//! which are the floor, and beside other libraries.
//!
//!     bench measure FILE SECONDS RUNS  measures so many times, each case for so long, and writes
//!                                      the results
//!     bench show FILE PAGE FOLDER      writes the page with these results, and the plots,
//!                                      and prints what the library reaches
//!     bench run SECONDS SEED           measures once, in this process, and prints the results
//!     bench compare TYPE NUMBER SECONDS SEED
//!                                      measures rounds in this process, and prints the results
//!     bench rounds WAY NUMBER, bench messages KIND WAY
//!                                      makes as many rounds as it reads from standard input, for
//!                                      what counts from outside

mod ancillary;
mod bulk;
mod channels;
mod counts;
mod glib;
mod goals;
mod hand;
mod libuv;
mod machine;
mod one_process;
mod page;
mod plots;
mod processes;
mod python;
mod results;
mod shared_floor;
mod skalibs;
mod svg;
mod timing;
mod ways;
mod world;

use serde_json::{json, Value};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, path::Path};

/// All that is measured in time, in this process.
fn run(seconds: f64) -> Value {
    let start = Instant::now();
    let step = |name: &str| eprintln!("{:4} s  {name}", start.elapsed().as_secs());
    let (long, short) = (Duration::from_secs_f64(seconds), Duration::from_secs_f64(seconds / 5.0));
    world::raise_limit();
    world::pin(0);
    step("one process");
    let compared = one_process::compare(long);
    let descriptors = one_process::growth(short);
    let passing = bulk::passing(short);
    step("channels");
    let channels = channels::compare(short);
    step("two processes");
    let latency = processes::latency(short * 2);
    let throughput = processes::throughput(short * 2);
    let payload = processes::growth_by_payload(short);
    // What needs threads comes last, because the C library does not forget that there were some.
    step("threads");
    let senders = processes::growth_by_senders(short);
    let serving = bulk::serving(short);
    step("done");
    json!({
        "compared": compared,
        "channels": channels,
        "latency": latency,
        "throughput": throughput,
        "growth": { "descriptors": descriptors, "payload": payload, "senders": senders },
        "bulk": { "passing": passing, "serving": serving },
    })
}

/// Several runs, each in a process of its own, and what does not differ between them.
fn measure(seconds: &str, runs: usize) -> Value {
    // Who is measured when is drawn.
    if let Ok(seed) = env::var("ANCILLARY_TEST_SEED") {
        fastrand::seed(seed.parse().expect("a seed"));
    }
    eprintln!("ANCILLARY_TEST_SEED={}", fastrand::get_seed());
    let machine = machine::describe();
    let run = |number| {
        eprintln!("run {} of {runs}", number + 1);
        in_a_process(&["run", seconds, &fastrand::u64(..).to_string()])
    };
    let all: Vec<Value> = (0..runs).map(run).collect();
    eprintln!("counts");
    json!({
        "seconds": seconds,
        "machine": machine,
        "versions": machine::versions(),
        "sizes": machine::sizes(),
        "counts": counts::count(),
        "runs": all,
    })
}

/// The results of this program with such arguments, in a process of its own.
fn in_a_process(arguments: &[&str]) -> Value {
    let mut command = Command::new(env::current_exe().expect("this program"));
    let output = command.args(arguments).stderr(Stdio::inherit()).output().expect("this program");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    serde_json::from_slice(&output.stdout).expect("results")
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", file, seconds, runs] => {
            let results = measure(seconds, runs.parse().expect("a number"));
            let text = serde_json::to_string_pretty(&results).expect("text");
            fs::write(file, text + "\n").expect("a file for the results");
        }
        ["show", file, page, folder] => {
            let text = fs::read_to_string(file).expect("results");
            let runs = results::runs(&serde_json::from_str(&text).expect("results"));
            let results = results::combined(&runs);
            let folder = Path::new(folder);
            fs::create_dir_all(folder).expect("a folder");
            let goals = goals::table(&runs);
            page::write(&results, &goals, Path::new(page), &folder.join("performance.md"));
            plots::write(&results, folder);
            println!("{goals}");
        }
        ["run", seconds, seed] => {
            fastrand::seed(seed.parse().expect("a seed"));
            println!("{}", run(seconds.parse().expect("seconds")));
        }
        ["compare", title, descriptors, seconds, seed] => {
            fastrand::seed(seed.parse().expect("a seed"));
            world::raise_limit();
            world::pin(0);
            let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
            let descriptors = descriptors.parse().expect("a number");
            println!("{}", one_process::compare_here(title, descriptors, time));
        }
        ["rounds", way, descriptors] => {
            counts::rounds(way, descriptors.parse().expect("a number"), counts::asked());
        }
        ["messages", kind, way] => channels::pass(kind, way, counts::asked()),
        _ => panic!("see the beginning of {}", file!()),
    }
}
