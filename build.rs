//! Stops where the system is not one that `src/sys` knows. Names the shared object, and tells
//! the tests what they run on.

fn main() {
    let system = std::env::var("CARGO_CFG_TARGET_OS").expect("cargo sets this");
    if system != "linux" {
        // The compiler would go on, and tell of each name that is missing.
        eprintln!("libancillary supports Linux only so far, and not {system}");
        std::process::exit(1);
    }
    println!("cargo:rerun-if-changed=build.rs");
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets this");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libancillary.so.{major}");
    for name in ["TARGET", "HOST"] {
        let triple = std::env::var(name).expect("cargo sets this");
        println!("cargo:rustc-env=ANCILLARY_TEST_{name}={triple}");
    }
}
