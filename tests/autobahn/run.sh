#!/usr/bin/env bash
# The Autobahn test suite against the layer of WebSocket: `make autobahn`.
#
# WSTEST names the suite's program. Without it, `wstest` of PATH is taken; or PYTHON2 (default python2.7), which has
# virtualenv, makes .venv-autobahn with the suite in it: it runs on no later Python.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/need.sh
need python3 python3 cargo -

wstest=${WSTEST:-$(command -v wstest || true)}
if [ -z "$wstest" ]; then
    wstest=.venv-autobahn/bin/wstest
    if [ ! -x "$wstest" ]; then
        "${PYTHON2:-python2.7}" -m virtualenv .venv-autobahn >/dev/null
        .venv-autobahn/bin/pip install --quiet autobahntestsuite==25.10.1
    fi
fi
target=${CARGO_TARGET_DIR:-target}
cargo build --quiet --all-features --example websocket_echo
mkdir -p build/autobahn
python3 tests/autobahn/suite.py "$wstest" "$target/debug/examples/websocket_echo" build/autobahn
