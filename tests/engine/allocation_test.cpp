// A steady decoding step makes no heap allocation on the engine's thread. This program replaces operator new to count.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "fakes.h"

namespace {
thread_local int64_t allocations = 0;

void* counted(size_t bytes, size_t alignment) {
  if (!inazuma::test::WatchedOps::paused) ++allocations;
  void* memory = alignment <= alignof(std::max_align_t)
                     ? std::malloc(bytes)
                     : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) {
  return counted(bytes, 0);
}
void* operator new[](size_t bytes) {
  return counted(bytes, 0);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace inazuma::test {
namespace {

/// Notes the engine thread's count at two tokens of a row; costs no allocation itself.
class Meter final : public SequenceSink {
 public:
  Meter(int from, int to) : from_(from), to_(to) {}
  void on_event(SequenceEvent event) override {
    if (event.kind == SequenceEvent::Kind::token) {
      ++tokens_;
      if (tokens_ == from_) begin_ = allocations;
      if (tokens_ == to_) end_ = allocations;
    } else {
      const std::lock_guard lock(mutex_);
      ended_ = true;
      changed_.notify_all();
    }
  }
  int64_t wait() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(10), [&] { return ended_; }));
    return end_ - begin_;
  }

 private:
  const int from_, to_;
  int tokens_ = 0;
  int64_t begin_ = -1, end_ = -1000;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
};

int64_t steady_allocations(Family family, const GenerationOptions& generation) {
  auto ops = std::make_unique<WatchedOps>();
  const auto engine = Engine::start(std::make_shared<FakeModel>(family, 512), std::move(ops)).value();
  std::vector<std::shared_ptr<Meter>> meters;
  std::vector<SequenceRequest> rows;
  for (int i = 0; i < 4; ++i) {
    meters.push_back(std::make_shared<Meter>(50, 250));
    rows.push_back(generate_row({1, 2, 3, 4, 5}, 300, i, meters.back()));
    rows.back().generation = generation;
    rows.back().generation.max_new_tokens = 300;
  }
  EXPECT_TRUE(engine->submit(std::move(rows)).ok());
  int64_t total = 0;
  for (const auto& meter : meters) total += meter->wait();
  return total;
}

TEST(Allocation, TheCounterCounts) {
  const int64_t before = allocations;
  const auto something = std::make_unique<int>(1);
  EXPECT_EQ(allocations, before + 1);
}

TEST(Allocation, ASteadyStepAllocatesNothing) {
  EXPECT_EQ(steady_allocations(Family::decoder, {}), 0);
  EXPECT_EQ(steady_allocations(Family::encoder_decoder, {}), 0);
}

TEST(Allocation, NorWithSamplingAndSuppressedWords) {
  GenerationOptions generation;
  generation.sample = true;
  generation.top_k = 5;
  generation.repetition_penalty = 1.2f;
  generation.suppress = {1, 2, 3};
  generation.bad_words = {{7}, {8, 9}};
  EXPECT_EQ(steady_allocations(Family::decoder, generation), 0);
}

}  // namespace
}  // namespace inazuma::test
