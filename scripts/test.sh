#!/usr/bin/env bash
# Installs, builds and runs the fast suite: unit, golden and property tests, then the real server driven by real clients.
# With CI=true also the GPU home is compiled (where there is a CUDA toolkit), and sanitizers and fuzzers run. Ends with one line.
set -euo pipefail
cd "$(dirname "$0")/.."
begin=$SECONDS
# extra SCRIPT SECONDS: one of CI's further parts, which takes so long where nothing is in the compiler's cache. CI is ended from outside after
# 40 minutes, without a word: a part that would pass them is left out, and that is said.
extra() {
  if ((SECONDS - begin + $2 > 2380)); then left_out+=("$1"); else "scripts/$1.sh"; fi
}
trap 'code=$?; [[ $code -eq 0 ]] || echo "==> FAILED (exit $code) after $((SECONDS - begin)) s"; exit $code' EXIT

scripts/install_packages.sh test
scripts/build.sh release
echo "==> Running unit, golden and property tests"
ctest --test-dir build/release -L fast -LE slow -j2 --output-on-failure --progress
echo "==> Running the server under real clients"
scripts/python_env.sh
build/venv/bin/python -m pytest -q tests/e2e -p no:cacheprovider
left_out=()
if [[ -n ${CI:-} ]]; then
  if command -v nvcc >/dev/null; then
    scripts/build.sh cuda kernels kernels_test
    ctest --test-dir build/cuda -R kernels_driver --output-on-failure
  else
    echo "==> The GPU home is not compiled: there is no nvcc here"
  fi
  extra sanitize_addresses 960
  extra fuzz 360
  extra sanitize_threads 780
fi
echo "==> All tests passed in $((SECONDS - begin)) s${left_out:+; NOT RUN, they would not have ended in time: ${left_out[*]}}"
