#!/usr/bin/env bash
# Long comparisons with live references: needs the development requirements (tools/requirements.txt) in PYTHON's environment.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_packages.sh test
scripts/build.sh release
PYTHON=${PYTHON:-python3} ctest --test-dir build/release -L slow --output-on-failure --progress
