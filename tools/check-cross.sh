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
. "$source/tools/folder.sh"
own "$1"
build=$(cd "$1" && pwd)
base=$build/base

. "$source/tools/debian.sh"
isolate 3600

packages="rustc-web cargo-web qemu-user-static musl-tools debhelper
    gcc-i686-linux-gnu gcc-aarch64-linux-gnu gcc-arm-linux-gnueabihf gcc-s390x-linux-gnu
    gcc-powerpc64le-linux-gnu
    libc6-dev:i386 libc6-dev:arm64 libc6-dev:armhf libc6-dev:s390x libc6-dev:ppc64el"

# Of Rust for other machines and of its sources a part is enough. The packages depend on a compiler
# for each machine, but the library's own package asks for them in name alone. Of the sources the
# core is built, meanwhile, for musl and for a system that is not supported, which Debian has nothing
# for. What the compiler would take from its support code, the C library has.
steps='
# What nobody reads there, and machines that nothing is run for.
{
    printf "path-exclude=/usr/%s\n" "share/doc/*" "share/locale/*" "share/man/*" \
        "bin/qemu-*-static" "bin/*-lto-dump-*" "lib/gcc*/lto1"
    printf "path-include=/usr/bin/qemu-%s-static\n" aarch64 arm ppc64le s390x
} >> /etc/dpkg/dpkg.cfg.d/for-once
echo "Acquire::Languages \"none\";" > /etc/apt/apt.conf.d/for-once
for machine in i386 arm64 armhf s390x ppc64el; do dpkg --add-architecture $machine; done
apt-get update -q
apt-get install -y -q --no-install-recommends '"$(echo $packages)"'
cd /tmp
apt-get download -q rust-web-src
dpkg --fsys-tarfile rust-web-src_*.deb | tar -C / --wildcards -xf - "*/library/*"

core() { # TARGET FLAG...
    target=$1
    folder=/usr/lib/rustlib/$1/lib
    shift
    mkdir -p "$folder"
    compile="rustc --edition 2021 --crate-type rlib --target $target --out-dir $folder
        -C panic=abort -Z force-unstable-if-unmarked --cap-lints allow $*"
    $compile --crate-name core /usr/src/rustc-*/library/core/src/lib.rs
    echo "#![feature(compiler_builtins)] #![compiler_builtins] #![no_std]" |
        $compile --crate-name compiler_builtins -
}
export RUSTC_BOOTSTRAP=1
core x86_64-unknown-linux-musl -C opt-level=3 &
musl=$!
core x86_64-unknown-freebsd --emit=metadata &
freebsd=$!
apt-get download -q libstd-rust-web-dev:i386 libstd-rust-web-dev:arm64 \
    libstd-rust-web-dev:armhf libstd-rust-web-dev:s390x libstd-rust-web-dev:ppc64el
dpkg --force-depends --path-exclude="/usr/*" --path-include="/usr/lib/rustlib/*/libcore-*" \
    --path-include="/usr/lib/rustlib/*/libcompiler_builtins-*" \
    --path-include="/usr/lib/rustlib/*/librustc_std_workspace_core-*" \
    --install libstd-rust-web-dev_*.deb
rm *.deb
wait $musl
wait $freebsd
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
# Where all of this is in the folder of the sources, cargo would look through it for these.
case $build in
"$source"/build/*) mount -t tmpfs tmpfs "$base/source/build" ;;
esac
mount --bind "$VENDOR" "$base/vendor"
mount --bind "$out" "$base/out"
mount -t proc proc "$base/proc"
mount -t tmpfs -o mode=1777 tmpfs "$base/tmp"

in_debian() {
    inside "$base" root env --chdir=/tmp CARGO_HOME=/out/cargo-home VENDOR=/vendor "$@"
}

rm -rf "$out/logs"
mkdir "$out/logs"

version() { # PACKAGE
    in_debian dpkg-query -W -f '${Version}' "$1" | sed 's/^.*://; s/[-+].*//'
}

linux="Linux $(uname -r | sed 's/^\([0-9]*\.[0-9]*\).*/\1/')"
qemu="qemu-user $(version qemu-user-static)"
emulated="arm64 armhf s390x ppc64el"
older="no SO_PASSPIDFD|no SO_PEERPIDFD|no SO_PASSRIGHTS|no io_uring|no Landlock"
lacking="$older|no seccomp filters|no such option of sockets|$(sed -n 's/^[a-z].*  //p' "$lacks" |
    sort -u | tr '\n' '|' | sed 's/|$//')"

# What is tested. Of what is done very often, one in SHARE is: where it is all done, `make check`
# does not. What is skipped must be so for one of the reasons; where none are given, as it is by
# `make check`.
each_test() { # DO, which gets NAME WHAT REASONS SHARE VARIABLE=VALUE...
    "$1" i386 "$linux" "" 1 MACHINE=i386
    "$1" musl "$linux for amd64, musl $(version musl-tools)" "" 1 MACHINE=musl
    "$1" amd64 "$linux" "" 10 MACHINE=amd64
    "$1" older "$linux for amd64, as if it were 4.18" "$older" 10 MACHINE=amd64 \
        RUN=/out/amd64/older
    for machine in $emulated; do
        "$1" "$machine" "$qemu" "$lacking" 10 MACHINE="$machine"
    done
    for pair in amd64-i386 i386-amd64 amd64-musl musl-amd64 i386-musl; do
        "$1" "$pair" "a process of each" "" 10 MACHINE="${pair%-*}" PEER="${pair#*-}" \
            PROGRAMS=mixed
    done
    for machine in $emulated; do
        "$1" "amd64-$machine" "a process of each" "$lacking" 10 MACHINE=amd64 PEER="$machine" \
            PROGRAMS=mixed
    done
}

