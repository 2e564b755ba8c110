#!/bin/sh
# demo.sh - shows a connection being served by a process that never accepted it
#
#   tools/demo.sh BUILDDIR
#
# Runs the server, worker and client of BUILDDIR/examples (`make demo` builds them and calls this).
# It leaves nothing running and no file behind.

set -eu

[ $# -eq 1 ] || { echo "Usage: demo.sh BUILDDIR" >&2; exit 1; }
programs=$1/examples
dir='' watchdog=''
started='' # The processes of the programs, ...
ended=''   # ... and those of them that have been waited for.

clean_up() {
    status=$?
    trap '' HUP INT TERM PIPE
    # The latest process may be one that was started and not noted yet.
    watchdog=${watchdog:-${!:-}}
    for pid in $started ${!:-}; do
        case " $ended $watchdog " in
        *" $pid "*) ;;
        *) kill -KILL "$pid" 2>/dev/null || : ;;
        esac
    done
    [ -z "$dir" ] || rm -rf "$dir"
    [ -z "$watchdog" ] || kill -TERM "$watchdog" 2>/dev/null || :
    wait
    exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE # Some shells end at once where they print to nobody, without cleaning up.
trap 'echo "demo: terminated" >&2; exit 143' TERM

fail() {
    echo "demo: $*" >&2
    exit 1
}

dir=$(mktemp -d)
mkfifo "$dir/worker.out" "$dir/server.out" "$dir/client.out"

# Nothing here takes long. What does is stopped: a demonstration that hangs tells nothing.
(
    trap 'kill ${!:-} 2>/dev/null; wait; exit' TERM
    trap '' HUP INT PIPE
    left=20
    while [ -d "$dir" ] && [ "$left" -gt 0 ]; do
        sleep 1 &
        wait "$!"
        left=$((left - 1))
    done
    if [ -d "$dir" ]; then
        echo "demo: took longer than 20 seconds" >&2
        kill -TERM $$
    fi
) &
watchdog=$!

# Each program writes into a FIFO: reading that waits for a line, and ends when the program does.
# Opening one waits as well, and some shells cannot be interrupted there. Descriptor 9 is open in
# both directions, for which there is no waiting, until the program and its reader have it.

# Leaves the next line of the worker (3), server (4) or client (5) in `line`.
wait_for() {
    read -r line <&"$1" && return
    status=0
    wait "$3" || status=$?
    ended="$ended $3"
    fail "$2 ended early, with exit status $status"
}

show() {
    printf '%-6s %7s   %s\n' "$1" "$2" "$3"
}

hear() {
    wait_for "$@"
    show "$2" "$3" "$line"
}

echo "Program  Process   Says"

exec 9<>"$dir/worker.out"
# What the worker runs for each connection: it reads the question to its end, and answers.
# shellcheck disable=SC2016
"$programs/worker" "$dir/socket" sh -c '
    question=$(cat)
    echo "This is process $$, started by process $PPID. You asked: $question"
' >&9 9>&- &
worker=$! started="$started $!"
exec 3<"$dir/worker.out" 9>&-
hear 3 worker "$worker"

exec 9<>"$dir/server.out"
"$programs/server" 127.0.0.1 0 "$dir/socket" >&9 9>&- &
server=$! started="$started $!"
exec 4<"$dir/server.out" 9>&-
hear 4 server "$server"
port=${line##* }
hear 3 worker "$worker"

exec 9<>"$dir/client.out"
"$programs/client" 127.0.0.1 "$port" "Who are you?" >&9 9>&- &
client=$! started="$started $!"
exec 5<"$dir/client.out" 9>&-
# First the client: of one that has failed the others have nothing to say, and would be waited for.
wait_for 5 client "$client"
answer=$line
hear 4 server "$server"
show client "$client" "$answer"
line=$answer
answering=${line#This is process } parent=${line#*started by process }
answering=${answering%%,*} parent=${parent%%.*}
wait "$client" || fail "the client failed"
ended="$ended $client"

kill -TERM "$server"
hear 4 server "$server"
wait "$server" || fail "the server failed"
last_of_server=$line ended="$ended $server"
hear 3 worker "$worker"
kill -TERM "$worker"
hear 3 worker "$worker"
wait "$worker" || fail "the worker failed"
last_of_worker=$line ended="$ended $worker"

[ "$last_of_server $last_of_worker" = "Terminated. Terminated." ] || fail "unexpected last lines"
[ "$parent" = "$worker" ] || fail "the answer is not from a child of the worker"
[ "$answering" != "$server" ] || fail "the server itself answered"

echo
echo "Process $server accepted the client's connection and passed it to process $worker."
echo "Process $answering, a child of $worker, answered on it without ever accepting one."
