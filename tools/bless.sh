#!/usr/bin/env bash
# Writes again what is generated and committed: `make bless`.
set -euo pipefail
cd "$(dirname "$0")/.."
MIDGE_BLESS=1 cargo test --quiet --lib config::document
MIDGE_WRITE_HEADER=1 cargo check --quiet --lib --features header
python3 tools/generate_ctypes.py
git status --short include docs/CONFIGURATION.md bindings/python
