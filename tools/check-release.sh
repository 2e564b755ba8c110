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

has_version() { # FILE SCRIPT: what sed prints with it first
    found=$(sed -n "$2" "$1" | head -n 1)
    [ "$found" = "$version" ] || complain "$1" "the version is $found, in Cargo.toml $version"
}

has_version CHANGELOG.md 's/^## \([^ ]*\).*/\1/p'
has_version pkg/debian/changelog 's/^libancillary (\(.*\)-[^-]*) .*/\1/p'
has_version pkg/rpm/libancillary.spec 's/^Version: *//p'
has_version pkg/rpm/libancillary.spec 's/^\* .* - \(.*\)-[^-]*$/\1/p'
has_version pkg/arch/PKGBUILD 's/^pkgver=//p'
has_version pkg/debian/README.source 's/.*libancillary_\(.*\)\.orig.*/\1/p'
has_version docs/cookbook.md 's/.*libancillary-\(.*\)-vendored.*/\1/p'
has_version RELEASING.md 's/^git tag .* v//p'

has CHANGELOG.md "^## $version \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$" "the day of the release"
! grep -q 'is not released yet' README.md || complain README.md "it says that this is not released"
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
