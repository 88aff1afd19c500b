// Words for masked places: transformers' FillMaskPipeline.

#include <algorithm>
#include <numeric>
#include <set>

#include "serving/tasks/task.h"

namespace inazuma {

namespace {

std::vector<int32_t> target_ids(const FillMask& work, const TaskContext& context) {
  std::set<int32_t> ids;
  for (const std::string& target : work.targets) {
    if (const auto id = context.tokenizer.id(target)) {
      ids.insert(*id);
      continue;
    }
    const Encoding pieces = context.tokenizer.encode(target, {.add_special_tokens = false}).value();
    if (pieces.ids.empty())
      throw fail(StatusCode::invalid, "targets holds {}, which the tokenizer turns into nothing", quoted(target));
    ids.insert(pieces.ids.front());
  }
  return {ids.begin(), ids.end()};
}

std::vector<MaskFill> fill(const FillMask& work, const TaskContext& context, const Encoding& encoding, int32_t place,
                           std::span<const float> scores, const std::vector<int32_t>& targets, bool single) {
  std::vector<int32_t> candidates = targets;
  if (candidates.empty()) {
    candidates.resize(scores.size());
    std::iota(candidates.begin(), candidates.end(), 0);
  }
  const size_t count = std::min(static_cast<size_t>(work.top_k), candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count), candidates.end(),
                    [&](int32_t a, int32_t b) {
                      const float x = scores[static_cast<size_t>(a)], y = scores[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  std::vector<MaskFill> out;
  for (size_t i = 0; i < count; ++i) {
    const int32_t token = candidates[i];
    std::vector<int32_t> ids = encoding.ids;
    ids[static_cast<size_t>(place)] = token;
    if (const auto pad = context.tokenizer.special_tokens().pad) std::erase(ids, *pad);
    // With several masks the others must stay visible, so special tokens are kept.
    out.push_back({scores[static_cast<size_t>(token)], token, context.tokenizer.decode(std::span(&token, 1), false),
                   context.tokenizer.decode(ids, single)});
  }
  return out;
}

}  // namespace

PreparedTask prepare(const FillMask& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  if (work.top_k < 1) throw fail(StatusCode::invalid, "top_k is {}, must be at least 1", work.top_k);
  const auto mask = context.tokenizer.special_tokens().mask;
  if (!mask) throw fail(StatusCode::wrong_task, "the tokenizer of this model has no mask token");
  const auto targets = std::make_shared<std::vector<int32_t>>(target_ids(work, context));
  for (int32_t id : *targets)
    if (id >= context.model.vocab)
      throw fail(StatusCode::invalid, "targets holds an id ({}) that the model lacks (it has {})", id,
                 context.model.vocab);

  PreparedTask out;
  auto encodings = std::make_shared<std::vector<Encoding>>();
  for (const std::string& text : work.inputs) {
    out.characters += code_points(text);
    const Encoding& encoding = encodings->emplace_back(encode_uncut(context, text));
    SequenceRequest row = to_row(encoding);
    row.rows = SequenceRequest::Wanted::listed;
    for (size_t i = 0; i < encoding.size(); ++i)
      if (encoding.ids[i] == *mask) row.listed.push_back(static_cast<int32_t>(i));
    if (row.listed.empty())
      throw fail(StatusCode::invalid, "inputs holds no mask token; put {} where a word is to be found",
                 context.tokenizer.token(*mask).value_or(""));
    out.rows.push_back(std::move(row));
  }
  out.finish = [work, context, targets, encodings, mask](std::vector<RowOutput> outputs) -> Outcome {
    FillMaskResult result;
    for (size_t input = 0; input < outputs.size(); ++input) {
      Rows& rows = outputs[input].rows;
      const Encoding& encoding = (*encodings)[input];
      std::vector<std::vector<MaskFill>>& fills = result.fills.emplace_back();
      for (size_t i = 0; i < encoding.size(); ++i) {
        if (encoding.ids[i] != *mask) continue;
        const auto scores =
            std::span(rows.values)
                .subspan(fills.size() * static_cast<size_t>(rows.width), static_cast<size_t>(rows.width));
        softmax(scores);
        fills.push_back(fill(work, context, encoding, static_cast<int32_t>(i), scores, *targets, rows.count == 1));
      }
    }
    return result;
  };
  return out;
}

}  // namespace inazuma
