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
git -C "$source" rev-parse HEAD > /dev/null
last=$(git -C "$source" describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || {
    # The first is that of the sources themselves.
    released=$(sed -n 's/^## \([0-9.]*\) .*/\1/p' "$source/CHANGELOG.md" | sed -n 2p)
    [ -z "$released" ] || {
        echo "compare-abi: the tag of release $released is not here: git fetch --tags" >&2
        exit 1
    }
    echo "No release yet: no ABI to compare with."
    exit 0
}
. "$source/tools/folder.sh"
own "$1"
build=$(cd "$1" && pwd)
rm -rf "$build/last" "$build/old" "$build/new"
mkdir "$build/last"
git -C "$source" archive "$last" | tar -x -C "$build/last"

export CARGO_PROFILE_RELEASE_DEBUG=2 CARGO_PROFILE_RELEASE_STRIP=none
make -s -C "$build/last" BUILD=../old
make -s -C "$source" BUILD="$1/new"
echo "ABI of $last and now:"
abidiff --no-added-syms "$build/old/libancillary.so" "$build/new/libancillary.so"
