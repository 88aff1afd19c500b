#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS from its seed corpus, two at a time. New inputs go to build/asan/found/.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
scripts/install_packages.sh fuzz
scripts/build.sh asan fuzz_targets
echo "==> Fuzzing every target for $seconds s"
run() {
  local name=$1 found=build/asan/found/$1
  mkdir -p "$found"
  local log=build/asan/$name.log
  if "build/asan/bin/$name" -max_total_time="$2" -rss_limit_mb=3000 -timeout=20 -artifact_prefix="$found/" "$found" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
    printf '    %-24s %s\n' "$name" "$(grep -E '^Done' "$log" | tail -1)"
  else
    tail -40 "$log" >&2
    return 1
  fi
}
export -f run
printf '%s\n' build/asan/bin/fuzz_* | xargs -n1 basename | xargs -P2 -I{} bash -c 'run "$@"' _ {} "$seconds"
