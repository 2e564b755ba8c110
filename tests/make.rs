//! What `make` does where the names of folders, the environment, or what lies in the way are not
//! what it would like: it works, or it says why not and touches nothing.

// The library builds with Rust 1.63; its tests may need a newer one.
#![allow(clippy::incompatible_msrv)]

mod common;

use common::program::{is_root, NOBODY};
use common::TempDir;
use common::{
    cases, copy_source, files, leave_cargo, missing, run, run_ok, said, shipped, skipped, source,
    state, works, Link,
};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// Names of folders that are possible, with what shells, make and others have a use for.
const NAMES: [&str; 20] = [
    "My Projects",
    "it's",
    "\"so\"",
    "$HOME",
    "a$b",
    "$(id)",
    "R&D",
    "(draft)",
    "#1",
    "a;b",
    "a\\b",
    "*",
    "-n",
    "~",
    "a=b",
    "[ab]{c,d}",
    "`id`",
    "a,b",
    "two\nlines",
    "gr\u{fc}n\t!",
];

/// Those below which Rust cannot build.
const REFUSED: [&str; 2] = ["12:30", "100%"];

/// A home with a folder of some name, in which the sources are, and with files beside them.
struct Home {
    dir: TempDir,
    source: PathBuf,
}

const KEPT: &str = "This is to be kept.";

impl Home {
    fn new(name: &str) -> Home {
        let dir = TempDir::for_all();
        let parent = dir.path().join(name);
        fs::create_dir_all(&parent).expect("a folder");
        let source = parent.join("libancillary");
        copy_source(&source);
        // Where one word after the other would lead to, from here and from there.
        for place in [dir.path(), &parent, &source] {
            for word in name.split_whitespace().chain(["build", "target", "html"]) {
                let folder = place.join(word);
                if place != source || word != "build" {
                    fs::create_dir_all(&folder).expect("a folder");
                    fs::write(folder.join("kept"), KEPT).expect("a file");
                }
            }
        }
        Home { dir, source }
    }

    /// Leaves all of it to a user who could not do the machine any harm, where there is a choice.
    fn hand_over(self) -> Home {
        if is_root() {
            run_ok(Command::new("chown").args(["-R", "65534:65534"]).arg(self.path()));
        }
        self
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `make` in the folder of the sources, by the user to whom that belongs.
    fn make(&self, arguments: &[&str]) -> Command {
        let mut make = Command::new("make");
        leave_cargo(&mut make);
        make.current_dir(&self.source).args(arguments);
        if is_root() && self.path().metadata().expect("the home").uid() == NOBODY {
            make.uid(NOBODY).gid(NOBODY);
        }
        make
    }
}

/// What is below the home, but for what is built.
fn beside(home: &Home) -> impl PartialEq + std::fmt::Debug {
    let build = home.source.join("build");
    let mut all = files(home.path());
    all.retain(|path, _| !path.starts_with(&build));
    all
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, said(output));
}

/// That a call failed with one line that says why.
fn is_refused(output: &Output, why: &str) {
    let said = said(output);
    // Where a command failed, make adds which.
    let lines = said.lines().filter(|line| !line.starts_with("make: ***")).count();
    assert!(!output.status.success(), "succeeded: {said}");
    assert!(lines == 1 && said.contains(why), "{why}: {said}");
}

#[test]
fn nothing_is_removed_beside_folders_of_any_name() {
    for name in NAMES.iter().chain(&REFUSED) {
        let home = Home::new(name).hand_over();
        let before = beside(&home);
        let possible = !REFUSED.contains(name);
        let cleaned = run(&mut home.make(&["clean"]));
        assert_eq!(cleaned.status.success(), possible, "{name}: {}", said(&cleaned));
        // Of what these need most is not there: they get as far as they can, and fail.
        let targets = ["html", "all", "demo", "fuzz", "check-deb", "cross-check", "header"];
        let output = run(home.make(&["--keep-going", "CARGO=false"]).args(targets));
        assert!(!output.status.success(), "{name}: {}", said(&output));
        assert!(beside(&home) == before, "{name}: something was changed");
        let cleaned = run(&mut home.make(&["clean"]));
        assert_eq!(cleaned.status.success(), possible, "{name}: {}", said(&cleaned));
        assert!(!possible || !home.source.join("build").exists(), "{name}: something is left");
        assert!(beside(&home) == before, "{name}: make clean changed something");
        if !possible {
            is_refused(&run(&mut home.make(&["all"])), "BUILD=");
        }
    }
}

