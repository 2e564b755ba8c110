//! What was measured, and on what.

use crate::world::{missing, World};
use crate::{glib, python, skalibs};
use serde_json::{json, Map, Value};
use std::path::Path;
use std::process::{self, Command};
use std::{env, fs};

fn first_line(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// To be called while the process may use all processors.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, |number| number.get());
    json!({
        "processor": model.map_or("", |(_, name)| name),
        "processors": processors,
        "load": load.split(' ').next(),
        "virtual": cpu.contains(" hypervisor"),
        "kernel": first_line("uname", &["-r"]),
        "system": name.unwrap_or_default().trim_matches('"'),
        "rustc": first_line("rustc", &["--version"]),
        "libc": first_line("getconf", &["GNU_LIBC_VERSION"]),
    })
}

/// The versions of what is compared.
pub fn versions() -> Value {
    let mut versions = Map::new();
    let lock = include_str!("../Cargo.lock");
    for name in ["rustix", "nix", "uds", "sendfd", "unix-ancillary", "tiny-nix-ipc", "passfd"] {
        let package = format!("name = \"{name}\"\nversion = \"");
        // Of two, the newer one is the one compared, and it comes last.
        let found = lock.rsplit_once(&package).and_then(|(_, rest)| rest.split_once('"'));
        versions.insert(name.into(), found.map_or("", |(version, _)| version).into());
    }
    for (name, package) in
        [("skalibs", "skalibs-dev"), ("GLib", "libglib2.0-0"), ("libuv", "libuv1")]
    {
        let version = first_line("dpkg-query", &["-W", "-f", "${Version}", package]);
        versions.insert(name.into(), version.into());
    }
    if python::is_there() {
        let version = python::says("import platform; print(platform.python_version())");
        versions.insert("Python".into(), version.into());
    }
    Value::Object(versions)
}

/// The size of a shared object as a distribution installs it, without what only debuggers read.
fn stripped(path: &str) -> u64 {
    let file = env::temp_dir().join(format!("ancillary-bench-{}", process::id()));
    let status = Command::new("strip").arg("-o").arg(&file).arg(path).status();
    if !status.is_ok_and(|status| status.success()) {
        missing("strip");
        return 0;
    }
    let size = fs::metadata(&file).expect("a file").len();
    let _ = fs::remove_file(&file);
    size
}

/// The sizes of the shared objects, in bytes; of GLib those of the libraries that it consists of.
pub fn sizes() -> Value {
    let _world = World::new(libc::SOCK_STREAM).open_libraries();
    let maps = fs::read_to_string("/proc/self/maps").expect("a list of what is mapped");
    let mut paths: Vec<&str> =
        maps.lines().filter_map(|line| Some(&line[line.find('/')?..])).collect();
    paths.sort_unstable();
    paths.dedup();
    let size = |files: &[&str]| -> u64 {
        let is_one = |path: &&&str| {
            let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
            files.iter().any(|file| name.starts_with(file))
        };
        paths.iter().filter(is_one).map(|path| stripped(path)).sum()
    };
    let base = |file: &'static str| file.split_once(".so").map_or(file, |(name, _)| name);
    json!([
        { "name": "libancillary", "bytes": size(&["libancillary.so"]) },
        { "name": "skalibs", "bytes": size(&[base(skalibs::FILE)]) },
        { "name": "GLib", "bytes": size(&[base(glib::FILE), "libgobject-2.0", "libglib-2.0"]) },
    ])
}
