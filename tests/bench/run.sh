#!/usr/bin/env bash
# The benchmark, without measuring: the load generator against brokers with known faults, then each row and each case of
# fairness in little against Midge. Counts must be exact; no time counts.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-$PWD/target}/load
(cd benches/load && cargo test --quiet --target-dir "$target")
exec python3 benches/run.py --smoke --peers none
