#!/usr/bin/env bash
# The fast suite under AddressSanitizer and UndefinedBehaviorSanitizer; engine and serving under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_packages.sh fuzz
scripts/build.sh asan
echo "==> Fast suite under address and undefined-behaviour sanitizers"
ctest --test-dir build/asan -L fast -LE 'slow|timing' -j2 --output-on-failure --progress
tsan=(engine_test engine_real_models_test serving_test repository_test transport_test)
scripts/build.sh tsan "${tsan[@]}"
echo "==> Engine and serving under the thread sanitizer"
ctest --test-dir build/tsan -R "^($(IFS='|'; echo "${tsan[*]}"))$" --output-on-failure --progress
