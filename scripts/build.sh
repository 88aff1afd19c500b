#!/usr/bin/env bash
# Configures a preset and builds targets. Usage: build.sh PRESET [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
shift
extra=()
[[ -z ${CI:-} || $preset == asan ]] || extra+=(-DINAZUMA_WERROR=ON)
log=build/$preset-configure.log
mkdir -p build
cmake --preset "$preset" "${extra[@]}" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
echo "==> Building ($preset)"
cmake --build "build/$preset" ${1:+--target "$@"}
