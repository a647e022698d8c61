#!/usr/bin/env bash
# Every test of the project: `make test`. Prints a table of counts by kind, and ends with status 1 if any failed.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/logs

. tools/need.sh
need cargo - gcc 'gcc libc6-dev' g++ g++ nm binutils pkg-config pkg-config python3 python3 venv python3-venv \
    valgrind valgrind strace strace mosquitto_sub mosquitto-clients node nodejs npm npm curl curl \
    chromium chromium make make

table=""
reasons=""
failed=0

# Why each skipped test is skipped, for pytest; cargo test and the others say so.
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} -rfEsx"

# Runs one kind of tests; counts what its closing lines say. A log without any is a failure.
run() {
    local name=$1 log="build/logs/$1.log" status passed bad skipped
    shift
    echo "== $name: $*"
    # What hangs is a failure, too: the longest kind takes some minutes.
    timeout --kill-after=10 1200 "$@" 2>&1 | tee "$log" | grep -vE '^(test .* \.\.\. ok|ok .*|running [0-9]+ tests?|)$' | tail -n 60
    status=${PIPESTATUS[0]}
    read -r passed bad skipped < <(count "$log")
    if [ "$status" != 0 ]; then
        bad="$bad (status $status)" failed=1
    elif [ "$passed" = 0 ]; then
        bad="$bad (no closing line says that a test has passed)" failed=1
    elif [ "$bad" != 0 ]; then
        failed=1
    fi
    table+=$(printf '%-10s %6s passed  %4s skipped  %s failed' "$name" "$passed" "$skipped" "$bad")$'\n'
    reasons+=$(grep -E '^(test .* \.\.\. ignored|SKIPPED|XFAIL|skipped: )' "$log" | sed "s/^/$name: /")$'\n'
}

# Adds up "N passed", "N failed" and "N skipped" of cargo test, pytest and plain closing lines.
count() {
    grep -E '^(test result: |=* ?)([a-zA-Z]+\. )?[0-9]+ (passed|failed|skipped|xfailed)' "$1" |
        awk '{ for (i = 2; i <= NF; i++) {
                   if ($i ~ /^passed/) p += $(i-1)
                   if ($i ~ /^(failed|error)/) f += $(i-1)
                   if ($i ~ /^(skipped|ignored|xfailed)/) s += $(i-1)
               } }
             END { print p + 0, f + 0, s + 0 }'
}

run rust cargo test --no-fail-fast --all-features
run minimal cargo test --no-fail-fast --no-default-features --lib
run public cargo test --no-fail-fast --no-default-features --doc
run c tests/c/run.sh
run budgets tests/budgets/run.sh
run install tests/install/run.sh
run python bindings/python/tests/run.sh
run clients tests/clients/run.sh
run console tests/http/api/run.sh
run browser tests/console/run.sh
run crash tests/crash/run.sh
run bench tests/bench/run.sh
run mutants cargo test --quiet --manifest-path tools/mutants/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-$PWD/target}/mutants"

echo
printf '%s' "$table"
printf '%s' "$table" | awk '{ p += $2; s += $4; f += $6 } END { printf "%d passed, %d skipped, %d failed\n", p, s, f }'
printf '%s' "$reasons" | grep -v '^$' | sort | uniq -c
exit $failed