#[test]
fn what_cannot_be_made_is_a_failure() {
    let home = Home::new("My Projects").hand_over();
    for target in ["all", "demo", "fuzz", "check-deb", "cross-check", "header", "check", "check-c"]
    {
        let output = run(&mut home.make(&[target, "CARGO=false"]));
        assert!(!output.status.success(), "make {target}: {}", said(&output));
    }
}

#[test]
fn values_that_cannot_be_are_refused_before_anything_is_done() {
    let home = Home::new("home").hand_over();
    let before = files(home.path());
    let path = home.path().to_str().expect("text");
    // Folders that are in use, empty, or no names for a rule.
    let in_use = [path, "/", ".", "..", "src", "man/../docs"];
    let unfit = [
        "",
        " ",
        "two words",
        "it's",
        "\"so\"",
        "a:b",
        "100%",
        "-rf",
        "~",
        "*",
        "a\\b",
        "#",
        "(a)",
        "a;b",
        "build//",
        "build/.",
        "new/..",
    ];
    for value in in_use {
        let given = format!("BUILD={value}");
        for target in ["all", "html", "examples", "fuzz", "header", "check", "bench", "clean"] {
            is_refused(&run(&mut home.make(&["--silent", target, &given])), "built here");
        }
    }
    // The others before there are any targets.
    for target in ["all", "clean"] {
        for value in unfit {
            let given = format!("BUILD={value}");
            is_refused(&run(&mut home.make(&[target, &given])), "BUILD");
        }
        for name in
            ["BUILD", "DESTDIR", "PREFIX", "LIBDIR", "INCLUDEDIR", "MANDIR", "LICENSEDIR", "VENDOR"]
        {
            for value in ["/a$b", "/$(HOME)", "/a$$b", "/two\nlines", "/a\n"] {
                let given = format!("{name}={value}");
                is_refused(&run(&mut home.make(&[target, &given])), name);
            }
        }
    }
    for given in
        ["PREFIX=/a\"b", "LIBDIR=/a\\b", "INCLUDEDIR=/a#b", "LIBDIR=lib", "PREFIX=usr", "MANDIR="]
    {
        is_refused(&run(&mut home.make(&["install", given])), "DIR");
    }
    for given in ["VENDOR=nowhere", "VENDOR=Cargo.toml"] {
        is_refused(&run(&mut home.make(&["all", given])), "VENDOR");
    }
    // Some shells have the maker of the machine in it.
    is_refused(&run(home.make(&["all"]).env("VENDOR", "unknown")), "VENDOR");
    // In another folder, make would take what lies there for the library's.
    let makefile = home.source.join("Makefile");
    let mut elsewhere = home.make(&["-f", makefile.to_str().expect("text"), "clean"]);
    is_refused(&run(elsewhere.current_dir(home.path())), "make -C");
    assert!(files(home.path()) == before, "something was changed");
}

#[test]
fn the_environment_does_not_say_what_is_removed() {
    let home = Home::new("home");
    let other = home.path().join("other");
    fs::create_dir_all(other.join("cargo")).expect("a folder");
    fs::write(other.join("cargo/kept"), KEPT).expect("a file");
    let home = home.hand_over();
    let before = files(home.path());
    succeeds(&run(home.make(&["clean"]).env("BUILD", &other)));
    is_refused(&run(home.make(&["-e", "clean"]).env("BUILD", &other)), "BUILD");
    assert!(files(home.path()) == before, "something was changed");
}

/// The variables that the files for make set, each with what stands in front of its name.
fn variables() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for file in ["Makefile", "maintain.mk", "tools/names.mk"] {
        let text = fs::read_to_string(source().join(file)).expect("it");
        for line in text.lines() {
            let line = line.replace("define newline", "newline =");
            let Some((left, _)) =
                line.split_once('=').filter(|_| !line.starts_with(['\t', ' ', '#', '$']))
            else {
                continue;
            };
            let left = left.trim_end_matches([':', '?', '+', ' ']);
            let (before, name) = left.rsplit_once(' ').unwrap_or(("", left));
            all.push((before.to_owned(), name.to_owned()));
        }
    }
    all
}

/// Those that a user may set.
const FOR_USERS: [&str; 20] = [
    "PREFIX",
    "LIBDIR",
    "INCLUDEDIR",
    "MANDIR",
    "LICENSEDIR",
    "VENDOR",
    "BUILD",
    "CARGO",
    "AR",
    "OBJCOPY",
    "INSTALL",
    "STRIP",
    "CFLAGS",
    "FUZZ_SECONDS",
    "HOSTILE_SECONDS",
    "BENCH_PAGE",
    "BENCH_RUNS",
    "BENCH_SECONDS",
    "ONLY",
    "REUSE",
];

