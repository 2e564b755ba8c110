#!/bin/sh
# check-cross.sh - whether the library works on other machines, with musl, and as if Linux were 4.18
#
#   tools/check-cross.sh BUILDDIR     as root, on Debian for amd64
#
# BUILDDIR/base is a folder with Debian 12 and compilers for all these machines; it is made once,
# from the mirror that this machine uses. With what is there
#
# - the library and its C tests are built for each machine, and run: by the kernel, where it can, or
#   else by qemu-user;
# - a process of one machine and one of another exchange everything;
# - the Debian packages are built;
# - and a build for a system that the library does not support ends with one message.
#
# The crates come from the folder $VENDOR; without one, $CARGO fetches them.

set -eu
umask 022

[ $# -eq 1 ] || { echo "Usage: check-cross.sh BUILDDIR" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
base=$build/base

. "$source/tools/debian.sh"
isolate 3600

packages="rustc-web cargo-web qemu-user-static musl-tools debhelper
    gcc-i686-linux-gnu gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-s390x-linux-gnu
    gcc-powerpc64le-linux-gnu
    libc6-dev:i386 libc6-dev:arm64 libc6-dev:armhf libc6-dev:s390x libc6-dev:ppc64el
    libstd-rust-web-dev:i386 libstd-rust-web-dev:arm64"

# Of these packages a part is enough: the others of Rust depend on a compiler for each machine, and
# of the sources the core is built for musl and for a system that is not supported, which Debian has
# nothing for. What the compiler would take from its support code, the C library has.
steps='
for machine in i386 arm64 armhf s390x ppc64el; do dpkg --add-architecture $machine; done
apt-get update -q
apt-get install -y -q --no-install-recommends '"$(echo $packages)"'
cd /tmp
take() { # PACKAGE FOLDER
    apt-get download -q "$1"
    dpkg --fsys-tarfile "${1%:*}"_*.deb | tar -C / --wildcards -xf - "$2"
    rm "${1%:*}"_*.deb
}
for machine in armhf s390x ppc64el; do
    take libstd-rust-web-dev:$machine "./usr/lib/rustlib/*"
done
take rust-web-src "./usr/src/rustc-*/library/*"

core() { # TARGET
    folder=/usr/lib/rustlib/$1/lib
    mkdir -p "$folder"
    compile="rustc --edition 2021 --crate-type rlib --target $1 --out-dir $folder
        -C opt-level=3 -C panic=abort -Z force-unstable-if-unmarked --cap-lints allow"
    $compile --crate-name core /usr/src/rustc-*/library/core/src/lib.rs
    echo "#![feature(compiler_builtins)] #![compiler_builtins] #![no_std]" |
        $compile --crate-name compiler_builtins -
}
export RUSTC_BOOTSTRAP=1
core x86_64-unknown-linux-musl
core x86_64-unknown-freebsd
rm -r /usr/src/rustc-*
mkdir /source /vendor /out
'
set_up() { # FOLDER
    inside "$1" root sh -euc "$steps"
}
make_debian "$base" "$(echo "$steps" | cksum)" set_up

lacks=$source/tools/cross/emulator-lacks
sed -n '/^[a-z]/p' "$lacks" | while read -r program name rest; do
    grep -q "CASE($name)" "$source/tests/c/$program.c" ||
        fail "$lacks names $name, which $program.c does not have"
done

# --- in the folder ---

# Nothing is written there but to /out, which is kept, and to /tmp. What was built with other tools
# is built anew.
out=$build/out
cmp -s "$base/recipe" "$out/recipe" || rm -rf "$out"
mkdir -p "$out"
cp "$base/recipe" "$out/recipe"
mount --bind "$base" "$base"
mount -o remount,bind,ro "$base"
mount --bind "$source" "$base/source"
mount -o remount,bind,ro "$base/source"
mount --bind "$VENDOR" "$base/vendor"
mount --bind "$out" "$base/out"
mount -t proc proc "$base/proc"
mount -t tmpfs -o mode=1777 tmpfs "$base/tmp"

in_debian() {
    inside "$base" root env --chdir=/tmp CARGO_HOME=/out/cargo-home VENDOR=/vendor "$@"
}

rm -rf "$out/logs"
mkdir "$out/logs"
failed=
table=

# Builds and runs tests, and adds a line to the table. What is skipped must be so for one of the
# reasons; where none are given, as it is by `make check`.
tests() { # NAME WHAT REASONS VARIABLE=VALUE...
    name=$1
    what=$2
    reasons=$3
    shift 3
    step "$name: $what"
    if [ -n "$reasons" ]; then require=0; else require=${ANCILLARY_REQUIRE_ALL-0}; fi
    ok=yes
    in_debian ANCILLARY_REQUIRE_ALL="$require" ANCILLARY_TEST_SHARE="${share-1}" CHECK_SECONDS=180 \
        make --jobs="$(nproc)" --keep-going --file=/source/tools/cross/build.mk \
        OUT=/out LOGS="/out/logs/$name" "$@" > "$out/logs/$name.make" 2>&1 || ok=
    said=$out/logs/$name.said
    grep -H . "$out/logs/$name"/*.log 2> /dev/null | sed 's|.*/\([a-z_]*\)-[a-z]*\.log:|\1: |' > "$said" ||
        true
    grep ': FAILED' "$said" || [ -n "$ok" ] || tail -n 20 "$out/logs/$name.make"
    if [ -n "$reasons" ] && grep ': skipped' "$said" | grep -Ev ": ($reasons)\$"; then
        echo "These are skipped for another reason than those known."
        ok=
    fi
    passed=$(grep -c ': ok' "$said" || true)
    [ "$passed" -gt 0 ] || ok=
    [ -n "$ok" ] || failed="$failed $name"
    table="$table$(printf '%-14s %-42s %5d passed %5d skipped' "$name" "$what" "$passed" \
        "$(grep -c ': skipped' "$said" || true)")
"
}

version() { # PACKAGE
    in_debian dpkg-query -W -f '${Version}' "$1" | sed 's/^.*://; s/[-+].*//'
}

linux="Linux $(uname -r | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')"
older="no SO_PASSPIDFD|no SO_PEERPIDFD|no SO_PASSRIGHTS|no io_uring"
emulated="$older|no seccomp filters|$(sed -n 's/^[a-z].*  //p' "$lacks" |
    sort -u | tr '\n' '|' | sed 's/|$//')"

