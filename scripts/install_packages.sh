#!/usr/bin/env bash
# Installs the Debian packages that are missing. Usage: install_packages.sh build|test|fuzz|referee
set -euo pipefail
cd "$(dirname "$0")/.."

build=(g++ cmake ninja-build ccache git curl libboost1.81-dev libssl-dev libnghttp2-dev zlib1g-dev libsimdjson-dev nlohmann-json3-dev libcli11-dev
  libspdlog-dev libfmt-dev prometheus-cpp-dev libutf8proc-dev libpcre2-dev libprotobuf-dev protobuf-compiler libmecab-dev mecab-utils mecab-ipadic pkg-config)
test=(libgtest-dev libgmock-dev librapidcheck-dev libsentencepiece-dev python3-venv python3-pip libb64-0d)
fuzz=(clang libclang-rt-14-dev llvm)  # llvm: names in reports, by which known leaks are told apart
referee=(libpython3.11 nginx-light wrk nghttp2-client)

wanted=("${build[@]}")
[[ ${1:-build} == build ]] || wanted+=("${test[@]}")
[[ ${1:-build} != fuzz ]] || wanted+=("${fuzz[@]}")
[[ ${1:-build} != referee ]] || wanted+=("${referee[@]}")

missing=()
for package in "${wanted[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "install_packages: these Debian packages are missing and need root: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
echo "==> Installing ${#missing[@]} Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
