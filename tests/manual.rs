//! The manual pages: well formed, and true where a program can tell.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::document::{displays, manual};
use common::{make, missing, run, said, source, TempDir};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

type Names = BTreeSet<String>;

#[test]
fn pages_are_well_formed() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        return missing("mandoc");
    }
    for file in manual() {
        let output = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&file));
        assert!(said(&output).is_empty(), "{}", said(&output));
    }
}

struct Page {
    /// As it is referred to: `ancillary(7)`.
    name: String,
    text: String,
}

fn pages() -> Vec<Page> {
    let page = |file: PathBuf| {
        let text = fs::read_to_string(&file).expect("a page");
        let name = file.file_name().expect("a name").to_string_lossy().replace('.', "(") + ")";
        Page { name, text }
    };
    manual().into_iter().map(page).collect()
}

impl Page {
    /// The lines of a section: nothing where there is none.
    fn section(&self, title: &str) -> Vec<&str> {
        let start = format!(".Sh {title}");
        let lines = self.text.lines().skip_while(|line| *line != start).skip(1);
        lines.take_while(|line| !line.starts_with(".Sh ")).collect()
    }

    /// What it is about, as apropos(1) finds it.
    fn names(&self) -> Names {
        let names = self.section("NAME").into_iter().filter_map(|line| line.strip_prefix(".Nm "));
        names.map(|name| name.trim_end_matches(" ,").to_owned()).collect()
    }

    /// The functions in the synopsis, with their prototypes.
    fn prototypes(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let (mut result, mut function) = (String::new(), None::<(String, Vec<String>)>);
        for line in self.section("SYNOPSIS") {
            let mut words = words(line).into_iter();
            match words.next().as_deref() {
                Some(".Ft") => result = words.collect::<Vec<_>>().join(" "),
                Some(".Fn" | ".Fo") => {
                    function = words.next().map(|name| (name, words.collect()));
                }
                Some(".Fa") => function.as_mut().expect(".Fo").1.extend(words),
                _ => {}
            }
            // A macro has no type.
            if line.starts_with(".Fn ") || line == ".Fc" {
                let (name, args) = function.take().expect(".Fn or .Fo");
                if name.starts_with("anc") {
                    let prototype = format!("{result} {name}({})", args.join(", "));
                    assert!(found.insert(name, normal(&prototype)).is_none(), "{prototype}");
                }
            }
        }
        found
    }

    fn errors(&self) -> Names {
        let lines = self.section("ERRORS").into_iter();
        lines.filter_map(|line| line.strip_prefix(".It Bq Er ")).flat_map(errors_in).collect()
    }

    /// The pages that it refers to, of ours.
    fn references(&self) -> Names {
        let references = self.text.lines().flat_map(|line| line.split("Xr ").skip(1));
        let pages = references.filter_map(|reference| {
            let mut words = reference.split(' ');
            Some(format!("{}({})", words.next()?, words.next()?))
        });
        pages.filter(|page| page.starts_with("ancil")).collect()
    }
}

/// The arguments of an mdoc macro: words, or several in quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (count, part) in line.split('"').enumerate() {
        if count % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Error numbers that are named: E and capitals or digits.
fn errors_in(text: &str) -> Names {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_error = |word: &&str| {
        let capitals = word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
        word.len() > 3 && word.starts_with('E') && capitals
    };
    words.filter(is_error).map(str::to_owned).collect()
}

