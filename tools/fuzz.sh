#!/usr/bin/env bash
# Random inputs for every fuzz target, or for those named: `make fuzz SECONDS=60`.
#
#   SECONDS_EACH=60 tools/fuzz.sh [target ...]
#
# SECONDS_EACH   how long each target runs (default 60)
# SANITIZER      none (default) works with the stable toolchain; address needs RUSTC_BOOTSTRAP=1, which is set here
# MINIMISE       "yes" rewrites fuzz/corpus: few small inputs that reach every edge reached so far
#
# Inputs found go to build/fuzz/corpus, the logs to build/fuzz; an input that fails to fuzz/artifacts/<target>:
# `cargo fuzz run -s none <target> <file>` repeats it.
set -uo pipefail
cd "$(dirname "$0")/.."

seconds=${SECONDS_EACH:-60}
sanitizer=${SANITIZER:-none}
[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(decode roundtrip session engine config filter log_replay import proxy websocket auto layers)

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz, which takes some minutes"
    cargo install --quiet --locked cargo-fuzz || exit 1
fi
mkdir -p build/fuzz
cargo fuzz build --sanitizer "$sanitizer" >build/fuzz/build.log 2>&1 || {
    tail -n 30 build/fuzz/build.log >&2
    exit 1
}

table=$(printf '%-10s %12s %8s %7s %7s  %s' target executions exec/s cov ft result)
failed=0
for target in "${targets[@]}"; do
    log=build/fuzz/$target.log
    found=build/fuzz/corpus/$target
    mkdir -p "$found" "fuzz/corpus/$target"
    echo "== $target: $seconds s"
    options=(-timeout=10 -rss_limit_mb=2048 -len_control=0 -print_final_stats=1)
    case $target in
    engine | session) options+=(-max_len=600) ;;
    esac
    cargo fuzz run --sanitizer "$sanitizer" "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" "${options[@]}" >"$log" 2>&1
    result=ok
    grep -q '^Done ' "$log" || {
        result=FAILED
        failed=1
        grep -aE -A 4 'panicked at|ERROR: |SUMMARY' "$log" | head -n 20 >&2
    }
    # "#1234  DONE  cov: 12 ft: 34 corp: ..."
    read -r cov ft < <(grep -ao 'cov: [0-9]* ft: [0-9]*' "$log" | tail -n 1 | awk '{ print $2, $4 }')
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    table+=$'\n'$(printf '%-10s %12s %8s %7s %7s  %s' "$target" "${count:--}" "${speed:--}" "${cov:--}" "${ft:--}" "$result")
    if [ "${MINIMISE:-no}" = yes ] && [ "$result" = ok ]; then
        rm -rf build/fuzz/minimised
        mkdir -p build/fuzz/minimised
        # Without counters: an input for each edge, not for each number of times that it is taken.
        cargo fuzz run --sanitizer "$sanitizer" "$target" build/fuzz/minimised "fuzz/corpus/$target" "$found" -- \
            -set_cover_merge=1 -use_counters=0 -max_len=600 >build/fuzz/merge.log 2>&1 &&
            rm -rf "fuzz/corpus/$target" && cp -r build/fuzz/minimised "fuzz/corpus/$target"
    fi
done

echo
printf '%s\n' "$table"
exit $failed
