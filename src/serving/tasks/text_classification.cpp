// Labels for whole texts: transformers' TextClassificationPipeline and ZeroShotClassificationPipeline.

#include <algorithm>
#include <cctype>

#include "serving/tasks/task.h"

namespace inazuma {

namespace {

ScoreFunction function_of(const TextClassification& work, const TaskContext& context) {
  if (work.function) return *work.function;
  const std::string& problem = context.model.problem_type;
  if (problem == "regression") return ScoreFunction::none;
  if (problem == "multi_label_classification" || context.model.labels.size() == 1) return ScoreFunction::sigmoid;
  return ScoreFunction::softmax;
}

std::vector<LabelScore> ranked(const std::vector<std::string>& labels, std::span<const float> scores,
                               std::optional<int> top_k) {
  std::vector<LabelScore> out;
  for (size_t i = 0; i < scores.size(); ++i) out.push_back({labels[i], scores[i]});
  std::stable_sort(out.begin(), out.end(), [](const LabelScore& a, const LabelScore& b) { return a.score > b.score; });
  if (top_k && static_cast<size_t>(*top_k) < out.size()) out.resize(static_cast<size_t>(*top_k));
  return out;
}

}  // namespace

PreparedTask prepare(const TextClassification& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  if (work.top_k && *work.top_k < 1) throw fail(StatusCode::invalid, "top_k is {}, must be at least 1", *work.top_k);
  PreparedTask out;
  for (const TextClassification::Text& input : work.inputs) {
    out.characters += code_points(input.text) + (input.pair ? code_points(*input.pair) : 0);
    out.rows.push_back(to_row(input.pair ? encode_pair_within(context, input.text, *input.pair, work.truncation)
                                         : encode_within(context, input.text, work.truncation)));
    out.rows.back().pooled = true;
  }
  out.finish = [work, context](std::vector<RowOutput> outputs) -> Outcome {
    TextClassificationResult result;
    for (RowOutput& output : outputs) {
      std::vector<float>& scores = output.pooled.values;
      switch (function_of(work, context)) {
        case ScoreFunction::softmax: softmax(scores); break;
        case ScoreFunction::sigmoid: std::transform(scores.begin(), scores.end(), scores.begin(), sigmoid); break;
        case ScoreFunction::none: break;
      }
      result.labels.push_back(ranked(context.model.labels, scores, work.top_k));
    }
    return result;
  };
  return out;
}

namespace {

// The label that means "follows": the one whose name begins with "entail", whatever its case; else the last, as the
// pipeline.
size_t entailment_index(const std::vector<std::string>& labels) {
  for (size_t i = 0; i < labels.size(); ++i) {
    std::string lower = labels[i];
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (lower.starts_with("entail")) return i;
  }
  return labels.size() - 1;
}

std::string hypothesis(const std::string& pattern, const std::string& label) {
  const size_t place = pattern.find("{}");
  if (place == std::string::npos)
    throw fail(StatusCode::invalid, "hypothesis_template is {}, must contain {{}} where the label goes",
               quoted(pattern));
  return pattern.substr(0, place) + label + pattern.substr(place + 2);
}

// The premise may be cut, the hypothesis never.
Encoding encode_premise(const TaskContext& context, const std::string& premise, const std::string& statement) {
  Encoding first = context.tokenizer.encode(premise, {.add_special_tokens = false}).value();
  const Encoding second = context.tokenizer.encode(statement, {.add_special_tokens = false}).value();
  if (context.max_length > 0) {
    const int room = context.max_length - static_cast<int>(second.size()) - context.tokenizer.added_tokens(true);
    if (room <= 0)
      throw fail(StatusCode::too_long,
                 "the hypothesis {} has {} ids and leaves no room for the text (the model takes {})", quoted(statement),
                 second.size(), context.max_length);
    if (first.size() > static_cast<size_t>(room)) first = slice(first, 0, static_cast<size_t>(room));
  }
  return context.tokenizer.build(first, &second);
}

std::vector<float> label_scores(std::span<const RowOutput> outputs, size_t entailment, bool multi_label) {
  std::vector<float> scores;
  for (const RowOutput& output : outputs) {
    const std::vector<float>& logits = output.pooled.values;
    if (!multi_label) {
      scores.push_back(logits[entailment]);
      continue;
    }
    std::vector<float> two{logits[entailment == 0 ? logits.size() - 1 : 0],
                           logits[entailment]};  // contradiction, entailment
    softmax(two);
    scores.push_back(two[1]);
  }
  if (!multi_label) softmax(scores);
  return scores;
}

}  // namespace

PreparedTask prepare(const ZeroShotClassification& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  if (work.candidate_labels.empty())
    throw fail(StatusCode::invalid, "candidate_labels is empty; give at least one label");
  if (context.model.labels.size() < 2)
    throw fail(StatusCode::wrong_task,
               "zero-shot classification needs a model with entailment labels, this one has {} label",
               context.model.labels.size());
  PreparedTask out;
  for (const std::string& text : work.inputs) {
    out.characters += code_points(text);
    for (const std::string& label : work.candidate_labels) {
      out.rows.push_back(to_row(encode_premise(context, text, hypothesis(work.hypothesis_template, label))));
      out.rows.back().pooled = true;
    }
  }
  out.finish = [work, context](std::vector<RowOutput> outputs) -> Outcome {
    const size_t labels = work.candidate_labels.size();
    ZeroShotResult result{work.inputs, {}};
    for (size_t input = 0; input < work.inputs.size(); ++input) {
      const auto mine = std::span<const RowOutput>(outputs).subspan(input * labels, labels);
      result.labels.push_back(ranked(
          work.candidate_labels,
          label_scores(mine, entailment_index(context.model.labels), work.multi_label || labels == 1), std::nullopt));
    }
    return result;
  };
  return out;
}

}  // namespace inazuma
