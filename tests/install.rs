//! What `make install` installs, for those who build against it.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::{
    copy_source, files, make, missing, run, run_ok, said, shipped, source, state, try_make, TempDir,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const PROGRAM: &str = concat!(
    "#include <ancillary.h>\n#include <string.h>\n",
    "int main(void) { return strcmp(ancillary_version(), \"",
    env!("CARGO_PKG_VERSION"),
    "\") != 0; }\n"
);

/// The file of the shared library.
const SHARED: &str = concat!("libancillary.so.", env!("CARGO_PKG_VERSION"));

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
    for name in ["libancillary.so", "libancillary.so.1", SHARED] {
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
        "LICENSEDIR=/opt/licences".to_owned(),
    ];
    make("install", &variables);
    let installed = files(&root);
    let has = |path: &str| installed.get(&root.join(path));
    let library = "usr/lib/some-triple/libancillary.so";
    assert_eq!(has(library).map(Vec::as_slice), Some(&b"libancillary.so.1"[..]));
    let link = has(&format!("{library}.1")).map(Vec::as_slice);
    assert_eq!(link, Some(SHARED.as_bytes()));
    assert!(has(&format!("usr/lib/some-triple/{SHARED}")).is_some());
    assert!(has("usr/lib/some-triple/libancillary.a").is_some());
    assert!(has("usr/include/some/ancillary.h").is_some());
    assert!(has("opt/man/man3/ancil_send_fd.3").is_some());
    let alias = has("opt/man/man3/ancil_recv_fd.3").map(Vec::as_slice);
    assert_eq!(alias, Some(&b"ancil_send_fd.3"[..]));
    for name in ["LICENSE-MIT", "LICENSE-APACHE"] {
        let text = fs::read(source().join(name)).expect(name);
        assert!(has(&format!("opt/licences/{name}")) == Some(&text), "{name}");
    }
    let config = has("usr/lib/some-triple/pkgconfig/ancillary.pc").expect("the pkg-config file");
    let config = String::from_utf8_lossy(config);
    assert!(config.contains("prefix=/usr\n"), "{config}");
    assert!(config.contains("libdir=${prefix}/lib/some-triple\n"), "{config}");
    assert!(config.contains("includedir=${prefix}/include/some\n"), "{config}");
    assert!(!config.contains('@'), "{config}");
    make("uninstall", &variables);
    assert!(files(&root).is_empty(), "{:?}", files(&root).keys());
}

/// For who has no packager to do it.
#[test]
fn the_shared_library_is_stripped_on_request() {
    let dir = TempDir::new();
    let prefix = dir.path().join("prefix");
    let variables = [format!("PREFIX={}", prefix.display())];
    let has_symbols = || {
        let library = prefix.join("lib").join(SHARED);
        run_ok(Command::new("readelf").arg("-SW").arg(library)).contains(" .symtab ")
    };
    make("install", &variables);
    assert!(has_symbols(), "make install strips");
    let installed = files(&prefix);
    make("install-strip", &variables);
    assert!(!has_symbols(), "make install-strip does not strip");
    let stripped = files(&prefix);
    let differ = stripped.iter().filter(|(path, text)| installed[*path] != **text);
    assert!(differ.map(|(path, _)| path).eq([&prefix.join("lib").join(SHARED)]));
    make("uninstall", &variables);
    assert!(files(&prefix).is_empty(), "{:?}", files(&prefix).keys());
}

/// What stands where a file is to be is replaced, and what it leads to left alone.
#[test]
fn links_in_the_place_of_files_are_not_followed() {
    let dir = TempDir::new();
    let (prefix, others) = (dir.path().join("prefix"), dir.path().join("others"));
    fs::create_dir(&others).expect("a folder");
    fs::write(others.join("kept"), "another's").expect("a file");
    let variables = [format!("PREFIX={}", prefix.display())];
    make("install", &variables);
    let installed = files(&prefix);
    for target in [others.join("kept"), others.clone()] {
        for path in installed.keys() {
            fs::remove_file(path).expect("what was installed");
            symlink(&target, path).expect("a link");
        }
        let output = try_make("install", &variables);
        assert!(output.status.success(), "{}: {}", target.display(), said(&output));
        assert!(files(&prefix) == installed, "{}: it differs", target.display());
        let there = files(&others);
        assert!(there.len() == 1 && there[&others.join("kept")] == b"another's", "{there:?}");
    }
    make("uninstall", &variables);
    assert!(files(&prefix).is_empty(), "{:?}", files(&prefix).keys());
}

#[test]
fn builds_are_the_same_offline_and_leave_the_source_alone() {
    let dir = TempDir::new();
    let vendor = dir.path().join("vendor");
    common::vendor(&vendor);
    let libraries = ["one", "another-place"].map(|name| {
        let from = dir.path().join(name);
        copy_source(&from);
        let before = state(&from);
        let build = dir.path().join(format!("build of {name}").replace(' ', "-"));
        let mut make = Command::new("make");
        common::leave_cargo(&mut make);
        make.arg("-C")
            .arg(&from)
            .arg(format!("BUILD={}", build.display()))
            .arg(format!("VENDOR={}", vendor.display()))
            // With nothing that was fetched before, and no way to fetch.
            .env("CARGO_HOME", dir.path().join("home"))
            .env("CARGO_NET_OFFLINE", "true");
        let output = run(&mut make);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(state(&from), before, "the build changed its source");
        ["libancillary.a", SHARED].map(|name| fs::read(build.join(name)).expect("a library"))
    });
    assert!(libraries[0] == libraries[1], "two builds differ");
    let shipped = [&shipped().archive, &shipped().shared].map(|file| fs::read(file).expect("it"));
    assert!(libraries[0] == shipped, "the build with vendored crates differs");
}
