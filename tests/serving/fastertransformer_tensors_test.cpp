// FasterTransformer's padded tensors to rows and back.

#include "serving/fastertransformer/tensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace inazuma::fastertransformer {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using Ints = std::vector<int32_t>;
using Floats = std::vector<float>;

ModelInfo gpt() {
  ModelInfo info;
  info.vocab = 100;
  info.has_decoder = true;
  return info;
}

ModelInfo t5() {
  ModelInfo info = gpt();
  info.has_encoder = true;
  info.decoder_start = 0;
  return info;
}

NamedTensor ints(std::string name, std::vector<int64_t> shape, const Ints& values, DataType type = DataType::uint32) {
  return make_tensor(std::move(name), type, std::move(shape), values);
}
NamedTensor floats(std::string name, std::vector<int64_t> shape, const Floats& values) {
  return make_tensor(std::move(name), DataType::fp32, std::move(shape), values);
}

/// Two right-padded prompts, one of 3 ids and one of 2.
TensorInference two_prompts() {
  TensorInference out;
  out.inputs = {ints("input_ids", {2, 4}, {5, 6, 7, 0, 8, 9, 0, 0}), ints("input_lengths", {2, 1}, {3, 2}),
                ints("request_output_len", {2, 1}, {4, 6})};
  return out;
}

template <class T>
std::vector<T> values(const TensorResult& result, std::string_view name) {
  for (const NamedTensor& tensor : result.outputs) {
    if (tensor.name != name) continue;
    std::vector<T> out(tensor.data.size() / sizeof(T));
    std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
    return out;
  }
  ADD_FAILURE() << name << " is not there";
  return {};
}

std::string message(const TensorInference& inference, const ModelInfo& info = gpt()) {
  return capture([&] { (void)read_decoding(inference, 2, info, {1, 2}); }).message();
}

TensorModel declared(bool encoder_decoder, DataType ids) {
  TensorModel model;
  const auto add = [&](const char* name, DataType type) { model.outputs.push_back({.name = name, .type = type}); };
  add("output_ids", ids);
  add("sequence_length", ids);
  if (!encoder_decoder) add("response_input_lengths", DataType::int32);
  add("cum_log_probs", DataType::fp32);
  add("output_log_probs", DataType::fp32);
  return model;
}

TEST(Tensors, RowsHaveNoPadding) {
  const Decoding got = read_decoding(two_prompts(), 2, gpt(), {1, 2});
  ASSERT_EQ(got.rows.size(), 2u);
  EXPECT_EQ(got.padded, 4);
  EXPECT_EQ(got.longest, 6);
  EXPECT_THAT(got.rows[0].ids, ElementsAre(5, 6, 7));
  EXPECT_THAT(got.rows[1].ids, ElementsAre(8, 9));
  EXPECT_EQ(got.rows[0].generation.max_new_tokens, 4);
  EXPECT_EQ(got.rows[1].generation.max_new_tokens, 6);
  EXPECT_THAT(got.rows[0].generation.eos, ElementsAre(2));
  EXPECT_FALSE(got.rows[0].generation.sample);
}

TEST(Tensors, AnEmptyPromptBeginsWithStartId) {
  TensorInference inference = two_prompts();
  inference.inputs[1] = ints("input_lengths", {2, 1}, {0, 2});
  EXPECT_THAT(read_decoding(inference, 2, gpt(), {1, 2}).rows[0].ids, ElementsAre(1));
  inference.inputs.push_back(ints("start_id", {2, 1}, {44, 45}));
  EXPECT_THAT(read_decoding(inference, 2, gpt(), {1, 2}).rows[0].ids, ElementsAre(44));
}

TEST(Tensors, EveryRowHasItsOwnParameters) {
  TensorInference inference = two_prompts();
  inference.inputs.push_back(ints("runtime_top_k", {2, 1}, {0, 7}));
  inference.inputs.push_back(floats("runtime_top_p", {2, 1}, {0.0f, 0.5f}));
  inference.inputs.push_back(floats("temperature", {2, 1}, {1.0f, 0.7f}));
  inference.inputs.push_back(ints("end_id", {2, 1}, {3, 4}));
  inference.inputs.push_back(make_tensor("random_seed", DataType::uint64, {2, 1}, std::vector<uint64_t>{9, 10}));
  const Decoding got = read_decoding(inference, 2, gpt(), {});
  EXPECT_FALSE(got.rows[0].generation.sample);
  const GenerationOptions& second = got.rows[1].generation;
  EXPECT_TRUE(second.sample);
  EXPECT_EQ(second.top_k, 7);
  EXPECT_EQ(second.top_p, 0.5f);
  EXPECT_EQ(second.temperature, 0.7f);
  EXPECT_EQ(second.seed, 10u);
  EXPECT_THAT(second.eos, ElementsAre(4));
}

