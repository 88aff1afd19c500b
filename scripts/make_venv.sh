#!/usr/bin/env bash
# Makes the virtual environment FOLDER with the packages of REQUIREMENTS, anew only when that file has changed.
# Usage: make_venv.sh FOLDER REQUIREMENTS WHAT
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$1 requirements=$2 what=$3
stamp=$folder/requirements.txt
cmp -s "$requirements" "$stamp" && exit
echo "==> Installing $what"
python3 -m venv "$folder"
"$folder/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements"
cp "$requirements" "$stamp"
