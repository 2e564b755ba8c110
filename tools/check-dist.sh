#!/bin/sh
# check-dist.sh - whether a release can be made as RELEASING.md says, and is all that it takes
#
#   tools/check-dist.sh     as root
#
# Makes the archives twice, in two places and in different circumstances: they are the same, byte
# for byte. Builds and installs the library with nothing but these. Takes the steps of RELEASING.md
# in a clone.

set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/release.sh"
only_root
dist=$work/dist

step "the archives, made twice"
sh "$source/tools/dist.sh" "$dist"
elsewhere="$work/My Projects/50% of \$this & (that)'s"
git clone --quiet "$source" "$elsewhere"
find "$elsewhere" -path '*/.git' -prune -o -exec touch -h -d 2001-02-03 {} +
(
    umask 077
    export TZ=Pacific/Auckland XZ_OPT=--check=crc32 TAR_OPTIONS='--exclude=*.md' GIT_CONFIG_COUNT=2 \
        GIT_CONFIG_KEY_0=tar.umask GIT_CONFIG_VALUE_0=077 \
        GIT_CONFIG_KEY_1=core.autocrlf GIT_CONFIG_VALUE_1=true
    sh "$elsewhere/tools/dist.sh" "$work/the same"
)
diff -r "$dist" "$work/the same"
(cd "$dist" && sha256sum --check --strict --quiet SHA256SUMS)

echo forgotten > "$elsewhere/src/new.rs"
! sh "$elsewhere/tools/dist.sh" "$work/never" 2> /dev/null ||
    fail "a release is made without a file that is not committed"

step "what is in them"
LC_ALL=C
export LC_ALL
files() { # ARCHIVE
    tar -tf "$1" | sed "s|^$name/||; /\/$/d; /^$/d" | sort
}
git -C "$source" ls-files | sort > "$work/tracked"
files "$dist/$name.tar.xz" | diff "$work/tracked" -
files "$dist/$name-vendored.tar.xz" | grep -v '^vendor/' | diff "$work/tracked" -

# All that is linked into the library, with its checksum.
bill=$dist/$name.cdx.json
python3 -m json.tool "$bill" > /dev/null
(cd "$source" && "${CARGO:-cargo}" tree --quiet --locked --edges normal --target all --prefix none) |
    sed '1d; s/ (.*//; s/ v/ /' | sort -u > "$work/crates"
grep -q . "$work/crates"
while read -r crate version; do
    sum=$(grep -F -A 3 "name = \"$crate\"" "$source/Cargo.lock" | sed -n 's/^checksum = //p')
    grep -q "\"purl\": \"pkg:cargo/$crate@$version\"" "$bill" && grep -q "$sum" "$bill" ||
        fail "the bill of materials lacks $crate $version"
done < "$work/crates"
! grep -F -e "$work" -e "$source" "$bill" || fail "the bill of materials names folders of this machine"

step "built and installed with these alone"
mkdir "$work/unpacked"
tar -C "$work/unpacked" -xf "$dist/$name-vendored.tar.xz"
root=$work/root
in_it() { # ARGUMENTS: of make
    quietly alone make -C "$work/unpacked/$name" "$@"
}
in_it
in_it check-c ONLY="abi wire channel"
in_it install PREFIX=/usr DESTDIR="$root"
link_below "$root" /usr/lib
in_it uninstall PREFIX=/usr DESTDIR="$root"
nothing_below "$root"

step "the steps of RELEASING.md"
export GNUPGHOME="$work/home/.gnupg"
mkdir -m 700 "$GNUPGHOME"
trap 'gpgconf --kill all; rm -rf --one-file-system "$work"' EXIT
quietly gpg --batch --passphrase '' --quick-generate-key 'A Publisher <me@example.org>' ed25519 sign
export GIT_AUTHOR_NAME='A Publisher' GIT_AUTHOR_EMAIL=me@example.org
export GIT_COMMITTER_NAME="$GIT_AUTHOR_NAME" GIT_COMMITTER_EMAIL="$GIT_AUTHOR_EMAIL"
git clone --quiet "$source" "$work/clone"
cd "$work/clone"

sh tools/check-release.sh > "$work/missing" || true
cut -d: -f1 "$work/missing" | while read -r file; do
    grep -Fq "$file" RELEASING.md || fail "RELEASING.md does not say what to fill in in $file"
done
sed -i "s/(not yet released)/($(date +%F))/" CHANGELOG.md
sed -i 's/ \*\*.*is not released yet:\*\*//' README.md
sed -i 's/<[^<>]*\.invalid>/<me@example.org>/' pkg/debian/control pkg/debian/changelog
key=$(gpg --quiet --list-keys --with-colons | sed -n 's/^fpr:*\([^:]*\):$/\1/p')
echo "Write to <me@example.org>. The key is $key." >> SECURITY.md
sed -i -e '0,/^License:/s|^License:|URL:            https://example.org/\n&|' \
    -e "s|^Source0: *%|Source0:        https://example.org/%|" pkg/rpm/libancillary.spec
sed -i -e "s|^license=|url='https://example.org/'\n&|" \
    -e 's|^source=("\$|source=("https://example.org/$|' pkg/arch/PKGBUILD
git commit --quiet --all --message 'fill in'
git tag --list 'v*' | xargs -r git tag --delete > /dev/null

sed -n '/^```sh$/,/^```$/{/^```/d;/^cargo install/d;p}' RELEASING.md > "$work/commands"
[ "$(grep -c . "$work/commands")" -ge 8 ] || fail "RELEASING.md has lost its commands"
while read -r command; do
    quietly sh -c "$command" < /dev/null
done < "$work/commands"
files "build/dist/$name-vendored.tar.xz" | grep -v '^vendor/' | diff "$work/tracked" -

sed -i 's/^pkgver=.*/pkgver=0.9/' pkg/arch/PKGBUILD
! sh tools/check-release.sh > /dev/null || fail "files may disagree about the version"
step "all is well"
