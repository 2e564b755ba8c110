//! What `make install` installs, for those who build against it.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{copy_source, make, missing, run, run_ok, said, shipped, source, TempDir};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files below a folder, with what they hold; links with what they name.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            found.insert(path, target.into_os_string().into_encoded_bytes());
        } else if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).expect("a file");
            found.insert(path, content);
        }
    }
    found
}

const PROGRAM: &str = "#include <ancillary.h>
#include <string.h>
int main(void) { return strcmp(ancillary_version(), \"1.0.0\") != 0; }
";

/// Compiles a program with what pkg-config says and nothing else, and runs it.
fn build_and_run(dir: &Path, prefix: &Path, static_library: bool, more: &[&str]) {
    let mut config = Command::new("pkg-config");
    config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(["--cflags", "--libs"]);
    if static_library {
        config.arg("--static");
    }
    let flags = run_ok(config.arg("ancillary"));
    let (file, program) = (dir.join("program.c"), dir.join("program"));
    fs::write(&file, PROGRAM).expect("a file");
    let mut compiler = Command::new("cc");
    compiler.arg(&file).args(flags.split_whitespace()).args(more).arg("-o").arg(&program);
    run_ok(&mut compiler);
    run_ok(Command::new(&program).env("LD_LIBRARY_PATH", prefix.join("lib")));
    // Its version need names the version of the symbols.
    let needs = run_ok(Command::new("readelf").arg("-VW").arg(&program));
    assert_eq!(needs.contains("Name: ANCILLARY_1.0"), !static_library, "{needs}");
}

#[test]
fn programs_are_built_with_pkg_config() {
    if Command::new("pkg-config").arg("--version").output().is_err() {
        return missing("pkg-config");
    }
    let dir = TempDir::new();
    let prefix = dir.path().join("prefix");
    let variables = [format!("PREFIX={}", prefix.display())];
    make("install", &variables);
    build_and_run(dir.path(), &prefix, false, &[]);
    build_and_run(dir.path(), &prefix, true, &["-static"]);
    // With the archive alone the linker takes that.
    for name in ["libancillary.so", "libancillary.so.1", "libancillary.so.1.0.0"] {
        fs::remove_file(prefix.join("lib").join(name)).expect("a library");
    }
    build_and_run(dir.path(), &prefix, true, &[]);
    make("uninstall", &variables);
    assert!(files(&prefix).is_empty(), "{:?}", files(&prefix).keys());
}

#[test]
fn folders_are_those_asked_for() {
    let dir = TempDir::new();
    let root = dir.path().join("root");
    let variables = [
        format!("DESTDIR={}", root.display()),
        "PREFIX=/usr".to_owned(),
        "LIBDIR=/usr/lib/some-triple".to_owned(),
        "INCLUDEDIR=/usr/include/some".to_owned(),
        "MANDIR=/opt/man".to_owned(),
    ];
    make("install", &variables);
    let installed = files(&root);
    let has = |path: &str| installed.get(&root.join(path));
    let library = "usr/lib/some-triple/libancillary.so";
    assert_eq!(has(library).map(Vec::as_slice), Some(&b"libancillary.so.1"[..]));
    let link = has(&format!("{library}.1")).map(Vec::as_slice);
    assert_eq!(link, Some(&b"libancillary.so.1.0.0"[..]));
    assert!(has(&format!("{library}.1.0.0")).is_some());
    assert!(has("usr/lib/some-triple/libancillary.a").is_some());
    assert!(has("usr/include/some/ancillary.h").is_some());
    assert!(has("opt/man/man3/ancil_send_fd.3").is_some());
    let alias = has("opt/man/man3/ancil_recv_fd.3").map(Vec::as_slice);
    assert_eq!(alias, Some(&b"ancil_send_fd.3"[..]));
    let config = has("usr/lib/some-triple/pkgconfig/ancillary.pc").expect("the pkg-config file");
    let config = String::from_utf8_lossy(config);
    assert!(config.contains("prefix=/usr\n"), "{config}");
    assert!(config.contains("libdir=${prefix}/lib/some-triple\n"), "{config}");
    assert!(config.contains("includedir=${prefix}/include/some\n"), "{config}");
    assert!(!config.contains('@'), "{config}");
    make("uninstall", &variables);
    assert!(files(&root).is_empty(), "{:?}", files(&root).keys());
}

/// Names and times of change of all files below a folder.
fn state(folder: &Path) -> Vec<(PathBuf, i64, i64)> {
    let times = |path: PathBuf| {
        let file = fs::symlink_metadata(&path).expect("a file");
        (path, file.ctime(), file.ctime_nsec())
    };
    files(folder).into_keys().map(times).collect()
}

#[test]
fn builds_are_the_same_offline_and_leave_the_source_alone() {
    let dir = TempDir::new();
    let vendor = dir.path().join("vendor");
    run_ok(
        Command::new("cargo")
            .args(["vendor", "--quiet", "--locked", "--manifest-path"])
            .arg(source().join("Cargo.toml"))
            .arg(&vendor),
    );
    let libraries = ["one", "another-place"].map(|name| {
        let from = dir.path().join(name);
        copy_source(&from);
        let before = state(&from);
        let build = dir.path().join(format!("build of {name}").replace(' ', "-"));
        let mut make = Command::new("make");
        common::leave_cargo(&mut make);
        make.current_dir(dir.path())
            .arg("-f")
            .arg(from.join("Makefile"))
            .arg(format!("BUILD={}", build.display()))
            .arg(format!("VENDOR={}", vendor.display()))
            // With nothing that was fetched before, and no way to fetch.
            .env("CARGO_HOME", dir.path().join("home"))
            .env("CARGO_NET_OFFLINE", "true");
        let output = run(&mut make);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(state(&from), before, "the build changed its source");
        ["libancillary.a", "libancillary.so.1.0.0"]
            .map(|name| fs::read(build.join(name)).expect("a library"))
    });
    assert!(libraries[0] == libraries[1], "two builds differ");
    let shipped = [&shipped().archive, &shipped().shared].map(|file| fs::read(file).expect("it"));
    assert!(libraries[0] == shipped, "the build with vendored crates differs");
}
