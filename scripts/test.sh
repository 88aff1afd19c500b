#!/usr/bin/env bash
# Installs, builds and runs the fast suite: unit, golden and property tests, then the real server driven by real clients.
# With CI=true also the GPU home is compiled, where there is a CUDA toolkit. Ends with one line.
set -euo pipefail
cd "$(dirname "$0")/.."
begin=$SECONDS
trap 'code=$?; [[ $code -eq 0 ]] || echo "==> FAILED (exit $code) after $((SECONDS - begin)) s"; exit $code' EXIT

scripts/install_packages.sh test
scripts/build.sh release
echo "==> Running unit, golden and property tests"
ctest --test-dir build/release -L fast -LE slow -j2 --output-on-failure --progress
echo "==> Running the server under real clients"
scripts/python_env.sh
build/venv/bin/python -m pytest -q tests/e2e -p no:cacheprovider
if [[ -n ${CI:-} ]]; then
  if command -v nvcc >/dev/null; then
    scripts/build.sh cuda kernels
  else
    echo "==> The GPU home is not compiled: there is no nvcc here"
  fi
fi
echo "==> All tests passed in $((SECONDS - begin)) s"
