#include "kernels/cuda/home/memory.h"

#include <algorithm>
#include <cstring>

#include "kernels/cuda/check.h"
#include "kernels/cuda/launch.h"

namespace inazuma::cuda {

namespace {
constexpr size_t kSlotBytes = size_t{1} << 20;
constexpr size_t kSlots = 4;
constexpr size_t kLeastScratch = size_t{1} << 20;
}  // namespace

Buffer device_memory(size_t bytes, int device) {
  void* data = nullptr;
  const size_t wanted = std::max<size_t>(bytes, 1);
  const cudaError_t status = cudaMalloc(&data, wanted);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();  // this error is not sticky: the device goes on
    size_t free = 0, total = 0;
    (void)cudaMemGetInfo(&free, &total);
    throw fail(StatusCode::out_of_memory,
               "cuda:{} has no {} bytes of memory left ({} MiB free of {} MiB): lower max_sequences, kv_tokens or "
               "max_batch_tokens, or take a smaller model or a shorter dtype",
               device, bytes, free >> 20, total >> 20);
  }
  check(status, "allocating device memory");
  return Buffer(data, wanted, Device::cuda(device), [](void* memory) { (void)cudaFree(memory); });
}

Buffer pinned_memory(size_t bytes) {
  void* data = nullptr;
  const size_t wanted = std::max<size_t>(bytes, 1);
  const cudaError_t status = cudaMallocHost(&data, wanted);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw fail(StatusCode::out_of_memory, "{} bytes of host memory cannot be pinned for the GPU", bytes);
  }
  check(status, "allocating pinned memory");
  return Buffer(data, wanted, Device::cpu(), [](void* memory) { (void)cudaFreeHost(memory); });
}

Marks::Marks() {
  for (cudaEvent_t& event : events_)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
}

Marks::~Marks() {
  for (cudaEvent_t event : events_)
    if (event != nullptr) (void)cudaEventDestroy(event);
}

uint64_t Marks::set(cudaStream_t stream) {
  check(cudaEventRecord(events_[next_ % kMarks], stream), "recording an event");
  return next_++;
}

void Marks::wait(uint64_t mark) {
  check(cudaEventSynchronize(events_[mark % kMarks]), "waiting for the device");
}

bool Marks::passed(uint64_t mark) {
  if (cudaEventQuery(events_[mark % kMarks]) != cudaErrorNotReady) return true;
  (void)cudaGetLastError();  // it is remembered like an error, and is none
  return false;
}

Transfers::Transfers(cudaStream_t stream) : stream_(stream), slots_(kSlots) {
  for (Slot& slot : slots_) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, kSlotBytes), "allocating pinned memory");
    slot.memory = static_cast<char*>(memory);
    check(cudaEventCreateWithFlags(&slot.done, cudaEventDisableTiming), "creating an event");
  }
}

Transfers::~Transfers() {
  for (Slot& slot : slots_) {
    if (slot.done != nullptr) (void)cudaEventDestroy(slot.done);
    if (slot.memory != nullptr) (void)cudaFreeHost(slot.memory);
  }
}

Transfers::Slot& Transfers::next_slot() {
  Slot& slot = slots_[next_];
  next_ = (next_ + 1) % slots_.size();
  check(cudaEventSynchronize(slot.done), "waiting for a copy");
  return slot;
}

void Transfers::to_device(void* destination, const void* source, size_t bytes, bool busy) {
  for (size_t done = 0; done < bytes; done += kSlotBytes) {
    const size_t part = std::min(kSlotBytes, bytes - done);
    Slot& slot = next_slot();
    std::memcpy(slot.memory, static_cast<const char*>(source) + done, part);
    char* const to = static_cast<char*>(destination) + done;
    if (busy && can_move(to, slot.memory, part))
      move(to, slot.memory, part, stream_);
    else
      check(cudaMemcpyAsync(to, slot.memory, part, cudaMemcpyHostToDevice, stream_), "copying to the device");
    check(cudaEventRecord(slot.done, stream_), "recording an event");
  }
}

void Transfers::from_device(void* destination, const void* source, size_t bytes) {
  // All slots under way before the first is emptied: the device copies while the host does.
  struct Part {
    Slot* slot;
    size_t begin, bytes;
  };
  std::vector<Part> parts;
  parts.reserve(slots_.size());
  size_t started = 0, emptied = 0, first = 0;
  while (emptied < bytes) {
    while (started < bytes && parts.size() - first < slots_.size()) {
      const size_t part = std::min(kSlotBytes, bytes - started);
      Slot& slot = next_slot();
      check(cudaMemcpyAsync(slot.memory, static_cast<const char*>(source) + started, part, cudaMemcpyDeviceToHost,
                            stream_),
            "copying from the device");
      check(cudaEventRecord(slot.done, stream_), "recording an event");
      parts.push_back({&slot, started, part});
      started += part;
    }
    const Part& part = parts[first++];
    check(cudaEventSynchronize(part.slot->done), "waiting for the device");
    std::memcpy(static_cast<char*>(destination) + part.begin, part.slot->memory, part.bytes);
    emptied += part.bytes;
  }
}

void* Scratch::at_least(size_t bytes) {
  if (held_.empty() || held_.back().bytes() < bytes) {
    const size_t grown = held_.empty() ? kLeastScratch : 2 * held_.back().bytes();
    held_.push_back(device_memory(std::max(bytes, grown), device_));
  }
  return held_.back().data();
}

}  // namespace inazuma::cuda
