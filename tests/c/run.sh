#!/bin/sh
# Builds the library, installs it into a directory of its own, compiles every C test and example against it as C99 and
# C++17, shared and static, and runs all of them; the shared C99 ones under valgrind, too.
#
#   tests/c/run.sh                  everything
#   PROFILE=dev VALGRIND=no tests/c/run.sh [name...]    faster, and only the tests named (lifecycle, hello, ...)
set -eu

cd "$(dirname "$0")/../.."
profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR="$target"
work=$target/c-tests
built=$profile
[ "$profile" = dev ] && built=debug

cargo build --profile "$profile" --lib --no-default-features --features console,durable,tls,websocket
rm -rf "$work"
mkdir -p "$work"
PREFIX=$work/prefix PROFILE=$built STRIP=no BUILD=no sh tools/install.sh

export PKG_CONFIG_PATH="$work/prefix/lib/pkgconfig"
# The calls of every function that abuse.c makes.
python3 tests/c/abuse/generate.py include/midge.h >"$work/calls.h"
# For tls.c: an authority, a server's certificate, another one for the same key, and a client's.
MIDGE_TLS_FILES=$work/tls
export MIDGE_TLS_FILES
sh tests/c/certificates.sh "$MIDGE_TLS_FILES"
cflags="$(pkg-config --cflags midge) -I$work -pthread -g -Wall -Wextra -Wpedantic -Werror"
shared="$(pkg-config --libs midge) -Wl,-rpath,$work/prefix/lib"
static="$work/prefix/lib/libmidge.a $(pkg-config --static --libs midge | sed 's/-L[^ ]*//; s/-lmidge//')"
passed=0
failed=0
skipped=0

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
}

# run <words...>: runs a program, counts its tests; one without any counts as one. A test that is skipped prints
# "skipped: " and why. check.h gives each test a deadline; this one is for programs without tests.
run() {
    if timeout --kill-after=10 900 "$@" >"$work/output" 2>&1; then ended=0; else ended=$?; fi
    good=$(grep -c '^ok ' "$work/output" || :)
    bad=$(grep -c '^not ok ' "$work/output" || :)
    skipped=$((skipped + $(grep -c '^skipped: ' "$work/output" || :)))
    grep '^skipped: ' "$work/output" || :
    if [ "$ended" -eq 0 ] && [ "$bad" -eq 0 ]; then
        [ "$good" -eq 0 ] && good=1
    else
        [ "$bad" -eq 0 ] && bad=1
        echo "FAILED (exit status $ended): $*"
        cat "$work/output"
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
}

# Everything that the shared library exports is Midge's.
if nm -D --defined-only "$work/prefix/lib/libmidge.so" | awk '{ print $NF }' | grep -qv '^midge_'; then
    fail "libmidge.so exports other names than midge_*"
else
    pass
fi

# No function is left out of them.
if nm -D --defined-only "$work/prefix/lib/libmidge.so" | awk '{ print $NF }' | sort >"$work/exported" &&
    sed -n 's/^    { "\(midge_[a-z_0-9]*\)", call_.*/\1/p' "$work/calls.h" | sort | diff "$work/exported" -; then
    pass
else
    fail "tests/c/abuse/generate.py leaves functions out"
fi

names=${*:-$(for file in tests/c/*.c examples/c/*.c; do basename "$file" .c; done)}
for name in $names; do
    source=tests/c/$name.c
    [ -f "$source" ] || source=examples/c/$name.c
    for kind in shared static; do
        eval "libraries=\$$kind"
        # shellcheck disable=SC2086 # the flags are words
        for language in c c++; do
            program=$work/$name-$kind-$language
            if [ $language = c ]; then
                compile="gcc -std=c99"
            else
                compile="g++ -std=c++17 -x c++"
            fi
            if $compile $cflags "$source" -x none -o "$program" $libraries; then
                run "$program"
            else
                fail "$compile $source ($kind)"
            fi
        done
    done
    # To valgrind, what other threads held is lost in a forked child; the storm forks in the middle of everything.
    if [ "${VALGRIND:-yes}" != no ] && [ "$name" != storm ]; then
        # What ring's assembler encrypts, valgrind takes for uninitialised.
        undefined=yes
        [ "$name" = tls ] && undefined=no
        run valgrind -q --undef-value-errors=$undefined --leak-check=full --show-leak-kinds=definite,possible \
            --errors-for-leak-kinds=definite,possible --error-exitcode=9 --child-silent-after-fork=yes \
            "$work/$name-shared-c"
    fi
done

# The C code of README.md, which listens on 127.0.0.1:1883, is only compiled.
sed -n '/^```c$/,/^```$/ { /^```/!p }' README.md >"$work/readme.c"
# shellcheck disable=SC2086 # the flags are words
if gcc -std=c99 $cflags "$work/readme.c" -o "$work/readme" $shared && grep -q midge_publish "$work/readme.c"; then
    pass
else
    fail "the C code of README.md"
fi

# Each C block of these pages is a program of its own.
for page in docs/c.md docs/embedding.md; do
    name=$work/$(basename "$page" .md)
    rm -f "$name"-*.c
    awk -v name="$name" '/^```c$/ { file = name "-" ++count ".c"; next } /^```$/ { file = "" } file { print > file }' "$page"
    for source in "$name"-*.c; do
        program=${source%.c}
        # shellcheck disable=SC2086 # the flags are words
        if gcc -std=c99 -D_POSIX_C_SOURCE=200809L $cflags "$source" -o "$program" $shared &&
            g++ -std=c++17 $cflags -x c++ "$source" -x none -o "$program-c++" $shared; then
            run "$program"
            run "$program-c++"
        else
            fail "a program of $page: $source"
        fi
    done
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
