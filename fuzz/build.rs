//! Builds the library as what C programs link, with the instrumentation that cargo-fuzz asks for,
//! and the C side of the test, without.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const C_FILES: [&str; 5] = ["script.c", "channel_script.c", "stream_end.c", "reader.c", "calls.c"];

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

fn main() {
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("..");
    let (out, target) = (PathBuf::from(variable("OUT_DIR")), variable("TARGET"));

    // CARGO_ENCODED_RUSTFLAGS, which cargo sets here, is what it has been asked for.
    let status = Command::new(variable("CARGO"))
        .args(["rustc", "--release", "--lib", "--crate-type", "staticlib", "--locked"])
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(out.join("library"))
        // Optimisation at link time loses what the instrumentation refers to.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
        .status()
        .expect("cargo");
    assert!(status.success(), "the library does not build");
    println!(
        "cargo:rustc-link-search={}",
        out.join("library").join(target).join("release").display()
    );
    println!("cargo:rustc-link-lib=static=ancillary");
    // The library's panic handler stands beside that of Rust's standard library. Either aborts.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,muldefs");

    let tests = source.join("tests/c");
    cc::Build::new()
        .files(C_FILES.map(|file| tests.join(file)))
        .include(source.join("include"))
        .std("c99")
        .compile("scripts");

    for path in ["src", "Cargo.toml", "Cargo.lock", "include", "tests/c"] {
        println!("cargo:rerun-if-changed={}", source.join(path).display());
    }
}
