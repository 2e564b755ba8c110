#!/bin/sh
# check-rpm.sh - whether pkg/rpm makes packages that can be used, with Fedora's settings
#
#   tools/check-rpm.sh     as root
#
# Builds them of the archive that `make dist` makes; has rpmlint look at them; installs them into
# a folder, links programs with what is there, and removes them.

set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/release.sh"
only_root
spec=$source/pkg/rpm/libancillary.spec

# What the packages of that distribution set for all others: flags, packages for debuggers, and
# what becomes of files that are installed. Shells other than bash cannot run rpm's script.
cat > "$work/macros" <<'END_OF_MACROS'
%optflags -O2 -g -flto=auto -ffat-lto-objects -Wall -Werror=format-security
%build_ldflags -Wl,-z,relro -Wl,--as-needed -Wl,-z,now -Wl,--build-id=sha1
%_enable_debug_packages 1
%_debugsource_packages 1
%install %{?buildsubdir:%{debug_package}}\
%%install\
%{nil}
%__brp_compress /bin/bash /usr/lib/rpm/brp-compress
%__brp_elfperms %{nil}
END_OF_MACROS

step "packages"
sh "$source/tools/dist.sh" "$work/SOURCES"
quietly alone rpmbuild --load "$work/macros" --define "_topdir $work" --nodeps -ba "$spec"
set -- "$work"/RPMS/*/*.rpm
[ $# -eq 5 ] || fail "these are not the packages that were expected: $*"

step "rpmlint"
rm "$work"/RPMS/*/*-debug*.rpm
rpmlint --strict --config "$source/pkg/rpm/rpmlint.toml" \
    "$spec" "$work"/SRPMS/*.rpm "$work"/RPMS/*/*.rpm

step "install, link, remove"
root=$work/root
mkdir "$root"
packages() { # ARGUMENTS: of rpm. There is nothing else in the folder that could be needed or run.
    rpm --root "$root" --define '_dbpath /database' --nodeps --noscripts "$@"
}
quietly packages --install "$work"/RPMS/*/*.rpm
link_below "$root" "$(rpm --eval '%_libdir')"
quietly packages --erase libancillary libancillary-devel libancillary-static
nothing_below "$root"
step "all is well"
