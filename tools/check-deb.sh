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

. "$source/tools/debian.sh"
isolate 1800

set_up() { # FOLDER
    inside "$1" root useradd --create-home builder
    mkdir "$1/tmp/wanted"
    cp -R "$source/pkg/debian" "$1/tmp/wanted"
    inside "$1" root sh -euc '
        apt-get update -q
        apt-get install -y -q --no-install-recommends '"$tools"'
        apt-get build-dep -y -q --no-install-recommends /tmp/wanted
        rm -r /tmp/wanted'
}

# What the checks need beside what the packages ask for; and Debian's own Rust, for which build-dep
# takes the newer one that is there for browsers.
tools="cargo iproute2 libstd-rust-dev lintian pkgconf rustc"
make_debian "$base" "$tools $(cksum < "$source/pkg/debian/control")" set_up

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
rust=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$source/Cargo.toml")
name=libancillary-$version
home=$root/home/builder
copy_source "$home/$name"
cp -R "$VENDOR" "$home/vendor"
inside "$root" root chown -R builder: /home/builder

step "packages"
build_user "
    rustc --version
    rustc --version | grep -F 'rustc $rust.' || { echo 'This is not Rust $rust' >&2; exit 1; }
    mkdir packages
    cp -R $name vendor packages
    cd packages
    mv vendor $name
    tar -czf libancillary_$version.orig.tar.gz $name
    cp -R $name/pkg/debian $name
    dpkg-source -b $name
    rm -r $name
    dpkg-source -x *.dsc unpacked
    cd unpacked
    dpkg-buildpackage -us -uc -b
    # The build is cleaned up, or the source package would not be made of that folder again.
    debian/rules clean
    dpkg-source -b ."

step "lintian"
build_user 'lintian -E -I --pedantic packages/*.changes' > "$build/lintian.log" 2>&1 ||
    true
if [ -s "$build/lintian.log" ]; then
    cat "$build/lintian.log"
    fail "lintian has something to say"
fi

files() {
    # What man-db makes when it likes is its own.
    (cd "$root" && find . -xdev \( -path ./home -o -path ./var/cache/man \) -prune -o -print | LC_ALL=C sort)
}

step "packages: install, try, purge"
files > "$build/before"
inside "$root" root sh -euc 'dpkg -i /home/builder/packages/*.deb'
build_user packages/unpacked/debian/tests/compile
build_user packages/unpacked/debian/tests/links
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
