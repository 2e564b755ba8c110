#!/bin/sh
# check-kernel.sh - whether the library works on other versions of Linux
#
#   tools/check-kernel.sh BUILDDIR     in the top folder, on Debian for amd64, after `make`
#
# BUILDDIR/debian has kernels of Debian, from the mirror that this machine uses; one that is not
# there is named; one is needed at least, and three with ANCILLARY_REQUIRE_ALL=1. Each is started in
# a virtual machine, which has the C library of this machine, busybox and the C tests, and runs all
# cases as root, and those that depend on who it is also as a user without privileges. The first and
# the last are started with AppArmor and with SELinux as well, each with a policy that withholds
# descriptors from tests/c/policy.c, and gives labels to tests/c/policy_labels.c. At last the tests
# are run under gVisor, where not all has to hold. A machine with a fault is started once more, and that
# decides.
#
# KERNELS in the environment is a list of others: SUITE, or SUITE/VERSION as in the name of a package.

set -eu
umask 022

[ $# -eq 1 ] || { echo "Usage: check-kernel.sh BUILDDIR" >&2; exit 1; }
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/folder.sh"
own "$1"
build=$(cd "$1" && pwd)

# From the oldest that Debian has to the newest.
kernels=${KERNELS-bullseye-security bookworm-security trixie trixie-backports sid}

step() {
    echo "== $*"
}

fail() {
    echo "check-kernel: $*" >&2
    exit 1
}

[ "$(uname -m)" = x86_64 ] || fail "this is for amd64"
PATH=$PATH:/usr/sbin:/sbin
lacking=
while read -r tool package; do
    command -v "$tool" > /dev/null || lacking="$lacking $package"
done <<'END'
apparmor_parser apparmor
apt-get apt
busybox busybox-static
checkpolicy checkpolicy
cpio cpio
dpkg dpkg
qemu-system-x86_64 qemu-system-x86
END
[ -z "$lacking" ] || fail "these packages are not there:$lacking"
exec 9> "$build/lock"
flock -w 900 9 || fail "another run does not end"

# --- packages ---

# Where this machine's apt finds packages of a suite.
mirror_of() { # SUITE
    uris=$(APT_CONFIG='' apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' \
        'Identifier: Packages' | sed -nE 's/^(bullseye|bookworm|trixie|forky|sid|stable|testing)(-security)? main /\2 /p')
    main=$(echo "$uris" | sed -n 's/^ //p' | head -n 1)
    case $1 in
    *-security)
        security=$(echo "$uris" | sed -n 's/^-security //p' | head -n 1)
        echo "${security:-${main%/}-security}"
        ;;
    *) echo "$main" ;;
    esac
}

# Has apt's tools know one suite, and nothing of what is installed here. They take relative paths,
# and so a folder of any name.
in_suite() { # SUITE COMMAND...
    (cd "debian/$1" && shift && APT_CONFIG=./apt.conf "$@")
}

# Gets the list of a suite's packages, if that is not of today.
open_suite() { # SUITE
    place=debian/$1
    mkdir -p "$place/state/lists/partial" "$place/cache/archives/partial"
    : > "$place/status"
    cat > "$place/apt.conf" <<'END'
Dir "./";
Dir::Etc { main "/dev/null"; parts "/dev/null"; sourcelist "./sources.list"; sourceparts "/dev/null";
    preferences "/dev/null"; preferencesparts "/dev/null"; };
Dir::State "./state";
Dir::State::status "./status";
Dir::Cache "./cache";
Dir::Cache::srcpkgcache "";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "3";
// What was signed once is good enough for a kernel that runs in a virtual machine: the suites of
// older releases are not signed anew.
Acquire::Check-Valid-Until "false";
END
    echo "deb [target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "$(mirror_of "$1") $1 main" > "$place/sources.list"
    [ -z "$(find "$place/updated" -mtime -1 2> /dev/null)" ] || return 0
    if in_suite "$1" apt-get update -q --error-on=any > "$place/log" 2>&1; then
        touch "$place/updated"
    else
        sed -n 's/^E: //p' "$place/log"
    fi
}

