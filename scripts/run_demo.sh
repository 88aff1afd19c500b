#!/usr/bin/env bash
# Serves the demo models, asks each one something, shows question and answer, and keeps serving until Ctrl-C.
# Usage: run_demo.sh PORT DIR...
set -euo pipefail
cd "$(dirname "$0")/.."
port=$1
shift
server=build/release/bin/inazuma
url=http://127.0.0.1:$port

"$server" serve "$@" --port "$port" --log-level warn &
pid=$!
trap 'kill -TERM $pid 2>/dev/null || true; wait $pid || true' EXIT
trap 'exit 0' INT TERM

for _ in $(seq 300); do
  "$server" check "$url" >/dev/null 2>&1 && break
  kill -0 "$pid" 2>/dev/null || { wait "$pid"; exit $?; }
  sleep 0.1
done
"$server" check "$url" >/dev/null || { echo "run: the server did not become ready" >&2; exit 1; }

ask() {  # shows a command as it can be pasted, then what it really answers
  printf '\n%s\n' "$1"
  bash -c "$1"
  echo
}
ask "curl -s $url/models/ner-ja -d '{\"inputs\":\"ジョー・バイデンはアメリカの大統領です。\",\"parameters\":{\"format\":\"spans\"}}'"
ask "curl -s $url/models/style-ja-t5 -d '{\"inputs\":\"私は昨日、友達と映画を見ました。\"}'"
ask "curl -s $url/models/style-ja-gpt2/generate -d '{\"inputs\":\"私は昨日、友達と映画を見ました。::\"}'"
printf '\nServing on %s - open it in a browser, or paste the lines above. Ctrl-C stops.\n' "$url"
wait "$pid"
