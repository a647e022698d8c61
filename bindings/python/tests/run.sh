#!/bin/sh
# Tests the Python package: builds the sdist, the wheel from the sdist, installs it, checks types and style, and runs
# the tests with every CPython from 3.9 on that is here: `python3.N` on the PATH, and those of pyenv. The tests run
# where neither cargo nor rustc is found. Everything is made below build/. Further arguments go to pytest.
#
#   PYTHON=python3.12        the Python that builds, and that has the tests with two versions of paho-mqtt
#   PYTHONS="3.9 3.13"       the versions to test beside it; "" for none
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

# The PATH without the folders that have cargo or rustc.
path_without_rust() {
    left=
    old=$IFS
    IFS=:
    for folder in $PATH; do
        [ -x "$folder/cargo" ] || [ -x "$folder/rustc" ] || left="$left:$folder"
    done
    IFS=$old
    echo "${left#:}"
}

# The path of a Python of this version that can make a venv; nothing if there is none.
find_python() { # version
    for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if [ -x "$found" ] && "$found" -c "import sys, venv, ensurepip
sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$found"
            return
        fi
    done
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'
}

make_venv venv 'hatchling>=1.27' pytest pytest-timeout pytest-xdist 'paho-mqtt>=2' mypy basedpyright ruff
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

PATH=$(path_without_rust)
export PATH
for tool in cargo rustc; do
    if command -v "$tool"; then
        echo "$tool is on the PATH, where the tests should not find it" >&2
        exit 1
    fi
done
echo "Python $(version_of "$bin/python")"
MIDGE_PYTHON_PAHO_1="$top/build/venv-paho1/bin/python" \
MIDGE_PYTHON_PAHO_2="$top/build/venv-paho2/bin/python" \
    "$bin/python" -m pytest -q -rs -n 4 "$@"

tested=$(version_of "$bin/python")
for version in ${PYTHONS-3.9 3.10 3.11 3.12 3.13 3.14 3.15}; do
    found=$(find_python "$version")
    [ "$version" = "$tested" ] && continue
    if [ -z "$found" ]; then
        echo "SKIPPED: Python $version is not here"
    else
        python=$found
        make_venv "venv-$version" pytest pytest-timeout pytest-xdist 'paho-mqtt>=2'
        make_venv "venv-$version" --force-reinstall --no-deps "$top"/build/dist/midge-*.whl
        echo "Python $version"
        "$top/build/venv-$version/bin/python" -m pytest -q -rs -n 4 "$@"
    fi
done