TEST(Tensors, GreedyIsMeantByTheTableOfTheOriginal) {
  const auto sampled = [](int k, float p, float temperature) {
    TensorInference inference = two_prompts();
    inference.inputs.push_back(ints("runtime_top_k", {2}, {k, k}));
    inference.inputs.push_back(floats("runtime_top_p", {2}, {p, p}));
    inference.inputs.push_back(floats("temperature", {2}, {temperature, temperature}));
    return read_decoding(inference, 2, gpt(), {}).rows[0].generation;
  };
  EXPECT_FALSE(sampled(0, 0, 1).sample);
  EXPECT_FALSE(sampled(1, 1, 1).sample);
  EXPECT_FALSE(sampled(5, 0.9f, 0).sample);
  EXPECT_TRUE(sampled(5, 0, 1).sample);
  EXPECT_EQ(sampled(5, 0, 1).top_p, 1.0f);
  EXPECT_TRUE(sampled(0, 0.9f, 1).sample);
  EXPECT_EQ(sampled(0, 0.9f, 1).top_k, 0);
  EXPECT_EQ(sampled(5000, 2, 1).top_k, 1024);
  EXPECT_EQ(sampled(5000, 2, 1).top_p, 1.0f);
}

TEST(Tensors, EveryRowHasItsOwnBeams) {
  TensorInference inference = two_prompts();
  inference.inputs.push_back(ints("beam_width", {2, 1}, {0, 4}));
  inference.inputs.push_back(ints("runtime_top_k", {2, 1}, {5, 5}));
  inference.inputs.push_back(floats("temperature", {2, 1}, {0.5f, 0.0f}));
  inference.inputs.push_back(floats("len_penalty", {2, 1}, {1.0f, 1.5f}));
  inference.inputs.push_back(floats("beam_search_diversity_rate", {2, 1}, {0.0f, 0.25f}));
  const Decoding got = read_decoding(inference, 2, gpt(), {1, 2});
  EXPECT_EQ(got.beams, 4);
  EXPECT_EQ(got.rows[0].generation.num_beams, 1);
  EXPECT_TRUE(got.rows[0].generation.sample);
  const GenerationOptions& second = got.rows[1].generation;
  EXPECT_EQ(second.num_beams, 4);
  EXPECT_EQ(second.num_return_sequences, 4);
  EXPECT_FALSE(second.sample) << "top-k belongs to sampling";
  EXPECT_GT(second.temperature, 0.0f);
  EXPECT_TRUE(second.beam_logits);
  EXPECT_EQ(second.beam_diversity, 0.25f);
  EXPECT_EQ(second.length_penalty, 0.0f) << "GPT's beams have one length";
  EXPECT_TRUE(second.beams_keep_ended);
  inference.inputs[1].name = "sequence_length";
  inference.inputs[2].name = "max_output_len";
  const GenerationOptions t5_row = read_decoding(inference, 2, t5(), {0, 1}).rows[1].generation;
  EXPECT_EQ(t5_row.length_penalty, 1.5f);
  EXPECT_EQ(t5_row.early_stopping, EarlyStopping::full);
}

TEST(Tensors, RowsOfFewerBeamsHaveEmptyOnesBehind) {
  TensorInference inference = two_prompts();
  inference.inputs.push_back(ints("beam_width", {2, 1}, {1, 2}));
  inference.inputs.push_back(make_tensor("is_return_log_probs", DataType::boolean, {2, 1}, std::vector<uint8_t>{1, 1}));
  const Decoding asked = read_decoding(inference, 2, gpt(), {1, 2});
  const std::vector<std::vector<Generated>> answers{{{{20, 2}, {-1, -2}}}, {{{30, 2}, {-1, -1}}, {{31}, {-4}}}};
  const TensorResult got = pack_decoding(asked, answers, SIZE_MAX, declared(false, DataType::uint32), false);
  EXPECT_THAT(got.outputs[0].shape, ElementsAre(2, 2, 10));
  EXPECT_THAT(values<int32_t>(got, "output_ids"),
              ElementsAreArray({5, 6, 7,  20, 2, 2, 2, 2, 2, 2, 2, 2, 2,  2, 2, 2, 2, 2, 2, 2,
                                8, 9, 30, 2,  2, 2, 2, 2, 2, 2, 8, 9, 31, 2, 2, 2, 2, 2, 2, 2}));
  EXPECT_THAT(values<int32_t>(got, "sequence_length"), ElementsAre(6, 0, 6, 5));
  EXPECT_THAT(values<int32_t>(got, "response_input_lengths"), ElementsAre(3, 3, 2, 2));
  EXPECT_THAT(values<float>(got, "cum_log_probs"), ElementsAre(-3, 0, -2, -4));
  EXPECT_EQ(values<float>(got, "output_log_probs").size(), 2u * 2 * 6);
}