/// With -e, make takes all variables of the environment.
#[test]
fn other_variables_are_those_of_the_makefile() {
    let home = Home::new("home");
    put(&home.path().join("other/kept"));
    put(&home.path().join("other/object/kept"));
    let before = beside(&home);
    let all = variables();
    let own =
        || all.iter().map(|(_, name)| name).filter(|name| !FOR_USERS.contains(&name.as_str()));
    for (before, name) in &all {
        let is_own = !FOR_USERS.contains(&name.as_str());
        assert_eq!(before, if is_own { "override" } else { "" }, "{name}");
    }
    assert!(own().count() > 30, "{}", own().count());
    let prefix = format!("PREFIX={}", home.path().join("build").display());
    for value in ["../src", &home.path().join("other/object").display().to_string()] {
        let given: Vec<_> = own().map(|name| format!("{name}={value}")).collect();
        for targets in [&["all"][..], &["install", &prefix], &["uninstall", &prefix], &["clean"]] {
            let from_environment = own().map(|name| (name, value));
            succeeds(&run(home.make(&["-e"]).args(targets).envs(from_environment)));
            succeeds(&run(home
                .make(&given.iter().map(String::as_str).collect::<Vec<_>>())
                .args(targets)));
        }
        assert!(beside(&home) == before, "{value}: something was changed");
    }
}

/// Compiles a program with what pkg-config says of a prefix, and runs it.
fn build_with_pkg_config(home: &Home, prefix: &Path) {
    let file = home.path().join("program.c");
    let text = "#include <ancillary.h>\nint main(void) { return ancillary_max_fds() != 253; }\n";
    fs::write(file, text).expect("a file");
    // What has to be quoted it quotes, for a shell that reads it once more.
    let commands =
        "eval cc program.c $(pkg-config --cflags --libs ancillary) -o program; ./program";
    let mut shell = Command::new("sh");
    shell.args(["-euc", commands]).current_dir(home.path());
    shell.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    run_ok(shell.env("LD_LIBRARY_PATH", prefix.join("lib")));
}

fn has_loopback() -> bool {
    let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { return false };
    // Where it is down, connecting may take until it gives up.
    let place = listener.local_addr().expect("an address");
    TcpStream::connect_timeout(&place, Duration::from_secs(10)).is_ok()
}

#[test]
fn builds_and_installs_in_folders_of_any_name() {
    // But for what the names of the refused values hold.
    let home = Home::new("My \"own\" & $HOME\\ it's (R&D) #1; [a]* {b,c}=~`id` a,b\n-n \u{fc}!");
    let before = beside(&home);
    let prefix = home.path().join("My own & it's [a]* {b,c}=~ 100% a,b \u{fc}!");
    let for_prefix = format!("PREFIX={}", prefix.display());
    let for_root = format!("DESTDIR={}/root \" # \\ (x) `id` ' & %", home.path().display());
    for arguments in [
        &["all"][..],
        &["examples"],
        &["install", &for_prefix],
        &["install", &for_prefix, &for_root],
    ] {
        succeeds(&run(&mut home.make(arguments)));
    }
    assert!(built(&home) == of_shipped(), "the name of the folder is in the libraries");
    if works(Command::new("mandoc").arg("/dev/null")) {
        succeeds(&run(&mut home.make(&["html"])));
        let page = home.source.join("build/html/ancillary.7.html");
        assert!(fs::read_to_string(page).expect("a page").contains("libancillary"));
    } else {
        missing("mandoc");
    }
    if has_loopback() {
        let output = run(&mut home.make(&["--silent", "demo"]));
        succeeds(&output);
    } else {
        skipped(Some("demo"), "the loopback interface");
    }
    if works(Command::new("pkg-config").arg("--version")) {
        build_with_pkg_config(&home, &prefix);
        for name in ["program", "program.c"] {
            fs::remove_file(home.path().join(name)).expect("a file");
        }
    } else {
        missing("pkg-config");
    }
    for arguments in [&[&*for_prefix][..], &[&for_prefix, &for_root]] {
        succeeds(&run(home.make(arguments).arg("uninstall")));
    }
    succeeds(&run(&mut home.make(&["clean"])));
    assert!(!home.source.join("build").exists(), "something is left");
    assert!(beside(&home) == before, "something is left");
}

