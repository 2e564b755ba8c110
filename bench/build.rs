//! Links the shared library as `make` leaves it, in ANCILLARY_BUILD, and the floor as one.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-env-changed=ANCILLARY_BUILD");
    let build = std::env::var_os("ANCILLARY_BUILD").unwrap_or_else(|| "../build".into());
    let build = PathBuf::from(build);
    let build = build.canonicalize().unwrap_or(build);
    println!("cargo:rustc-link-search=native={}", build.display());
    println!("cargo:rustc-link-arg=-Wl,--disable-new-dtags,-rpath,{}", build.display());
    println!("cargo:rustc-env=ANCILLARY_BUILD={}", build.display());

    println!("cargo:rerun-if-changed=src/floor.c");
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets this"));
    let mut compiler = cc::Build::new().opt_level(2).pic(true).get_compiler().to_command();
    compiler.args(["-std=c99", "-Wall", "-Wextra", "-shared", "src/floor.c", "-Wl,-z,now", "-o"]);
    let status = compiler.arg(folder.join("libfloor.so")).status().expect("a C compiler");
    assert!(status.success(), "{compiler:?}: {status}");
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
}
