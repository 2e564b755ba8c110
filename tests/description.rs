//! The description of the ABI in `pkg/ancillary.abi`: what the library and its header are now has
//! to be what stands there, so that it does not change unseen.
//!
//! `make abi` writes it anew (ANCILLARY_WRITE_ABI=1).

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::header::split_comments;
use common::{compiler, missing, run_ok, said, shipped, source, try_make, TempDir};
use std::fmt::Write;
use std::fs;
use std::process::Command;

/// The declarations of the header without comments and without what the preprocessor reads; each
/// on a line.
fn declarations() -> Vec<String> {
    let header = fs::read_to_string(shipped().include.join("ancillary.h")).expect("the header");
    let (code, _) = split_comments(&header);
    let code = code.replace("\\\n", " ");
    let lines =
        code.lines().filter(|line| !line.starts_with('#') && !line.contains("extern \"C\""));
    let text: String = lines.map(|line| format!("{line} ")).collect();
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|word| *word != "ANCILLARY_MUST_CHECK")
        .map(|word| if word.starts_with("ANCILLARY_NONNULL(") { ";" } else { word })
        .collect();
    let text = words.join(" ").replace(" ;", ";");
    let mut found = Vec::new();
    let mut depth = 0;
    let mut one = String::new();
    for c in text.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        one.push(c);
        if c == ';' && depth == 0 {
            found.push(one.trim().trim_end_matches(';').to_owned());
            one.clear();
        }
    }
    found
}

/// The names of constants, as the header has them.
fn constants() -> Vec<String> {
    let header = fs::read_to_string(shipped().include.join("ancillary.h")).expect("the header");
    let names = header.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
        (name.starts_with("ANCIL") && !name.contains('(') && !value.contains("__"))
            .then(|| name.to_owned())
    });
    names.collect()
}

/// The members of a structure: type and name, with the length of an array.
fn members(declaration: &str) -> Vec<(String, String)> {
    let (_, body) = declaration.split_once('{').expect("a structure");
    let body = body.trim_end_matches('}').trim_end_matches(" }");
    body.split(';')
        .map(str::trim)
        .filter(|member| !member.is_empty() && *member != "}")
        .map(|member| {
            let name = member.rfind([' ', '*']).expect("a type and a name") + 1;
            (member[..name].trim().to_owned(), member[name..].to_owned())
        })
        .collect()
}

/// What a program says about sizes, offsets and constants.
fn measured(structures: &[String]) -> String {
    let mut program =
        String::from("#include <ancillary.h>\n#include <stdio.h>\nint main(void)\n{\n");
    for structure in structures {
        let name = structure.split(" {").next().expect("a name");
        writeln!(program, "printf(\"{name}: %zu bytes\\n\", sizeof({name}));").unwrap();
        for (kind, member) in members(structure) {
            let plain = member.split('[').next().expect("a name");
            writeln!(
                program,
                "printf(\"  %3zu %3zu  {kind} {member}\\n\", offsetof({name}, {plain}), \
                 sizeof((({name} *)0)->{plain}));"
            )
            .unwrap();
        }
    }
    program.push_str("puts(\"\\nConstants\\n\");\n");
    for constant in constants() {
        writeln!(program, "printf(\"{constant} %#x\\n\", (unsigned){constant});").unwrap();
    }
    program.push_str("return 0;\n}\n");
    let dir = TempDir::new();
    let (file, compiled) = (dir.path().join("measure.c"), dir.path().join("measure"));
    fs::write(&file, program).expect("a file");
    run_ok(compiler().arg("-I").arg(&shipped().include).arg(&file).arg("-o").arg(&compiled));
    run_ok(&mut Command::new(&compiled))
}

fn description() -> String {
    let symbols = run_ok(Command::new("nm").args(["-D", "--defined-only"]).arg(&shipped().shared));
    let mut symbols: Vec<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .filter(|name| name.contains("@@"))
        .collect();
    symbols.sort_unstable();
    let (structures, mut prototypes): (Vec<_>, Vec<_>) =
        declarations().into_iter().partition(|one| one.starts_with("struct") && one.contains('{'));
    prototypes.sort_unstable();
    format!(
        "The ABI of libancillary, as programs on 64-bit Linux see it.\n\n\
         Symbols\n\n{}\n\nPrototypes\n\n{}\n\nStructures (offset, size)\n\n{}",
        symbols.join("\n"),
        prototypes.join("\n"),
        measured(&structures)
    )
}

#[test]
#[cfg(target_pointer_width = "64")]
fn the_abi_is_as_described() {
    let path = source().join("pkg/ancillary.abi");
    let now = description();
    if std::env::var("ANCILLARY_WRITE_ABI").as_deref() == Ok("1") {
        fs::write(&path, &now).expect("pkg/ancillary.abi");
    }
    let described = fs::read_to_string(&path).unwrap_or_default();
    for (now, described) in now.lines().zip(described.lines()) {
        assert_eq!(now, described, "if this is meant, 'make abi' and say why in the commit");
    }
    assert_eq!(now, described, "if this is meant, 'make abi' and say why in the commit");
}

#[test]
fn header_is_what_the_sources_say() {
    let output = try_make("check-header", &[]);
    let said = said(&output);
    if said.contains("The crates of tools/header are not here") {
        return missing("the crates of tools/header");
    }
    assert!(output.status.success(), "{said}\n'make header' writes it anew");
}
