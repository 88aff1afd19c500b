// Memory is planned before the loop: after a whole warm-up no plan that the options allow asks for more.
#include "engine/runner.h"

#include <gtest/gtest.h>

#include "engine/limits.h"
#include "fakes.h"

namespace inazuma::test {
namespace {

struct Counted {
  int allocations = 0;
  WatchedOps ops{[this](const char* name) { allocations += std::string_view(name) == "allocate"; }};
};

EngineOptions small(const ModelInfo& info) {
  return resolve_options({.max_sequences = 6, .max_batch_tokens = 40, .block_tokens = 4}, info, Device::cpu(),
                         DType::f32);
}

TEST(Runner, AWholeWarmUpSeesTheLargestPlan) {
  for (const Family family : {Family::encoder, Family::decoder, Family::encoder_decoder}) {
    FakeModel model(family, 100);
    int encoded = 0, decoded = 0, sequences = 0, context = 0, logits = 0;
    model.before = [&](const Batch& batch) {
      encoded = std::max(encoded, batch.encoder.tokens);
      decoded = std::max(decoded, batch.decoder.tokens);
      sequences = std::max(sequences, batch.decoder.sequences);
      context = std::max(context, batch.decoder.max_context);
      if (batch.decoder.rows.defined()) logits = std::max(logits, static_cast<int>(batch.decoder.rows.rows()));
    };
    Counted counted;
    Runner runner(model, counted.ops, small(model.info()));
    runner.warm_up();
    EXPECT_EQ(encoded, family == Family::decoder ? 0 : 100);  // a source longer than the budget, alone
    if (family == Family::encoder) continue;
    EXPECT_EQ(decoded, 40);
    EXPECT_EQ(sequences, 6);
    EXPECT_EQ(context, 99);
    EXPECT_EQ(logits, 6);
    EXPECT_EQ(runner.pool().used(), 0);
  }
}

TEST(Runner, AfterwardsNoPlanAllocates) {
  FakeModel model(Family::decoder, 5000);
  const EngineOptions options =
      resolve_options({.max_sequences = 50, .max_batch_tokens = 4000}, model.info(), Device::cpu(), DType::f32);
  Counted counted;
  Runner runner(model, counted.ops, options);
  runner.warm_up();
  const int before = counted.allocations;
  std::vector<Sequence> rows(50);
  Plan plan;
  for (Sequence& row : rows) {
    row.history.assign(80, 3);
    row.prompt = 80;
    row.phase = Sequence::Phase::prefill;
    row.blocks_needed = blocks_for(100, options.block_tokens);
    row.slot = -1;
    runner.admit(row);
    plan.decode.push_back({&row, 0, 80});
  }
  const StepResult& result = runner.run(plan);
  EXPECT_EQ(result.tokens.size(), 50u);
  EXPECT_EQ(result.tokens[49], expected_greedy({}, rows[49].history, 1)[0]);
  EXPECT_EQ(counted.allocations, before);
}

}  // namespace
}  // namespace inazuma::test
