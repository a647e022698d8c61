#!/usr/bin/env bash
# Runs a program for cargo, as .cargo/config.toml asks. A test program that has not ended after MIDGE_TEST_DEADLINE seconds
# (default 300; 0 is none) is ended: a test that hangs fails, and does not hold up the others. The threads that are
# printed then include one for each test that was running, with the first 15 letters of its name; the test harness has
# printed the whole name after a minute.
#
#   MIDGE_TEST_DEADLINE=20 cargo test --all-features --test broker
program=$1
deadline=${MIDGE_TEST_DEADLINE:-300}
case " $* " in *" --bench "*) deadline=0 ;; esac
case $program in */deps/* | */rust_out) ;; *) deadline=0 ;; esac
[ "$deadline" -gt 0 ] && [ -r "/proc/$$/task/$$/children" ] || exec "$@"

threads() { cat "/proc/$1"/task/*/comm 2>/dev/null | sort -u | sed 's/^/    /'; }

# Ends the program after the deadline, with the programs that it has started. Its standard input ends when the program has.
watch() {
    read -r -t "$deadline" _
    [ $? -gt 128 ] || return 0
    echo "DEADLINE: $program has not ended after $deadline seconds, and is ended. Its threads:" >&2
    for process in $(cat "/proc/$$/task/$$/children"); do
        [ "/proc/$process/exe" -ef "$program" ] || continue
        children=$(cat "/proc/$process"/task/*/children)
        for each in $process $children; do threads "$each" >&2; done
        # shellcheck disable=SC2086 # one word a process
        kill -KILL "$process" $children
    done
}

# What ends this program ends the other one, too, and is left to it.
trap : INT TERM HUP
exec {running}> >(watch)
"$@" {running}>&-
status=$?
exec {running}>&-
exit "$status"
