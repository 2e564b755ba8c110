//! Writes a page anew with the results of a run: the tables between its marks.

use crate::one_process;
use crate::results::{all, named, number, text};
use crate::ways::{self, Cloexec};
use serde_json::{json, Value};
use std::fmt::Write;
use std::fs;
use std::path::Path;

type Table = fn(&Value) -> String;

/// The marks `<!-- NAME -->` and `<!-- /NAME -->`, and what is between them.
const TABLES: [(&str, Table); 11] = [
    ("machine", machine),
    ("versions", versions),
    ("times", times),
    ("counts", counts),
    ("sizes", sizes),
    ("latency", latency),
    ("throughput", throughput),
    ("messages", messages),
    ("handed over", handed_over),
    ("passing", |results| bulk(&results["bulk"]["passing"])),
    ("serving", |results| bulk(&results["bulk"]["serving"])),
];

pub fn write(results: &Value, goals: &str, from: &Path, to: &Path) {
    let mut page = fs::read_to_string(from).expect("the page");
    let tables = TABLES.iter().map(|(name, table)| (*name, table(results)));
    for (name, table) in tables.chain([("goals", goals.to_owned())]) {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
        page = format!("{before}{begin}\n{table}\n{end}{after}");
    }
    fs::write(to, page).expect("a page");
}

/// 1234567 as 1,234,567.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn microseconds(nanoseconds: &Value) -> String {
    let microseconds = number(nanoseconds) / 1000.0;
    match microseconds {
        ..1.0 => format!("{microseconds:.3} µs"),
        1.0..10.0 => format!("{microseconds:.2} µs"),
        _ => format!("{microseconds:.1} µs"),
    }
}

/// A table of Markdown, with the numbers to the right.
pub struct Markdown(String);

impl std::fmt::Display for Markdown {
    fn fmt(&self, to: &mut std::fmt::Formatter) -> std::fmt::Result {
        to.write_str(&self.0)
    }
}

impl Markdown {
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Markdown {
        let head: Vec<&str> = head.into_iter().collect();
        let mut table = Markdown(String::new());
        table.row(head.iter().map(|cell| cell.to_string()));
        table.row((0..head.len()).map(|i| if i == 0 { "---" } else { "---:" }.to_string()));
        table
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        let _ = writeln!(self.0, "| {} |", cells.join(" | "));
    }
}

fn machine(results: &Value) -> String {
    let machine = &results["machine"];
    let shared = if machine["virtual"] == true { ", a virtual machine" } else { "" };
    let times = |runs: &Value| match runs.as_u64() {
        Some(1) => "one run".to_owned(),
        _ => format!("{runs} runs"),
    };
    format!(
        "- {} with {} processors{shared}\n- Linux {}, {}, {}\n- {}\n\
         - {} with `BENCH_SECONDS={}`; load average before: {}\n",
        text(&machine["processor"]),
        machine["processors"],
        text(&machine["kernel"]),
        text(&machine["system"]),
        text(&machine["libc"]),
        text(&machine["rustc"]),
        times(&results["number"]),
        text(&results["seconds"]),
        text(&machine["load"]),
    )
}

fn versions(results: &Value) -> String {
    let versions = results["versions"].as_object().expect("versions");
    let known = versions.iter().filter(|(_, version)| !text(version).is_empty());
    let list: Vec<String> =
        known.map(|(name, version)| format!("{name} {}", text(version))).collect();
    list.join(", ") + ".\n"
}

