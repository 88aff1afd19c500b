#!/usr/bin/env bash
# Packs what the preset 'cuda' built into one archive that runs on a bare machine with a driver and CUDA's libraries: programs, tests,
# and the shared libraries they need beside them (all but the C library's, the compiler's and CUDA's). Usage: gpu_pack.sh ARCHIVE.tar.xz
set -euo pipefail
cd "$(dirname "$0")/.."
archive=$(realpath -m "$1")
tree=build/gpu-tree
rm -rf "$tree"
mkdir -p "$tree/bin" "$tree/lib" "$(dirname "$archive")"
for program in ${PROGRAMS:-kernels_test golden_test engine_real_models_test inprocess_bench gpu_bench http_bench inazuma}; do
  [[ -x build/cuda/bin/$program ]] || continue
  strip -o "$tree/bin/$program" "build/cuda/bin/$program"
  ldd "build/cuda/bin/$program"
done | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
  grep -Ev '/(ld-linux|libc|libm|libdl|librt|libpthread|libresolv|libgcc_s|libstdc\+\+|libcublas|libcublasLt|libcuda)[-.]' |
  while read -r library; do cp -L "$library" "$tree/lib/"; done
if [[ -d build/cuda/share ]]; then cp -r build/cuda/share "$tree/"; fi
tar -C "$tree" -c . | xz --lzma2=preset=${XZ_PRESET:-6},dict=96MiB >"$archive"
du -h "$archive"
