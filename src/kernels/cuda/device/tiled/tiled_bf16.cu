#include <algorithm>

#include "kernels/cuda/device/tiled/variants.cuh"

namespace inazuma::cuda {

void tiled_linear_bf16(const TiledLaunch& call) {
  launch_variant<__nv_bfloat16>(call);
}

}  // namespace inazuma::cuda