# Gets a package, and of that a file, which is kept until there is another version.
take() { # SUITE PACKAGE PATTERN FILE
    wanted=$(in_suite "$1" apt-cache show --no-all-versions "$2" 2> /dev/null |
        sed -n 's/^Version: /'"$2"' /p')
    [ -n "$wanted" ] || return 0
    [ "$(cat "$4.package" 2> /dev/null)" != "$wanted" ] || return 0
    rm -f "debian/$1"/*.deb
    in_suite "$1" apt-get download -q "$2" > "debian/$1/log" 2>&1 || {
        cat "debian/$1/log"
        # It can be an old list.
        rm -f "debian/$1/updated"
        return 0
    }
    dpkg --fsys-tarfile "debian/$1"/*.deb | tar -xOf - --wildcards "$3" > "$4.new"
    rm "debian/$1"/*.deb
    mv "$4.new" "$4"
    echo "$wanted" > "$4.package"
}

# Gets the kernel of a suite, or that version of it. Its image is in linux-image-VERSION, or since 7.0
# in linux-binary-VERSION.
kernel() { # SUITE [VERSION] FILE
    version=${2:-$(in_suite "$1" apt-cache depends linux-image-cloud-amd64 2> /dev/null |
        sed -n 's/^ *Depends: linux-image-\([0-9].*\)-cloud-amd64$/\1/p')}
    [ -n "$version" ] || return 0
    package=linux-image-$version-cloud-amd64
    other=linux-binary-$version-cloud-amd64
    if in_suite "$1" apt-cache show "$other" > /dev/null 2>&1; then package=$other; fi
    take "$1" "$package" './*/vmlinuz*' "$3"
}

