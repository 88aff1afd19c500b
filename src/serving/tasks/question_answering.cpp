// Answers found in a text: transformers' QuestionAnsweringPipeline, by its rules for fast tokenizers throughout (its
// rules for slow ones split the context at spaces, which Japanese does not have).

#include <algorithm>
#include <cmath>
#include <limits>

#include "serving/tasks/task.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

constexpr int kDefaultMaxSeqLen = 384;
constexpr int kDefaultStride = 128;

struct Candidate {
  size_t start = 0;
  size_t end = 0;
  float score = 0;
};

struct Lengths {
  int max_seq = 0;
  int stride = 0;
};

Lengths lengths_of(const QuestionAnswering& work, const TaskContext& context) {
  Lengths out;
  const int bound = context.max_length > 0 ? context.max_length : std::numeric_limits<int>::max();
  out.max_seq = work.max_seq_len.value_or(std::min(bound, kDefaultMaxSeqLen));
  if (out.max_seq < 1 || out.max_seq > bound)
    throw fail(StatusCode::invalid, "max_seq_len is {}, must be in [1, {}]", out.max_seq, bound);
  out.stride = work.doc_stride.value_or(std::min(out.max_seq / 2, kDefaultStride));
  if (out.stride < 0 || out.stride > out.max_seq)
    throw fail(StatusCode::invalid, "doc_stride is {}, must be in [0, max_seq_len = {}]", out.stride, out.max_seq);
  return out;
}

std::vector<Encoding> windows_of(const QuestionAnswering::Item& item, const QuestionAnswering& work,
                                 const TaskContext& context) {
  const Lengths lengths = lengths_of(work, context);
  Encoding question = context.tokenizer.encode(item.question, {.add_special_tokens = false}).value();
  const Encoding text = context.tokenizer.encode(item.context, {.add_special_tokens = false}).value();
  if (text.ids.empty()) throw fail(StatusCode::empty, "context is empty; there is nothing to find an answer in");
  if (question.ids.empty()) throw fail(StatusCode::empty, "question is empty");
  if (const auto longest = work.max_question_len; longest && question.size() > static_cast<size_t>(*longest))
    question = slice(question, 0, static_cast<size_t>(*longest));
  const int room = lengths.max_seq - static_cast<int>(question.size()) - context.tokenizer.added_tokens(true);
  if (room <= 0)
    throw fail(StatusCode::too_long, "the question has {} ids and leaves no room for the context in max_seq_len {}",
               question.size(), lengths.max_seq);
  std::vector<Encoding> out;
  const bool fits = text.size() <= static_cast<size_t>(room);  // then the stride does not matter
  for (const Encoding& window : windows(text, room, fits ? 0 : lengths.stride))
    out.push_back(context.tokenizer.build(question, &window));
  return out;
}

// Start and end probabilities over the context's tokens; the start token takes part in the softmax and stands for "no
// answer".
std::pair<std::vector<float>, std::vector<float>> probabilities(const Encoding& encoding, const Rows& rows,
                                                                const std::vector<bool>& allowed) {
  std::vector<float> start(encoding.size()), end(encoding.size());
  for (size_t i = 0; i < encoding.size(); ++i) {
    start[i] = allowed[i] ? rows.values[i * static_cast<size_t>(rows.width)] : -10000.0f;
    end[i] = allowed[i] ? rows.values[i * static_cast<size_t>(rows.width) + 1] : -10000.0f;
  }
  softmax(start);
  softmax(end);
  return {std::move(start), std::move(end)};
}

std::vector<Candidate> best_spans(const std::vector<float>& start, const std::vector<float>& end,
                                  const std::vector<bool>& allowed, int max_answer_len, size_t top) {
  std::vector<Candidate> all;
  for (size_t s = 0; s < start.size(); ++s)
    for (size_t e = s; e < std::min(start.size(), s + static_cast<size_t>(max_answer_len)); ++e)
      all.push_back({s, e, start[s] * end[e]});
  const size_t count = std::min(top, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(count), all.end(),
                    [](const Candidate& a, const Candidate& b) {
                      if (a.score != b.score) return a.score > b.score;
                      return a.start != b.start ? a.start < b.start : a.end < b.end;
                    });
  all.resize(count);
  std::erase_if(all, [&](const Candidate& c) { return !allowed[c.start] || !allowed[c.end]; });
  return all;
}

