//! What holds in the house: who may use whom, and who may do what.

use crate::house::{Edge, File, House, Target};
use crate::lexer::{Kind, Token};
use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::BTreeSet;

/// The floors, from the top; and for each those that it may use beside itself.
pub const FLOORS: [(&str, &[&str]); 4] = [
    ("c", &["message", "rendezvous", "sys"]),
    ("message", &["sys"]),
    ("rendezvous", &["sys"]),
    ("sys", &[]),
];

/// Who alone calls the operating system.
const SYSTEM: &str = "sys";

/// Who alone has names that C sees.
const C: &str = "c";

/// Who alone calculates with pointers: control data, and buffers of which a part is done.
const POINTERS: [[&str; 2]; 2] = [["message", "control"], ["message", "payload"]];

const MOST_LINES: usize = 350;

impl House {
    /// What is wrong with it.
    pub fn complaints(&self) -> Vec<String> {
        let edges = self.edges();
        let mut found = self.layout();
        found.extend(self.floors(&edges));
        found.extend(self.circles(&edges));
        for file in &self.files {
            found.extend(self.outside_calls(file));
            found.extend(pointers(file));
            let lines = file.text.lines().count();
            if lines > MOST_LINES {
                found.push(format!("{}: {lines} lines, over {MOST_LINES}", file.name));
            }
        }
        found
    }

    fn layout(&self) -> Vec<String> {
        let mut found = Vec::new();
        for file in &self.files {
            if file.name != "lib.rs" && !has_floor(file) {
                found.push(format!("{}: stands on no floor", file.name));
            }
        }
        for (floor, _) in FLOORS {
            if !self.files.iter().any(|file| file.name == format!("{floor}/mod.rs")) {
                found.push(format!("{floor}/mod.rs: is missing"));
            }
        }
        found
    }

    fn floors(&self, edges: &[Edge]) -> Vec<String> {
        let mut found = Vec::new();
        for edge in edges {
            let (from, to) = (&self.files[edge.from], &self.files[edge.to]);
            // The root declares the modules, and there is nothing else to be had from it.
            if from.module.is_empty() || to.module.is_empty() && edge.names_only {
                continue;
            }
            let to_floor = to.module.first().map_or("lib.rs", |floor| floor);
            let may = FLOORS.iter().find(|(floor, _)| *floor == from.module[0]);
            if may.is_some_and(|(floor, may)| *floor != to_floor && !may.contains(&to_floor)) {
                found.push(format!("{}:{}: uses {to_floor}", from.name, edge.line));
            }
        }
        found.dedup();
        found
    }

    /// Modules that use each other, each circle once.
    fn circles(&self, edges: &[Edge]) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for start in 0..self.files.len() {
            let Some(circle) = shortest_circle(edges, start) else {
                continue;
            };
            let members: BTreeSet<usize> = circle.iter().map(|edge| edge.from).collect();
            if !seen.insert(members) {
                continue;
            }
            let steps = circle
                .iter()
                .map(|edge| format!("{}:{}", self.files[edge.from].name, edge.line))
                .collect::<Vec<_>>();
            found.push(format!("{}: a circle", steps.join(" -> ")));
        }
        found
    }

    /// What of the C library a file uses that is no type and no constant, and what else calls
    /// something that is not of this crate, or can be called from there.
    fn outside_calls(&self, file: &File) -> Vec<String> {
        let mut found = Vec::new();
        let floor = file.module.first().map_or("", |floor| floor);
        let mut complain = |line: usize, what: &str| {
            found.push(format!("{}:{line}: {what}", file.name));
        };
        if floor != SYSTEM {
            for (name, line) in self.of_libc(file) {
                // What a panic ends with.
                if !(is_data(&name) || floor.is_empty() && name == "abort") {
                    complain(line, &format!("uses libc::{name}"));
                }
            }
            for (i, token) in file.tokens.iter().enumerate() {
                let next = |ahead: usize| file.tokens.get(i + ahead);
                let is_block = token.is("extern")
                    && (next(1).is_some_and(|next| next.is("{"))
                        || next(1).is_some_and(|next| next.kind == Kind::Value)
                            && next(2).is_some_and(|next| next.is("{")));
                if is_block && !floor.is_empty() {
                    complain(token.line, "declares functions of others");
                }
                let is_macro = next(1).is_some_and(|next| next.is("!"));
                if (token.is("asm") || token.is("global_asm")) && is_macro {
                    complain(token.line, "speaks to the machine");
                }
            }
        }
        if floor != C {
            for token in &file.tokens {
                if token.is("no_mangle") || token.is("export_name") {
                    complain(token.line, "has a name that C sees");
                }
            }
        }
        found
    }

    /// The names of the C library that a file mentions.
    fn of_libc(&self, file: &File) -> Vec<(String, usize)> {
        let own = self.homes[&file.module];
        let mut found = Vec::new();
        for (path, module) in self.modules.iter().filter(|(path, _)| self.homes[*path] == own) {
            let mut add = |words: &[String], glob: bool, line| {
                let found_there = self.resolve(path, words, &mut Vec::new()).target;
                if let Target::Crate(target) = found_there {
                    match &target[..] {
                        [libc, name, ..] if libc == "libc" => found.push((name.clone(), line)),
                        [libc] if libc == "libc" && glob => found.push(("*".to_owned(), line)),
                        _ => {}
                    }
                }
            };
            for import in &module.imports {
                add(&import.path, import.name == "*", import.line);
            }
            for mention in &module.mentions {
                add(&mention.path, false, mention.line);
            }
        }
        found
    }
}