cd "$build"
mkdir -p kernels
rm -rf logs
mkdir logs
step "kernels"
missing=
found=
for name in $kernels; do
    suite=${name%%/*}
    version=${name#"$suite"}
    file=kernels/$suite${version:+-${version#/}}
    open_suite "$suite"
    kernel "$suite" "${version#/}" "$file"
    if [ ! -e "debian/$suite/updated" ]; then
        open_suite "$suite"
        kernel "$suite" "${version#/}" "$file"
    fi
    if [ -e "$file" ]; then
        found="$found $file"
        echo "$name: $(cat "$file.package")"
    else
        missing="$missing $name"
        echo "$name: it is not there"
    fi
done

# --- tests ---

# Compiles programs of tests/c, with the archive.
compile() { # NAME FLAG-OR-FILE...
    name=$1
    shift
    "${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -O1 -pthread -Iinclude -Itests/c \
        -o "$build/machine/tests/$name" "tests/c/$name.c" tests/c/check.c tests/c/kit.c "$@" \
        "$library"
}

# Copies what a program needs of this machine.
libraries() { # PROGRAM...
    ldd "$@" | sed -nE 's|.*[[:space:]](/[^ ]+) \(0x[0-9a-f]+\)$|\1|p' | sort -u | while read -r file; do
        mkdir -p "machine${file%/*}"
        cp -L "$file" "machine$file"
    done
}

step "tests"
rm -rf machine
mkdir -p machine/bin machine/tests machine/etc machine/dev machine/proc machine/sys machine/tmp \
    machine/root
library=${build%/*}/libancillary.a
(cd "$source" && sh tools/c-programs.sh) > programs
for name in policy policy_labels; do
    echo "$name tests/c/policy_kit.c"
done >> programs
while read -r line; do
    # shellcheck disable=SC2086 # lists of flags and of files, of names without spaces
    (cd "$source" && compile $line)
done < programs
mkdir machine/policies
cp -R "$source/tools/kernel/apparmor" "$source/tools/kernel/selinux" machine/policies
checkpolicy -M -U allow -c 30 -o machine/policies/selinux/policy machine/policies/selinux/policy.conf \
    > selinux.log 2>&1 || { cat selinux.log; fail "checkpolicy"; }
cp "$(command -v apparmor_parser)" machine/bin
libraries machine/tests/* machine/bin/apparmor_parser "$("${CC:-cc}" -print-file-name=libgcc_s.so.1)"
cp "$(command -v busybox)" machine/bin
cp "$source/tools/kernel/init" machine
echo "root:x:0:0:root:/root:/bin/sh" > machine/etc/passwd
echo "nobody:x:65534:65534:nobody:/:/bin/sh" >> machine/etc/passwd
printf '%s\n' root:x:0: nogroup:x:65534: > machine/etc/group
(cd machine && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R +0:+0) > initramfs
du -h initramfs

# Starts the machines of a list, whose lines have a kernel, what it is to run, and parameters of it.
# Each has two processors, for races, and is slow where these have to wait for those of the host.
# What a processor of today has more than these costs much when it is emulated; so does what a kernel
# does against faults of the processor, where it hides itself, and its tests of itself.
start_all() { # LIST
    # shellcheck disable=SC2016 # for the shell that starts one
    xargs -r -P "$((($(nproc) + 1) / 2))" -L 1 sh -c '
        file=$0 what=$1
        shift
        log=logs/${file#kernels/}-$what
        : > "$log"
        : > "$log.console"
        timeout 600 qemu-system-x86_64 -accel tcg,thread=multi -cpu qemu64 -smp 2 -m 2048 -nodefaults \
            -no-user-config -display none -monitor none -no-reboot -serial "file:$log.console" \
            -serial "file:$log" -kernel "$file" -initrd initramfs -append "console=ttyS0 quiet \
loglevel=4 panic=-1 mitigations=off nokaslr cryptomgr.notests no_timer_check WHAT=$what \
ANCILLARY_TEST_SHARE=50 $*" 9>&- < /dev/null || echo "qemu ended with $?" >> "$log"' < "$1"
}

count() { # WHAT LOG
    grep -Ec "^[a-z]+ [a-z_]+: $1" "$2" || true
}

# Why a case may be skipped there.
reasons() { # VERSION
    reasons="not root|only SELinux has long labels"
    is_older() { # VERSION
        [ "$(printf '%s\n' "$version" "$1" | sort -V | head -n 1)" != "$1" ]
    }
    version=$1
    is_older 6.16 && reasons="$reasons|no SO_PASSRIGHTS"
    is_older 6.5 && reasons="$reasons|no SO_PASSPIDFD|no SO_PEERPIDFD"
    is_older 5.15 && reasons="$reasons|no MSG_OOB on Unix sockets|no Landlock"
    echo "$reasons"
}

# Says what is wrong with a machine, or nothing. What is skipped must be so for one of the reasons that
# this version has, and all programs must have ended; one that ends with an error has said why, or
# nothing.
faults_of() { # LOG PROGRAMS
    grep -E ': (FAILED|ended [^0])' "$1" || true
    [ "$(count ended "$1")" -eq "$2" ] && grep -q '^done' "$1" || {
        echo "it did not come to its end, with $(count ended "$1") programs of $2:"
        tail -n 3 "$1"
        tail -n 3 "$1.console"
    }
    grep ': skipped' "$1" | grep -Ev ": ($(reasons "$(sed -n 's/^Linux \([0-9.]*\).*/\1/p' "$1")"))\$" || true
}

# Looks for faults of each machine of a list, and prints the lines of those that have some. How many
# programs there are, tools/kernel/init says.
judge() { # LIST
    policies=$(grep -c '^policy' programs)
    all=$(($(grep -vc '^policy' programs) + 5))
    while read -r file what parameters; do
        log=logs/${file#kernels/}-$what
        case $what in
        tests) faults_of "$log" "$all" ;;
        *) faults_of "$log" "$policies" ;;
        esac > "$log.faults"
        # xargs takes what is behind a blank at the end of a line for a part of it.
        [ ! -s "$log.faults" ] || echo "$file $what${parameters:+ $parameters}"
    done < "$1"
}

tell() { # LOG HEADING
    echo "${1#logs/}$2"
    sed 's/^/    /' "$1.faults"
}

# What has to hold under gVisor: that nobody loses a name to another, and these programs.
holds="abi arguments close faults threads wire"
holds_case="replace: ok a_live_socket_keeps_its_name"

