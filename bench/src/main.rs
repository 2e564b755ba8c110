//! Measures what it takes to pass descriptors: this library beside the hand-written system calls,
//! which are the floor, and beside other libraries.
//!
//!     bench measure FILE SECONDS       measures, each case for so long, and writes the results
//!     bench show FILE PAGE FOLDER      writes the page with these results, and the plots,
//!                                      and prints what the library reaches
//!     bench compare TYPE NUMBER SECONDS SEED
//!                                      measures rounds in this process, and prints the results
//!     bench rounds WAY NUMBER ROUNDS   makes rounds, for what counts from outside

mod ancillary;
mod bulk;
mod counts;
mod glib;
mod goals;
mod hand;
mod machine;
mod one_process;
mod page;
mod plots;
mod processes;
mod python;
mod shared_floor;
mod skalibs;
mod timing;
mod ways;
mod world;

use serde_json::{json, Value};
use std::time::{Duration, Instant};
use std::{env, fs, path::Path};

fn measure(seconds: f64) -> Value {
    let start = Instant::now();
    let step = |name: &str| eprintln!("{:4} s  {name}", start.elapsed().as_secs());
    let (long, short) = (Duration::from_secs_f64(seconds), Duration::from_secs_f64(seconds / 5.0));
    // Who is measured when is drawn.
    if let Ok(seed) = env::var("ANCILLARY_TEST_SEED") {
        fastrand::seed(seed.parse().expect("a seed"));
    }
    eprintln!("ANCILLARY_TEST_SEED={}", fastrand::get_seed());
    let machine = machine::describe();
    world::raise_limit();
    world::pin(0);
    step("one process");
    let compared = one_process::compare(long);
    let descriptors = one_process::growth(short);
    let passing = bulk::passing(short);
    step("two processes");
    let latency = processes::latency(short * 2);
    let throughput = processes::throughput(short * 2);
    let payload = processes::growth_by_payload(short);
    // What needs threads comes last, because the C library does not forget that there were some.
    step("threads");
    let senders = processes::growth_by_senders(short);
    let serving = bulk::serving(short);
    world::unpin();
    step("counts");
    let counts = counts::count();
    step("done");
    json!({
        "machine": machine,
        "versions": machine::versions(),
        "sizes": machine::sizes(),
        "compared": compared,
        "counts": counts,
        "latency": latency,
        "throughput": throughput,
        "growth": { "descriptors": descriptors, "payload": payload, "senders": senders },
        "bulk": { "passing": passing, "serving": serving },
    })
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["measure", file, seconds] => {
            let results = measure(seconds.parse().expect("seconds"));
            let text = serde_json::to_string_pretty(&results).expect("text");
            fs::write(file, text + "\n").expect("a file for the results");
        }
        ["show", file, page, folder] => {
            let text = fs::read_to_string(file).expect("results");
            let results = serde_json::from_str(&text).expect("results");
            let folder = Path::new(folder);
            fs::create_dir_all(folder).expect("a folder");
            page::write(&results, Path::new(page), &folder.join("performance.md"));
            plots::write(&results, folder);
            goals::print(&results);
        }
        ["compare", title, descriptors, seconds, seed] => {
            fastrand::seed(seed.parse().expect("a seed"));
            world::raise_limit();
            world::pin(0);
            let time = Duration::from_secs_f64(seconds.parse().expect("seconds"));
            let descriptors = descriptors.parse().expect("a number");
            println!("{}", one_process::compare_here(title, descriptors, time));
        }
        ["rounds", way, descriptors, rounds] => {
            let number = |text: &str| text.parse().expect("a number");
            counts::rounds(way, number(descriptors), number(rounds));
        }
        _ => panic!("see the beginning of {}", file!()),
    }
}
