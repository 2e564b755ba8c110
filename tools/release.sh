# release.sh - what the checks of a release, and of packages made of it, have in common
#
# Who reads this has set `source`, the folder of the library. It sets `work`, a folder that is
# removed at the end, and `name`, which the archives begin with.

umask 022
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/home"
name=libancillary-$(sed -n 's/^version = "\(.*\)"/\1/p' "$source/Cargo.toml")

step() {
    echo "== $*"
}

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

only_root() {
    [ "$(id -u)" -eq 0 ] || fail "only root can take away the network, and install"
}

# Runs a command that says much, which is shown if it fails.
quietly() { # COMMAND...
    "$@" > "$work/log" 2>&1 || {
        tail -n 100 "$work/log"
        fail "this failed: $*"
    }
}

# Runs a command on a machine with this one's compilers, without a network, and with nothing that
# was fetched before. Tests do one in ten of what they do very often.
alone() { # COMMAND...
    env -i HOME="$work/home" LC_ALL=C.UTF-8 PATH="$PATH" ANCILLARY_TEST_SHARE="${ANCILLARY_TEST_SHARE-10}" \
        RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" unshare --net "$@"
}

# Links programs with what is installed below a folder as if that were the root, and runs them.
link_below() { # FOLDER LIBDIR
    quietly env PKG_CONFIG_SYSROOT_DIR="$1" PKG_CONFIG_LIBDIR="$1$2/pkgconfig" \
        PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 LD_LIBRARY_PATH="$1$2" \
        sh "$source/pkg/debian/tests/compile"
    dangling=$(find "$1" -xtype l)
    [ -z "$dangling" ] || fail "links to nowhere: $dangling"
    for licence in LICENSE-MIT LICENSE-APACHE; do
        cmp "$source/$licence" "$1/usr/share/licenses/libancillary/$licence"
    done
}

# Whether no file is left that was installed, beside the records of who installed it.
nothing_below() { # FOLDER
    left=$(find "$1" ! -type d ! -path "$1/database/*")
    [ -z "$left" ] || fail "removing leaves $left"
}
