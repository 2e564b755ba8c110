#!/bin/sh
# c-programs.sh - lists the tests in C: for each program a line with its name, the flags that it is
# compiled with, and the files that it is made of beside its own and tests/c/{check,kit}.c
#
#   tools/c-programs.sh             in the top folder
#   tools/c-programs.sh archive     the names of those that are also run with the archive
#
# They are those that tests/behaviour.rs lists, and the one that tests/abi.rs runs.

set -eu

listed() { # MACRO
    awk -v "begins=^$1! {" '/^}/ { inside = 0 } inside && !/\/\// { print } $0 ~ begins { inside = 1 }' \
        tests/behaviour.rs
}

if [ "${1-}" = archive ]; then
    list=$(listed with_the_archive | tr -d ' ;')
    [ -n "$list" ] || { echo "tests/behaviour.rs runs nothing with the archive" >&2; exit 1; }
    echo "$list"
    exit
fi
list=$(listed programs | awk 'BEGIN { RS = ";" } NF {
    files = ""; flags = ""
    for (i = 2; i < NF; i += 2) {
        word = $(i + 1); gsub(/"/, "", word)
        if ($i == "and") files = files " tests/c/" word
        else flags = flags " " word
    }
    print $1 flags files
}')
[ "$(echo "$list" | wc -l)" -gt 10 ] || { echo "tests/behaviour.rs lists no programs" >&2; exit 1; }
echo "$list"
echo abi
