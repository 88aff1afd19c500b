// Vectors for texts, and how alike texts are by them: sentence-transformers' encode and its cosine similarity.

#include <algorithm>
#include <cmath>

#include "serving/tasks/task.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

std::string prompted(const FeatureExtraction& work, const TaskContext& context, const std::string& text) {
  if (!work.prompt_name) return context.default_prompt + text;
  const auto found = context.prompts.find(*work.prompt_name);
  if (found == context.prompts.end()) {
    std::string known;
    for (const auto& [name, prompt] : context.prompts) known += (known.empty() ? "" : ", ") + name;
    throw fail(StatusCode::invalid, "prompt_name {} is not known to this model; known: {}", quoted(*work.prompt_name),
               known.empty() ? "none" : known);
  }
  return found->second + text;
}

Encoding encoding_of(const FeatureExtraction& work, const TaskContext& context, const Input& input) {
  if (!input.ids) {
    const std::string text = prompted(work, context, input.text);
    const bool lower = context.lower_case;
    return encode_within(context, lower ? python_lower(decode_aligned(text)).utf8() : text, work.truncation);
  }
  Encoding encoding;
  encoding.ids = *input.ids;
  if (encoding.ids.empty()) throw fail(StatusCode::empty, "inputs holds an empty list of ids");
  if (context.max_length > 0 && encoding.size() > static_cast<size_t>(context.max_length)) {
    if (!work.truncation.truncate.value_or(context.auto_truncate))
      throw fail(StatusCode::too_long, "inputs holds {} ids, the model takes {}; shorten it or set truncate to true",
                 encoding.size(), context.max_length);
    const auto surplus = static_cast<ptrdiff_t>(encoding.size()) - context.max_length;
    const auto begin =
        work.truncation.side == TruncationSide::left ? encoding.ids.begin() : encoding.ids.end() - surplus;
    encoding.ids.erase(begin, begin + surplus);
  }
  return encoding;
}

// x / max(|x|, 1e-12), as torch.nn.functional.normalize.
void normalize(std::vector<float>& values) {
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value) * value;
  const auto length = static_cast<float>(std::max(std::sqrt(sum), 1e-12));
  for (float& value : values) value /= length;
}

Rows vectors(const FeatureExtraction& work, RowOutput& output) {
  if (work.all_tokens) return std::move(output.rows);
  Rows pooled = std::move(output.pooled);
  if (work.dimensions) {
    pooled.values.resize(static_cast<size_t>(*work.dimensions));
    pooled.width = *work.dimensions;
  }
  if (work.normalize) normalize(pooled.values);
  return pooled;
}

}  // namespace

PreparedTask prepare(const FeatureExtraction& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  const int width = work.all_tokens ? context.model.row_width : context.model.pooled_width;
  if (width == 0)
    throw fail(StatusCode::wrong_task, "this model does not offer {} vectors",
               work.all_tokens ? "per-token" : "pooled");
  if (work.dimensions && (*work.dimensions < 1 || *work.dimensions > width))
    throw fail(StatusCode::invalid, "dimensions is {}, must be in [1, {}]", *work.dimensions, width);
  PreparedTask out;
  for (const Input& input : work.inputs) {
    out.characters += code_points(input.text);
    out.rows.push_back(to_row(encoding_of(work, context, input)));
    out.rows.back().rows = work.all_tokens ? SequenceRequest::Wanted::all : SequenceRequest::Wanted::none;
    out.rows.back().pooled = !work.all_tokens;
  }
  out.finish = [work](std::vector<RowOutput> outputs) -> Outcome {
    FeatureExtractionResult result;
    for (RowOutput& output : outputs) result.vectors.push_back(vectors(work, output));
    return result;
  };
  return out;
}

PreparedTask prepare(const SentenceSimilarity& work, const TaskContext& context) {
  if (work.sentences.empty())
    throw fail(StatusCode::empty, "sentences is empty; give at least one sentence to compare with");
  FeatureExtraction embed = work.options;
  embed.all_tokens = false;
  embed.normalize = true;
  embed.inputs = {{.text = work.source, .ids = std::nullopt}};
  for (const std::string& sentence : work.sentences) embed.inputs.push_back({.text = sentence, .ids = std::nullopt});
  PreparedTask out = prepare(embed, context);
  out.finish = [vectors_of = std::move(out.finish)](std::vector<RowOutput> outputs) -> Outcome {
    const auto embedded = std::get<FeatureExtractionResult>(vectors_of(std::move(outputs)));
    const std::vector<float>& source = embedded.vectors.front().values;
    SentenceSimilarityResult result;
    for (size_t i = 1; i < embedded.vectors.size(); ++i) {
      double dot = 0;
      for (size_t k = 0; k < source.size(); ++k) dot += static_cast<double>(source[k]) * embedded.vectors[i].values[k];
      result.scores.push_back(static_cast<float>(dot));
    }
    return result;
  };
  return out;
}

}  // namespace inazuma
