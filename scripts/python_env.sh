#!/usr/bin/env bash
# What the end-to-end tests use, made once: a virtual environment with the clients in build/venv, and perf_analyzer in build/perf_analyzer.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/make_venv.sh build/venv tests/e2e/requirements.txt "test clients"
# The last tritonclient that carries the program for Debian 12, beside the one library that Debian lacks. Its Python part would not
# go with the clients above, so it has a folder of its own.
packages=(tritonclient==2.40.0 nvidia-cuda-runtime-cu12==12.9.79)
stamp=build/perf_analyzer/packages.txt
if [[ $(cat "$stamp" 2>/dev/null) != "${packages[*]}" ]]; then
  echo "==> Installing perf_analyzer"
  rm -rf build/perf_analyzer
  build/venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --target build/perf_analyzer "${packages[@]}"
  echo "${packages[*]}" >"$stamp"
fi
