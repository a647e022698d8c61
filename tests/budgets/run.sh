#!/usr/bin/env bash
# Instructions, allocations and system calls per message of the main rows, compared with tests/budgets/budgets.toml.
#
#   tests/budgets/run.sh              counts and compares, but for the rows of the durable store
#   tests/budgets/run.sh --durable    those, too: it builds a second program
#   tests/budgets/run.sh --bless      writes what was counted, of all rows, into budgets.toml
#   tests/budgets/run.sh --profile pair_qos0_batch    shows where the instructions of a row go
#
# It needs valgrind and strace, and, in a container, leave to trace (docker: --cap-add SYS_PTRACE on old kernels).
set -euo pipefail
cd "$(dirname "$0")/../.."

. tools/need.sh
need cargo - gcc 'gcc libc6-dev' python3 python3 valgrind valgrind strace strace

build() {
    cargo build --release --features "$1" --bench budgets --message-format=json |
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("target", {}).get("name") == "budgets" and message.get("executable"):
        print(message["executable"])'
}
# No feature but the one that shows the bench what it counts; only the rows of the durable store have that, too.
program=$(build internals)
durable=
case "$*" in *--durable* | *--bless* | *durable_*) durable=$(build internals,durable) ;; esac
python3 tests/budgets/check.py "$program" "$durable" "$@"
