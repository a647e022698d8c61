#!/bin/sh
# Tests the Python package: builds the sdist, the wheel from the sdist, installs it, checks types and style, and runs
# the tests. Everything is made below build/. Further arguments go to pytest.
set -eu
cd "$(dirname "$0")/../../.."
top=$(pwd)
: "${CARGO_TARGET_DIR:=$top/target}"
export CARGO_TARGET_DIR

# Debian's Python is twice as fast as one that was built without optimisation, but its venv is a package of its own.
python=${PYTHON:-/usr/bin/python3}
"$python" -c 'import venv, ensurepip' 2>/dev/null || python=python3

make_venv() { # name, packages...
    venv="$top/build/$1"
    shift
    [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet "$@"
}

make_venv venv hatchling pytest pytest-xdist 'paho-mqtt>=2' mypy ruff
bin="$top/build/venv/bin"

rm -rf build/dist build/sdist
mkdir -p build/sdist
(cd bindings/python && "$bin/python" -m hatchling build -t sdist -d "$top/build/dist")
# With the time of now, not the archive's: cargo compares times.
tar -xmzf build/dist/midge-*.tar.gz -C build/sdist --strip-components 1
"$bin/pip" wheel --quiet --no-deps --no-build-isolation -w build/dist build/sdist
for name in venv venv-paho1 venv-paho2; do
    make_venv "$name" --force-reinstall --no-deps build/dist/midge-*.whl
done
make_venv venv-paho1 'paho-mqtt==1.6.1'
make_venv venv-paho2 --upgrade 'paho-mqtt>=2'

cd bindings/python
"$bin/ruff" check . ../../demo ../../examples/python ../../tools/generate_ctypes.py
"$bin/ruff" format --check . ../../demo ../../examples/python ../../tools/generate_ctypes.py
"$bin/mypy"
MIDGE_PYTHON_PAHO_1="$top/build/venv-paho1/bin/python" \
MIDGE_PYTHON_PAHO_2="$top/build/venv-paho2/bin/python" \
    "$bin/python" -m pytest -q -n 4 "$@"
