#!/bin/sh
# check-deb.sh - whether Debian 12's own packages suffice to build, install and remove the library
#
#   tools/check-deb.sh BUILDDIR     as root, on Debian
#
# BUILDDIR/base is a folder with Debian 12, the packages that pkg/debian/control asks for, and
# lintian; it is made once, from the mirror that this machine uses. In a copy of it, a user without
# privileges and without a network
#
# - builds the source package and from that the others, and lintian has nothing to say of them;
#   they are installed and tried, and leave nothing when they are purged;
# - builds twice with `make`, in two places: what is installed is the same, byte for byte, works,
#   and is gone after `make uninstall`.
#
# The crates come from the folder $VENDOR; without one, $CARGO fetches them.

set -eu
umask 022

[ $# -eq 1 ] || { echo "Usage: check-deb.sh BUILDDIR" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)
base=$build/base
root=$build/root

step() {
    echo "== $*"
}

fail() {
    echo "check-deb: $*" >&2
    exit 1
}

# All but the crates is done in namespaces: no mount and no process outlives this, however it ends.
if [ "${CHECK_DEB_ISOLATED-}" != 1 ]; then
    [ "$(id -u)" -eq 0 ] || fail "only root can make a folder with Debian"
    exec 9> "$build/lock"
    flock -w 900 9 || fail "another run does not end"
    if [ -z "${VENDOR-}" ]; then
        VENDOR=$build/vendor
        "${CARGO:-cargo}" vendor --quiet --locked --manifest-path "$source/Cargo.toml" \
            "$VENDOR" > /dev/null
    fi
    export VENDOR CHECK_DEB_ISOLATED=1
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
        timeout 900 sh "$0" "$build" &
    # A signal ends this command, but not the wait for one in the foreground.
    trap 'exit 1' HUP INT TERM
    wait "$!"
    exit
fi

# Runs a command in a folder with Debian, with an environment of its own.
inside() { # FOLDER USER COMMAND...
    folder=$1
    user=$2
    shift 2
    chroot --userspec="$user" "$folder" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive \
        HOME=/home/builder LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+"http_proxy=$http_proxy"} "$@"
}

make_base() {
    apt-get update -q
    command -v debootstrap > /dev/null ||
        apt-get install -y -q --no-install-recommends debootstrap
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Identifier: Packages' | sed -n 's/ bookworm main$//p' | head -n 1)
    [ -n "$mirror" ] || fail "this machine's apt has no mirror of Debian 12"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"

    rm -rf --one-file-system "$base" "$base.new"
    ${http_proxy:+env "http_proxy=$http_proxy"} \
        debootstrap --variant=buildd --include=ca-certificates bookworm "$base.new" "$mirror"
    inside "$base.new" root useradd --create-home builder
    mkdir "$base.new/tmp/wanted"
    cp -R "$source/pkg/debian" "$base.new/tmp/wanted"
    inside "$base.new" root sh -euc '
        apt-get update -q
        apt-get build-dep -y -q --no-install-recommends /tmp/wanted
        apt-get install -y -q --no-install-recommends '"$tools"'
        apt-get clean
        rm -r /tmp/wanted'
    echo "$recipe" > "$base.new/recipe"
    mv "$base.new" "$base"
}

# What the checks need beside what the packages ask for.
tools="iproute2 lintian pkgconf"
recipe="$tools $(cksum < "$source/pkg/debian/control")"
if [ "$(cat "$base/recipe" 2> /dev/null)" != "$recipe" ]; then
    step "a folder with Debian 12"
    trap 'tail -n 20 "$build/base.log"' EXIT
    make_base > "$build/base.log" 2>&1
    trap - EXIT
fi

rm -rf --one-file-system "$root"
cp -a "$base" "$root"
mount -t proc proc "$root/proc"

# As a user without privileges, on a machine without a network but its own loopback device.
build_user() {
    (cd / && root=$root unshare --net sh -euc 'chroot "$root" ip link set lo up; "$@"' - \
        chroot --userspec=builder "$root" /usr/bin/env -i HOME=/home/builder LC_ALL=C.UTF-8 \
        PATH=/usr/bin:/bin sh -euc "cd; $1")
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$source/Cargo.toml")
name=libancillary-$version
home=$root/home/builder
mkdir "$home/$name"
tar -C "$source" -cf - --exclude-vcs --exclude=./build --exclude=./vendor --exclude=target \
    --exclude=".${build#"$source"}" . | tar -C "$home/$name" -xf -
cp -R "$VENDOR" "$home/vendor"
inside "$root" root chown -R builder: /home/builder

step "packages"
build_user "
    rustc --version
    mkdir packages
    tar -czf packages/libancillary_$version.orig.tar.gz $name
    tar -czf packages/libancillary_$version.orig-vendor.tar.gz vendor
    cp -R $name vendor packages
    cd packages
    mv vendor $name
    cp -R $name/pkg/debian $name
    dpkg-source -b $name
    rm -r $name
    dpkg-source -x *.dsc unpacked
    cd unpacked
    dpkg-buildpackage -us -uc -b"

step "lintian"
build_user 'lintian -E -I --pedantic --show-overrides packages/*.changes' > "$build/lintian.log" 2>&1 ||
    true
if [ -s "$build/lintian.log" ]; then
    cat "$build/lintian.log"
    fail "lintian has something to say"
fi

files() {
    (cd "$root" && find . -xdev -path ./home -prune -o -print | LC_ALL=C sort)
}

step "packages: install, try, purge"
files > "$build/before"
inside "$root" root sh -euc 'dpkg -i /home/builder/packages/*.deb'
build_user packages/unpacked/debian/tests/compile
inside "$root" root sh -euc '
    for file in /home/builder/packages/*.deb; do
        dpkg-deb -f "$file" Package
    done | xargs dpkg --purge
    if ldconfig -p | grep libancillary; then exit 1; fi'
files > "$build/after"
diff "$build/before" "$build/after" || fail "purging the packages left these"

step "make: build in two places, install, try, uninstall"
build_user "
    mkdir -p elsewhere/with/a/longer/name
    cp -R $name elsewhere/with/a/longer/name
    cp -R vendor elsewhere/with/a/longer/name/$name
    mv vendor $name

    cd ~/$name
    make
    make install PREFIX=/tmp/x
    PKG_CONFIG_PATH=/tmp/x/lib/pkgconfig LD_LIBRARY_PATH=/tmp/x/lib pkg/debian/tests/compile
    cp -R /tmp/x ~/first
    make uninstall PREFIX=/tmp/x
    find /tmp/x ! -type d > ~/left

    cd ~/elsewhere/with/a/longer/name/$name
    make
    make install PREFIX=/tmp/x
    diff -r --no-dereference ~/first /tmp/x
    make uninstall PREFIX=/tmp/x
    find /tmp/x ! -type d >> ~/left"
if [ -s "$home/left" ]; then
    cat "$home/left"
    fail "uninstalling left these"
fi

umount "$root/proc"
rm -rf --one-file-system "$root"
step "all is well"
