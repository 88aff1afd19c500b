// Finding the device, and saying clearly why there is none.

#include "kernels/cuda/check.h"
#include "kernels/cuda/home/cuda_ops.h"

namespace inazuma {

namespace {

constexpr int kLeastMajor = 8;

std::string version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

Status no_devices(cudaError_t status) {
  (void)cudaGetLastError();
  int driver = 0;
  (void)cudaDriverGetVersion(&driver);
  if (status == cudaErrorNoDevice || status == cudaErrorInvalidDevice)
    return Status(
        StatusCode::unavailable,
        "this machine shows no NVIDIA GPU (is CUDA_VISIBLE_DEVICES empty?); run on the CPU with --device cpu");
  if (status == cudaErrorInsufficientDriver && driver == 0)
    return Status(StatusCode::unsupported,
                  "this machine has no NVIDIA driver (libcuda.so.1); install one, or run on the CPU with --device cpu");
  if (status == cudaErrorInsufficientDriver)
    return Status(
        StatusCode::unsupported,
        fmt::format("the NVIDIA driver is too old: it knows CUDA {}, this program needs {}; update it, or run "
                    "on the CPU with --device cpu",
                    version(driver), version(CUDART_VERSION)));
  return Status(StatusCode::unavailable,
                fmt::format("CUDA cannot be used: {} ({})", cudaGetErrorString(status), cudaGetErrorName(status)));
}

void check_device(int index) {
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) throw Error(no_devices(status));
  if (index >= count)
    throw fail(StatusCode::unavailable, "there is no cuda:{}: this machine shows {} GPU{}, cuda:0{}", index, count,
               count == 1 ? "" : "s", count == 1 ? "" : fmt::format(" to cuda:{}", count - 1));
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, index), "asking for the device");
  if (properties.major < kLeastMajor)
    throw fail(StatusCode::unsupported,
               "cuda:{} is a {} of compute capability {}.{}; this program needs {}.0 (Ampere) or newer", index,
               properties.name, properties.major, properties.minor, kLeastMajor);
}

}  // namespace

Status find_cuda(int index) {
  return capture([&] { check_device(index); });
}

bool cuda_built_in() {
  return true;
}

Result<std::unique_ptr<Ops>> make_cuda_ops(const CudaOptions& options) {
  return capture([&]() -> std::unique_ptr<Ops> {
    if (options.dtype != DType::f32 && options.dtype != DType::f16 && options.dtype != DType::bf16)
      throw fail(StatusCode::invalid, "dtype is {}, must be float32, float16 or bfloat16", name(options.dtype));
    check_device(options.index);
    auto ops = std::make_unique<CudaOps>(options);
    // One small step: a device that is lost, or for which this program has no machine code, shows now.
    const float one = 1.0f;
    const Matrix weight = ops->pack(Tensor(&one, DType::f32, Shape{1, 1}), WeightLayout::in_out);
    ops->synchronize();
    return ops;
  });
}

}  // namespace inazuma
