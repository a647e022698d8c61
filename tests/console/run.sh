#!/usr/bin/env bash
# Tests the console in a real browser: Chromium without a window, against a built `midge`.
#
#   tests/console/run.sh [pytest arguments]
#   tests/console/run.sh --screenshots     writes docs/console/ again instead
#
# MIDGE_BIN names the command to test; without it, cargo builds one. test_demo.py plays `make demo` with the Python package of
# this checkout. What is missing is installed: Python packages into .venv-browser, axe-core into tests/console/node_modules,
# and, where we are root on Debian, the Debian packages.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

cd "$root"
. tools/need.sh
need python3 python3 venv python3-venv chromium chromium node nodejs npm npm

venv=$root/.venv-browser
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
if ! cmp -s "$here/package-lock.json" "$here/node_modules/installed.json"; then
    (cd "$here" && npm ci --silent --no-progress)
    cp "$here/package-lock.json" "$here/node_modules/installed.json"
fi

if [ -z "${MIDGE_BIN:-}" ]; then
    (cd "$root" && cargo build --quiet --features accounts,cli,console,durable,tls,websocket,certificate --bin midge)
    target=${CARGO_TARGET_DIR:-$root/target}
    MIDGE_BIN=$target/debug/midge
fi
MIDGE_BIN=$(realpath "$MIDGE_BIN")
export MIDGE_BIN PYTHONDONTWRITEBYTECODE=1

cd "$here"
if [ "${1:-}" = --screenshots ]; then
    exec env PYTHONPATH=../clients "$venv/bin/python" screenshots.py "$root/docs/console"
fi
exec "$venv/bin/python" -m pytest "$@"
