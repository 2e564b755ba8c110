#!/bin/sh
# check.sh - runs the tests, and ends with what passed, what failed and what was skipped
#
#   tools/check.sh BUILDDIR TESTS     TESTS is a command for a shell: cargo test, with its options
#
# In a file of BUILDDIR tests say what they skip, and why; tests/packages says which packages of
# Debian would undo that.

set -eu

[ $# -eq 2 ] || { echo "Usage: check.sh BUILDDIR TESTS" >&2; exit 1; }
packages=$(dirname "$0")/../tests/packages
mkdir -p "$1"
folder=$(cd "$1" && pwd)
log=$folder/log
skipped=$folder/skipped
: > "$skipped"

# These serve connections on the loopback interface. Where that is down, the kernel may keep its
# address, but not that for broadcasts; in /sys it may be the interface of another namespace.
tests=$2
if ! grep -q '127\.255\.255\.255' /proc/net/fib_trie; then
    [ "${ANCILLARY_REQUIRE_ALL-}" != 1 ] || { echo "The loopback interface is down." >&2; exit 1; }
    tests="$tests --"
    for name in bulk:: channel:: connections:: demo:: managed:: restart:: \
        every::a_signal_that_was every::errors_name_what_failed_and_why \
        commands_do_what_is_printed; do
        tests="$tests --skip $name"
        printf 'group\t%s\tthe loopback interface\n' "$name" >> "$skipped"
    done
fi

# Many wait most of the time.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$(($(nproc) * 2))}"

echo 0 > "$folder/status"
{ ANCILLARY_TEST_REPORT=$skipped sh -c "$tests" 2>&1 || echo "$?" > "$folder/status"; } | tee "$log"
status=$(cat "$folder/status")

# Numbers of tests: a line for each program says them.
count() { # WORD
    sed -n "s/^test result:.* \([0-9]*\) $1;.*/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'
}
passed=$(count passed)
failed=$(count failed)
# A test that has skipped something by itself did not pass; one in which a case was skipped did.
passed=$((passed - $(sed -n 's/^test\t//p' "$skipped" | cut -f 1 | sort -u | wc -l)))

if [ -s "$skipped" ]; then
    echo
    echo "Skipped, for want of"
    cut -f 2,3 "$skipped" | LC_ALL=C sort -t "$(printf '\t')" -k 2,2 -k 1,1 -u | awk -F '\t' '
        $2 != last { print "  " $2; last = $2 }
        { print "    " $1 }'
    wanted=$(cut -f 3 "$skipped" | sort -u | awk -F '\t' '
        FNR == NR { packages[$1] = $2; next }
        { short = $0; sub(/ \(.*/, "", short) }
        { print ($0 in packages) ? packages[$0] : packages[short] }' "$packages" - |
        tr ' ' '\n' | sort -u | xargs)
    [ -z "$wanted" ] || printf '\nTo skip less, on Debian: sudo apt-get install %s\n' "$wanted"
fi
if [ "$status" -ne 0 ]; then
    [ "$failed" -gt 0 ] || failed=1
    echo
    echo "Failed (status $status)"
    awk '!name && !listed && /^ +Running / {
            sub(/^.* Running (unittests )?/, "")
            sub(/ \(.*/, "")
            program = $0
            delete said
        }
        /^failures:$/ { listed = 1; name = "" }
        /^---- .* stdout ----$/ { listed = 0; name = $2; lines = 0; next }
        /^test result:/ { listed = 0 }
        / panicked at / { lines = 0; said[name] = "" }
        name && NF && lines++ < 8 { said[name] = said[name] "      " substr($0, 1, 300) "\n" }
        listed && /^    [^ ]+$/ { printf "  %s: %s\n%s", program, $1, said[$1] }' "$log"
fi
echo
echo "$passed passed, $failed failed, $((0 + $(wc -l < "$skipped"))) skipped"
[ "$status" -eq 0 ]
