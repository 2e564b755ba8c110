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
left=
for case in $cases; do
    reason=
    [ -z "$emulated" ] || reason=$(awk -v program="$name" -v name="$case" -v machine="$emulated" '
        $1 == program && $2 == name && ($3 == machine || $3 == "*") {
            sub(/^[^ ]+ +[^ ]+ +[^ ]+ +/, "")
            print
        }' "$lacks")
    if [ -n "$reason" ]; then
        echo "skipped $case: $reason"
    else
        left="$left $case"
    fi
done
[ -z "$left" ] || exec $run "$program" $left