# Runs the tests under gVisor. What they write stays in its memory.
gvisor() {
    rootless=
    [ "$(id -u)" -eq 0 ] || rootless=--rootless
    rm -rf gvisor
    mkdir gvisor
    # Some wait until their time is over.
    # shellcheck disable=SC2016 # for the shell that runs them
    sed 's/ .*//' programs | grep -v '^policy' | xargs -P 4 -I PROGRAM sh -c '
        { timeout 240 ./runsc $0 --platform=systrap --network=none do \
            env CHECK_SECONDS=10 ANCILLARY_TEST_SHARE=500 "$PWD/machine/tests/PROGRAM" \
            < /dev/null 2>&1 || echo "ended $?"; } | sed "s/^/gvisor PROGRAM: /" > gvisor/PROGRAM' "$rootless"
    cat gvisor/* > logs/gvisor
    for program in $holds; do
        grep -q "^gvisor $program: ok" logs/gvisor || failed="$failed gvisor-$program"
        ! grep -E "^gvisor $program: (FAILED|ended)" logs/gvisor >> told || failed="$failed gvisor-$program"
    done
    grep -q "^gvisor $holds_case" logs/gvisor || failed="$failed gvisor-replace"
    table="$table
$(printf '%-32s %-10s %5d passed %4d skipped %4d differ' \
        "gVisor $(sed 's/.* //' runsc.package)" systrap "$(count ok logs/gvisor)" \
        "$(count skipped logs/gvisor)" "$(count FAILED logs/gvisor)")"
}

step "machines"
for file in $found; do
    echo "$file tests"
done > machines
for file in $(for file in $found; do echo "$file"; done | sed -n '1p;$p' | uniq); do
    for module in apparmor selinux; do
        echo "$file $module security=$module $module=1"
    done
done >> machines
start_all machines
# An emulated machine can stop for seconds, or for ever, and cases can fail where it does. One with a
# fault gets another chance, and what was wrong at first is told in the end.
judge machines > again
{
    while read -r file what _; do
        log=logs/${file#kernels/}-$what
        tell "$log" " at first:"
        for end in "" .console .faults; do
            mv "$log$end" "$log.first$end"
        done
    done < again
} > told
cat told
start_all again
judge again > failed
while read -r file what _; do
    tell "logs/${file#kernels/}-$what" ":"
done < failed | tee -a told
failed=$(sed 's|kernels/\([^ ]*\) \([^ ]*\).*| \1-\2|' failed | tr -d '\n')
table=$(while read -r file what _; do
    log=logs/${file#kernels/}-$what
    printf '%-32s %-10s %5d passed %4d skipped %4d failed %6s s%s\n' \
        "$(sed -n 's/^Linux //p' "$log")" "$what" "$(count ok "$log")" \
        "$(count skipped "$log")" "$(count FAILED "$log")" \
        "$(sed -n 's/^done \([0-9]*\).*/\1/p' "$log")" \
        "$([ ! -e "$log.first" ] || echo ", started twice")"
done < machines)

step "gVisor"
open_suite trixie
take trixie runsc ./usr/bin/runsc runsc
if [ ! -e runsc ]; then
    missing="$missing runsc"
else
    chmod +x runsc
    gvisor
fi

step "what ran"
echo "$table"
step "what was skipped"
for log in logs/*-tests logs/*-apparmor logs/*-selinux; do
    [ -e "$log" ] || continue
    sed -n "s|^\([a-z]* [a-z_]*\): skipped \(.*\)|\1 \2\t$(sed -n 's/^Linux \([0-9]*\.[0-9]*\).*/\1/p' "$log")|p" "$log"
done | LC_ALL=C sort -u | awk -F '\t' '
    $1 != last { if (last) print last " (" on ")"; on = ""; last = $1 }
    { on = on (on ? " " : "") $2 }
    END { if (last) print last " (" on ")" }'
if [ -s told ]; then
    step "what was wrong"
    cat told
fi
for name in $missing; do
    echo "$name: it is not there"
done
[ -n "$found" ] || fail "there is no kernel"
[ "$(echo "$found" | wc -w)" -ge 3 ] || [ "${ANCILLARY_REQUIRE_ALL-}" != 1 ] || fail "that is fewer than three"
[ -z "$failed" ] || fail "these failed:$failed"
