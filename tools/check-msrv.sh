#!/bin/sh
# check-msrv.sh - builds the library with the oldest Rust it promises to build with
#
#   tools/check-msrv.sh BUILDDIR
#
# That is Debian 12's: its packages are unpacked into BUILDDIR, and nothing is installed. Its cargo
# knows only the old kind of index, so the crates are fetched by today's, and the build is offline.

set -eu

[ $# -eq 1 ] || { echo "Usage: check-msrv.sh BUILDDIR" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/folder.sh"
own "$1"
cd "$1"

if [ ! -x root/usr/bin/cargo ]; then
    apt-get update -q
    apt-get download -q rustc/bookworm cargo/bookworm libstd-rust-1.63/bookworm \
        libstd-rust-dev/bookworm libllvm14/bookworm libgit2-1.5/bookworm \
        libhttp-parser2.9/bookworm libssh2-1/bookworm libmbedcrypto7/bookworm \
        libmbedtls14/bookworm libmbedx509-1/bookworm libcurl3-gnutls/bookworm
    for package in *.deb; do
        dpkg -x "$package" root
    done
fi

rm -rf package
mkdir package
cp -R "$source"/Cargo.toml "$source"/Cargo.lock "$source"/build.rs "$source"/src package
cd package
cargo vendor --quiet --locked
mkdir .cargo
cat > .cargo/config.toml <<'END'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "vendor"
END

root=$PWD/../root
LD_LIBRARY_PATH=$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null ||
    echo x86_64-linux-gnu)
export LD_LIBRARY_PATH
export CARGO_HOME="$PWD/home" RUSTC="$root/usr/bin/rustc"
"$RUSTC" --version
unset CARGO_BUILD_TARGET
"$root/usr/bin/cargo" build --release --lib --offline --locked --target-dir target

# A panic that this compiler does not see to be out of reach would leave that name undefined.
# nm complains of members that hold no symbols.
names=$(nm target/release/libancillary.a 2>/dev/null) || test -n "$names"
if echo "$names" | grep -q ancillary_a_panic_is_reachable; then
    echo "With this compiler a panic is reachable." >&2
    exit 1
fi
