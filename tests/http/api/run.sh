#!/usr/bin/env bash
# Tests the console's HTTP API with tools that are not ours: schemathesis against its OpenAPI document, Prometheus' own
# parsers, and curl with the examples of docs/console.md.
#
#   tests/http/api/run.sh [pytest arguments]
#
# MIDGE_BIN names the command to test; without it, cargo builds one. Python packages are installed into .venv-console.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)

cd "$root"
. tools/need.sh
need python3 python3 venv python3-venv curl curl mosquitto_sub mosquitto-clients

if ! cmp -s "$here/requirements.txt" .venv-console/requirements.txt; then
    rm -rf .venv-console
    python3 -m venv .venv-console
    .venv-console/bin/python -m pip install -q --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" .venv-console/requirements.txt
fi

if [ -z "${MIDGE_BIN:-}" ]; then
    cargo build --quiet --features cli,console,durable --bin midge
    MIDGE_BIN=${CARGO_TARGET_DIR:-$root/target}/debug/midge
fi
MIDGE_BIN=$(realpath "$MIDGE_BIN")
export MIDGE_BIN PYTHONDONTWRITEBYTECODE=1

cd "$here"
exec "$root/.venv-console/bin/python" -m pytest "$@"
