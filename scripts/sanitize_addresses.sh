#!/usr/bin/env bash
# The fast suite under AddressSanitizer and UndefinedBehaviorSanitizer.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install_packages.sh fuzz
scripts/build.sh asan
echo "==> Fast suite under address and undefined-behaviour sanitizers"
ctest --test-dir build/asan -L fast -LE 'slow|timing' -j2 --output-on-failure --progress
