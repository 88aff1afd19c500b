#!/usr/bin/env bash
# Asks the real tritonserver of the PyPI package nvidia-pytriton and ours the same table of requests, and compares the answers.
# Slow, because it installs 100 MB of packages into build/referee the first time. Arguments go to tests/referee/referee.py.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $(python3 -c 'import sys; print(*sys.version_info[:2])') == "3 11" ]] || { echo "referee: needs Python 3.11, Debian 12's: the referee's Python stub links its library" >&2; exit 1; }
scripts/install_packages.sh referee
scripts/build.sh release inazuma
scripts/make_venv.sh build/referee tests/referee/requirements.txt "the referee"
exec build/referee/bin/python -B tests/referee/referee.py "$@"
