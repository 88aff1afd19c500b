// The copy engine's maps, and which products the tiled kernels take.

#include <algorithm>

#include "kernels/cuda/device/tiled/variants.cuh"

namespace inazuma::cuda {

namespace {

/// What a variant's tile has (variants.cuh).
struct Extents {
  int rows, columns, rowwise, splits;
};
constexpr Extents kExtents[kTiledVariants] = {{128, 128, 1, 1}, {128, 256, 2, 1}, {128, 128, 1, 2}, {128, 128, 1, 4},
                                              {64, 128, 1, 1},  {64, 128, 1, 2},  {64, 64, 1, 1},   {64, 64, 1, 2},
                                              {64, 64, 1, 4},   {64, 64, 1, 8},   {128, 128, 1, 1}, {128, 256, 1, 1}};
constexpr int kInner = 64;

bool is_hopper() {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "asking for the device");
  return major == 9;
}

using Encode = decltype(&cuTensorMapEncodeTiled);

Encode encode_function() {
  static const Encode function = [] {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result = cudaDriverEntryPointSymbolNotFound;
    check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result),
          "asking the driver for tensor maps");
    return reinterpret_cast<Encode>(found);
  }();
  return function;
}

/// [rows, columns] of 16-bit elements, read in boxes of box_rows x 64.
CUtensorMap map_of(const void* data, Type type, int64_t rows, int64_t columns, int64_t stride, int box_rows) {
  CUtensorMap map;
  const cuuint64_t extents[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[] = {kInner, static_cast<cuuint32_t>(box_rows)}, steps[] = {1, 1};
  const CUresult result = encode_function()(
      &map, type == Type::f16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2,
      const_cast<void*>(data), extents, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result != CUDA_SUCCESS) check(cudaErrorInvalidValue, "describing an operand to the copy engine");
  return map;
}

bool aligned(const Matrix2& m) {
  return m.data == nullptr ||
         (reinterpret_cast<uintptr_t>(m.data) % 16 == 0 && static_cast<size_t>(m.stride) * size_of(m.type) % 16 == 0);
}

}  // namespace

bool tiled_linear_suits(const SkinnyLinear& args, int variant) {
  const Activation a = args.activation;
  const bool floats = args.out.type == Type::f32;
  const bool known = a == Activation::none || a == Activation::relu ||
                     (!floats && (a == Activation::gelu || a == Activation::gelu_tanh));
  if (kExtents[variant].columns == 256 && (floats || args.multiplier.data != nullptr || args.residual.data != nullptr))
    return false;
  const bool both = args.multiplier.data != nullptr && (floats || args.residual.data != nullptr);
  return args.type != Type::f32 && known && !both && args.in % 8 == 0 && args.out_columns % 8 == 0 &&
         (floats || args.out.type == args.type) && aligned(args.x) && aligned(args.out) && aligned(args.multiplier) &&
         aligned(args.residual) && reinterpret_cast<uintptr_t>(args.weight) % 16 == 0 && args.rows > 0 &&
         (args.in + kInner - 1) / kInner >= kExtents[variant].splits && is_hopper() && encode_function() != nullptr;
}

bool tiled_linear_hopeful(const SkinnyLinear& args, int variant) {
  const Extents& tile = kExtents[variant];
  if (tile.rows > 64 && args.rows <= 64) return false;
  if (tile.columns == 256 && args.rows <= 1024) return false;  // too few tiles to go round
  if (tile.rowwise > 1 && args.rows <= 4 * tile.rows) return false;
  if (tile.splits == 1) return true;
  int device = 0, processors = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "asking for the device");
  const int64_t tiles =
      int64_t{(args.rows + tile.rows - 1) / tile.rows} * ((args.out_columns + tile.columns - 1) / tile.columns);
  return tiles * tile.splits <= 2 * processors;
}

void tiled_linear(const SkinnyLinear& args, int variant, cudaStream_t stream) {
  const Extents& tile = kExtents[variant];
  const TiledLaunch call{
      args, map_of(args.x.data, args.type, args.rows, args.in, args.x.stride, tile.rows),
      map_of(args.weight, args.type, args.out_columns, args.in, args.in, tile.columns / tile.rowwise), variant, stream};
  args.type == Type::f16 ? tiled_linear_f16(call) : tiled_linear_bf16(call);
}

}  // namespace inazuma::cuda
