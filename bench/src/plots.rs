//! Draws the results of a run.

use crate::results::{all, named, number, text};
use crate::svg::{Picture, LETTER};
use crate::ways;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// As wide as can still be read on the screen of a telephone.
const WIDTH: f64 = 520.0;
const MARGIN: f64 = 10.0;

/// How the lines look, in the order of the results: of what others are compared with, which is broad
/// so that it can be seen below a line that is level with it, of this library, and of others.
const LINES: [&str; 7] = [
    "line quiet broad",
    "line ours",
    "line ours dashes",
    "line ours dots",
    "line blue",
    "line brown both",
    "line violet dashes",
];

pub fn write(results: &Value, folder: &Path) {
    let growth = &results["growth"];
    let pictures = [
        ("one-descriptor.svg", Some(one_descriptor(results))),
        ("comparison.svg", Some(comparison(&results["compared"][0]["results"]))),
        ("descriptors.svg", lines(&growth["descriptors"], &IN_A_MESSAGE)),
        ("payload.svg", lines(&growth["payload"], &PAYLOAD)),
        ("senders.svg", lines(&growth["senders"], &SENDERS)),
        ("messages.svg", lines(&results["channels"]["without"], &MESSAGES)),
    ];
    for (name, picture) in pictures {
        if let Some(picture) = picture {
            fs::write(folder.join(name), picture.finish()).expect("a picture");
        }
    }
}

struct Bar<'a> {
    name: &'a str,
    kinds: &'a str,
    value: f64,
    /// What is said of it.
    said: String,
}

/// Bars from 0 to `most`; longer ones are cut, and have a tip.
fn bars(title: &str, head: &[&str], bars: &[Bar], most: f64, ticks: &[(f64, String)]) -> Picture {
    const HEIGHT: f64 = 24.0;
    let longest = |words: &mut dyn Iterator<Item = usize>| words.max().unwrap_or(0) as f64 * LETTER;
    let left = MARGIN + longest(&mut bars.iter().map(|bar| bar.name.chars().count()));
    let right =
        WIDTH - MARGIN - longest(&mut bars.iter().map(|bar| bar.said.chars().count())) - 16.0;
    let top = MARGIN + head.len() as f64 * 20.0 + 6.0;
    let bottom = top + bars.len() as f64 * HEIGHT;
    let under = if ticks.is_empty() { 0.0 } else { 22.0 };
    let place = |value: f64| left + value / most * (right - left);

    let mut picture = Picture::new(WIDTH, bottom + under + MARGIN, title);
    for (line, words) in head.iter().enumerate() {
        let kinds = if line == 0 { "name" } else { "small quiet" };
        picture.text(MARGIN, MARGIN + 14.0 + 20.0 * line as f64, kinds, words);
    }
    for (value, said) in ticks {
        picture.path("grid", [(place(*value), top), (place(*value), bottom + 4.0)]);
        picture.text(place(*value), bottom + 20.0, "small middle quiet", said);
    }
    for (row, bar) in bars.iter().enumerate() {
        let y = top + row as f64 * HEIGHT;
        picture.text(MARGIN, y + 17.0, "", bar.name);
        picture.text(WIDTH - MARGIN, y + 17.0, "end", &bar.said);
        // One that is level has a bar as well.
        let end = place(bar.value.min(most)).max(left + 2.0);
        let (high, low) = (y + 4.0, y + HEIGHT - 4.0);
        let tip = if bar.value > most { 10.0 } else { 0.0 };
        let outline =
            [(left, high), (end, high), (end + tip, (high + low) / 2.0), (end, low), (left, low)];
        picture.path(bar.kinds, outline);
    }
    picture
}

/// How the bar of a way looks.
fn kinds(way: &str) -> &'static str {
    match way {
        _ if way.starts_with(ways::FLOOR) => "bar quiet",
        _ if way.starts_with("libancillary") => "bar ours",
        _ => "bar blue",
    }
}

/// What it takes, for who has just found the library.
fn one_descriptor(results: &Value) -> Picture {
    /// A case, a way of it, how many descriptors that passes, and what is said of it.
    const SHOWN: [(usize, &str, f64, &str); 7] = [
        (0, ways::FLOOR, 1.0, "system calls by hand"),
        (0, "libancillary, send_fd", 1.0, "this library"),
        (1, "libancillary, close_fds", 16.0, "each of 16 at once"),
        (0, "rustix", 1.0, "Rust: rustix"),
        (0, "nix", 1.0, "Rust: nix"),
        (0, ways::PYTHON, 1.0, "Python"),
        (0, "GLib", 1.0, "C: GLib"),
    ];
    let shown = SHOWN.iter().filter_map(|(case, way, many, name)| {
        let results = &results["compared"][case]["results"];
        let ratio = number(&named(results, way)?["ratio"]);
        let value = ratio * number(&results[0]["ns"]) / 1000.0 / many;
        Some(Bar { name, kinds: kinds(way), value, said: format!("{value:.2} µs") })
    });
    let shown: Vec<Bar> = shown.collect();
    let most = shown.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let said: Vec<String> = shown.iter().map(|bar| format!("{}: {}", bar.name, bar.said)).collect();
    let title = format!("Time to send, receive and close a file descriptor. {}.", said.join(", "));
    let head = ["Time to send, receive and close a file descriptor", "shorter is better"];
    bars(&title, &head, &shown, most, &[])
}

