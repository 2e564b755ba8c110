#!/bin/sh
# check-release.sh - whether all that only the publisher knows is filled in (RELEASING.md)
#
#   tools/check-release.sh
#
# Names what is missing, and files that disagree about the version; fails if there are any.

set -eu

cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
complete=true

complain() { # FILE WHAT
    echo "$1: $2"
    complete=false
}

has() { # FILE EXPRESSION WHAT
    grep -Eq "$2" "$1" || complain "$1" "$3 is missing"
}

# All that sed prints with a script, a line each, is this version, and there is some.
has_version() { # FILE SCRIPT
    found=$(sed -n "$2" "$1" | grep -vFx "$version" || true)
    [ -n "$(sed -n "$2" "$1")" ] || found=nowhere
    [ -z "$found" ] || complain "$1" "the version is $(echo $found), in Cargo.toml $version"
}

# So is each that a text names: of an archive, a package, a tag.
has_versions() { # FILE
    found=$(grep -Eo '(libancillary[-_ ]|[ /]v)[0-9]+(\.[0-9]+)+' "$1" | sed 's/.*[-_ v]//' | sort -u)
    [ "$found" = "$version" ] ||
        complain "$1" "the version is $(echo ${found:-nowhere}), in Cargo.toml $version"
}

# And the three constants.
has_constants() { # FILE
    found=$(sed -n 's/.*ANCILLARY_VERSION_[A-Z]*[^A-Z]* \([0-9]*\);*$/\1/p' "$1" | paste -s -d . -)
    [ "$found" = "$version" ] || complain "$1" "the version is $found, in Cargo.toml $version"
}

# In a list of versions, the first.
has_version CHANGELOG.md '/^## /{s/^## \([^ ]*\).*/\1/p;q}'
has_version pkg/debian/changelog '/^libancillary /{s/^libancillary (\(.*\)-[^-]*) .*/\1/p;q}'
has_version pkg/rpm/libancillary.spec '/^\* /{s/^\* .* - \(.*\)-[^-]*$/\1/p;q}'
has_version pkg/rpm/libancillary.spec 's/^Version: *//p'
has_version pkg/arch/PKGBUILD 's/^pkgver=//p'
has_version Cargo.lock '/^name = "libancillary"$/{n;s/^version = "\(.*\)"/\1/p}'
has_versions pkg/debian/README.source
has_versions docs/cookbook.md
has_versions RELEASING.md
has_constants src/c/constants.rs
has_constants include/ancillary.h
has_constants man/ancillary_version.3

has CHANGELOG.md "^## $version \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$" "the day of the release"
! tr '\n' ' ' < README.md | grep -q 'is not released yet' ||
    complain README.md "it says that this is not released"
has SECURITY.md '<[^ <>]+@[^ <>]+>|https://' "an address for reports"
has SECURITY.md '([0-9A-F]{4} *){10}' "the fingerprint of the key"
# No address can end in that (RFC 2606).
for file in pkg/debian/control pkg/debian/changelog; do
    ! grep -q '\.invalid>' "$file" || complain "$file" "the maintainer's address is missing"
done
has pkg/rpm/libancillary.spec '^URL: +https?://' "the URL of the project"
has pkg/arch/PKGBUILD "^url='?https?://" "the URL of the project"
has pkg/rpm/libancillary.spec '^Source0: +https?://' "the URL of the archive"
has pkg/arch/PKGBUILD "^source=\(['\"]https?://" "the URL of the archive"

"$complete"
