//! Links the shared library as `make` leaves it, in ANCILLARY_BUILD.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=ANCILLARY_BUILD");
    let build = std::env::var_os("ANCILLARY_BUILD").unwrap_or_else(|| "../build".into());
    let build = PathBuf::from(build);
    let build = build.canonicalize().unwrap_or(build);
    println!("cargo:rustc-link-search=native={}", build.display());
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{}", build.display());
    println!("cargo:rustc-env=ANCILLARY_BUILD={}", build.display());
}
