//! The map of the house: its folders, what each file is for in its own words, and what it uses.

use crate::house::{File, House};
use crate::rules::FLOORS;
use std::fmt::Write;

const WIDTH: usize = 78;

/// The map of the house as text.
pub fn map_of(house: &House) -> String {
    let mut map = String::new();
    let mut folder = None;
    for file in in_order(house) {
        let (here, name) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        if folder.is_some_and(|folder| folder != here) {
            map.push('\n');
        }
        if folder != Some(here) {
            let slash = if here.is_empty() { "" } else { "/" };
            writeln!(map, "src/{here}{slash}").expect("a string");
            folder = Some(here);
        }
        wrap(&mut map, &format!("  {name:<16}"), &purpose(&file.text));
        let used: Vec<String> = house.used_by(file).into_iter().collect();
        if !used.is_empty() {
            wrap(&mut map, &format!("{:18}", ""), &format!("uses {}", used.join(", ")));
        }
    }
    map
}

/// From the top of the house to its bottom; in each folder the file that says what it is for first.
fn in_order(house: &House) -> Vec<&File> {
    let place = |file: &&File| {
        let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let floor =
            FLOORS.iter().position(|(floor, _)| file.name.starts_with(&format!("{floor}/")));
        (
            floor.map_or(0, |floor| floor + 1),
            folder.to_owned(),
            !file.name.ends_with("mod.rs"),
            file.name.clone(),
        )
    };
    let mut files: Vec<&File> = house.files.iter().collect();
    files.sort_by_key(place);
    files
}

/// The first sentence of what a file says of itself.
fn purpose(text: &str) -> String {
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    let said: Vec<&str> = lines
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    let end = said.find(". ").map_or(said.len(), |end| end + 1);
    said[..end].to_owned()
}

/// Adds words in lines that are not too long, behind a heading.
fn wrap(map: &mut String, heading: &str, words: &str) {
    let mut line = heading.to_owned();
    let indent = heading.chars().count();
    for word in words.split(' ') {
        let is_first = line.chars().count() <= indent;
        if !is_first && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(map, "{}", line.trim_end()).expect("a string");
            line = " ".repeat(indent);
        } else if !is_first {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(map, "{}", line.trim_end()).expect("a string");
}
