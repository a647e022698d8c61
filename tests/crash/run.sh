#!/usr/bin/env bash
# Kills a broker with a durable store at random moments; `tests/crash/run.sh --help` lists the arguments of run.py.
# Without arguments: the control and some rounds, for `make test`.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}/debug
cargo build --quiet --all-features --bin midge --example crash_host
run() { python3 tests/crash/run.py --midge "$target/midge" --host "$target/examples/crash_host" "$@"; }

if [ $# -gt 0 ]; then
    run "$@"
else
    run --control --rounds 10
    run --rounds 20
fi
