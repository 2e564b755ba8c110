#!/bin/sh
# compare-abi.sh - compares the ABI with that of the last release
#
#   tools/compare-abi.sh BUILDDIR
#
# Builds both with debugging information, from which abidiff(1) knows the types, and fails where
# something was removed or changed. Before the first release there is nothing to compare with.

set -eu

[ $# -eq 1 ] || { echo "Usage: compare-abi.sh BUILDDIR" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
last=$(git -C "$source" describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || {
    echo "No release yet: no ABI to compare with."
    exit 0
}
rm -rf "$1"
mkdir -p "$1/last"
build=$(cd "$1" && pwd)
git -C "$source" archive "$last" | tar -x -C "$build/last"

export CARGO_PROFILE_RELEASE_DEBUG=2 CARGO_PROFILE_RELEASE_STRIP=none
make -s -C "$build/last" BUILD="$build/old"
make -s -C "$source" BUILD="$build/new"
echo "ABI of $last and now:"
abidiff --no-added-syms "$build/old/libancillary.so" "$build/new/libancillary.so"
