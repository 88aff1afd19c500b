#pragma once
// Warp-wide pieces of the attention kernels and the skinny products: 16-byte loads and the m16n8k16 product.
//
// Of D(16 x 8) += A(16 x 16) B(16 x 8) the lane with g = lane / 4 and c = lane % 4 holds
//   A: a0 = (row g, k 2c..2c+1), a1 = (row g + 8, the same k), a2 = (row g, k 2c+8..2c+9), a3 = (row g + 8, those k)
//   B: b0 = (k 2c..2c+1, column g), b1 = (k 2c+8..2c+9, column g)
//   D: d0, d1 = (row g, columns 2c, 2c+1), d2, d3 = (row g + 8, those columns)
// (PTX ISA, "Matrix Fragments for mma.m16n8k16"). A sum does not care which k is called which as long as A and B agree:
// so lane c loads 16 bytes, elements 8c..8c+7 of a chunk of 32, and words 2s and 2s+1 of them serve as k 2c and 2c+8 of
// step s. Every load is 16 bytes wide and nothing goes through shared memory.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace inazuma::cuda {

constexpr float kLog2e = 1.4426950408889634f;

/// 16 bytes, zeros where `wanted` is false. A plain load: what the kernel before wrote may still be on its way when
/// this one starts (chain.cuh), and a load of constants could be moved in front of the wait.
__device__ __forceinline__ uint4 load16(const void* from, bool wanted) {
  uint4 out;
  asm volatile(
      "{\n .reg .pred p;\n setp.ne.b32 p, %5, 0;\n mov.b32 %0, 0;\n mov.b32 %1, 0;\n mov.b32 %2, 0;\n mov.b32 %3, 0;\n"
      " @p ld.global.v4.u32 {%0, %1, %2, %3}, [%4];\n}\n"
      : "=&r"(out.x), "=&r"(out.y), "=&r"(out.z), "=&r"(out.w)
      : "l"(from), "r"(static_cast<int>(wanted)));
  return out;
}

/// The same, always wanted.
__device__ __forceinline__ uint4 load16(const void* from) {
  uint4 out;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
               : "l"(from));
  return out;
}

/// The same for weights, which no kernel writes and a product reads once: they do not displace what others share in L1.
__device__ __forceinline__ uint4 stream16(const void* from, bool wanted) {
  uint4 out;
  asm volatile(
      "{\n .reg .pred p;\n setp.ne.b32 p, %5, 0;\n mov.b32 %0, 0;\n mov.b32 %1, 0;\n mov.b32 %2, 0;\n mov.b32 %3, 0;\n"
      " @p ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];\n}\n"
      : "=&r"(out.x), "=&r"(out.y), "=&r"(out.z), "=&r"(out.w)
      : "l"(from), "r"(static_cast<int>(wanted)));
  return out;
}

/// 16 bytes at once: a store through a pointer to uint4 may be taken apart to save moves between registers.
__device__ __forceinline__ void store16(void* to, const uint4& value) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(value.x), "r"(value.y), "r"(value.z),
               "r"(value.w)
               : "memory");
}

__device__ __forceinline__ uint32_t word(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// Zero, but not before the loads mixed into `mixed` are there. The assembler likes to put products between loads to
/// save registers, and each then waits for memory anew; started from this zero, all loads go out first. `small` is any
/// number that is below 65536 without the compiler knowing.
__device__ __forceinline__ uint32_t zero_after(uint32_t mixed, int small) {
  return mixed & static_cast<uint32_t>(small >> 16);
}

/// 2^x to within 2 ulp; 2^-inf = 0, 2^0 = 1.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

template <class T>
struct Packed;  // what 16-bit element types differ in

template <>
struct Packed<__half> {
  static constexpr uint32_t kExponent = 0x7C007C00u, kStep = 0x04000400u;
  static __device__ __forceinline__ uint32_t pack(float low, float high) {
    const __half2 both = __floats2half2_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
  }
  static __device__ __forceinline__ void multiply(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                                  uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
};

template <>
struct Packed<__nv_bfloat16> {
  static constexpr uint32_t kExponent = 0x7F807F80u, kStep = 0x00800080u;
  static __device__ __forceinline__ uint32_t pack(float low, float high) {
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
  }
  static __device__ __forceinline__ void multiply(float (&d)[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                                  uint32_t b0, uint32_t b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
  }
};

/// Not zero if any of the two elements of `pair` is infinite or NaN: only then the exponent's carry reaches bit 15.
template <class T>
__device__ __forceinline__ uint32_t not_finite(uint32_t pair) {
  return ((pair & Packed<T>::kExponent) + Packed<T>::kStep) & 0x80008000u;
}

}  // namespace inazuma::cuda
