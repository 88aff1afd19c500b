#pragma once
// Device memory as Buffers, and pinned host memory that copies pass through.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace inazuma::cuda {

/// Throws Error(out_of_memory), saying how much is free.
Buffer device_memory(size_t bytes, int device);

/// Pinned: the device copies to and from it by itself. Throws Error(out_of_memory).
Buffer pinned_memory(size_t bytes);

/// Places in a stream's work that a thread can wait for; the last kMarks are remembered.
class Marks {
 public:
  Marks();
  ~Marks();
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;
  uint64_t set(cudaStream_t stream);
  void wait(uint64_t mark);
  /// True also where `wait` would throw.
  bool passed(uint64_t mark);
  /// Whether the last one set is yet to be passed.
  bool ahead() { return next_ > 0 && !passed(next_ - 1); }

 private:
  static constexpr size_t kMarks = 8;
  cudaEvent_t events_[kMarks] = {};
  uint64_t next_ = 0;
};

/// Copies between pageable memory and one stream's device. A copy to the device returns once `source` may be reused;
/// one from it waits for the data. Not thread-safe.
class Transfers {
 public:
  explicit Transfers(cudaStream_t stream);
  ~Transfers();
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  /// `busy`: the stream is at work, which threads hold up less than the copy engine does; it is the sooner there in an
  /// idle one.
  void to_device(void* destination, const void* source, size_t bytes, bool busy);
  void from_device(void* destination, const void* source, size_t bytes);

 private:
  /// A piece of the ring that no copy under way reads; waits for an old one if it must.
  struct Slot {
    char* memory = nullptr;
    cudaEvent_t done = nullptr;
  };
  Slot& next_slot();

  cudaStream_t stream_;
  std::vector<Slot> slots_;
  size_t next_ = 0;
};

/// Device memory for one operation at a time, in stream order. Grows; what it grew out of lives on, because recorded
/// steps hold its address.
class Scratch {
 public:
  explicit Scratch(int device) : device_(device) {}
  void* at_least(size_t bytes);

 private:
  int device_;
  std::vector<Buffer> held_;
};

}  // namespace inazuma::cuda
