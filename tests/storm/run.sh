#!/bin/sh
# The storms of Rust, C and Python, each for a number of seconds: `make storm SECONDS=1800`. They run side by side, each in its
# own processes; STORM_SEED names the first round. What fails prints its seed.
#
#   tests/storm/run.sh [seconds]
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR="$target"
work=$target/storm
profile=${PROFILE:-release}
built=$profile
[ "$profile" = dev ] && built=debug

cargo test --profile "$profile" --all-features --test storm --no-run
cargo build --profile "$profile" --lib --no-default-features --features console
rm -rf "$work"
mkdir -p "$work"
PREFIX=$work/prefix PROFILE=$built STRIP=no BUILD=no sh tools/install.sh
export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"
# shellcheck disable=SC2046 # the flags are words
gcc -std=c99 -O1 -g -pthread $(pkg-config --cflags midge) tests/c/storm.c -o "$work/storm" \
    $(pkg-config --libs midge) "-Wl,-rpath,$work/prefix/lib"

export STORM_SECONDS="$seconds"
# Each in the background; `wait` tells how it has ended.
cargo test --profile "$profile" --all-features --test storm -- --nocapture >"$work/rust.log" 2>&1 &
rust=$!
"$work/storm" >"$work/c.log" 2>&1 &
c=$!
MIDGE_LIBRARY=$work/prefix/lib/libmidge.so PYTHONPATH=bindings/python/src \
    "${PYTHON:-python3}" bindings/python/tests/storm.py "$seconds" "${STORM_SEED:-1}" >"$work/python.log" 2>&1 &
python=$!

failed=0
for language in rust c python; do
    eval "process=\$$language"
    if wait "$process"; then
        echo "$language: $(grep -h 'acknowledged and told' "$work/$language.log")"
    else
        failed=1
        echo "$language has failed:"
        tail -n 60 "$work/$language.log"
    fi
done
[ "$failed" -eq 0 ] && echo "3 passed" || exit 1