TEST(Tensors, WordListsAreEndsUnderFlattenedIds) {
  TensorInference inference = two_prompts();
  inference.inputs.push_back(
      ints("bad_words_list", {2, 2, 4}, {29, 65, 29, 43, 2, 4, -1, -1, 0, 0, 0, 0, -1, -1, -1, -1}, DataType::int32));
  inference.inputs.push_back(ints("stop_words_list", {2, 3}, {0, 7, 0, 1, 2, -1}, DataType::int32));
  const Decoding got = read_decoding(inference, 2, gpt(), {});
  EXPECT_EQ(got.rows[0].generation.bad_words, (std::vector<Ints>{{29, 65}, {29, 43}}));
  EXPECT_TRUE(got.rows[1].generation.bad_words.empty());
  for (const Row& row : got.rows)
    EXPECT_EQ(row.stop_words, (std::vector<Ints>{{0}, {7}})) << "one list for all rows, id 0 included";
}

TEST(Tensors, TheClientsEmptyListIsEmpty) {
  TensorInference inference = two_prompts();
  inference.inputs.push_back(ints("bad_words_list", {2, 2, 1}, {0, -1, 0, -1}, DataType::int32));
  EXPECT_TRUE(read_decoding(inference, 2, gpt(), {}).rows[1].generation.bad_words.empty());
}

TEST(Tensors, ErrorsNameTensorRowValueAndRange) {
  const auto with = [](NamedTensor tensor) {
    TensorInference inference = two_prompts();
    std::erase_if(inference.inputs, [&](const NamedTensor& old) { return old.name == tensor.name; });
    inference.inputs.push_back(std::move(tensor));
    return message(inference);
  };
  EXPECT_THAT(with(ints("input_lengths", {2, 1}, {3, 5})), HasSubstr("input_lengths[1] is 5, must be in [0, 4]"));
  EXPECT_THAT(with(ints("input_lengths", {1, 1}, {3})), HasSubstr("must hold one value for each of the 2 rows"));
  EXPECT_THAT(with(ints("input_ids", {2, 4}, {5, 6, 100, 0, 8, 9, 0, 0})),
              HasSubstr("input_ids[0][2] is 100, must be in [0, 100)"));
  EXPECT_THAT(with(ints("request_output_len", {2, 1}, {4, 0})),
              HasSubstr("request_output_len[1] is 0, must be in [1, "));
  EXPECT_THAT(with(ints("end_id", {2, 1}, {1, 100})), HasSubstr("end_id[1] is 100, must be in [0, 99]"));
  EXPECT_THAT(with(ints("beam_width", {2, 1}, {1, 65})), HasSubstr("beam_width[1] is 65, must be in [0, 64]"));
  EXPECT_THAT(with(floats("len_penalty", {2, 1}, {NAN, 1})), HasSubstr("len_penalty[0] is nan, must be finite"));
  EXPECT_THAT(with(floats("temperature", {2, 1}, {1, NAN})), HasSubstr("temperature[1] is nan, must be finite"));
  EXPECT_THAT(with(floats("repetition_penalty", {2, 1}, {1, 0})),
              HasSubstr("repetition_penalty[1] is 0, must be above 0"));
  EXPECT_THAT(with(ints("bad_words_list", {2, 2, 2}, {1, 2, 3, -1, 1, 2, 1, 2}, DataType::int32)),
              HasSubstr("bad_words_list[0]: the end of word 0 is 3"));
  EXPECT_THAT(with(ints("bad_words_list", {2, 2, 2}, {1, 200, 2, -1, 1, 2, 1, 2}, DataType::int32)),
              HasSubstr("bad_words_list[0] holds the id 200"));
  EXPECT_THAT(with(ints("stop_words_list", {1, 2, 2}, {1, 2, 2, -1}, DataType::int32)), HasSubstr("must be [2,2,W]"));
  TensorInference nothing = two_prompts();
  nothing.inputs.erase(nothing.inputs.begin());
  EXPECT_THAT(message(nothing), HasSubstr("input input_ids is missing"));
}

