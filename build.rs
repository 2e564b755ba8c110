//! Names the shared object, and tells the tests what they run on.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets this");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libancillary.so.{major}");
    for name in ["TARGET", "HOST"] {
        let triple = std::env::var(name).expect("cargo sets this");
        println!("cargo:rustc-env=ANCILLARY_TEST_{name}={triple}");
    }
}
