#!/usr/bin/env bash
# Formatting, lints, licences and dependencies: `make check`.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "== formatting"
cargo fmt --check
cargo fmt --check --manifest-path benches/load/Cargo.toml
cargo fmt --check --manifest-path tools/mutants/Cargo.toml
cargo fmt --check --manifest-path tests/install/rust/Cargo.toml

echo "== lints"
cargo clippy --quiet --all-targets --all-features -- -D warnings
cargo clippy --quiet --no-default-features --lib -- -D warnings
cargo clippy --quiet --no-default-features --features console --lib -- -D warnings
cargo clippy --quiet --no-default-features --features durable --lib -- -D warnings
target=${CARGO_TARGET_DIR:-$PWD/target}
cargo clippy --quiet --all-targets --manifest-path benches/load/Cargo.toml --target-dir "$target/load" -- -D warnings
cargo clippy --quiet --all-targets --manifest-path tools/mutants/Cargo.toml --target-dir "$target/mutants" -- -D warnings

echo "== documentation"
for features in --no-default-features "" --all-features; do
    # shellcheck disable=SC2086 # nothing is the default features
    RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --lib $features
done

echo "== dependencies"
if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing cargo-deny, which takes some minutes"
    cargo install --quiet --locked cargo-deny
fi
cargo deny --log-level error check bans licenses sources

echo "== mutants"
SAMPLE=15 FOLDERS=src/engine,src/session REQUIRE=${REQUIRE:-93} tools/mutants.sh

echo "check: all green"
