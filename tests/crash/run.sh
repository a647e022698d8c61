#!/usr/bin/env bash
# Kills a broker with a durable store at random moments; `tests/crash/run.sh --help` lists the arguments of run.py, and
# `tests/crash/run.sh full --help` those of full.py.
# Without arguments: the control and some rounds, for `make test`.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}/debug
cargo build --quiet --all-features --bin midge --example crash_host
script=run
if [ "${1-}" = full ]; then
    script=full
    shift
fi
run() { python3 "tests/crash/$script.py" --midge "$target/midge" --host "$target/examples/crash_host" "$@"; }

if [ $# -gt 0 ]; then
    run "$@"
else
    python3 tests/crash/test_history.py
    python3 tests/crash/test_persist.py "$target/midge"
    run --control --rounds 10
    run --rounds 20
fi
