#!/usr/bin/env bash
# A virtual environment with the clients that the end-to-end tests use, in build/venv; made once.
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=build/venv/requirements.txt
cmp -s tests/e2e/requirements.txt "$stamp" && exit 0
echo "==> Installing test clients"
python3 -m venv build/venv
build/venv/bin/python -m pip install -q --disable-pip-version-check -r tests/e2e/requirements.txt
cp tests/e2e/requirements.txt "$stamp"
