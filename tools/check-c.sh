#!/bin/sh
# check-c.sh - compiles the tests in C, and runs them with the shared library, and some with the archive
#
#   tools/check-c.sh BUILDDIR [PROGRAM...]   in the top folder, where BUILDDIR has what make built
#
# All of them, or those that are named. It takes a C compiler and nothing of Rust.

set -eu

[ $# -ge 1 ] || { echo "Usage: check-c.sh BUILDDIR [PROGRAM...]" >&2; exit 1; }
. tools/folder.sh
own "$1"
build=$1
shift
only=" $* "
mkdir -p "$build/tests"
list=$build/tests/list
sh tools/c-programs.sh > "$list"
archived=$(sh tools/c-programs.sh archive | xargs)

# Compiles a program and runs it. What it says is in a file beside it.
try() { # NAME LINK FLAG-OR-FILE...
    program=$build/tests/$1-$2
    source=tests/c/$1.c
    shift 2
    # shellcheck disable=SC2086 # lists of flags
    ${CC:-cc} ${CPPFLAGS-} ${CFLAGS--O1} -std=c99 -pthread -Iinclude -Itests/c -o "$program" \
        "$source" tests/c/check.c tests/c/kit.c "$@" ${LDFLAGS-}
    "$program" > "$program.log" 2>&1 < /dev/null || {
        status=$?
        grep -q '^FAILED ' "$program.log" || echo "FAILED with status $status" >> "$program.log"
    }
}

# One after another: the kernel counts the descriptors in flight of all programs of a user together.
rm -f "$build"/tests/*.log
while read -r name more; do
    case $only in
    "  " | *" $name "*) ;;
    *) continue ;;
    esac
    # The library is found from there in whichever folder a program executes itself again.
    # shellcheck disable=SC2086 # flags and files, of names without spaces
    try "$name" shared $more "-L$build" -lancillary "-Wl,-rpath,\$ORIGIN/.."
    links=shared
    case " $archived " in
    *" $name "*)
        # shellcheck disable=SC2086
        try "$name" static $more "$build/libancillary.a"
        links="shared static"
        ;;
    esac
    for link in $links; do
        echo "$name-$link"
        grep -v '^ok ' "$build/tests/$name-$link.log" || true
    done
done < "$list"
count() { # WORD
    cat "$build"/tests/*.log | grep -c "^$1 " || true
}
failed=$(count FAILED)
echo
(cd "$build/tests" && grep -H '^FAILED ' ./*.log | sed 's|^\./\([^:]*\)\.log:|\1: |') || true
echo "$(count ok) passed, $failed failed, $(count skipped) skipped"
[ "$failed" -eq 0 ] && [ "$(count ok)" -gt 0 ]