/// All names there are, in the order of the first case, with those that only others have behind.
fn names(cases: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for result in all(cases).iter().flat_map(|case| all(&case["results"])) {
        let name = text(&result["name"]);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn times(results: &Value) -> String {
    let cases = all(&results["compared"]);
    let heads: Vec<String> = cases
        .iter()
        .map(|case| format!("{}, {}", text(&case["type"]), case["descriptors"]))
        .collect();
    let mut table =
        Markdown::new(["", "close-on-exec"].into_iter().chain(heads.iter().map(String::as_str)));
    let floor = cases.iter().map(|case| microseconds(&case["results"][0]["ns"]));
    table.row([ways::FLOOR.into(), String::new()].into_iter().chain(floor));
    for name in names(&results["compared"]).into_iter().filter(|name| *name != ways::FLOOR) {
        let ratios = cases.iter().map(|case| {
            let found = named(&case["results"], name);
            found.map_or_else(String::new, |found| format!("{:.3}", number(&found["ratio"])))
        });
        let cloexec = match ways::cloexec(name) {
            _ if name == ways::AGAIN => "",
            Cloexec::AtOnce => "yes",
            Cloexec::Later => "later",
            Cloexec::Never => "no",
        };
        table.row([name.to_owned(), cloexec.into()].into_iter().chain(ratios));
    }
    let widths = cases.iter().map(|case| {
        let ours = named(&case["results"], "libancillary").expect("our own");
        format!("{:.2} %", number(&ours["apart"]) * 100.0)
    });
    let widths: Vec<String> = widths.collect();
    format!(
        "{table}\nThe figures are medians of {} processes in a run. Between these libancillary's \
         line differs by\n{}.\n",
        one_process::PROCESSES,
        widths.join(", ")
    )
}

fn counts(results: &Value) -> String {
    let cases = &results["counts"]["descriptors"];
    let table = |kinds: &[&str]| {
        let columns =
            || kinds.iter().flat_map(|kind| all(cases).iter().map(move |case| (kind, case)));
        let heads: Vec<String> =
            columns().map(|(kind, case)| format!("{kind}, {}", case["descriptors"])).collect();
        let mut table = Markdown::new([""].into_iter().chain(heads.iter().map(String::as_str)));
        for name in names(cases) {
            let counts = columns().map(|(kind, case)| {
                let found = named(&case["results"], name).and_then(|found| found[*kind].as_i64());
                found.map_or_else(String::new, grouped)
            });
            table.row([name.to_owned()].into_iter().chain(counts));
        }
        table.0
    };
    format!("{}\n{}", table(&["instructions"]), table(&["system calls", "allocations"]))
}

fn sizes(results: &Value) -> String {
    let mut table = Markdown::new(["", "bytes"]);
    for size in all(&results["sizes"]) {
        let bytes = size["bytes"].as_i64().filter(|bytes| *bytes > 0);
        if let Some(bytes) = bytes {
            table.row([text(&size["name"]).to_owned(), grouped(bytes)]);
        }
    }
    table.0
}

/// The floor in microseconds, the others as ratios, in the order of the results.
fn beside_the_floor(case: &Value) -> Vec<String> {
    let results = all(&case["results"]).iter().enumerate();
    results
        .map(|(i, result)| match i {
            0 => microseconds(&result["ns"]),
            _ => format!("{:.3}", number(&result["ratio"])),
        })
        .collect()
}

fn latency(results: &Value) -> String {
    let mut table = Markdown::new(["", ways::FLOOR, "libancillary", ways::AGAIN]);
    for case in all(&results["latency"]) {
        let head = match text(&case["processors"]) {
            "one" => "both processes on one processor".to_owned(),
            _ => "each on its own".to_owned(),
        };
        table.row([head].into_iter().chain(beside_the_floor(case)));
    }
    table.0
}

fn throughput(results: &Value) -> String {
    let mut table = Markdown::new([
        "descriptors in a message",
        "floor, for a message",
        "descriptors per second",
        "libancillary",
        ways::AGAIN,
    ]);
    for case in all(&results["throughput"]) {
        let descriptors = case["descriptors"].as_i64().unwrap_or_default();
        let per_second = descriptors as f64 * 1e9 / number(&case["results"][0]["ns"]);
        let mut row = beside_the_floor(case);
        row.insert(0, descriptors.to_string());
        row.insert(2, grouped(per_second as i64));
        table.row(row);
    }
    table.0
}

fn bulk(results: &Value) -> String {
    let mut table =
        Markdown::new(["", "processor time of a connection", "connections per second of it", ""]);
    let first = number(&results[0]["ns"]);
    for result in all(results) {
        let time = number(&result["ns"]);
        table.row([
            text(&result["name"]).to_owned(),
            microseconds(&result["ns"]),
            grouped((1e9 / time) as i64),
            format!("{:.2}", time / first),
        ]);
    }
    table.0
}

/// Of the first way the time of each case, of the others how many times as much.
fn beside_the_first(cases: &[Value], table: &mut Markdown, more: impl Fn(&str) -> Vec<String>) {
    for (i, first) in all(&cases[0]["results"]).iter().enumerate() {
        let name = text(&first["name"]);
        let figures = cases.iter().map(|case| match i {
            0 => microseconds(&case["results"][i]["ns"]),
            _ => format!("{:.3}", number(&case["results"][i]["ratio"])),
        });
        table.row([name.to_owned()].into_iter().chain(figures).chain(more(name)));
    }
}

/// What is counted of a message: instructions and system calls.
fn counted(counts: &Value, name: &str) -> Vec<String> {
    let found = named(counts, name);
    let calls = |value: &Value| match number(value) {
        calls if calls == calls.round() => format!("{calls}"),
        calls => format!("{calls:.3}"),
    };
    let instructions = found.and_then(|one| one["instructions"].as_i64());
    vec![
        instructions.map_or_else(String::new, grouped),
        found.map_or_else(String::new, |one| calls(&one["system calls"])),
    ]
}

fn messages(results: &Value) -> String {
    let cases = all(&results["channels"]["without"]);
    let heads: Vec<String> = cases.iter().map(|case| format!("{} bytes", case["x"])).collect();
    let heads = heads.iter().map(String::as_str);
    let more = ["instructions", "system calls"];
    let mut table = Markdown::new([""].into_iter().chain(heads).chain(more));
    let counts = &results["counts"]["without"];
    beside_the_first(cases, &mut table, |name| counted(counts, name));
    table.0
}

fn handed_over(results: &Value) -> String {
    let case = json!({ "results": results["channels"]["with"] });
    let mut table = Markdown::new(["", "time", "instructions", "system calls"]);
    let counts = &results["counts"]["with"];
    beside_the_first(&[case], &mut table, |name| counted(counts, name));
    table.0
}
