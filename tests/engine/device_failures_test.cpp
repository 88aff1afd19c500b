// What a real GPU does to its engines when it runs out of memory or is lost. These take the whole device: gpu_check
// runs them by themselves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "fakes.h"
#include "source_dir.h"

namespace inazuma::test {
namespace {

using ::testing::ExitedWithCode;
using ::testing::HasSubstr;

Result<std::unique_ptr<Engine>> engine_on_gpu(const char* name, const EngineOptions& options = {}) {
  std::unique_ptr<Ops> ops = make_cuda_ops({.dtype = DType::f16}).value();
  const std::shared_ptr<const Model> model = load_model(source_dir() / "tests/golden/cases" / name, *ops).value().model;
  return Engine::start(model, std::move(ops), options);
}

SequenceRequest text(int index, std::shared_ptr<Collector> sink) {
  SequenceRequest row;
  row.ids = {5, 6, 7};
  row.rows = SequenceRequest::Wanted::all;
  row.index = index;
  row.sink = std::move(sink);
  return row;
}

std::vector<Buffer> everything_but(Ops& ops, size_t last_piece) {
  std::vector<Buffer> held;
  for (size_t piece = size_t{8} << 30; piece >= last_piece;) {
    const Status status = capture([&] { held.push_back(ops.allocate(piece)); });
    if (!status.ok()) piece /= 2;
  }
  return held;
}

TEST(DeviceFailures, TooLittleMemoryForAModelIsItsErrorAlone) {
  if (!find_cuda(0).ok()) GTEST_SKIP() << find_cuda(0).message();
  const auto running = engine_on_gpu("bert-ner").value();
  const auto sink = std::make_shared<Collector>();
  const EngineOptions wide{.max_sequences = 64, .kv_tokens = 1 << 22};  // 4 Mi tokens of keys and values
  {
    const std::unique_ptr<Ops> greedy = make_cuda_ops({.dtype = DType::f16}).value();
    const std::vector<Buffer> held = everything_but(*greedy, size_t{256} << 20);
    const auto refused = engine_on_gpu("gpt2", wide);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), StatusCode::out_of_memory);
    EXPECT_THAT(refused.status().message(), HasSubstr("MiB free of"));
    EXPECT_THAT(refused.status().message(), HasSubstr("kv_tokens"));
    accept(*running, text(0, sink));  // the one that runs does not notice
    ASSERT_TRUE(sink->wait(1));
    EXPECT_TRUE(sink->row(0).failed.ok()) << sink->row(0).failed.message();
  }
  EXPECT_TRUE(engine_on_gpu("gpt2", wide).ok());
  accept(*running, text(1, sink));
  ASSERT_TRUE(sink->wait(2));
  EXPECT_EQ(sink->row(1).rows.values, sink->row(0).rows.values);
}

/// Keys and values for one text at full length: who can never have room is told at once, who only has none now waits.
TEST(DeviceFailures, TooLittleRoomForKeysAndValuesIsOneRowsMatter) {
  if (!find_cuda(0).ok()) GTEST_SKIP() << find_cuda(0).message();
  const EngineOptions tight{.max_sequences = 8, .kv_tokens = 96};
  const auto engine = engine_on_gpu("gpt2", tight).value();
  const auto sink = std::make_shared<Collector>();
  accept(*engine, generate_row({5, 6, 7}, 4, 0, sink));
  ASSERT_TRUE(sink->wait(1));
  accept(*engine, generate_row({5, 6, 7}, 90, 1, sink));  // nearly all there is
  accept(*engine, generate_row({5, 6, 7}, 80, 2, sink));
  SequenceRequest beams = generate_row({5, 6, 7}, 80, 3, sink);
  beams.generation.num_beams = 4;
  std::vector<SequenceRequest> rows;
  rows.push_back(std::move(beams));
  const Status refused = engine->submit(std::move(rows));
  EXPECT_EQ(refused.code(), StatusCode::too_long);
  EXPECT_THAT(refused.message(), HasSubstr("there is room for 96"));
  ASSERT_TRUE(sink->wait(3));
  for (const int index : {1, 2}) {
    const Told told = sink->row(index);
    EXPECT_TRUE(told.failed.ok()) << told.failed.message();
    EXPECT_TRUE(std::equal(told.tokens.begin(), told.tokens.begin() + 4, sink->row(0).tokens.begin()));
  }
  EXPECT_EQ(sink->row(1).tokens.size(), 90u);
  EXPECT_EQ(sink->row(2).tokens.size(), 80u);
  ASSERT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(10)));
  EXPECT_EQ(engine->stats().kv_blocks_used, 0);
}

/// In a process of its own: no other way leads back from a fault.
[[noreturn]] void fault_and_tell() {
  const auto engine = engine_on_gpu("bert-ner").value();
  const std::unique_ptr<Ops> faulty = make_cuda_ops({.dtype = DType::f32}).value();
  const Buffer memory = faulty->allocate(64), x = faulty->allocate(4096);
  const int32_t far = 0x7FFFFFFF;
  const Tensor row = memory.tensor(DType::i32, Shape{1});
  faulty->upload(row, &far);
  const Status fault = capture([&] {
    faulty->gather_rows(x.tensor(DType::f32, Shape{1, 1024}), x.tensor(DType::f32, Shape{1, 1024}), row);
    faulty->synchronize();
  });
  const auto sink = std::make_shared<Collector>();
  std::vector<SequenceRequest> rows;
  rows.push_back(text(0, sink));
  const Status submitted = engine->submit(std::move(rows));
  const bool told = submitted.ok() && sink->wait(1);
  std::vector<SequenceRequest> more;
  more.push_back(text(1, sink));
  const Status after = engine->submit(std::move(more));
  std::fprintf(stderr, "fault: %d; row: %s; after: %s; drained: %d\n", fault.ok() ? 0 : 1,
               told ? sink->row(0).failed.message().c_str() : "not told", after.message().c_str(),
               engine->drain(Clock::now() + std::chrono::seconds(10)) ? 1 : 0);
  std::_Exit(engine->stats().lost && after.code() == StatusCode::unavailable ? 7 : 1);
}

TEST(DeviceFailures, AFaultLosesTheDeviceAndEveryRowHearsOfIt) {
  if (!find_cuda(0).ok()) GTEST_SKIP() << find_cuda(0).message();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(fault_and_tell(), ExitedWithCode(7),
              "fault: 1; row: cuda:0 is lost: .*; after: cuda:0 is lost: .*restart the server.*; drained: 1");
}

}  // namespace
}  // namespace inazuma::test
