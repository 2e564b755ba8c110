#!/bin/sh
# check-arch.sh - whether pkg/arch makes a package that can be used, with Arch's settings
#
#   tools/check-arch.sh     as root
#
# Builds it of the archive that `make dist` makes; installs it into a folder, links programs with
# what is there, and removes it.

set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/release.sh"
only_root

# What that distribution sets for all packages.
cat > "$work/makepkg.conf" <<'END_OF_SETTINGS'
source /etc/makepkg.conf
CFLAGS='-march=x86-64 -mtune=generic -O2 -pipe -fno-plt -fexceptions -Wformat'
CFLAGS+=' -Werror=format-security -fstack-clash-protection -fcf-protection -flto=auto'
LDFLAGS='-Wl,-O1 -Wl,--sort-common -Wl,--as-needed -Wl,-z,relro -Wl,-z,now -flto=auto'
RUSTFLAGS='-C force-frame-pointers=yes'
OPTIONS=(strip docs !libtool !staticlibs emptydirs zipman purge !debug lto)
PKGDEST=$HOME/packages
END_OF_SETTINGS
mkdir "$work/home/packages"

step "package"
sh "$source/tools/dist.sh" "$work/dist"
cd "$work/dist"
# It refuses to be run by root, whose files these are: so he gets another number there. With that
# the kernel's numbers for nobody look like those of a user, which the tests do not expect.
quietly alone unshare --map-user=1000 --map-group=1000 \
    makepkg --config "$work/makepkg.conf" --nodeps --nocheck

step "install, link, remove"
root=$work/root
mkdir -p "$root/database"
packages() { # ARGUMENTS: of pacman. There is nothing else in the folder that could be needed.
    pacman --config /dev/null --root "$root" --dbpath "$root/database" --noconfirm "$@"
}
quietly packages -Udd "$work"/home/packages/*
quietly packages -Qkk libancillary
link_below "$root" /usr/lib
quietly packages -Rdd libancillary
nothing_below "$root"
step "all is well"
