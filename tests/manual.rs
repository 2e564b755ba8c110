//! The manual pages: well formed, and true where a program can tell.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::document::{displays, manual};
use common::header::{errors_in, errors_of, header, normal, split_comments, Header};
use common::{make, missing, run, said, Names, TempDir};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

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

/// A word that is a macro too vanishes from a line that a macro begins, and the lint says nothing.
#[test]
fn no_word_is_taken_for_a_macro() {
    const BOTH: [&str; 9] = ["Ad", "An", "At", "Do", "Ex", "In", "Me", "Op", "So"];
    for page in pages() {
        let macros = page.text.lines().filter(|line| line.starts_with('.'));
        for line in macros {
            let word = line.split(' ').skip(1).find(|word| BOTH.contains(word));
            assert!(word.is_none(), "{}: {line}", page.name);
        }
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

    /// Those of functions: a page can have the name of a structure that these are about.
    fn functions(&self, header: &Header) -> Names {
        let is_struct = |name: &String| {
            let start = format!("struct {name} ");
            header.structs.iter().any(|definition| definition.starts_with(&start))
        };
        self.names().into_iter().filter(|name| !is_struct(name)).collect()
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

#[test]
fn functions_have_one_page_with_their_prototypes() {
    let header = header();
    let mut seen = Names::new();
    for page in pages().iter().filter(|page| page.name.ends_with("(3)")) {
        let prototypes = page.prototypes();
        let listed: Names = prototypes.keys().cloned().collect();
        assert_eq!(page.functions(&header), listed, "names and synopsis of {}", page.name);
        for (name, prototype) in prototypes {
            let declared = header.functions.get(&name);
            let declared = declared.unwrap_or_else(|| panic!("{name} is not declared"));
            assert_eq!(prototype, declared.prototype, "{}", page.name);
            assert!(seen.insert(name.clone()), "{name} is in another page as well");
        }
        let file = page.name.split('(').next().expect("a name");
        assert!(page.names().contains(file), "{} is not about {file}", page.name);
    }
    let declared: Names = header.functions.into_keys().collect();
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

#[test]
fn errors_are_those_of_the_header() {
    let header = header();
    let functions = &header.functions;
    for page in pages().iter().filter(|page| page.name.ends_with("(3)")) {
        let names = page.functions(&header);
        let errors = page.errors();
        let listed: Names = names.iter().flat_map(|name| errors_of(name, functions)).collect();
        if page.name == "ancil_send_fd(3)" {
            // The header leaves most to the newer functions.
            let newer = ["ancillary_send_fds", "ancillary_recv_fds"];
            let possible: Names =
                newer.iter().flat_map(|name| errors_of(name, functions)).collect();
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