/// C without the differences that mean nothing.
fn normal(code: &str) -> String {
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
fn split_comments(code: &str) -> (String, Vec<(usize, String)>) {
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
struct Function {
    prototype: String,
    comment: String,
}

struct Header {
    functions: BTreeMap<String, Function>,
    /// Definitions of structures.
    structs: Vec<String>,
    constants: Names,
}

fn header() -> Header {
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
        let prototype = normal(text.trim_end_matches(';'));
        let before = comments.iter().rev().find(|(place, _)| *place < at);
        let comment = before.expect("a comment").1.replace("\n * ", " ").replace("\n *", " ");
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        header.functions.insert(name, Function { prototype, comment });
    }
    assert!(header.functions.len() > 20 && header.structs.len() == 2);
    header
}

#[test]
fn functions_have_one_page_with_their_prototypes() {
    let functions = header().functions;
    let mut seen = Names::new();
    for page in pages().iter().filter(|page| page.name.ends_with("(3)")) {
        let prototypes = page.prototypes();
        let listed: Names = prototypes.keys().cloned().collect();
        assert_eq!(page.names(), listed, "names and synopsis of {}", page.name);
        for (name, prototype) in prototypes {
            let declared = functions.get(&name).unwrap_or_else(|| panic!("{name} is not declared"));
            assert_eq!(prototype, declared.prototype, "{}", page.name);
            assert!(seen.insert(name.clone()), "{name} is in another page as well");
        }
        let file = page.name.split('(').next().expect("a name");
        assert!(page.names().contains(file), "{} is not about {file}", page.name);
    }
    let declared: Names = functions.into_keys().collect();
    assert_eq!(seen, declared);
}

#[test]
fn constants_and_structures_are_described() {
    let header = header();
    let pages = pages();
    for constant in header.constants {
        let described = |page: &Page| {
            let lines = page.text.lines();
            let mut words = lines.flat_map(|line| line.split([' ', '\t']));
            page.name != "ancillary(7)" && words.any(|word| word == constant)
        };
        assert!(pages.iter().any(described), "{constant}");
    }
    let displays = pages.iter().flat_map(|page| displays(&page.text));
    let displays: Vec<_> = displays.map(|text| normal(&split_comments(&text).0)).collect();
    for definition in header.structs {
        assert!(displays.iter().any(|text| text.contains(&definition)), "{definition}");
    }
}

/// Errors among those of another function, to which the header refers, that cannot come here.
const IMPOSSIBLE: [(&str, &str); 4] = [
    ("ancillary_send_fd", "EFAULT"),
    ("ancillary_send_fd", "EINTR"),
    ("ancillary_send_creds", "E2BIG"),
    ("ancillary_send_creds", "ETOOMANYREFS"),
];

/// The errors that the header lists for a function: with those of others that it refers to.
fn errors_of(name: &str, functions: &BTreeMap<String, Function>) -> Names {
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

#[test]
fn errors_are_those_of_the_header() {
    let functions = header().functions;
    for page in pages().iter().filter(|page| page.name.ends_with("(3)")) {
        let names = page.names();
        let errors = page.errors();
        let listed: Names = names.iter().flat_map(|name| errors_of(name, &functions)).collect();
        if page.name == "ancil_send_fd(3)" {
            // The header leaves most to the newer functions.
            let newer = ["ancillary_send_fds", "ancillary_recv_fds"];
            let possible: Names =
                newer.iter().flat_map(|name| errors_of(name, &functions)).collect();
            assert!(listed.is_subset(&errors), "{listed:?} in {}", page.name);
            let unknown: Vec<_> = errors.difference(&possible).collect();
            assert!(unknown.iter().all(|error| listed.contains(*error)), "{unknown:?}");
        } else {
            assert_eq!(errors, listed, "{}", page.name);
        }
    }
}

#[test]
fn references_lead_to_pages() {
    let pages = pages();
    let there: Names = pages.iter().map(|page| page.name.clone()).collect();
    for page in &pages {
        let references = page.references();
        let nowhere: Vec<_> = references.difference(&there).collect();
        assert!(nowhere.is_empty(), "{} refers to {nowhere:?}", page.name);
        if page.name != "ancillary(7)" {
            assert!(references.contains("ancillary(7)"), "{}", page.name);
        }
    }
    let overview = pages.iter().find(|page| page.name == "ancillary(7)").expect("the overview");
    let others: Names = there.into_iter().filter(|page| *page != overview.name).collect();
    assert_eq!(overview.references(), others);
}

#[test]
fn pages_in_html_are_linked_with_each_other() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        return missing("mandoc");
    }
    let dir = TempDir::new();
    make("html", &[format!("BUILD={}", dir.path().display())]);
    let folder = dir.path().join("html");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    for page in pages() {
        let name = page.name.trim_end_matches(')').replace('(', ".") + ".html";
        let html = read(&name);
        let links: Names = attributes(&html, "href");
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { html.clone() } else { read(file) };
            assert!(!target.is_empty(), "{name}: {link} is not there");
            let known = place.is_empty() || attributes(&target, "id").contains(place);
            assert!(known, "{name}: {link} leads nowhere");
        }
        for other in page.references() {
            let other = other.trim_end_matches(')').replace('(', ".") + ".html";
            assert!(links.contains(&other), "{name} has no link to {other}");
        }
    }
}

/// The values of an attribute in HTML.
fn attributes(html: &str, name: &str) -> Names {
    let start = format!(" {name}=\"");
    let values = html.split(&start).skip(1);
    values.map(|rest| rest.split('"').next().expect("a value").to_owned()).collect()
}
