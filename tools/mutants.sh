#!/usr/bin/env bash
# Mutates src/ and lists the mutants of a sample that no test notices: `make mutants`, tools/mutants/README.md.
#
#   SEED=1 SAMPLE=100 FOLDERS=src/engine,src/session FILE=src/http/brute.rs REQUIRE=95 tools/mutants.sh [option...]
#
# Options are those of the program: `tools/mutants.sh --only '<name>'` tries one mutant, --list prints the names.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}/mutants
cargo build --quiet --manifest-path tools/mutants/Cargo.toml --target-dir "$target"

arguments=(--seed "${SEED:-1}" --sample "${SAMPLE:-100}" --equivalents tests/mutants/equivalent)
[ -z "${FOLDERS:-}" ] || arguments+=(--folder "$FOLDERS")
[ -z "${FILE:-}" ] || arguments+=(--file "$FILE")
[ -z "${REQUIRE:-}" ] || arguments+=(--require "$REQUIRE")
# These look at the sources, or count allocations and bytes, which the copy has more of.
leave_out=floors,header,pages,budgets,memory,inprocess_allocations
# The C tests, linked to a library with the same names and nothing in it; that of the copy is loaded when they run.
programs=$target/programs
parts=$target/parts
mkdir -p "$programs" "$parts"
sed -nE 's/^[a-z][a-z_0-9 *]*[ *](midge_[a-z_0-9]+)\(.*/void \1(void) { }/p' include/midge.h >"$parts/names.c"
gcc -shared -Wl,-soname,libmidge.so.0 -o "$parts/libmidge.so" "$parts/names.c"
python3 tests/c/abuse/generate.py include/midge.h >"$parts/calls.h"
for source in tests/c/*.c; do
    program=$programs/c-$(basename "$source" .c)
    [ "$program" -nt "$source" ] && [ "$program" -nt include/midge.h ] && [ "$program" -nt tests/c/check.h ] && continue
    gcc -std=c99 -Iinclude -I"$parts" -pthread "$source" -o "$program" -L"$parts" -lmidge
done
mkdir -p "$target/tree/debug/deps"
ln -sf libmidge.so "$target/tree/debug/deps/libmidge.so.0"

# A few schedules of the simulation: its own tests run more.
export SIM_SEEDS=${SIM_SEEDS:-2}
exec "$target/debug/mutants" --target-dir "$target/tree" --features cli,console,durable --leave-out "$leave_out" --programs "$programs" \
    --without tools,tests/mutants,bindings,demo "${arguments[@]}" "$@"
