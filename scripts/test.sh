#!/usr/bin/env bash
# Installs, builds and runs the fast suite: unit, golden and property tests, then the real server driven by real clients.
# With CI=true also the GPU home is compiled (where there is a CUDA toolkit), and sanitizers and fuzzers run. Ends with one line.
set -euo pipefail
cd "$(dirname "$0")/.."
begin=$SECONDS
# extra SCRIPT SECONDS: one of CI's further parts, begun when at least so much of CI's time is left. CI is ended from outside after 40 minutes,
# without a word: a part that would pass them (on a slow machine, with nothing in the compiler's cache) is given up, and that is said.
readonly deadline=2310
left_out=()
extra() {
  local left=$((deadline - (SECONDS - begin))) code=0
  if ((left < $2)); then left_out+=("$1"); return; fi
  timeout -k 10 "$left" "scripts/$1.sh" || code=$?
  if ((code == 124 || code == 137)); then left_out+=("$1"); else return "$code"; fi
}
python_env=
trap 'code=$?; [[ -z $python_env ]] || kill "$python_env" 2>/dev/null || true; [[ $code -eq 0 ]] || echo "==> FAILED (exit $code) after $((SECONDS - begin)) s"; exit $code' EXIT

scripts/install_packages.sh test
scripts/python_env.sh &  # waits for the network while the compiler works
python_env=$!
scripts/build.sh release
echo "==> Running unit, golden and property tests"
ctest --test-dir build/release -L fast -LE slow -j2 --output-on-failure --progress
echo "==> Running the server under real clients"
wait "$python_env"
python_env=
build/venv/bin/python -m pytest -q tests/e2e -p no:cacheprovider
if [[ -n ${CI:-} ]]; then
  if command -v nvcc >/dev/null; then
    scripts/build.sh cuda kernels kernels_test
    ctest --test-dir build/cuda -R kernels_driver --output-on-failure
  else
    echo "==> The GPU home is not compiled: there is no nvcc here"
  fi
  extra sanitize_addresses 600
  extra fuzz 360
  extra sanitize_threads 300
fi
echo "==> All tests passed in $((SECONDS - begin)) s${left_out:+; NOT ENDED in the time that CI has: ${left_out[*]}}"
