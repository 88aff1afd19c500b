// Encoder tasks on small cases worked out by hand: rows in, outputs given, outcome out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "serving/fakes.h"
#include "serving/tasks/rows.h"

namespace inazuma {
namespace {

using test::ByteTokenizer;
using test::Ear;
using testing::FloatNear;
using testing::SizeIs;

class Tasks : public testing::Test {
 protected:
  TaskContext context(int max_length = 0) { return {tokenizer_, model_, config_, max_length, true, {}}; }
  // The logits of a token that is label `label` with probability `p`, the rest shared.
  void put(Rows& rows, size_t row, size_t label, float p) const {
    const auto width = static_cast<size_t>(rows.width);
    for (size_t i = 0; i < width; ++i)
      rows.values[row * width + i] = std::log(i == label ? p : (1 - p) / static_cast<float>(width - 1));
  }
  RowOutput labelled(size_t tokens, const std::vector<std::pair<size_t, float>>& inner) const {
    RowOutput out;
    out.rows = {static_cast<int32_t>(tokens), static_cast<int32_t>(model_.labels.size()),
                std::vector<float>(tokens * model_.labels.size())};
    for (size_t i = 0; i < tokens; ++i) put(out.rows, i, 0, 0.9f);
    for (size_t i = 0; i < inner.size(); ++i) put(out.rows, i + 1, inner[i].first, inner[i].second);
    return out;
  }
  ByteTokenizer tokenizer_;
  ModelInfo model_;
  nlohmann::json config_ = nlohmann::json::object();
};

class Entities : public Tasks {
 protected:
  Entities() { model_.labels = {"O", "B-PER", "I-PER", "B-LOC"}; }
  std::vector<Entity> run(Aggregation aggregation, bool spans = false) {
    TokenClassification work{.inputs = {"ab cd"}, .aggregation = aggregation, .spans = spans};
    PreparedTask task = prepare(work, context());
    EXPECT_THAT(task.rows, SizeIs(1));
    // [CLS] a b _ c d [SEP]: a B-PER, b I-PER, space (begins the second word) I-PER, c B-LOC, d O
    auto outcome = task.finish({labelled(7, {{1, 0.8f}, {2, 0.6f}, {2, 0.7f}, {3, 0.5f}, {0, 0.95f}})});
    return std::get<TokenClassificationResult>(outcome).entities.at(0);
  }
};

TEST_F(Entities, NoneGivesTokens) {
  const auto found = run(Aggregation::none);
  ASSERT_THAT(found, SizeIs(4));
  EXPECT_EQ(found[0].label, "B-PER");
  EXPECT_EQ(found[0].index, 1);
  EXPECT_EQ(found[3].word, "c");
  EXPECT_THAT(found[3].score, FloatNear(0.5f, 1e-5f));
}

TEST_F(Entities, SimpleGroupsByType) {
  const auto found = run(Aggregation::simple);
  ASSERT_THAT(found, SizeIs(2));
  EXPECT_EQ(found[0].label, "PER");
  EXPECT_EQ(found[0].word, "ab ");
  EXPECT_THAT(found[0].score, FloatNear(0.7f, 1e-5f));
  EXPECT_EQ(found[1].label, "LOC");
  EXPECT_EQ(found[1].span, (TextSpan{3, 4}));
}

TEST_F(Entities, WordsAreLabelledWhole) {
  const auto first = run(Aggregation::first);  // words "ab" and " cd"
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0].word, "ab cd");
  EXPECT_THAT(first[0].score, FloatNear(0.75f, 1e-5f));
  const auto most = run(Aggregation::max);  // d's O at 0.95 decides the second word
  ASSERT_THAT(most, SizeIs(1));
  EXPECT_EQ(most[0].word, "ab");
  EXPECT_THAT(most[0].score, FloatNear(0.8f, 1e-5f));
}

TEST_F(Entities, SpansReadTheFirstSubToken) {
  const auto found = run(Aggregation::simple, true);
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].label, "PER");
  EXPECT_EQ(found[0].span, (TextSpan{0, 5}));
}

TEST_F(Tasks, WindowsOverlapAndEndTogether) {
  const Encoding text = tokenizer_.encode("abcdefgh", {.add_special_tokens = false}).value();
  const auto cut = [&](int length, int stride) {
    std::vector<std::string> out;
    for (const Encoding& window : windows(text, length, stride)) out.push_back(tokenizer_.decode(window.ids));
    return out;
  };
  EXPECT_EQ(cut(4, 0), (std::vector<std::string>{"abcd", "efgh"}));
  EXPECT_EQ(cut(4, 2), (std::vector<std::string>{"abcd", "cdef", "efgh"}));
  EXPECT_EQ(cut(5, 1), (std::vector<std::string>{"abcde", "efgh"}));
  EXPECT_EQ(cut(100, 10), (std::vector<std::string>{"abcdefgh"}));
  EXPECT_THROW(cut(4, 4), Error);
  EXPECT_THAT(windows({}, 4, 2), SizeIs(1));
}

