//! The manual pages: well formed, and true where a program can tell.

mod common;

use common::{compile, missing, run, run_ok, said, source, Link, TempDir};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(source().join("man")).expect("the folder of the manual pages");
    let pages: Vec<_> = entries.map(|entry| entry.expect("a page").path()).collect();
    assert!(!pages.is_empty());
    pages
}

#[test]
fn pages_are_well_formed() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        return missing("mandoc");
    }
    for page in pages() {
        let output = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&page));
        assert!(said(&output).is_empty(), "{}", said(&output));
    }
}

/// The programs in a page: what stands in literal displays and includes the header.
fn programs(page: &str) -> Vec<String> {
    page.split(".Bd -literal\n")
        .skip(1)
        .map(|rest| rest.split(".Ed\n").next().expect("a text").replace("\\e", "\\"))
        .filter(|text| text.contains("#include <ancillary.h>"))
        .collect()
}

#[test]
fn examples_compile_and_run() {
    let dir = TempDir::new();
    for page in pages() {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&page).expect("a page");
        for (count, program) in programs(&text).into_iter().enumerate() {
            let file = dir.path().join(format!("{name}.{count}.c"));
            fs::write(&file, program).expect("a file");
            let program = compile(&format!("{name}.{count}"), &[file], Link::Shared, &[]);
            run_ok(&mut Command::new(program));
        }
    }
}

#[test]
fn older_functions_have_their_page() {
    let page = fs::read_to_string(source().join("man/ancil_send_fd.3")).expect("the page");
    let header = fs::read_to_string(source().join("include/ancillary.h")).expect("the header");
    let declared: Vec<&str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("int ")?.split('(').next())
        .filter(|name| name.starts_with("ancil_"))
        .collect();
    assert_eq!(declared.len(), 6, "{declared:?}");
    for name in declared {
        assert!(page.contains(&format!(".Nm {name}")), "{name} is not named");
        let synopsis = [format!(".Fn {name} "), format!(".Fo {name}\n")];
        assert!(synopsis.iter().any(|line| page.contains(line)), "{name} has no prototype");
    }
}