/// Where the names of folders are such that nothing can be built there, it can be elsewhere.
#[test]
fn builds_elsewhere_for_folders_that_are_refused() {
    let home = Home::new(&REFUSED.concat());
    let before = beside(&home);
    is_refused(&run(&mut home.make(&["all"])), "BUILD=/ANOTHER/FOLDER");
    let other = TempDir::new();
    let (build, prefix) = (other.path().join("build"), other.path().join("usr"));
    let given = [format!("BUILD={}", build.display()), format!("PREFIX={}", prefix.display())];
    let make = |target| run(&mut home.make(&[target, &given[0], &given[1]]));
    for target in ["all", "examples", "install"] {
        succeeds(&make(target));
    }
    let names = ["libancillary.a", "libancillary.so"];
    assert!(libraries(names.map(|name| build.join(name))) == of_shipped(), "the libraries differ");
    assert!(libraries(names.map(|name| prefix.join("lib").join(name))) == of_shipped(), "others");
    for target in ["uninstall", "clean"] {
        succeeds(&make(target));
    }
    assert!(!build.exists() && files(&prefix).is_empty(), "something is left");
    assert!(beside(&home) == before, "something was changed");
}

/// A file of another's in a folder that make uses.
fn put(file: &Path) {
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(file, KEPT).expect("a file");
}

#[test]
fn what_is_anothers_is_kept() {
    let home = Home::new("home");
    let build = home.source.join("build");
    let prefix = home.path().join("usr");
    let anothers = [
        build.join("notes"),
        build.join("libancillary/cargo"),
        prefix.join("lib/libancillary.so.0"),
        prefix.join("lib/libother.so"),
        prefix.join("share/man/man3/other.3"),
        prefix.join("include/other.h"),
    ];
    let targets = match Command::new("mandoc").arg("-h").output() {
        Ok(_) => &["html", "all"][..],
        Err(_) => {
            missing("mandoc");
            &["all"]
        }
    };
    succeeds(&run(&mut home.make(targets)));
    anothers.iter().for_each(|file| put(file));
    // As some systems have it, for a group that may install.
    let lib = prefix.join("lib");
    fs::set_permissions(&lib, Permissions::from_mode(0o2775)).expect("other permissions");
    let given = format!("PREFIX={}", prefix.display());
    succeeds(&run(&mut home.make(&["install", &given])));
    assert_eq!(lib.metadata().expect("it").mode() & 0o7777, 0o2775, "of a folder that was there");
    succeeds(&run(&mut home.make(&["uninstall", &given])));
    succeeds(&run(&mut home.make(&["clean"])));
    for folder in [&build, &prefix] {
        let there =
            files(folder).into_keys().filter(|path| !path.ends_with(".made-by-libancillary"));
        let kept = anothers.iter().filter(|path| path.starts_with(folder)).cloned();
        assert_eq!(there.collect::<BTreeSet<_>>(), kept.collect());
    }
    // The folder remains make's.
    succeeds(&run(&mut home.make(&["all", "clean"])));
}

/// `sudo make install`, behind which the user's `make` has to go on, and which may not find what the
/// user has in PATH.
#[test]
fn installing_builds_nothing() {
    let home = Home::new("home");
    let prefix = home.path().join("usr");
    let given = format!("PREFIX={}", prefix.display());
    let install =
        || run(home.make(&["install", &given, "CARGO=false", "CC=false"]).env("CFLAGS", "-O0"));
    is_refused(&install(), "built");
    assert!(!prefix.exists() && !home.source.join("build").exists(), "something is there");
    succeeds(&run(&mut home.make(&[])));
    let before = state(&home.source);
    succeeds(&install());
    assert!(state(&home.source) == before, "something was built");
    // As after `git pull`, of which the header would be installed beside the library of before.
    for name in
        ["src/lib.rs", "src/c/fds.rs", "Cargo.toml", "Cargo.lock", "build.rs", "pkg/ancillary.map"]
    {
        run_ok(Command::new("touch").arg(home.source.join(name)));
        is_refused(&install(), &format!("{name} is newer than what is built"));
        // Also where cargo finds nothing to do.
        succeeds(&run(&mut home.make(&[])));
        succeeds(&install());
    }
}

#[test]
fn what_is_asked_for_at_once_is_done_in_its_order() {
    let home = Home::new("home");
    let prefix = home.path().join("usr");
    let given = format!("PREFIX={}", prefix.display());
    for _ in 0..2 {
        succeeds(&run(&mut home.make(&["-j4", "clean", "all", "install", &given])));
        assert!(prefix.join("lib/libancillary.a").exists());
        assert!(home.source.join("build/libancillary.a").exists());
    }
    succeeds(&run(&mut home.make(&["-j4", "uninstall", "clean", &given])));
}