describe() {
    name=$1
    if [ -n "$3" ]; then require=0; else require=${ANCILLARY_REQUIRE_ALL-0}; fi
    share=$4
    shift 4
    echo "TESTS += $name"
    echo "VARIABLES_$name := ANCILLARY_REQUIRE_ALL=$require ANCILLARY_TEST_SHARE=$share $*"
}
each_test describe > "$out/tests.mk"

packages="i386 arm64"
for machine in $packages; do
    place=$out/packages-$machine
    rm -rf "$place"
    copy_source "$place/source"
    cp -R "$VENDOR" "$place/source/vendor"
    mv "$place/source/pkg/debian" "$place/source/debian"
done

machines="i386 musl amd64 $emulated"
everything() { # TARGET JOBS
    in_debian CHECK_SECONDS=600 make --silent --keep-going --jobs="$2" \
        --file=/source/tools/cross/all.mk OUT=/out MACHINES="$machines" PACKAGES="$packages" "$1"
}

failed=
told=
fails() { # NAME WHY
    echo "$1: $2"
    failed="$failed $1"
    told="$told$1: $2
"
}

# What make says of what it could not do.
error_of() { # NAME
    grep -B 20 -m 1 '\*\*\*' "$out/logs/$1.make" || tail -n 20 "$out/logs/$1.make"
}

step "building"
everything build "$(nproc)" || for machine in $machines; do
    name=build-$machine
    [ -e "$out/logs/$name.passed" ] || fails "$name" "$(error_of "$name")"
done
[ -z "$failed" ] || fail "these failed:$failed"

# Most of it waits: for a timeout, or for another process.
step "testing"
everything test "$(($(nproc) * 3))" || true

table=
tell() { # NAME WHAT RESULT
    table="$table$(printf '%-14s %-42s %s' "$@")
"
}

judge() {
    name=$1
    what=$2
    reasons=$3
    said=$out/logs/$name.said
    grep -H . "$out/logs/$name"/*.log 2> /dev/null |
        sed 's|.*/\([a-z0-9_]*\)-[a-z]*\.log:|\1: |' > "$said" || true
    if [ ! -e "$out/logs/$name.passed" ]; then
        fails "$name" "$(grep ': FAILED' "$said" || error_of "$name")"
    elif [ -n "$reasons" ] && unknown=$(grep ': skipped' "$said" | grep -Ev ": ($reasons)\$"); then
        fails "$name" "skipped for another reason than those known: $unknown"
    elif ! grep -q ': ok' "$said"; then
        fails "$name" "nothing was tested"
    fi
    tell "$name" "$what" "$(printf '%5d passed %5d skipped' "$(grep -c ': ok' "$said")" \
        "$(grep -c ': skipped' "$said")")"
}
each_test judge

# What of an ELF file says which machine it is for.
machine_of() { # FILE
    od -An -t x1 -j 4 -N 16 "$1"
}

for machine in $packages; do
    name=packages-$machine
    if [ ! -e "$out/logs/$name.passed" ]; then
        fails "$name" "$(error_of "$name")"
    elif [ "$(machine_of "$out/$name"/source/debian/libancillary1/usr/lib/*/libancillary.so.?)" != \
        "$(machine_of "$out/$machine/library/libancillary.so.1")" ]; then
        fails "$name" "they are for another machine"
    else
        tell "$name" "Debian 12 for $machine" "built"
    fi
done

# cargo may be at libc meanwhile, for which the core of that system, of declarations alone, is not enough.
step "a system that is not supported"
if in_debian make --directory=/source BUILD=/out/freebsd RUST_TARGET=x86_64-unknown-freebsd \
    > "$out/logs/freebsd.make" 2>&1 ||
    [ "$(grep '^error' "$out/logs/freebsd.make" | grep -vc 'MIR for an item in the crate `core`\|`libc`')" -ne 1 ] ||
    ! grep 'supports Linux only' "$out/logs/freebsd.make"; then
    fails freebsd "$(tail -n 20 "$out/logs/freebsd.make")"
fi

step "what ran"
printf '%s' "$table"
step "what was skipped"
for said in "$out"/logs/*.said; do
    sed -n "s|^\([a-z0-9_]*\): skipped \(.*\)|\1 \2\t$(basename "$said" .said)|p" "$said"
done | LC_ALL=C sort -u | awk -F '\t' '
    $1 != last { if (last) print last " (" on ")"; on = ""; last = $1 }
    { on = on (on ? " " : "") $2 }
    END { if (last) print last " (" on ")" }'
[ -z "$told" ] || {
    step "what failed"
    printf '%s' "$told"
}
[ -z "$failed" ] || fail "these failed:$failed"
