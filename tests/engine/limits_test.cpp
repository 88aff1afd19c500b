// What an engine refuses, and with which words; what it fills in for zeros.
#include "engine/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "fakes.h"

namespace inazuma::test {
namespace {

using testing::HasSubstr;

struct NoSink final : SequenceSink {
  void on_event(SequenceEvent) override {}
};

/// A refusal is told by every way in: the check, and submit.
Status refusal(Family family, const std::function<void(SequenceRequest&)>& spoil) {
  static const auto encoder = start(std::make_shared<FakeModel>(Family::encoder));
  static const auto decoder = start(std::make_shared<FakeModel>(Family::decoder));
  static const auto both = start(std::make_shared<FakeModel>(Family::encoder_decoder));
  Engine& engine = family == Family::encoder ? *encoder : family == Family::decoder ? *decoder : *both;
  const auto sink = std::make_shared<NoSink>();
  SequenceRequest row =
      family == Family::encoder ? encode_row({1, 2, 3}, 0, sink) : generate_row({1, 2, 3}, 4, 0, sink);
  EXPECT_TRUE(capture([&] { check_request(row, engine.info(), engine.options()); }).ok());
  spoil(row);
  return engine.submit({row});
}

struct Spoiled {
  Family family;
  StatusCode code;
  const char* words;
  std::function<void(SequenceRequest&)> spoil;
};

template <class T>
std::function<void(SequenceRequest&)> set(T GenerationOptions::*field, T value) {
  return [=](SequenceRequest& row) { row.generation.*field = value; };
}

TEST(Limits, EachBadRequestIsRefusedByName) {
  using G = GenerationOptions;
  using R = SequenceRequest;
  const float nan = std::nanf("");
  const auto sampled = [](float temperature) {
    return [=](R& row) {
      row.generation.sample = true;
      row.generation.temperature = temperature;
    };
  };
  const auto beams = [](int count, std::function<void(G&)> spoil = {}) {
    return [=](R& row) {
      row.generation.num_beams = count;
      if (spoil) spoil(row.generation);
    };
  };
  const Family e = Family::encoder, d = Family::decoder, t = Family::encoder_decoder;
  const StatusCode bad = StatusCode::invalid;
  const Spoiled cases[] = {
      {e, StatusCode::empty, "no tokens", [](R& r) { r.ids.clear(); }},
      {e, bad, "ids[1] is 97, must be in [0, 97)", [](R& r) { r.ids[1] = 97; }},
      {d, bad, "ids[2] is -1, must be in [0, 97)", [](R& r) { r.ids[2] = -1; }},
      {e, bad, "type_ids[0] is 2, must be in [0, 2)",
       [](R& r) {
         r.type_ids = {2, 0, 0};
       }},
      {e, bad, "type_ids has 2 entries",
       [](R& r) {
         r.type_ids = {0, 0};
       }},
      {e, StatusCode::too_long, "65 tokens, the model reads at most 64", [](R& r) { r.ids.assign(65, 1); }},
      {t, StatusCode::too_long, "65 tokens, the model reads at most 64", [](R& r) { r.ids.assign(65, 1); }},
      {d, StatusCode::too_long, "61 tokens + max_new_tokens 4 = 65, the context holds 64",
       [](R& r) { r.ids.assign(61, 1); }},
      {t, StatusCode::too_long, "1 tokens + max_new_tokens 64 = 65", set(&G::max_new_tokens, 64)},
      {d, StatusCode::too_long, "2147483647", set(&G::max_new_tokens, 2147483647)},
      {e, bad, "listed[0] is 3, must be in [0, 3)", [](R& r) { r.rows = R::Wanted::listed, r.listed = {3}; }},
      {e, bad, "increasing",
       [](R& r) {
         r.rows = R::Wanted::listed, r.listed = {1, 1};
       }},
      {e, bad, "listed.size is 0", [](R& r) { r.rows = R::Wanted::listed; }},
      {e, bad, "nothing to compute", [](R& r) { r.rows = R::Wanted::none, r.pooled = false; }},
      {d, bad, "rows are wanted", [](R& r) { r.rows = R::Wanted::all; }},
      {t, bad, "pooled output is wanted", [](R& r) { r.pooled = true; }},
      {d, bad, "decoder_ids are only for encoder-decoders", [](R& r) { r.decoder_ids = {1}; }},
      {t, bad, "decoder_ids[0] is 97", [](R& r) { r.decoder_ids = {97}; }},
      {t, bad, "prompt_logprobs is only for decoder-only", set(&G::prompt_logprobs, true)},
      {e, bad, "sink is null", [](R& r) { r.sink = nullptr; }},
      {e, bad, "priority is -2000000", [](R& r) { r.priority = -2000000; }},
      {d, bad, "max_new_tokens is 0, must be at least 1", set(&G::max_new_tokens, 0)},
      {d, bad, "max_new_tokens is -5", set(&G::max_new_tokens, -5)},
      {d, bad, "min_new_tokens is 5, must be in [0, 4]", set(&G::min_new_tokens, 5)},
      {d, bad, "eos.size is 9, must be at most 8", set(&G::eos, std::vector<int32_t>(9, 1))},
      {d, bad, "eos[0] is 97", set(&G::eos, {97})},
      {d, bad, "suppress[0] is -1", set(&G::suppress, {-1})},
      {d, bad, "bad_words[1] is empty", set(&G::bad_words, {{1}, {}})},
      {d, bad, "bad_words[0][1] is 97", set(&G::bad_words, {{1, 97}})},
      {d, bad, "forced_bos[0] is 97", set(&G::forced_bos, std::optional<int32_t>(97))},
      {d, bad, "no_repeat_ngram is -1", set(&G::no_repeat_ngram, -1)},
      {d, bad, "top_tokens is 98, must be in [0, 97]", set(&G::top_tokens, 98)},
      {d, bad, "num_beams is 0, must be in [1, 64]", beams(0)},
      {d, bad, "num_beams is 65, must be in [1, 64]", beams(65)},
      {d, bad, "num_beams is 40, but the engine runs 32 sequences at once", beams(40)},
      {d, bad, "num_return_sequences is 2, must be in [1, 1]", set(&G::num_return_sequences, 2)},
      {d, bad, "num_return_sequences is 0", beams(4, [](G& g) { g.num_return_sequences = 0; })},
      {d, bad, "length_penalty is nan", beams(4, [=](G& g) { g.length_penalty = nan; })},
      {d, bad, "beam_diversity is inf", beams(4, [](G& g) { g.beam_diversity = HUGE_VALF; })},
      {d, bad, "num_beams is 4 and sampling is on", beams(4, [](G& g) { g.sample = true; })},
      {d, bad, "top_tokens is 2, must be 0", beams(4, [](G& g) { g.top_tokens = 2; })},
      {d, bad, "temperature is 0, must be above 0", sampled(0.0f)},
      {d, bad, "temperature is nan", sampled(nan)},
      {d, bad, "top_k is -1", set(&G::top_k, -1)},
      {d, bad, "top_p is 0, must be in (0, 1]", set(&G::top_p, 0.0f)},
      {d, bad, "top_p is nan", set(&G::top_p, nan)},
      {d, bad, "min_p is 1.5, must be in [0, 1]", set(&G::min_p, 1.5f)},
      {d, bad, "typical_p is 0", set(&G::typical_p, 0.0f)},
      {d, bad, "repetition_penalty is 0", set(&G::repetition_penalty, 0.0f)},
      {d, bad, "frequency_penalty is nan", set(&G::frequency_penalty, nan)},
      {d, bad, "presence_penalty is inf", set(&G::presence_penalty, HUGE_VALF)},
  };
  for (const Spoiled& c : cases) {
    const Status status = refusal(c.family, c.spoil);
    EXPECT_EQ(status.code(), c.code) << c.words << ": " << status.message();
    EXPECT_THAT(status.message(), HasSubstr(c.words));
  }
}

TEST(Limits, AGroupFitsIntoThePoolAtOnce) {
  const auto engine = start(std::make_shared<FakeModel>(Family::decoder), {.block_tokens = 4, .kv_tokens = 64});
  const auto sink = std::make_shared<Collector>();
  SequenceRequest row = generate_row({1, 2, 3}, 40, 0, sink);
  row.generation.num_beams = 3;
  const Status status = engine->submit({row});
  EXPECT_EQ(status.code(), StatusCode::too_long);
  EXPECT_THAT(status.message(), HasSubstr("num_beams 3 with max_new_tokens 40 may need the keys and values of 132"));
  row.generation.num_beams = 1;
  accept(*engine, row);
  EXPECT_TRUE(sink->wait(1));
}

TEST(Limits, ABatchIsRefusedWholeNamingTheRow) {
  const auto engine = start(std::make_shared<FakeModel>(Family::encoder));
  const auto sink = std::make_shared<Collector>();
  const Status status = engine->submit({encode_row({1}, 0, sink), encode_row({500}, 1, sink)});
  EXPECT_EQ(status.code(), StatusCode::invalid);
  EXPECT_THAT(status.message(), HasSubstr("row 1: ids[0] is 500"));
  EXPECT_EQ(engine->submit({}).code(), StatusCode::empty);
  EXPECT_TRUE(engine->drain(Clock::now() + std::chrono::seconds(5)));
  EXPECT_EQ(sink->ended(), 0);
}

ModelInfo gpt_medium() {
  ModelInfo info = FakeModel(Family::decoder, 1024).info();
  info.kv_layers = 24;
  info.kv_heads = 16;
  info.kv_head_dim = 64;
  return info;
}

TEST(Limits, ZerosAreFilledFromTheModel) {
  const ModelInfo info = gpt_medium();
  const EngineOptions cpu = resolve_options({}, info, Device::cpu(), DType::f32);
  EXPECT_EQ(cpu.max_context, 1024);
  EXPECT_EQ(cpu.max_sequences, 32);
  EXPECT_EQ(cpu.max_batch_tokens, 512);
  const int64_t bytes = cpu.kv_tokens * 24 * 2 * 16 * 64 * 4;
  EXPECT_LE(bytes, int64_t{1} << 30);
  EXPECT_GT(bytes, int64_t{1} << 29);
  EXPECT_GT(resolve_options({}, info, Device::cuda(0), DType::f16).kv_tokens, cpu.kv_tokens);

  ModelInfo unbounded = FakeModel(Family::encoder_decoder, 0).info();
  const EngineOptions t5 = resolve_options({}, unbounded, Device::cpu(), DType::f32);
  EXPECT_EQ(t5.max_context, 2048);
  EXPECT_EQ(source_limit(unbounded, t5), 2048);
  EXPECT_EQ(t5.kv_tokens, 32 * 4096);

  const EngineOptions bert = resolve_options({}, FakeModel(Family::encoder, 512).info(), Device::cpu(), DType::f32);
  EXPECT_EQ(bert.kv_tokens, 0);
  EXPECT_EQ(bert.max_sequences, 64);
}

TEST(Limits, AtLeastOneFullRowAlwaysFits) {
  ModelInfo info = gpt_medium();
  info.kv_layers = 4000;
  EXPECT_EQ(resolve_options({}, info, Device::cpu(), DType::f32).kv_tokens, 1024);
  const auto status = capture([&] { resolve_options({.kv_tokens = 100}, info, Device::cpu(), DType::f32); });
  EXPECT_EQ(status.code(), StatusCode::invalid);
  EXPECT_THAT(status.message(), HasSubstr("kv_tokens is 112, must be at least 1024"));
}

TEST(Limits, OptionsOutOfRangeAreNamed) {
  const ModelInfo info = gpt_medium();
  const auto words = [&](const EngineOptions& options) {
    return capture([&] { resolve_options(options, info, Device::cpu(), DType::f32); }).message();
  };
  EXPECT_THAT(words({.max_queue = 0}), HasSubstr("max_queue is 0, must be in [1,"));
  EXPECT_THAT(words({.max_sequences = -1}), HasSubstr("max_sequences is -1"));
  EXPECT_THAT(words({.max_context = 1025}), HasSubstr("max_context is 1025, must be in [0, 1024]"));
  EXPECT_THAT(words({.block_tokens = 0}), HasSubstr("block_tokens is 0"));
  EXPECT_EQ(
      resolve_options({.max_sequences = 64, .max_batch_tokens = 8}, info, Device::cpu(), DType::f32).max_sequences, 8);
}

}  // namespace
}  // namespace inazuma::test
