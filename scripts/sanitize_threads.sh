#!/usr/bin/env bash
# Engine, serving and front ends under ThreadSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_packages.sh test
tests=(engine_test engine_real_models_test serving_test repository_test transport_test)
scripts/build.sh tsan "${tests[@]}"
echo "==> Engine, serving and front ends under the thread sanitizer"
ctest --test-dir build/tsan -R "^($(IFS='|'; echo "${tests[*]}"))$" -j2 --output-on-failure --progress