tests amd64 "$linux" "" MACHINE=amd64
tests i386 "$linux" "" MACHINE=i386
tests musl "$linux for amd64, musl $(version musl-tools)" "" MACHINE=musl
in_debian make --file=/source/tools/cross/build.mk OUT=/out MACHINE=amd64 /out/amd64/older > /dev/null
tests older "$linux for amd64, as if it were 4.18" "$older" MACHINE=amd64 RUN=/out/amd64/older
for machine in arm64 armhf s390x ppc64el; do
    share=10
    tests "$machine" "qemu-user $(version qemu-user-static)" "$emulated" MACHINE="$machine"
done
for pair in amd64:i386 i386:amd64 amd64:musl musl:amd64 i386:musl; do
    tests "$pair" "a process of each" "" MACHINE="${pair%:*}" PEER="${pair#*:}" PROGRAMS=mixed
done
for pair in amd64:arm64 amd64:armhf amd64:s390x amd64:ppc64el; do
    tests "$pair" "a process of each" "$emulated" MACHINE="${pair%:*}" PEER="${pair#*:}" PROGRAMS=mixed
done

# What of an ELF file says which machine it is for.
machine_of() { # FILE
    od -An -t x1 -j 4 -N 16 "$1"
}

for machine in i386 arm64; do
    step "Debian packages for $machine"
    place=$out/packages-$machine
    rm -rf "$place"
    copy_source "$place/source"
    cp -R "$VENDOR" "$place/source/vendor"
    mv "$place/source/pkg/debian" "$place/source/debian"
    # A symbol that is missing or new fails the build.
    if in_debian DEB_BUILD_OPTIONS=nocheck env --chdir="/out/packages-$machine/source" \
        dpkg-buildpackage --host-arch="$machine" --build-profiles=cross,nocheck -us -uc -b \
        > "$place/log" 2>&1 &&
        [ "$(machine_of "$place"/source/debian/libancillary1/usr/lib/*/libancillary.so.?)" = \
            "$(machine_of "$out/$machine/libancillary.so.1")" ]; then
        table="$table$(printf '%-14s %-42s built' packages "Debian 12 for $machine")
"
    else
        tail -n 20 "$place/log"
        failed="$failed packages-$machine"
    fi
done

step "a system that is not supported"
if in_debian make --directory=/source BUILD=/out/freebsd RUST_TARGET=x86_64-unknown-freebsd \
    > "$out/logs/freebsd.make" 2>&1 ||
    [ "$(grep -c '^error' "$out/logs/freebsd.make")" -ne 1 ] ||
    ! grep 'supports Linux only' "$out/logs/freebsd.make"; then
    cat "$out/logs/freebsd.make"
    failed="$failed freebsd"
fi

step "what ran"
printf '%s' "$table"
step "what was skipped"
for said in "$out"/logs/*.said; do
    sed -n "s|^\([a-z_]*\): skipped \(.*\)|\1 \2\t$(basename "$said" .said)|p" "$said"
done | LC_ALL=C sort -u | awk -F '\t' '
    $1 != last { if (last) print last " (" on ")"; on = ""; last = $1 }
    { on = on (on ? " " : "") $2 }
    END { if (last) print last " (" on ")" }'
[ -z "$failed" ] || fail "these failed:$failed"