TEST(Tensors, GptAnswersWithItsPromptAndEndIdBehind) {
  const Decoding asked = read_decoding(two_prompts(), 2, gpt(), {1, 2});
  const std::vector<std::vector<Generated>> answers{{{{20, 2}, {-1, -2}}},
                                                    {{{30, 31, 32, 33, 34, 35}, {-1, -1, -1, -1, -1, -1}}}};
  const TensorResult got = pack_decoding(asked, answers, SIZE_MAX, declared(false, DataType::uint32), false);
  EXPECT_EQ(got.outputs[0].type, DataType::uint32);
  EXPECT_THAT(got.outputs[0].shape, ElementsAre(2, 1, 10));
  EXPECT_THAT(values<int32_t>(got, "output_ids"),
              ElementsAreArray({5, 6, 7, 20, 2, 2, 2, 2, 2, 2, 8, 9, 30, 31, 32, 33, 34, 35, 2, 2}));
  EXPECT_THAT(values<int32_t>(got, "sequence_length"), ElementsAre(6, 10)) << "padded length and generated";
  EXPECT_THAT(values<int32_t>(got, "response_input_lengths"), ElementsAre(3, 2));
  EXPECT_EQ(got.outputs.size(), 3u) << "no log-probabilities unless asked for";
}

TEST(Tensors, T5AnswersWithNewTokensOnly) {
  TensorInference inference;
  inference.inputs = {ints("input_ids", {2, 4}, {5, 6, 7, 0, 8, 9, 0, 0}, DataType::int32),
                      ints("sequence_length", {2, 1}, {3, 2}), ints("max_output_len", {2, 1}, {4, 6}),
                      ints("start_id", {2, 1}, {3, 0}),
                      make_tensor("is_return_log_probs", DataType::boolean, {2, 1}, std::vector<uint8_t>{1, 0})};
  const Decoding asked = read_decoding(inference, 2, t5(), {0, 1});
  EXPECT_THAT(asked.rows[0].decoder_ids, ElementsAre(3));
  const std::vector<std::vector<Generated>> answers{{{{20, 1}, {-1, -2}}}, {{{30, 31, 32, 1}, {-1, -1, -1, -1}}}};
  const TensorResult got = pack_decoding(asked, answers, SIZE_MAX, declared(true, DataType::int32), true);
  EXPECT_THAT(values<int32_t>(got, "output_ids"), ElementsAreArray({20, 1, 1, 1, 0, 0, 30, 31, 32, 1, 0, 0}));
  EXPECT_THAT(values<int32_t>(got, "sequence_length"), ElementsAre(2, 4));
  EXPECT_THAT(values<float>(got, "cum_log_probs"), ElementsAre(-3, 0));
  EXPECT_THAT(values<float>(got, "output_log_probs"), ElementsAreArray({-1, -2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  const TensorResult first = pack_decoding(asked, answers, 1, declared(true, DataType::uint32), true);
  EXPECT_THAT(values<uint32_t>(first, "output_ids"), ElementsAreArray({20, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0}));
}

TEST(Tensors, HiddenStatesLoseAndRegainTheirPadding) {
  std::vector<uint16_t> halves;
  for (int i = 0; i < 2 * 3 * 2; ++i) halves.push_back(to_half(static_cast<float>(i)).bits);
  TensorInference inference;
  inference.inputs = {make_tensor("input_hidden_state", DataType::fp16, {2, 3, 2}, halves),
                      ints("sequence_lengths", {2, 1}, {1, 3}, DataType::int32)};
  const std::vector<Floats> rows = read_hidden(inference, 2, 2);
  EXPECT_THAT(rows[0], ElementsAre(0, 1));
  EXPECT_THAT(rows[1], ElementsAre(6, 7, 8, 9, 10, 11));
  TensorModel model;
  model.outputs.push_back({.name = "output_hidden_state", .type = DataType::fp16});
  const TensorResult got = pack_hidden({{1, 2, rows[0]}, {3, 2, rows[1]}}, 3, 2, model);
  EXPECT_THAT(got.outputs[0].shape, ElementsAre(2, 3, 2));
  Floats back;
  for (const uint16_t bits : values<uint16_t>(got, "output_hidden_state")) back.push_back(to_float(Half{bits}));
  EXPECT_THAT(back, ElementsAreArray({0, 1, 0, 0, 0, 0, 6, 7, 8, 9, 10, 11}));
  EXPECT_THAT(capture([&] { (void)read_hidden(inference, 2, 4); }).message(), HasSubstr("must be [B,S,4]"));
}

}  // namespace
}  // namespace inazuma::fastertransformer
