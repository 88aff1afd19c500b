#pragma once
// Hopper's pieces (compute capability 9.0, its own instructions: "90a"): barriers in shared memory that count bytes,
// the bulk copy engine, and products of a warpgroup whose operands lie in shared memory. PTX ISA, chapters "mbarrier",
// "cp.async.bulk.tensor" and "Asynchronous Warpgroup Level Matrix Instructions".

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define INAZUMA_HOPPER 1
#endif

namespace inazuma::cuda {

#ifdef INAZUMA_HOPPER

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// Barriers. -----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ void barrier_init(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes initialised barriers known to the copy engine and to the other blocks of a cluster.
__device__ __forceinline__ void barriers_are_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Arrives, and says how many bytes the copy engine will bring in this phase.
__device__ __forceinline__ void arrive_expecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
/// Arrives at the barrier of the same place in block `rank` of the cluster. What the barriers guard is touched by the
/// copy engine and the tensor cores alone: wider scopes than the default would flush caches for nothing.
__device__ __forceinline__ void arrive_at(uint32_t barrier, uint32_t rank) {
  asm volatile(
      "{\n .reg .b32 there;\n mapa.shared::cluster.u32 there, %0, %1;\n"
      " mbarrier.arrive.shared::cluster.b64 _, [there];\n}\n" ::"r"(barrier),
      "r"(rank)
      : "memory");
}
/// Waits for the end of the phase whose parity is `parity`.
__device__ __forceinline__ void wait_for(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n .reg .pred done;\nAGAIN:\n mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      " @done bra DONE;\n bra AGAIN;\nDONE:\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Clusters. -----------------------------------------------------------------------------------------------------------

__device__ __forceinline__ uint32_t rank_in_cluster() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.aligned;" ::: "memory");
}
__device__ __forceinline__ void cluster_barrier() {
  cluster_arrive();
  cluster_wait();
}

/// The address that block `rank` has for the same place of its shared memory.
__device__ __forceinline__ uint32_t address_there(uint32_t address, int rank) {
  uint32_t there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
  return there;
}
/// Sends two floats to another block (or this one); `barrier`, of the same block, hears of eight bytes when they are
/// there. The sender waits for nothing.
__device__ __forceinline__ void send(uint32_t there, uint32_t barrier_there, float x, float y) {
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(there),
               "f"(x), "f"(y), "r"(barrier_there)
               : "memory");
}

// The copy engine. ----------------------------------------------------------------------------------------------------

/// The box of a two-dimensional map that begins at (column, row), into shared memory; what lies outside is zeros.
__device__ __forceinline__ void copy_box(uint32_t to, const CUtensorMap* map, uint32_t barrier, int column, int row) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(to),
      "l"(map), "r"(barrier), "r"(column), "r"(row)
      : "memory");
}
/// The same into the same place of every block of the cluster in `blocks`, each of whose barriers hears of it.
__device__ __forceinline__ void copy_box_to(uint32_t to, const CUtensorMap* map, uint32_t barrier, int column, int row,
                                            uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%3, %4}], [%2], %5;" ::"r"(to),
      "l"(map), "r"(barrier), "r"(column), "r"(row), "h"(blocks)
      : "memory");
}
__device__ __forceinline__ void prefetch_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// Products of a warpgroup. --------------------------------------------------------------------------------------------

/// Operand whose rows are 128 bytes of the inner axis, 128-byte swizzled, groups of eight rows 1024 bytes apart. 16
/// elements further along the inner axis are 2 more.
__device__ __forceinline__ uint64_t operand(uint32_t address) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kGroups = uint64_t{1024 >> 4} << 32, kUnused = uint64_t{1} << 16;
  return kSwizzle128 | kGroups | kUnused | ((address & 0x3FFFF) >> 4);
}
__device__ __forceinline__ void products_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int Pending>
__device__ __forceinline__ void products_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}
template <int Registers>
__device__ __forceinline__ void registers_up() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
__device__ __forceinline__ void registers_down() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}

#define INAZUMA_R8(d, i)                                                                                      \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define INAZUMA_R32(d, i) INAZUMA_R8(d, i), INAZUMA_R8(d, i + 8), INAZUMA_R8(d, i + 16), INAZUMA_R8(d, i + 24)
#define INAZUMA_D32                                                                                                \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, " \
  "%24, "                                                                                                          \
  "%25, %26, %27, %28, %29, %30, %31"
#define INAZUMA_D64                                                                                        \
  INAZUMA_D32                                                                                              \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
  "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define INAZUMA_D128                                                                                       \
  INAZUMA_D64                                                                                              \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, " \
  "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, "     \
  "%103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, " \
  "%120, %121, %122, %123, %124, %125, %126, %127"

/// d (64 x N) = a (64 x 16) b (N x 16)ᵀ + (add ? d : 0). Lane l of warp w holds d[4 j + e]: row 16 w + l / 4 + 8 (e /
/// 2), column 8 j + 2 (l % 4) + e % 2.
template <class T, int N>
__device__ __forceinline__ void multiply_tile(float (&d)[N / 2], uint64_t a, uint64_t b, int add) {
  static_assert(N == 64 || N == 128 || N == 256);
#define INAZUMA_WGMMA(TYPE)                                                                                           \
  if constexpr (N == 64) {                                                                                            \
    asm volatile("{\n .reg .pred add;\n setp.ne.b32 add, %34, 0;\n wgmma.mma_async.sync.aligned.m64n64k16.f32." TYPE  \
                 "." TYPE " {" INAZUMA_D32 "}, %32, %33, add, 1, 1, 0, 0;\n}\n"                                       \
                 : INAZUMA_R32(d, 0)                                                                                  \
                 : "l"(a), "l"(b), "r"(add));                                                                         \
  } else if constexpr (N == 128) {                                                                                    \
    asm volatile("{\n .reg .pred add;\n setp.ne.b32 add, %66, 0;\n wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE \
                 "." TYPE " {" INAZUMA_D64 "}, %64, %65, add, 1, 1, 0, 0;\n}\n"                                       \
                 : INAZUMA_R32(d, 0), INAZUMA_R32(d, 32)                                                              \
                 : "l"(a), "l"(b), "r"(add));                                                                         \
  } else {                                                                                                            \
    asm volatile(                                                                                                     \
        "{\n .reg .pred add;\n setp.ne.b32 add, %130, 0;\n"                                                           \
        " wgmma.mma_async.sync.aligned.m64n256k16.f32." TYPE "." TYPE " {" INAZUMA_D128                               \
        "}, %128, %129, add, 1, 1, 0, 0;\n}\n"                                                                        \
        : INAZUMA_R32(d, 0), INAZUMA_R32(d, 32), INAZUMA_R32(d, 64), INAZUMA_R32(d, 96)                               \
        : "l"(a), "l"(b), "r"(add));                                                                                  \
  }
  if constexpr (__is_same(T, __half)) {
    INAZUMA_WGMMA("f16")
  } else {
    INAZUMA_WGMMA("bf16")
  }
#undef INAZUMA_WGMMA
}

#undef INAZUMA_D128
#undef INAZUMA_D64
#undef INAZUMA_D32
#undef INAZUMA_R32
#undef INAZUMA_R8

#endif  // INAZUMA_HOPPER

}  // namespace inazuma::cuda
