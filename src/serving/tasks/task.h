#pragma once
// Encoder tasks as pairs of pure functions: request -> rows for the engine, and the rows' outputs -> typed outcome.
// Each task is one file; results follow the pipeline of the same name in transformers 4.57, with real offsets for every
// tokenizer. All functions throw Error (invalid, too_long, tokenization, empty).

#include <functional>
#include <vector>

#include "models/model.h"
#include "serving/request.h"
#include "serving/response.h"
#include "text/slow_base.h"
#include "text/tokenizer.h"

namespace inazuma {

/// What a task may know of the model it works for. Outlives the request.
struct TaskContext {
  const Tokenizer& tokenizer;
  const ModelInfo& model;
  const nlohmann::json& config;                ///< config.json
  int max_length = 0;                          ///< ids of one row, special tokens included; 0 = no bound
  bool auto_truncate = true;                   ///< what an absent `truncate` means
  std::map<std::string, std::string> prompts;  ///< sentence-transformers prompts by name
  std::string default_prompt;                  ///< before texts whose request names none
  bool lower_case = false;                     ///< texts for vectors are put in lower case first
};

struct RowOutput {
  Rows rows;
  Rows pooled;
};

/// Rows for the engine (their `index` is their place) and what to make of their outputs, one per row in the same order.
/// `finish` owns all it needs but the context.
struct PreparedTask {
  std::vector<SequenceRequest> rows;
  std::function<Outcome(std::vector<RowOutput>)> finish;
  int characters = 0;  ///< of the inputs, for the reply headers
};

PreparedTask prepare(const TokenClassification& work, const TaskContext& context);
PreparedTask prepare(const TextClassification& work, const TaskContext& context);
PreparedTask prepare(const FillMask& work, const TaskContext& context);
PreparedTask prepare(const QuestionAnswering& work, const TaskContext& context);
PreparedTask prepare(const FeatureExtraction& work, const TaskContext& context);
PreparedTask prepare(const SentenceSimilarity& work, const TaskContext& context);
PreparedTask prepare(const ZeroShotClassification& work, const TaskContext& context);

/// Whether a model of `task` can do `work`, and what that work is called ("fill-mask").
bool can_do(Task task, const Work& work);
std::string_view work_name(const Work& work);

// Shared by the tasks' files.
/// The encoding cut to the context as `truncation` (or auto_truncate) says; too_long names got, limit and how to
/// truncate.
Encoding encode_within(const TaskContext& context, std::string_view text, const Truncation& truncation);
Encoding encode_pair_within(const TaskContext& context, std::string_view first, std::string_view second,
                            const Truncation& truncation);
/// The whole text, where cutting would lose what is asked about. Only the positions of the model bound it, not the
/// length that its tokenizer names, as in the pipelines; too_long otherwise.
Encoding encode_uncut(const TaskContext& context, std::string_view text);
/// An encoding as an engine row (ids and types; what is wanted is left to the caller).
SequenceRequest to_row(const Encoding& encoding);
/// Number of code points of (possibly broken) UTF-8, as the tokenizers count them.
int code_points(std::string_view text);
/// Code points [span.start, span.end) of `text`, broken UTF-8 replaced as the tokenizers do.
std::string substring(std::string_view text, TextSpan span);
/// Windows of `length` ids, each overlapping the one before by `stride`, as the tokenizers library cuts overflowing
/// texts. An empty encoding has one empty window. invalid when stride >= length; too_large for more than 1024 windows.
std::vector<Encoding> windows(const Encoding& encoding, int length, int stride);
void softmax(std::span<float> values);
float sigmoid(float value);

}  // namespace inazuma
