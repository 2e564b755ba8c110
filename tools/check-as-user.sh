#!/bin/sh
# check-as-user.sh - runs the tests as a user without privileges, with no network but the loopback
#
#   tools/check-as-user.sh BUILDDIR [PROGRAM...]     as root
#
# BUILDDIR gets a copy of the sources and the crates, which that user owns. For it, in a namespace
# of its own, they lie in /home, beside the Rust of who runs this. What .ci/run has put into the
# folder `build` of the sources for wrappers is there as well. If no programs of tests are named,
# those are left out that tell the same whoever runs them: of the sources, the header, the manual
# and the ABI, what a call costs, and whether tests notice mutants; and those of the Makefile, most
# of which root hands to that user as well. The examples then run once more without a loopback
# interface, and the tests in C, by `make check-c`, also with no more descriptors than the fewest
# that a system allows: what that takes is skipped, and nothing fails. Some of these run also as
# root of a user namespace that has no other user, which some containers and builders of packages
# are. Of what tests do very often, one in ten is done.
#
# The crates come from the folder $VENDOR; without one, $CARGO fetches them.

set -eu
umask 022

[ $# -ge 1 ] || { echo "Usage: check-as-user.sh BUILDDIR [PROGRAM...]" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "check-as-user: only root can become another user" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/folder.sh"
own "$1"
build=$(cd "$1" && pwd)
shift
only=$*
sysroot=$(rustc --print sysroot)
place=$build/user/libancillary

# What the user has built is kept, so that the next time it is not built anew.
kept=$place/build/check
mkdir -p "$kept" "$build/rust"
[ -e "$build/check" ] || mv "$kept" "$build/check"
rm -rf --one-file-system "$build/user" "$build/vendor"
mkdir -p "$place/build"
mv "$build/check" "$kept"

if [ -n "${VENDOR-}" ]; then
    cp -R "$VENDOR" "$build/vendor"
else
    "${CARGO:-cargo}" vendor --quiet --locked --sync "$source/tools/header/Cargo.toml" \
        --manifest-path "$source/Cargo.toml" "$build/vendor" > /dev/null
fi
tar -C "$source" -cf - --exclude-vcs --exclude=./build --exclude=./vendor --exclude=target \
    --exclude=".${build#"$source"}" . | tar -C "$place" -xf -
for made in .made-by-libancillary venv node_modules; do
    [ ! -e "$source/build/$made" ] || cp -R "$source/build/$made" "$place/build"
done
chown -R nobody: "$build/user" "$build/vendor"

named=no
[ -z "$only" ] || named=yes
[ -n "$only" ] || for test in "$place"/tests/*.rs "$place"/tests/*/main.rs; do
    name=${test#"$place/tests/"}
    name=${name%/main.rs}
    name=${name%.rs}
    case $name in
    abi | cost | description | house | make | manual | mutants) ;;
    *) only="$only $name" ;;
    esac
done

export build sysroot only named
exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -euc '
    ip link set lo up
    # Before /home is another, where either may be.
    mount --bind "$sysroot" "$build/rust"
    mount --rbind "$build" /home
    cd /home/user/libancillary
    as_user() { # ARGUMENTS: of make
        setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups \
            env -i HOME=/home/user PATH=/home/rust/bin:/usr/bin:/bin VENDOR=/home/vendor \
            ANCILLARY_TEST_SHARE="${ANCILLARY_TEST_SHARE-10}" \
            ANCILLARY_REQUIRE_ALL="${ANCILLARY_REQUIRE_ALL-}" ${in_namespace-} make "$@"
    }
    # Little, also for descriptors in flight. Some tests need more than the 4,096 of the kernel.
    ulimit -S -n 1024
    ulimit -H -n 8192
    as_user check ONLY="$only"
    [ "$named" = no ] || exit 0

    unset ANCILLARY_REQUIRE_ALL
    ip link set lo down
    as_user check ONLY=examples
    ulimit -H -n 1024
    as_user check-c
    in_namespace="unshare --user --map-root-user"
    as_user check-c ONLY="appear creds lossless meet names peer replace"'
