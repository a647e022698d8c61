#!/usr/bin/env bash
# The library under sanitizers: `make sanitize`.
#
#   tools/sanitize.sh [address|thread|rust|miri ...]    all of them without a name
#
# address   every C test and example under AddressSanitizer and LeakSanitizer
# thread    every C test and example under ThreadSanitizer
# rust      the Rust tests that have threads under ThreadSanitizer: the broker's, the test kit's, the engine's
# miri      the `unsafe` of src/ffi and the data structures beneath it in Miri, as far as it knows the system's calls
#
# The standard library is built with the sanitizer, too, so that what it does is seen; for this rustup's component
# rust-src must be there, and for Miri a nightly toolchain with miri: `rustup component add rust-src`, `rustup component
# add --toolchain nightly miri rust-src`. The C side is compiled by gcc's -fsanitize and linked with the runtime that rustc
# has: there is one of them in a program. valgrind is part of `make test`.
set -uo pipefail
cd "$(dirname "$0")/.."
. tools/need.sh
need cargo - gcc 'gcc libc6-dev' g++ g++ python3 python3

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(address thread rust miri)
base=${CARGO_TARGET_DIR:-target}
case $base in /*) ;; *) base=$PWD/$base ;; esac
host=$(rustc -vV | sed -n 's/^host: //p')
sysroot=$(rustc --print sysroot)
mkdir -p build/sanitize
table=""
failed=0

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_init_order=1:abort_on_error=0
export LSAN_OPTIONS=suppressions=$PWD/tools/sanitize/leaks.txt:print_suppressions=0
# A child by fork may start a broker of its own, which has threads.
export TSAN_OPTIONS=suppressions=$PWD/tools/sanitize/races.txt:die_after_fork=0:second_deadlock_stack=1:print_suppressions=0:history_size=4

has_source() { [ -d "$sysroot/lib/rustlib/src/rust/library" ]; }

# in_sanitizer <sanitizer> <cargo arguments...>: cargo with the sanitizer.
in_sanitizer() {
    local sanitizer=$1
    shift
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=$sanitizer" CARGO_TARGET_DIR=$base/sanitize-$sanitizer \
        cargo "$1" -Zbuild-std --target "$host" "${::2}"
}

note() { # <kind> <passed> <failed>
    table+=$(printf '%-28s %5s passed  %s failed' "$@")$'\n'
    [ "$3" = 0 ] && [ "$2" -gt 0 ] || failed=1
}

# The C tests and examples, each compiled and run once.
c_tests() {
    local sanitizer=$1 work=$base/sanitize-$1/c passed=0 bad=0 source name log runtime language compile
    in_sanitizer "$sanitizer" build --lib --no-default-features --features console,durable,tls,websocket || return 1
    rm -rf "$work"
    mkdir -p "$work"
    python3 tests/c/abuse/generate.py include/midge.h >"$work/calls.h" || return 1
    export MIDGE_TLS_FILES=$work/tls
    sh tests/c/certificates.sh "$MIDGE_TLS_FILES" || return 1
    runtime=$(echo "$sysroot/lib/rustlib/$host/lib/"librustc-*_rt."${sanitizer:0:1}"san.a)
    # gcc instruments; the runtime is rustc's, whole, for nobody names what the sanitizer replaces.
    build() { # <source> <name>
        gcc -std=c99 -fsanitize="$sanitizer" -fno-omit-frame-pointer -g -O1 -pthread -Iinclude -I"$work" -c "$1" \
            -o "$work/$2.o" &&
            g++ "$work/$2.o" "$base/sanitize-$sanitizer/$host/debug/libmidge.a" -Wl,--whole-archive "$runtime" \
                -Wl,--no-whole-archive -pthread -ldl -lrt -lm -rdynamic -o "$work/$2"
    }
    # What must be found is found.
    build tools/sanitize/control.c control || return 1
    local control controls=("")
    [ "$sanitizer" = thread ] || controls=("leak" "leak read")
    for control in "${controls[@]}"; do
        # shellcheck disable=SC2086 # the arguments are words
        if "$work/control" $control >"$work/control.log" 2>&1; then
            echo "FAILED: the ${control:-race} in tools/sanitize/control.c is not found"
            bad=$((bad + 1))
        fi
    done
    for source in tests/c/*.c examples/c/*.c; do
        name=$(basename "$source" .c)
        log=build/sanitize/$sanitizer-$name.log
        if build "$source" "$name" >"$log" 2>&1 && timeout 600 "$work/$name" >"$log" 2>&1; then
            passed=$((passed + 1))
        else
            bad=$((bad + 1))
            echo "FAILED: $name under $sanitizer; $log says why"
            grep -aE 'SUMMARY|WARNING|ERROR|^#|^not ok' "$log" | head -n 10
        fi
    done
    note "C programs, $sanitizer" "$passed" "$bad"
}

# The closing lines of cargo test.
count() {
    grep -aE '^test result: ' "$1" | awk '{ p += $4; f += $6 } END { print p + 0, f + 0 }'
}

rust_tests() {
    local log=build/sanitize/rust.log passed bad status
    # The sanitizer is slow.
    export MIDGE_TEST_DEADLINE=3600
    # Memory grows for the sanitizer's own sake, and its thread counts as one.
    in_sanitizer thread test --features internals --test broker --test testing -- \
        --test-threads 2 --skip a_thousand_starts_and_stops --skip refused:: >"$log" 2>&1 &&
        in_sanitizer thread test --features internals --test engine -- threads:: >>"$log" 2>&1
    status=$?
    read -r passed bad < <(count "$log")
    [ "$status" = 0 ] || bad=$((bad + 1))
    [ "$bad" = 0 ] || grep -aE 'SUMMARY|^test .*FAILED|panicked' "$log" | head -n 20
    note "Rust tests, thread" "$passed" "$bad"
}

miri() {
    local log=build/sanitize/miri.log passed bad status
    if ! cargo +nightly miri --version >/dev/null 2>&1; then
        echo "Miri is not there: rustup component add --toolchain nightly miri rust-src" >&2
        note "Rust tests, Miri" 0 1
        return
    fi
    # Isolation would stop the clock; a crate below redb keeps pointers in integers; what a thread of the host holds at its end is left.
    CARGO_TARGET_DIR=$base/sanitize-miri MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-permissive-provenance -Zmiri-ignore-leaks" \
        cargo +nightly miri test --no-default-features --lib -- ffi:: embed:: runtime::fork >"$log" 2>&1
    status=$?
    read -r passed bad < <(count "$log")
    [ "$status" = 0 ] || bad=$((bad + 1))
    [ "$bad" = 0 ] || grep -aE '^error|^test .*FAILED|panicked' "$log" | head -n 20
    note "Rust tests, Miri" "$passed" "$bad"
}

for kind in "${kinds[@]}"; do
    echo "== $kind"
    case $kind in
    address | thread | rust)
        if ! has_source; then
            echo "the source of the standard library is not there: rustup component add rust-src" >&2
            exit 1
        fi
        ;;
    esac
    case $kind in
    address | thread) c_tests "$kind" || failed=1 ;;
    rust) rust_tests ;;
    miri) miri ;;
    *)
        echo "there is no $kind" >&2
        exit 2
        ;;
    esac
done

echo
printf '%s' "$table"
exit $failed
