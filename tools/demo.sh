#!/usr/bin/env bash
# `make demo`: a virtual environment with Midge and paho-mqtt, then demo/demo.py in it.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/need.sh
need cargo - cc 'gcc libc6-dev' "${PYTHON:-python3}" python3 venv python3-venv

# The newest paho-mqtt unless another is asked for: PAHO=paho-mqtt==1.6.1 make demo
paho=${PAHO:-paho-mqtt}
venv=build/demo-venv
mkdir -p build

[ -d "$venv" ] || echo "Midge is built; the first time that takes a minute or two" >&2
log=build/demo-install.log
{
    "${PYTHON:-python3}" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$paho" ./bindings/python
} >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    echo "the demo could not be installed; $log says why" >&2
    exit 1
}
exec "$venv/bin/python" demo/demo.py "$@"
