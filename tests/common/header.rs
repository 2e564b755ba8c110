//! What the header says: prototypes, structures, constants, and the errors of each function.

use super::{source, Names};
use std::collections::BTreeMap;
use std::fs;

/// Error numbers that are named: E and capitals or digits.
pub fn errors_in(text: &str) -> Names {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_error = |word: &&str| {
        let capitals = word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        word.len() > 2 && word.starts_with('E') && capitals
    };
    words.filter(is_error).map(str::to_owned).collect()
}

/// C without the differences that mean nothing.
pub fn normal(code: &str) -> String {
    let mut spaced = String::new();
    for c in code.chars() {
        if c.is_alphanumeric() || c == '_' {
            spaced.push(c);
        } else {
            spaced.extend([' ', c, ' ']);
        }
    }
    let words: Vec<_> = spaced.split_whitespace().collect();
    words.join(" ").replace("unsigned int ", "unsigned ")
}

/// Takes comments away, and returns them as well: each with the place where it was.
pub fn split_comments(code: &str) -> (String, Vec<(usize, String)>) {
    let (mut rest, mut comments) = (String::new(), Vec::new());
    for (count, part) in code.split("/*").enumerate() {
        match part.split_once("*/") {
            Some((comment, behind)) if count > 0 => {
                comments.push((rest.len(), comment.to_owned()));
                rest.push_str(behind);
            }
            _ => rest.push_str(part),
        }
    }
    (rest, comments)
}

/// What the header says of a function.
pub struct Function {
    pub prototype: String,
    pub comment: String,
}

pub struct Header {
    pub functions: BTreeMap<String, Function>,
    /// Definitions of structures.
    pub structs: Vec<String>,
    pub constants: Names,
}

pub fn header() -> Header {
    let text = fs::read_to_string(source().join("include/ancillary.h")).expect("the header");
    let (code, comments) = split_comments(&text.replace("\\\n", " "));
    let mut header =
        Header { functions: BTreeMap::new(), structs: Vec::new(), constants: Names::new() };
    for line in code.lines() {
        if let Some(name) = line.strip_prefix("#define ANCILLARY_") {
            let mut words = name.split_whitespace();
            let name = words.next().expect("a name");
            // Attributes are for the header itself.
            let value = words.next().unwrap_or_default();
            if value.starts_with(|c: char| c == '(' || c.is_ascii_digit()) {
                // One can have an argument.
                let name = name.split('(').next().expect("a name");
                header.constants.insert(format!("ANCILLARY_{name}"));
            }
        }
    }
    for rest in code.split("\nstruct ").skip(1) {
        let (definition, _) = rest.split_once("\n}").expect("an end");
        header.structs.push(normal(&format!("struct {definition} }}")));
    }
    let mut at = 0;
    for statement in code.split_inclusive(';') {
        at += statement.len();
        let lines = statement.lines().filter(|line| !line.starts_with('#'));
        let text = lines.collect::<Vec<_>>().join(" ").replace("ANCILLARY_MUST_CHECK", "");
        // What stands behind a prototype is for compilers.
        let text = match text.split_once("ANCILLARY_NONNULL(") {
            Some((prototype, _)) => format!("{};", prototype.trim_end()),
            None => text,
        };
        let Some((start, _)) = text.strip_suffix(");").and_then(|text| text.split_once('(')) else {
            continue;
        };
        let name = start.rsplit([' ', '*']).next().expect("a name").to_owned();
        if start.trim_start().starts_with("typedef ") {
            continue;
        }
        let prototype = normal(text.trim_end_matches(';'));
        let before = comments.iter().rev().find(|(place, _)| *place < at);
        let comment = before.expect("a comment").1.replace("\n * ", " ").replace("\n *", " ");
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        header.functions.insert(name, Function { prototype, comment });
    }
    assert!(header.functions.len() > 20 && header.structs.len() == 5);
    header
}

/// Errors among those of another function, to which the header refers, that cannot come here.
const IMPOSSIBLE: [(&str, &str); 4] = [
    ("ancillary_send_fd", "EFAULT"),
    ("ancillary_send_fd", "EINTR"),
    ("ancillary_send_creds", "E2BIG"),
    ("ancillary_send_creds", "ETOOMANYREFS"),
];

/// The errors that the header lists for a function: with those of others that it refers to.
pub fn errors_of(name: &str, functions: &BTreeMap<String, Function>) -> Names {
    let comment = &functions[name].comment;
    let mut errors = errors_in(comment);
    for referred in comment.split("those of ").skip(1) {
        let other = referred.split('(').next().expect("a name");
        if functions.contains_key(other) {
            errors.extend(errors_of(other, functions));
        }
    }
    errors.retain(|error| !IMPOSSIBLE.contains(&(name, error)));
    errors
}
