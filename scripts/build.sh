#!/usr/bin/env bash
# Configures a preset and builds targets. Usage: build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
extra=()
[[ -z ${CI:-} || $preset == *san ]] || extra+=(-DINAZUMA_WERROR=ON)  # sanitizers make g++ warn of what is not there
log=build/$preset-configure.log
mkdir -p build
cmake --preset "$preset" "${extra[@]}" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
echo "==> Building ($preset)"
cmake --build "build/$preset" ${1:+--target "$@"}