/// A tool that is ended together with make leaves half a file, which is not taken for a whole one.
#[test]
fn a_build_that_was_killed_is_made_anew() {
    let home = Home::new("home");
    let kill = "echo half > \"$out\"; kill -KILL 0";
    let tools = [
        ("OBJCOPY", "for out; do :; done".to_owned()),
        (
            "CC",
            "case \" $* \" in *' -shared '*) ;; *) exec cc \"$@\" ;; esac\n\
             while test \"$1\" != -o; do shift; done; out=$2"
                .to_owned(),
        ),
        ("AR", "test \"$1\" != x || exec ar \"$@\"; out=$2".to_owned()),
    ];
    for (name, text) in tools {
        let tool = home.path().join(name);
        fs::write(&tool, format!("#!/bin/sh\n{text}\n{kill}\n")).expect("a file");
        fs::set_permissions(&tool, Permissions::from_mode(0o755)).expect("other permissions");
        let given = format!("{name}={}", tool.display());
        let killed = run(home.make(&[&given]).process_group(0));
        assert_eq!(killed.status.signal(), Some(9), "{name}: {}", said(&killed));
        succeeds(&run(&mut home.make(&[])));
        assert!(built(&home) == of_shipped(), "{name}: the libraries differ");
        // What is made of cargo's archive is made once more.
        fs::remove_dir_all(home.source.join("build/object")).expect("a folder");
    }
    succeeds(&run(&mut home.make(&["clean"])));
    assert!(!home.source.join("build").exists(), "something is left");
}

/// With a compiler whose name takes several words, as some distributions have for another machine.
#[test]
fn rust_links_with_the_compiler_that_is_given() {
    let home = Home::new("home");
    let target = format!("RUST_TARGET={}", env!("ANCILLARY_TEST_TARGET"));
    let linked = home.path().join("linked");
    let tool = home.path().join("cc");
    let text = format!("#!/bin/sh\necho >> '{}'\nexec cc \"$@\"\n", linked.display());
    fs::write(&tool, text).expect("a file");
    fs::set_permissions(&tool, Permissions::from_mode(0o755)).expect("other permissions");
    succeeds(&run(&mut home.make(&[&target, &format!("CC=env A='b c' {}", tool.display())])));
    assert!(built(&home) == of_shipped(), "the libraries differ");
    // Beside the object and the library, what Rust makes.
    let times = fs::read_to_string(&linked).expect("calls of the compiler").lines().count();
    assert!(times > 3, "{times}");
}

#[test]
fn a_link_in_the_place_of_the_folder_stays() {
    for given in ["BUILD=build", "BUILD=build/"] {
        let home = Home::new("home");
        let (link, folder) = (home.source.join("build"), home.path().join("elsewhere"));
        fs::create_dir(&folder).expect("a folder");
        symlink(&folder, &link).expect("a link");
        succeeds(&run(&mut home.make(&[given])));
        assert!(folder.join("libancillary.a").exists());
        for _ in 0..2 {
            succeeds(&run(&mut home.make(&["clean", given])));
            assert!(link.is_symlink(), "it was not made here");
            assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 0);
        }
    }
}

/// What lies in a folder that its user may not list is not seen, and there all the same.
#[test]
fn a_folder_that_cannot_be_read_is_not_taken_for_empty() {
    let home = Home::new("home");
    let folder = home.path().join("other");
    for name in ["cargo", "check", "root", "package", "kept"] {
        put(&folder.join(name).join("file"));
    }
    let home = home.hand_over();
    let before = files(home.path());
    let set_mode = |mode| {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).expect("other permissions");
    };
    let given = format!("BUILD={}", folder.display());
    let mut tool = home.make(&["--eval=mark: ; @. tools/folder.sh; own $(BUILD)", "mark", &given]);
    for command in [&mut home.make(&["all", &given]), &mut home.make(&["clean", &given]), &mut tool]
    {
        set_mode(0o333);
        let output = run(command);
        set_mode(0o755);
        assert!(!output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("here"), "{}", said(&output));
        assert!(files(home.path()) == before, "something was changed");
    }
}

/// What the tools are given to build in, they remove things in.
#[test]
fn tools_refuse_folders_of_others() {
    if !works(Command::new("git").arg("--version")) {
        return missing("git");
    }
    let tools = [
        "check-as-user",
        "check-c",
        "check-cross",
        "check-deb",
        "check-kernel",
        "check-msrv",
        "compare-abi",
        "dist",
        "fuzz",
    ];
    let home = Home::new("home");
    let repository = ["init", "--quiet"];
    run_ok(Command::new("git").args(repository).current_dir(&home.source));
    run_ok(&mut commit(&home.source));
    run_ok(Command::new("git").args(["tag", "v0.9"]).current_dir(&home.source));
    let folder = home.path().join("work");
    for name in ["root", "base", "last", "old", "new", "user", "vendor", "package", "kept"] {
        put(&folder.join(name).join("file"));
    }
    for name in ["tests/one.log", "SHA256SUMS", "PKGBUILD"] {
        put(&folder.join(name));
    }
    let before = files(home.path());
    for tool in tools {
        let mut command = Command::new("sh");
        command.arg(home.source.join("tools").join(tool).with_extension("sh")).arg(&folder);
        let output = run(command.args((tool == "fuzz").then_some("--keep")));
        let why = if is_root() { "has what was not made here" } else { "" };
        is_refused(&output, why);
        assert!(files(home.path()) == before, "{tool}: something was changed");
    }
}