TEST_F(Tasks, LabelsBestFirst) {
  model_.labels = {"neg", "pos", "neutral"};
  const auto run = [&](TextClassification work) {
    work.inputs = {{"a", std::nullopt}};
    PreparedTask task = prepare(work, context());
    RowOutput output;
    output.pooled = {1, 3, {0.0f, std::log(2.0f), std::log(5.0f)}};
    Outcome outcome = task.finish({output});
    return std::get<TextClassificationResult>(outcome).labels.at(0);
  };
  const auto soft = run({});
  ASSERT_THAT(soft, SizeIs(3));
  EXPECT_EQ(soft[0].label, "neutral");
  EXPECT_THAT(soft[0].score, FloatNear(5.0f / 8, 1e-6f));
  EXPECT_THAT(soft[2].score, FloatNear(1.0f / 8, 1e-6f));
  EXPECT_THAT(run({.top_k = 1}), SizeIs(1));
  EXPECT_THAT(run({.function = ScoreFunction::sigmoid})[1].score, FloatNear(2.0f / 3, 1e-6f));
  EXPECT_EQ(run({.function = ScoreFunction::none})[2].score, 0.0f);
}

TEST_F(Tasks, VectorsAreCutAndNormalised) {
  model_.pooled_width = 3, model_.row_width = 3;
  const auto run = [&](FeatureExtraction work) {
    work.inputs = {{"a", std::nullopt}};
    RowOutput output;
    output.pooled = {1, 3, {3, 4, 12}};
    Outcome outcome = prepare(work, context()).finish({output});
    return std::get<FeatureExtractionResult>(outcome).vectors.at(0).values;
  };
  EXPECT_THAT(run({}), testing::ElementsAre(FloatNear(3.0f / 13, 1e-6f), FloatNear(4.0f / 13, 1e-6f),
                                            FloatNear(12.0f / 13, 1e-6f)));
  EXPECT_THAT(run({.normalize = false}), testing::ElementsAre(3, 4, 12));
  EXPECT_THAT(run({.dimensions = 2}), testing::ElementsAre(FloatNear(0.6f, 1e-6f), FloatNear(0.8f, 1e-6f)));
}

TEST_F(Tasks, IdsAreCutOnTheSideAskedFor) {
  model_.pooled_width = 3;
  FeatureExtraction work;
  work.inputs = {{"", std::vector<int32_t>{1, 2, 3, 4, 5}}};
  EXPECT_EQ(prepare(work, context(3)).rows.at(0).ids, (std::vector<int32_t>{1, 2, 3}));
  work.truncation.side = TruncationSide::left;
  EXPECT_EQ(prepare(work, context(3)).rows.at(0).ids, (std::vector<int32_t>{3, 4, 5}));
  work.truncation.truncate = false;
  EXPECT_THROW(prepare(work, context(3)), Error);
}

TEST(RowCollector, AnswersOnceWhenTheLastRowEnds) {
  Ear ear;
  PreparedTask task;
  task.rows.resize(2);
  task.finish = [](std::vector<RowOutput> outputs) -> Outcome {
    return SentenceSimilarityResult{{outputs[0].pooled.values[0], outputs[1].pooled.values[0]}};
  };
  const auto collector =
      std::make_shared<RowCollector>(std::move(task), nullptr, ear.receiver(),
                                     [&](Response response) { ear.receiver().on_event(std::move(response)); });
  const auto rows = collector->take_rows({});
  for (const int32_t index : {1, 0}) {
    EXPECT_TRUE(ear.tasks.empty());
    SequenceEvent event;
    event.kind = SequenceEvent::Kind::finished;
    event.reason = FinishReason::encoded;
    event.index = index;
    event.pooled = {1, 1, {static_cast<float>(index)}};
    rows[static_cast<size_t>(index)].sink->on_event(std::move(event));
  }
  ear.run();
  ASSERT_THAT(ear.responses, SizeIs(1));
  EXPECT_EQ(std::get<SentenceSimilarityResult>(ear.response().outcome).scores, (std::vector<float>{0, 1}));
}

TEST(RowCollector, TheFirstFailureIsTold) {
  Ear ear;
  PreparedTask task;
  task.rows.resize(2);
  const auto collector =
      std::make_shared<RowCollector>(std::move(task), nullptr, ear.receiver(),
                                     [&](Response response) { ear.receiver().on_event(std::move(response)); });
  const auto rows = collector->take_rows({});
  for (const auto code : {StatusCode::deadline_exceeded, StatusCode::internal}) {
    SequenceEvent event;
    event.kind = SequenceEvent::Kind::failed;
    event.status = Status(code, "x");
    rows[0].sink->on_event(std::move(event));
  }
  ear.run();
  ASSERT_THAT(ear.responses, SizeIs(1));
  EXPECT_EQ(ear.response().status.code(), StatusCode::deadline_exceeded);
}

}  // namespace
}  // namespace inazuma
