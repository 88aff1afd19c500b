#include "serving/tasks/task.h"

#include <algorithm>
#include <cmath>

#include "text/slow_base.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

[[noreturn]] void too_long(const Encoding& encoding, const TaskContext& context) {
  throw fail(StatusCode::too_long, "the text has {} ids, the model takes {}; shorten it or set truncate to true",
             encoding.size(), context.max_length);
}

EncodeOptions options_for(const TaskContext& context, const Truncation& truncation) {
  const bool cut = truncation.truncate.value_or(context.auto_truncate);
  return {.max_length = cut ? context.max_length : 0, .truncation_side = truncation.side};
}

}  // namespace

std::string_view work_name(const Work& work) {
  static constexpr std::string_view kNames[] = {
      "token-classification", "text-classification",      "fill-mask",  "question-answering", "feature-extraction",
      "sentence-similarity",  "zero-shot-classification", "generation", "tokenize",           "decode",
      "tensor inference"};
  return kNames[work.index()];
}

bool can_do(Task task, const Work& work) {
  if (std::holds_alternative<Tokenize>(work) || std::holds_alternative<Decode>(work)) return true;
  switch (task) {
    case Task::token_classification: return std::holds_alternative<TokenClassification>(work);
    case Task::text_classification:
      return std::holds_alternative<TextClassification>(work) || std::holds_alternative<ZeroShotClassification>(work);
    case Task::question_answering: return std::holds_alternative<QuestionAnswering>(work);
    case Task::fill_mask: return std::holds_alternative<FillMask>(work);
    case Task::feature_extraction:
      return std::holds_alternative<FeatureExtraction>(work) || std::holds_alternative<SentenceSimilarity>(work);
    case Task::text_generation:
    case Task::text2text_generation: return std::holds_alternative<Generation>(work);
  }
  return false;
}

Encoding encode_within(const TaskContext& context, std::string_view text, const Truncation& truncation) {
  Encoding encoding = context.tokenizer.encode(text, options_for(context, truncation)).value();
  if (context.max_length > 0 && encoding.size() > static_cast<size_t>(context.max_length)) too_long(encoding, context);
  return encoding;
}

Encoding encode_uncut(const TaskContext& context, std::string_view text) {
  Encoding encoding = context.tokenizer.encode(text, {}).value();
  const int bound = context.model.max_positions;
  if (bound > 0 && encoding.size() > static_cast<size_t>(bound))
    throw fail(StatusCode::too_long, "the text has {} ids, the model takes {}; shorten it", encoding.size(), bound);
  return encoding;
}

Encoding encode_pair_within(const TaskContext& context, std::string_view first, std::string_view second,
                            const Truncation& truncation) {
  Encoding encoding = context.tokenizer.encode_pair(first, second, options_for(context, truncation)).value();
  if (context.max_length > 0 && encoding.size() > static_cast<size_t>(context.max_length)) too_long(encoding, context);
  return encoding;
}

SequenceRequest to_row(const Encoding& encoding) {
  SequenceRequest row;
  row.ids = encoding.ids;
  row.type_ids = encoding.type_ids;
  return row;
}

int code_points(std::string_view text) {
  return static_cast<int>(count_points(text));
}

std::string substring(std::string_view text, TextSpan span) {
  const std::u32string points = decode_utf8(text);
  const size_t begin = std::min(static_cast<size_t>(span.start), points.size());
  const size_t end = std::min(static_cast<size_t>(std::max(span.end, span.start)), points.size());
  return encode_utf8(std::u32string_view(points).substr(begin, end - begin));
}

void softmax(std::span<float> values) {
  if (values.empty()) return;
  const float largest = *std::max_element(values.begin(), values.end());
  float sum = 0;
  for (float& value : values) sum += (value = std::exp(value - largest));
  for (float& value : values) value /= sum;
}

float sigmoid(float value) {
  return 1.0f / (1.0f + std::exp(-value));
}

std::vector<Encoding> windows(const Encoding& encoding, int length, int stride) {
  if (length <= stride)
    throw fail(StatusCode::invalid, "a window holds {} ids of the text, stride is {}: stride must be smaller", length,
               stride);
  constexpr size_t kMostWindows =
      1024;  // a stride just below the length makes a window of every id: memory for none of them
  std::vector<Encoding> out;
  const auto step = static_cast<size_t>(length - stride);
  if (encoding.size() / step > kMostWindows)
    throw fail(StatusCode::too_large,
               "the text has {} ids: that makes more than {} windows of {} with stride {}; shorten the text or lower "
               "the stride",
               encoding.size(), kMostWindows, length, stride);
  for (size_t begin = 0; begin == 0 || begin < encoding.size(); begin += step) {
    const size_t end = std::min(begin + static_cast<size_t>(length), encoding.size());
    out.push_back(slice(encoding, begin, end));
    if (end == encoding.size()) break;
  }
  return out;
}

}  // namespace inazuma