/// For each way a bar, as long as its time is above the floor.
fn comparison(results: &Value) -> Picture {
    const CUT: f64 = 25.0;
    let shown = all(results).iter().skip(1).map(|result| {
        let name = text(&result["name"]);
        let value = (number(&result["ratio"]) - 1.0) * 100.0;
        let said = if value < 10.0 { format!("{value:.1} %") } else { format!("{value:.0} %") };
        Bar { name, kinds: kinds(name), value, said }
    });
    let shown: Vec<Bar> = shown.collect();
    let ticks = [0.0, 5.0, 10.0, 15.0, 20.0, 25.0].map(|tick| (tick, format!("{tick} %")));
    let title = "What each way takes more than the system calls written by hand";
    let head = ["Time above that of the system calls by hand", "a round with one descriptor"];
    bars(title, &head, &shown, CUT, &ticks)
}

/// What a plot with lines says.
struct Words {
    title: &'static str,
    x: &'static str,
    y: &'static str,
}

const IN_A_MESSAGE: Words = Words {
    title: "Time of a message over the descriptors in it",
    x: "descriptors in a message",
    y: "one message in one process, µs",
};

const PAYLOAD: Words = Words {
    title: "Time of a message with one descriptor over its payload",
    x: "bytes of payload",
    y: "from process to process, µs",
};

const SENDERS: Words = Words {
    title: "Time of a message with one descriptor over the number of senders",
    x: "threads that send",
    y: "from process to process, µs",
};

const MESSAGES: Words = Words {
    title: "Time of a message without descriptors over its length",
    x: "bytes of a message",
    y: "one message in one process, µs",
};

/// For each way a line, over what grows; both in powers of two.
fn lines(cases: &Value, words: &Words) -> Option<Picture> {
    const HIGH: f64 = 260.0;
    let cases = all(cases);
    let first = cases.first()?;
    // By the ratio, which is more exact than the time of each.
    let time_of = |case: &Value, way: usize| {
        let results = &case["results"];
        number(&results[0]["ns"]) * number(&results[way]["ratio"]) / 1000.0
    };
    let names = all(&first["results"]).iter().map(|result| text(&result["name"])).enumerate();
    let shown: Vec<(usize, &str)> = names.filter(|(_, name)| *name != ways::AGAIN).collect();
    let times = || shown.iter().flat_map(|(way, _)| cases.iter().map(|case| time_of(case, *way)));
    let heights = around(times().fold(f64::MAX, f64::min), times().fold(0.0, f64::max));
    let (least, most) = (heights[0].log2(), heights[heights.len() - 1].log2());
    let [begin, end] = [first, &cases[cases.len() - 1]].map(|case| number(&case["x"]).log2());

    let (left, right) = (MARGIN + 66.0, WIDTH - MARGIN - 24.0);
    // What the lines are stands above them, two to a row.
    let top = MARGIN + shown.len().div_ceil(2) as f64 * 20.0 + 12.0;
    let bottom = top + HIGH;
    let x = |value: f64| left + (value - begin) / (end - begin) * (right - left);
    let y = |value: f64| bottom - (value - least) / (most - least) * HIGH;
    let mut picture = Picture::new(WIDTH, bottom + 48.0, words.title);

    let step = ((end - begin) / 10.0).ceil();
    for power in (0..).map(|i| begin + i as f64 * step).take_while(|power| *power <= end) {
        picture.path("grid", [(x(power), top), (x(power), bottom)]);
        picture.text(x(power), bottom + 18.0, "small middle quiet", &count(power.exp2()));
    }
    for height in heights {
        let y = y(height.log2());
        picture.path("grid", [(left, y), (right, y)]);
        picture.text(left - 6.0, y + 5.0, "small end quiet", &height.to_string());
    }
    picture.text((left + right) / 2.0, bottom + 38.0, "small middle", words.x);
    picture.text_upwards(MARGIN + 10.0, (top + bottom) / 2.0, "small middle", words.y);
    for (i, ((way, name), kinds)) in shown.iter().zip(LINES).enumerate() {
        let points =
            cases.iter().map(|case| (number(&case["x"]).log2(), time_of(case, *way).log2()));
        picture.path(kinds, points.map(|(at, time)| (x(at), y(time))));
        let (column, row) = ((i % 2) as f64, (i / 2) as f64);
        let (from, height) = (MARGIN + 250.0 * column, MARGIN + 20.0 * row + 9.0);
        picture.path(kinds, [(from, height), (from + 28.0, height)]);
        picture.text(from + 36.0, height + 5.0, "small", name);
    }
    Some(picture)
}

/// 65536 as 64Ki.
fn count(number: f64) -> String {
    match number {
        ..1024.0 => format!("{number}"),
        ..1048576.0 => format!("{}Ki", number / 1024.0),
        _ => format!("{}Mi", number / 1048576.0),
    }
}

/// Round numbers, of which the first and the last enclose what is between two.
fn around(least: f64, most: f64) -> Vec<f64> {
    let hundredths = (0..8).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u32.pow(power)));
    let round: Vec<f64> = hundredths.map(|number| f64::from(number) / 100.0).collect();
    let first = round.iter().rposition(|number| *number <= least).unwrap_or(0);
    let last = round.iter().position(|number| *number >= most).unwrap_or(round.len() - 1);
    round[first..=last].to_vec()
}
