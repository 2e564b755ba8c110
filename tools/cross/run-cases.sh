#!/bin/sh
# run-cases.sh - runs a test program without the cases that the emulator lacks something for
#
#   run-cases.sh EMULATED RUN PROGRAM
#
# EMULATED is the machine that is emulated, or "". RUN is the command that runs the program, or "".

set -eu

lacks=$(dirname "$0")/emulator-lacks
emulated=$1
run=$2
program=$3
name=$(basename "$program")
name=${name%-*}

# By itself, so that a program that cannot be run fails.
cases=$($run "$program" --list)
skipped=
[ -z "$emulated" ] || skipped=$(echo "$cases" | awk -v program="$name" -v machine="$emulated" '
    FNR == NR && $1 == program && ($3 == machine || $3 == "*") {
        name = $2
        sub(/^[^ ]+ +[^ ]+ +[^ ]+ +/, "")
        reason[name] = $0
    }
    FNR < NR && $0 in reason { print "skipped " $0 ": " reason[$0] }' "$lacks" -)
[ -z "$skipped" ] || echo "$skipped"
left=$(echo "$cases" | grep -vxF "$(echo "$skipped" | sed 's/^skipped \(.*\): .*/\1/')" || true)
[ -z "$left" ] || exec $run "$program" $left