TextSpan span_of(const Encoding& encoding, const Candidate& candidate, bool align_to_words) {
  TextSpan span{encoding.offsets[candidate.start].start, encoding.offsets[candidate.end].end};
  if (!align_to_words || encoding.word[candidate.start] < 0 || encoding.word[candidate.end] < 0) return span;
  for (size_t i = 0; i < encoding.size(); ++i) {
    if (encoding.sequence[i] != 1) continue;
    if (encoding.word[i] == encoding.word[candidate.start])
      span.start = std::min(span.start, encoding.offsets[i].start);
    if (encoding.word[i] == encoding.word[candidate.end]) span.end = std::max(span.end, encoding.offsets[i].end);
  }
  return span;
}

std::vector<Answer> answers_of(const QuestionAnswering::Item& item, const QuestionAnswering& work,
                               const TaskContext& context, const std::vector<Encoding>& parts,
                               std::span<const RowOutput> outputs) {
  std::vector<Answer> answers;
  float null_score = 1000000.0f;
  const size_t top = work.align_to_words ? static_cast<size_t>(work.top_k) * 2 + 10 : static_cast<size_t>(work.top_k);
  for (size_t part = 0; part < parts.size(); ++part) {
    const Encoding& encoding = parts[part];
    std::vector<bool> allowed(encoding.size());
    for (size_t i = 0; i < encoding.size(); ++i)
      allowed[i] = encoding.sequence[i] == 1 || context.tokenizer.special_tokens().cls == encoding.ids[i];
    auto [start, end] = probabilities(encoding, outputs[part].rows, allowed);
    if (work.handle_impossible_answer) null_score = std::min(null_score, start[0] * end[0]);
    start[0] = end[0] = 0;
    for (const Candidate& candidate : best_spans(start, end, allowed, work.max_answer_len, top)) {
      const TextSpan span = span_of(encoding, candidate, work.align_to_words);
      const std::string text = substring(item.context, span);
      const auto same = std::find_if(answers.begin(), answers.end(),
                                     [key = python_lower(decode_aligned(text)).utf8()](const Answer& a) {
                                       return python_lower(decode_aligned(a.text)).utf8() == key;
                                     });
      if (same != answers.end())
        same->score += candidate.score;
      else
        answers.push_back({text, candidate.score, span});
    }
  }
  if (work.handle_impossible_answer) answers.push_back({"", null_score, {0, 0}});
  std::stable_sort(answers.begin(), answers.end(), [](const Answer& a, const Answer& b) { return a.score > b.score; });
  if (answers.size() > static_cast<size_t>(work.top_k)) answers.resize(static_cast<size_t>(work.top_k));
  return answers;
}

}  // namespace

PreparedTask prepare(const QuestionAnswering& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give a question and a context");
  if (work.top_k < 1) throw fail(StatusCode::invalid, "top_k is {}, must be at least 1", work.top_k);
  if (work.max_answer_len < 1)
    throw fail(StatusCode::invalid, "max_answer_len is {}, must be at least 1", work.max_answer_len);
  if (work.max_question_len.value_or(1) < 1)
    throw fail(StatusCode::invalid, "max_question_len is {}, must be at least 1", *work.max_question_len);
  PreparedTask out;
  auto encodings = std::make_shared<std::vector<std::vector<Encoding>>>();
  for (const QuestionAnswering::Item& item : work.inputs) {
    out.characters += code_points(item.question) + code_points(item.context);
    for (const Encoding& part : encodings->emplace_back(windows_of(item, work, context))) {
      out.rows.push_back(to_row(part));
      out.rows.back().rows = SequenceRequest::Wanted::all;
    }
  }
  out.finish = [work, context, encodings](std::vector<RowOutput> outputs) -> Outcome {
    QuestionAnsweringResult result;
    size_t row = 0;
    for (size_t input = 0; input < work.inputs.size(); ++input) {
      const std::vector<Encoding>& parts = (*encodings)[input];
      result.answers.push_back(answers_of(work.inputs[input], work, context, parts,
                                          std::span<const RowOutput>(outputs).subspan(row, parts.size())));
      row += parts.size();
    }
    return result;
  };
  return out;
}

}  // namespace inazuma
