#!/bin/sh
# Installs Midge with PREFIX and DESTDIR, and builds and runs a C and a C++ project outside of the tree against what was
# installed: by pkg-config and by CMake, shared and static, with -static, and by CMake once more after the tree was moved. Builds a Rust
# package that depends on Midge. Looks at the header under strict compilers, at what the library exports and at the manual page.
#
#   tests/install/run.sh            with the release profile
#   PROFILE=dev tests/install/run.sh
set -eu

cd "$(dirname "$0")/../.."
. tools/need.sh
need gcc 'gcc libc6-dev' g++ g++ nm binutils make make pkg-config pkg-config python3 python3
# Where the system has no CMake, Python's package index has.
if ! (need cmake cmake); then
    need venv python3-venv
    "${PYTHON:-python3}" -m venv build/cmake-venv
    build/cmake-venv/bin/pip install --quiet --disable-pip-version-check cmake
    PATH=$PWD/build/cmake-venv/bin:$PATH
fi

profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$PWD/$target ;; esac
export CARGO_TARGET_DIR="$target"
built=$profile
[ "$profile" = dev ] && built=debug
cargo build --profile "$profile" --features accounts,cli,console,durable,tls,websocket,certificate

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# check <name> <words...>: one test, which succeeds if the command does.
check() {
    name=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name"
        cat "$work/output"
    fi
}

# By pkg-config: installed for a prefix, in a directory that stands for the root of another machine.
stage=$work/stage
libdir=/opt/midge/lib/$(gcc -print-multiarch)
PREFIX=/opt/midge LIBDIR=${libdir%/} DESTDIR=$stage PROFILE=$built BUILD=no sh tools/install.sh >/dev/null
lib=$stage${libdir%/}
header=$stage/opt/midge/include/midge.h

with_pkg_config() { # <language> <shared, static or alone>
    cp -r "tests/install/$1" "$work/pkg-$1-$2"
    PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage make -s -C "$work/pkg-$1-$2" LINK="$2" || return 1
    LD_LIBRARY_PATH=$lib "$work/pkg-$1-$2/program" | grep '^hello from'
}

with_cmake() { # <name> <language> <where midge stands>
    cp -r "tests/install/$2" "$work/$1-$2"
    cmake -S "$work/$1-$2" -B "$work/$1-$2/build" -DCMAKE_PREFIX_PATH="$3" || return 1
    cmake --build "$work/$1-$2/build" || return 1
    "$work/$1-$2/build/shared" | grep '^hello from' && "$work/$1-$2/build/static" | grep '^hello from'
}

runs_without_the_library() {
    ! ldd "$work/cmake-c/build/static" | grep libmidge
}

for language in c cxx; do
    for link in shared static alone; do
        check "$language by pkg-config, $link" with_pkg_config $language $link
    done
    check "$language by CMake" with_cmake cmake $language "$stage/opt/midge"
done
check "a program with the static library" runs_without_the_library
needs_no_loader() { readelf -lW "$1" && ! readelf -lW "$1" | grep -w INTERP; }
for language in c cxx; do
    check "a $language program that -static links needs no loader" needs_no_loader "$work/pkg-$language-alone/program"
done
whole_by_cmake() { # a program of CMake that is linked with -static
    cmake -S "$work/cmake-c" -B "$work/cmake-c/whole" -DCMAKE_PREFIX_PATH="$stage/opt/midge" -DCMAKE_EXE_LINKER_FLAGS=-static || return 1
    cmake --build "$work/cmake-c/whole" --target static || return 1
    needs_no_loader "$work/cmake-c/whole/static" && "$work/cmake-c/whole/static" | grep '^hello from'
}
check "c by CMake with -static" whole_by_cmake

# The tree may be moved, also when its directories are the usual ones.
PREFIX=/usr DESTDIR=$work/usual PROFILE=$built BUILD=no sh tools/install.sh >/dev/null
mv "$work/usual/usr" "$work/moved"
for language in c cxx; do
    check "$language by CMake, moved" with_cmake moved $language "$work/moved"
done
check "no file of the CMake package names where it was made" sh -c "! grep -rn '$work\|$PWD' '$work/moved/lib/cmake'"

# A Rust package that depends on Midge: its C part finds the header, and the programs of docs/rust.md find no more than
# what is public.
rust() { # <cargo's word> <arguments...>
    cargo "$@" --quiet --manifest-path tests/install/rust/Cargo.toml --target-dir "$target/install"
}
says_hello() { rust run "$@" | grep '^hello from Rust and C$'; }
cp Cargo.lock tests/install/rust/Cargo.lock
check "a Rust package with a C part" says_hello
check "a Rust package with a C part and the header written anew" says_hello --features header
check "the programs of docs/rust.md outside of the package" rust test --doc

# The header, as strict as compilers are.
strict="-Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow -Wundef -fsyntax-only"
printf '#include <midge.h>\n' >"$work/only.c"
compilers="gcc"
! command -v clang >/dev/null 2>&1 || compilers="gcc clang"
for compiler in $compilers; do
    for standard in c99 c11 c17; do
        # shellcheck disable=SC2086 # the flags are words
        check "the header as $standard by $compiler" \
            $compiler -std=$standard -pedantic-errors -Wstrict-prototypes $strict -I "${header%/*}" "$work/only.c"
    done
    for standard in c++11 c++17 c++20; do
        # shellcheck disable=SC2086
        check "the header as $standard by $compiler" \
            $compiler -x c++ -std=$standard -pedantic-errors $strict -I "${header%/*}" "$work/only.c"
    done
done

exports() { nm -D --defined-only "$lib/libmidge.so" | awk '{ print $NF }'; }
only_its_own() { exports | grep -q '^midge_' && ! exports | grep -v '^midge_'; }
# Declared and exported are the same: the functions of the header are those in front of a parenthesis.
as_declared() {
    gcc -E -P -I "${header%/*}" "$work/only.c" | tr -c 'a-z_0-9(\n' '\n' | sed -n 's/^\(midge_[a-z_0-9]*\)($/\1/p; s/^\(midge_[a-z_0-9]*\)(.*/\1/p' |
        sort -u >"$work/declared"
    exports | sort -u | diff "$work/declared" -
}
check "the library exports midge_* alone" only_its_own
check "the library exports what the header declares" as_declared
check "its name" sh -c "readelf -d '$lib/libmidge.so' | grep -q 'SONAME.*\[libmidge.so.0\]'"
check "the command" sh -c "'$stage/opt/midge/bin/midge' --version | grep -q '^midge '"
manual=$stage/opt/midge/share/man/man1/midge.1
check "the manual page" grep -q '^\.TH MIDGE 1' "$manual"
if command -v man >/dev/null 2>&1; then
    no_warnings() { ! man --warnings -l "$manual" 2>&1 >/dev/null | grep .; }
    check "the manual page without warnings" no_warnings
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