/// A commit of all that is in a folder.
fn commit(folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    let who = "-c user.name=somebody -c user.email=somebody@example.org";
    shell.args(["-euc", &format!("git add --all; git {who} commit --quiet --message all")]);
    shell.current_dir(folder);
    shell
}

#[test]
fn the_abi_is_compared_with_that_of_the_last_release() {
    if !works(Command::new("git").arg("--version")) {
        return missing("git");
    }
    if !works(Command::new("abidiff").arg("--version")) {
        return missing("abidiff");
    }
    let home = Home::new("home");
    let git = |arguments: &[&str]| {
        run_ok(Command::new("git").args(arguments).current_dir(&home.source));
    };
    let compare = || run(&mut home.make(&["compare-abi"]));
    let edit = |name: &str, from: &str, to: &str| {
        let file = home.source.join(name);
        let text = fs::read_to_string(&file).expect("a file");
        assert!(text.contains(from), "{name}");
        fs::write(&file, text.replacen(from, to, 1)).expect("a file");
    };
    fs::write(home.source.join("CHANGELOG.md"), "## 1.0.0 (not yet released)\n").expect("a file");
    git(&["init", "--quiet"]);
    run_ok(&mut commit(&home.source));
    let output = compare();
    succeeds(&output);
    assert!(said(&output).contains("No release yet"), "{}", said(&output));

    // A clone may lack the tags.
    edit("CHANGELOG.md", "## 1.0.0 ", "## 1.1.0 (not yet released)\n\n## 1.0.0 ");
    let output = compare();
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("the tag of release 1.0.0 is not here"), "{}", said(&output));

    git(&["tag", "v1.0.0"]);
    succeeds(&compare());
    edit("pkg/ancillary.map", "\tancillary_version;\n", "");
    let output = compare();
    assert!(!output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("ancillary_version"), "{}", said(&output));
}

/// What says the version, and what stands in front of it there.
const SAY_THE_VERSION: [(&str, &str); 19] = [
    ("CHANGELOG.md", "\n## "),
    ("Cargo.lock", "\nname = \"libancillary\"\nversion = \""),
    ("RELEASING.md", "libancillary "),
    ("RELEASING.md", "libancillary-"),
    ("RELEASING.md", " v"),
    ("docs/cookbook.md", "libancillary-"),
    ("include/ancillary.h", "#define ANCILLARY_VERSION_MAJOR "),
    ("include/ancillary.h", "#define ANCILLARY_VERSION_MINOR "),
    ("include/ancillary.h", "#define ANCILLARY_VERSION_PATCH "),
    ("man/ancillary_version.3", "#define ANCILLARY_VERSION_MAJOR "),
    ("man/ancillary_version.3", "#define ANCILLARY_VERSION_PATCH "),
    ("pkg/arch/PKGBUILD", "pkgver="),
    ("pkg/debian/README.source", "libancillary_"),
    ("pkg/debian/README.source", "libancillary-"),
    ("pkg/debian/changelog", "libancillary ("),
    ("pkg/rpm/libancillary.spec", "Version:        "),
    ("pkg/rpm/libancillary.spec", " authors - "),
    ("src/c/constants.rs", "ANCILLARY_VERSION_MAJOR: c_int = "),
    ("src/c/constants.rs", "ANCILLARY_VERSION_MINOR: c_int = "),
];

