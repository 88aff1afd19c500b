#include <algorithm>

#include "kernels/cuda/device/tiled/variants.cuh"

namespace inazuma::cuda {

void tiled_linear_f16(const TiledLaunch& call) {
  launch_variant<__half>(call);
}

}  // namespace inazuma::cuda