fn has_floor(file: &File) -> bool {
    file.name.contains('/') && FLOORS.iter().any(|(floor, _)| *floor == file.module[0])
}

/// Whether a name of the C library is that of a type or a constant, and of no function. Macros that
/// calculate are spelt as constants are.
fn is_data(name: &str) -> bool {
    const STRUCTURES: [&str; 10] = [
        "cmsghdr",
        "iovec",
        "msghdr",
        "pollfd",
        "sockaddr",
        "sockaddr_un",
        "timespec",
        "timeval",
        "ucred",
        "utsname",
    ];
    name.starts_with(|c: char| c.is_ascii_uppercase())
        || name.starts_with("c_")
        || name.ends_with("_t")
        || STRUCTURES.contains(&name)
}

/// Where a file calculates with pointers. The methods that do are unsafe, or have no other meaning;
/// `wrapping_add` has one, so what it is called on has to be seen.
fn pointers(file: &File) -> Vec<String> {
    const UNSAFE: [&str; 3] = ["add", "offset", "sub"];
    const ALWAYS: [&str; 13] = [
        "byte_add",
        "byte_offset",
        "byte_offset_from",
        "byte_sub",
        "offset_from",
        "sub_ptr",
        "with_addr",
        "wrapping_byte_add",
        "wrapping_byte_offset",
        "wrapping_byte_sub",
        "wrapping_offset",
        "offset_from_unsigned",
        "byte_offset_from_unsigned",
    ];
    const OF_POINTERS: [&str; 2] = ["wrapping_add", "wrapping_sub"];
    if POINTERS.iter().any(|who| file.module.starts_with(&who.map(str::to_owned))) {
        return Vec::new();
    }
    let mut found = Vec::new();
    // For each open brace, whether it is in an unsafe block.
    let mut unsafes = vec![false];
    let text = |place: usize| file.tokens.get(place).map_or("", |token| &token.text);
    for (i, token) in file.tokens.iter().enumerate() {
        match &*token.text {
            "{" => {
                let before = i.checked_sub(1).map_or("", &text);
                unsafes.push(before == "unsafe" || unsafes.last() == Some(&true));
            }
            "}" if unsafes.len() > 1 => {
                unsafes.pop();
            }
            method if text(i + 1) == "(" && i > 0 && text(i - 1) == "." => {
                let is_unsafe = unsafes.last() == Some(&true) && UNSAFE.contains(&method);
                let is_of_pointer =
                    OF_POINTERS.contains(&method) && is_pointer(&file.tokens, i - 1);
                if is_unsafe || ALWAYS.contains(&method) || is_of_pointer {
                    found.push(format!("{}:{}: calculates with pointers", file.name, token.line));
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether what ends in front of a dot is a pointer for certain.
fn is_pointer(tokens: &[Token], dot: usize) -> bool {
    const GIVE_ONE: [&str; 5] = ["as_mut_ptr", "as_ptr", "cast", "cast_const", "cast_mut"];
    let text = |back: usize| dot.checked_sub(back).map_or("", |place| &tokens[place].text);
    if text(1) != ")" {
        return false;
    }
    if text(2) == "(" {
        return GIVE_ONE.contains(&text(3));
    }
    // (... as *const T)
    (2..12)
        .take_while(|back| text(*back) != "(")
        .any(|back| text(back) == "*" && text(back + 1) == "as")
}

/// The fewest steps by which a file uses itself.
fn shortest_circle(edges: &[Edge], start: usize) -> Option<Vec<&Edge>> {
    let mut reached: BTreeMap<usize, &Edge> = BTreeMap::new();
    let mut next = vec![start];
    while !next.is_empty() {
        let mut further = Vec::new();
        for at in next {
            for edge in edges.iter().filter(|edge| edge.from == at && !edge.names_only) {
                if edge.to == start {
                    let mut circle = vec![edge];
                    while circle.last()?.from != start {
                        circle.push(reached[&circle.last()?.from]);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if let Entry::Vacant(place) = reached.entry(edge.to) {
                    place.insert(edge);
                    further.push(edge.to);
                }
            }
        }
        next = further;
    }
    None
}
