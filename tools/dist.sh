#!/bin/sh
# dist.sh - makes what is released of the commit that is checked out
#
#   tools/dist.sh FOLDER
#
# FOLDER gets, with NAME for libancillary and the version,
#
#   NAME.tar.xz            the sources
#   NAME-vendored.tar.xz   the sources with the crates: from these alone it is built without a network
#   NAME.cdx.json          what the library is made of, in the format of CycloneDX
#   PKGBUILD               that for Arch, with the sum of the second archive
#   SHA256SUMS             of all these
#
# The commit alone decides what is in them, and not when, where and by whom they are made; but other
# versions of cargo, xz and cargo-cyclonedx may give other bytes. $SOURCE_DATE_EPOCH is the time of
# all files, if not that of the commit.

set -eu
umask 022

[ $# -eq 1 ] || { echo "Usage: dist.sh FOLDER" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/folder.sh"
own "$1"
cargo=${CARGO:-cargo}
export LC_ALL=C TZ=UTC
unset TAR_OPTIONS XZ_DEFAULTS XZ_OPT

fail() {
    echo "dist: $*" >&2
    exit 1
}

# What the user's own settings would change in the files is left out.
repository() {
    git -C "$source" -c core.attributesFile=/dev/null -c core.autocrlf=false "$@"
}

[ -e "$source/.git" ] || fail "this is no git repository, and a release is made of a commit"
changes=$(repository status --porcelain)
[ -z "$changes" ] || fail "what is released, and with it what check-dist, check-rpm and check-arch look at,
is made of the last commit, in which this is not: commit it, stash it or remove it
$changes"
command -v cargo-cyclonedx > /dev/null ||
    fail "cargo-cyclonedx is missing: cargo install --locked cargo-cyclonedx"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$source/Cargo.toml")
name=libancillary-$version
: "${SOURCE_DATE_EPOCH:=$(repository log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

out=$(cd "$1" && pwd)
work=$(mktemp -d "$out/unfinished.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/$name"
repository archive --output "$work/tar" HEAD
tar -C "$work/$name" -xf "$work/tar"

pack() { # ARCHIVE
    # This format has no place for what is of the machine, and what it cannot hold is a failure.
    tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --mode=u+rw,go=rX \
        --owner=0 --group=0 --numeric-owner -C "$work" -cf "$work/tar" "$name"
    # Several threads would cut it into blocks.
    xz -9 --threads=1 --stdout "$work/tar" > "$work/$1"
}

cd "$work/$name"
pack "$name.tar.xz"
"$cargo" vendor --quiet --locked vendor > "$work/log"
pack "$name-vendored.tar.xz"

"$cargo" cyclonedx --quiet --format json --spec-version 1.5 --target all \
    --override-filename materials
# There this package has the name of its folder.
sed "s|path+file://[^#\"]*#|path+file:///$name#|g" materials.json > "$work/$name.cdx.json"

cd "$work"
sum=$(sha256sum "$name-vendored.tar.xz")
sed "s/^sha256sums=.*/sha256sums=(${sum%% *})/" "$name/pkg/arch/PKGBUILD" > PKGBUILD
set -- "$name.tar.xz" "$name-vendored.tar.xz" "$name.cdx.json" PKGBUILD
sha256sum "$@" > SHA256SUMS
mv "$@" SHA256SUMS "$out"
