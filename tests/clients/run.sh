#!/usr/bin/env bash
# Tests the built `midge` with MQTT clients that are not ours: mosquitto's and its bridge, paho-mqtt 1 and 2, MQTT.js.
#
#   tests/clients/run.sh [pytest arguments]
#
# MIDGE_BIN names the command to test; without it, cargo builds one. What is missing is installed: Python packages into
# .venv-clients*, MQTT.js into tests/clients/node_modules, and, where we are root on Debian, the Debian packages.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

cd "$root"
. tools/need.sh
need python3 python3 venv python3-venv mosquitto_sub mosquitto-clients mosquitto mosquitto node nodejs npm npm

# Makes the virtual environment $1 with the packages of the file $2, if it is not there or the file has changed.
venv() {
    cmp -s "$2" "$1/requirements.txt" && return
    rm -rf "$1"
    python3 -m venv "$1"
    "$1/bin/python" -m pip install -q --disable-pip-version-check -r "$2"
    cp "$2" "$1/requirements.txt"
}

venv "$root/.venv-clients" "$here/requirements.txt"
venv "$root/.venv-clients-paho1" "$here/requirements-paho1.txt"
if ! cmp -s "$here/package-lock.json" "$here/node_modules/installed.json"; then
    (cd "$here" && npm ci --silent --no-progress)
    cp "$here/package-lock.json" "$here/node_modules/installed.json"
fi

failed=0
if [ -z "${MIDGE_BIN:-}" ]; then
    echo "mosquitto's clients against the faults of the test kit:"
    (cd "$root" && cargo test --quiet --all-features --test testing -- --ignored mosquitto) || failed=1
    (cd "$root" && cargo build --quiet --features accounts,cli,console,durable,tls,websocket,certificate --bin midge)
    target=${CARGO_TARGET_DIR:-$root/target}
    MIDGE_BIN=$target/debug/midge
fi
MIDGE_BIN=$(realpath "$MIDGE_BIN")
export MIDGE_BIN PYTHONDONTWRITEBYTECODE=1

cd "$here"
echo "mosquitto's clients, paho-mqtt 2 and MQTT.js:"
"$root/.venv-clients/bin/python" -m pytest -rs -n 4 --ignore test_paho1.py "$@" || failed=1
echo "paho-mqtt 1:"
"$root/.venv-clients-paho1/bin/python" -m pytest -rs -n 4 test_paho1.py test_story.py "$@" || failed=1
exit $failed