#[test]
fn a_release_has_one_version() {
    let dir = TempDir::new();
    let copy = dir.path().join("copy");
    copy_source(&copy);
    for name in ["CHANGELOG.md", "README.md", "RELEASING.md", "SECURITY.md"] {
        fs::copy(source().join(name), copy.join(name)).expect("a copy");
    }
    let differs = || {
        let said = said(&run(Command::new("sh").arg(copy.join("tools/check-release.sh"))));
        said.lines()
            .filter(|line| line.contains(": the version is "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(differs(), "");
    let mut places = 0;
    for (name, before) in SAY_THE_VERSION {
        let file = copy.join(name);
        let text = fs::read_to_string(&file).expect("a text");
        let found = text.match_indices(before).map(|(at, _)| at + before.len());
        let found: Vec<_> =
            found.filter(|at| text[*at..].starts_with(|c: char| c.is_ascii_digit())).collect();
        assert!(!found.is_empty(), "{name} has no {before:?} and a number");
        for at in found {
            fs::write(&file, format!("{}9{}", &text[..at], &text[at..])).expect("a file");
            let differs = differs();
            assert!(
                differs.starts_with(&format!("{name}: the version is ")),
                "{name}, byte {at}: {differs}"
            );
            assert_eq!(differs.lines().count(), 1, "{differs}");
            places += 1;
        }
        fs::write(&file, text).expect("a file");
    }
    assert!(places > 25, "{places} places");
}

fn libraries(paths: [PathBuf; 2]) -> [Vec<u8>; 2] {
    paths.map(|path| fs::read(path).expect("a library"))
}

fn built(home: &Home) -> [Vec<u8>; 2] {
    libraries(
        ["libancillary.a", "libancillary.so"].map(|name| home.source.join("build").join(name)),
    )
}

fn of_shipped() -> [Vec<u8>; 2] {
    libraries([shipped().archive.clone(), shipped().shared.clone()])
}

/// What users have set for all that cargo builds, here or in a file of theirs.
#[test]
fn settings_for_other_programs_do_not_matter() {
    let home = Home::new("home");
    // cd(1) would go there, with CDPATH.
    put(&home.path().join("three/build/object/another's_compiler_builtins"));
    put(&home.path().join(".cargo/config.toml"));
    let config = "[build]\ntarget = 'aarch64-unknown-linux-gnu'\ntarget-dir = 'elsewhere'\n
        [profile.release]\nlto = false\npanic = 'unwind'\nincremental = true\ncodegen-units = 16\n";
    fs::write(home.path().join(".cargo/config.toml"), config).expect("a file");
    let before = beside(&home);
    let check = |make: &mut Command| {
        succeeds(&run(make));
        assert!(built(&home) == of_shipped(), "the libraries differ");
        assert!(beside(&home) == before, "something is elsewhere");
    };
    check(&mut home.make(&[]));
    succeeds(&run(&mut home.make(&["clean"])));
    check(
        home.make(&[])
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_PANIC", "unwind")
            .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_BUILD_TARGET", "aarch64-unknown-linux-gnu")
            .env("CARGO_TARGET_DIR", home.path().join("one"))
            .env("CARGO_BUILD_TARGET_DIR", home.path().join("two"))
            .env("CDPATH", home.path().join("three")),
    );
}

/// A panic that could be reached calls what is not there.
#[test]
fn a_library_that_could_panic_is_not_built() {
    let home = Home::new("home");
    for (name, value) in
        [("RUSTFLAGS", "-C lto=off -C codegen-units=16"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")]
    {
        let output = run(home.make(&[]).env(name, value));
        assert!(!output.status.success(), "{name}={value}");
        let said = said(&output);
        assert!(said.contains("ancillary_a_panic_is_reachable"), "{said}");
        assert!(said.contains("link-time optimisation"), "{said}");
        for library in ["libancillary.a", "libancillary.so"] {
            assert!(!home.source.join("build").join(library).exists(), "{library}");
        }
    }
}

#[test]
fn is_built_again_where_a_source_has_changed() {
    let home = Home::new("home");
    let links = |output: &Output| {
        succeeds(output);
        said(output).contains("-shared")
    };
    assert!(links(&run(&mut home.make(&[]))), "it was not built");
    assert!(!links(&run(&mut home.make(&[]))), "it was built again");
    let sources = files(&home.source.join("src")).into_keys();
    let deepest = sources.max_by_key(|file| file.components().count()).expect("a source");
    let text = fs::read_to_string(&deepest).expect("text");
    let more = "\n#[no_mangle]\nextern \"C\" fn one_more() {}\n";
    fs::write(&deepest, text + more).expect("a file");
    assert!(links(&run(&mut home.make(&[]))), "it was not built again");
}

/// What `make check` says at its end, of tests that say this.
fn summary(tests: &str) -> (bool, String) {
    let dir = TempDir::new();
    fs::write(dir.path().join("tests"), tests).expect("a file");
    let mut check = Command::new("sh");
    check.arg(source().join("tools/check.sh")).arg(dir.path().join("build"));
    let output = run(check.arg(". ./tests").current_dir(dir.path()));
    (output.status.success(), said(&output))
}

#[test]
fn the_tests_end_with_a_summary() {
    let (succeeded, said) = summary(
        "echo '     Running tests/one.rs (target/one-1)'
        echo 'test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured'
        printf 'test\tone::a\tgo (go version)\ntest\tone::b\troot\n' >> $ANCILLARY_TEST_REPORT
        printf 'case\tone::c: x\tno SO_PEERPIDFD\n' >> $ANCILLARY_TEST_REPORT
        echo 'test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured'",
    );
    assert!(succeeded, "{said}");
    let (_, end) = said.split_once("Skipped, for want of\n").expect("a list");
    let expected =
        "  go (go version)\n    one::a\n  no SO_PEERPIDFD\n    one::c: x\n  root\n    one::b\n
To skip less, on Debian: sudo apt-get install golang-go pkg-config\n
13 passed, 0 failed, 3 skipped\n";
    assert_eq!(end, expected);

    let (succeeded, said) = summary(
        "echo '     Running tests/one.rs (target/one-1)'
        printf 'failures:\n\n---- a stdout ----\n     Running another (one)\n\n'
        printf 'thread a panicked at here:\nwhy\n\nfailures:\n    a\n    b::c\n\n'
        echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured'
        exit 101",
    );
    assert!(!succeeded, "{said}");
    let end =
        "  tests/one.rs: a\n      thread a panicked at here:\n      why\n  tests/one.rs: b::c\n
1 passed, 2 failed, 0 skipped\n";
    assert!(said.ends_with(end), "{said}");

    // What ends otherwise than tests do has failed as well.
    for tests in ["exit 101", "kill -KILL $$", "echo 'test result: ok. 0 passed; 0 failed;'; false"]
    {
        let (succeeded, said) = summary(tests);
        assert!(!succeeded && said.ends_with("\n0 passed, 1 failed, 0 skipped\n"), "{said}");
    }
}

/// Whether the loopback interface is up, and how a network of one's own comes to be so.
const LOOPBACKS: [(bool, &str); 4] = [
    (false, ":"),
    (false, "ip link set lo up; ip link set lo down"),
    (false, "ip link add one type veth peer two; ip address add 192.0.2.1/24 dev one; ip link set one up"),
    (true, "ip link set lo up"),
];

#[test]
fn what_takes_the_loopback_interface_is_skipped_where_that_is_down() {
    if !works(Command::new("ip").arg("-V")) {
        return missing("ip");
    }
    let options = [&["--net"][..], &["--map-root-user", "--net"]]
        .into_iter()
        .find(|options| works(Command::new("unshare").args(*options).arg("true")));
    let Some(options) = options else {
        return missing("the right to make a network namespace");
    };
    let dir = TempDir::new();
    let send = cases("send", Link::Shared, &[], &[]);
    for (is_up, setup) in LOOPBACKS {
        let with = |command: &str| {
            let mut unshare = Command::new("unshare");
            unshare.args(options).args(["sh", "-euc", &format!("{setup}; {command}")]);
            unshare.env_remove("ANCILLARY_REQUIRE_ALL").current_dir(dir.path());
            let output = run(&mut unshare);
            (output.status.success(), said(&output))
        };
        if !with(":").0 {
            skipped(Some(setup), "a network with such an interface");
            continue;
        }
        let (succeeded, said) =
            with(&format!("exec sh '{}'/tools/check.sh build 'echo with'", source().display()));
        assert!(succeeded, "{setup}: {said}");
        let skips =
            said.contains("with -- --skip ") && said.contains("\n  the loopback interface\n");
        assert_eq!(skips, !is_up, "{setup}: {said}");
        let (succeeded, said) =
            with(&format!("'{}' tcp_drops_descriptors_without_an_error", send.display()));
        assert!(succeeded && said.starts_with(if is_up { "ok " } else { "skipped " }), "{said}");
    }
}

/// What no package has: a matter of the kernel, of rights, or of what was fetched.
const IN_NO_PACKAGE: [&str; 9] = [
    "root",
    "root, with mounts of its own",
    "the right to make a pid namespace",
    "the right to make a network namespace",
    "a user without privileges",
    "the right to choose the number of a process",
    "a newer kernel",
    "IPv6",
    "the crates of tools/header",
];

#[test]
fn packages_are_known_of_what_may_be_missing() {
    let table = fs::read_to_string(source().join("tests/packages")).expect("the table");
    let known = |what: &str| table.lines().any(|line| line.starts_with(&format!("{what}\t")));
    let mut count = 0;
    for (path, text) in files(&source().join("tests")) {
        if path.extension().is_some_and(|kind| kind == "rs") {
            let text = String::from_utf8(text).expect("text");
            for rest in text.split("missing(\"").skip(1) {
                let what = rest.split('"').next().expect("a text");
                let none = IN_NO_PACKAGE.contains(&what);
                assert!(known(what) || none, "{}: {what} is not in tests/packages", path.display());
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} found");
}
