#!/bin/sh
# drop_added_rows.sh CSV: removes the row of the era name Reiwa, which is not in IPADIC 2.7.0-20070801, from an EUC-JP file.
set -eu
reiwa=$(printf '^\316\341\317\302,')
before=$(wc -l < "$1")
LC_ALL=C grep -a -v "$reiwa" "$1" > "$1.kept"
after=$(wc -l < "$1.kept")
if [ "$before" -gt "$((after + 1))" ]; then
  echo "$1: expected to drop at most one row, dropped $((before - after))" >&2
  exit 1
fi
mv "$1.kept" "$1"
