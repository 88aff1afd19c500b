#pragma once
// Protocol-neutral requests: what front ends parse bytes into. One struct per kind of work; absent options are
// std::nullopt where the model directory (or the task) supplies the default. Offsets everywhere are code points of the
// input.

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/sequence.h"
#include "serving/tensors/inference.h"
#include "serving/trace.h"
#include "text/tokenizer.h"

namespace inazuma {

/// A text, or ids that the caller already has.
struct Input {
  std::string text;
  std::optional<std::vector<int32_t>> ids;
};

/// How over-long texts are met. Encoders truncate by default, generation errors out.
struct Truncation {
  std::optional<bool> truncate;
  TruncationSide side = TruncationSide::right;
};

enum class Aggregation { none, simple, first, average, max };
enum class ScoreFunction { softmax, sigmoid, none };

/// Entities of each text. `spans` asks for the compact form: labels read at the first sub-token of each word, spans by
/// the BIO rule of text/spans.h, no scores.
struct TokenClassification {
  std::vector<std::string> inputs;
  Aggregation aggregation = Aggregation::simple;
  std::vector<std::string> ignore_labels{"O"};
  std::optional<int> stride;  ///< overlap of windows over a long text; nullopt: truncate
  bool spans = false;
};

struct TextClassification {
  struct Text {
    std::string text;
    std::optional<std::string> pair;
  };
  std::vector<Text> inputs;
  std::optional<int> top_k;               ///< nullopt = all labels
  std::optional<ScoreFunction> function;  ///< nullopt = by problem_type and label count, as the pipeline does
  Truncation truncation;
};

struct FillMask {
  std::vector<std::string> inputs;
  int top_k = 5;
  std::vector<std::string> targets;
};

struct QuestionAnswering {
  struct Item {
    std::string question;
    std::string context;
  };
  std::vector<Item> inputs;
  int top_k = 1;
  std::optional<int> doc_stride;  ///< min(max_seq_len / 2, 128)
  int max_answer_len = 15;
  std::optional<int> max_seq_len;       ///< min(model's, 384)
  std::optional<int> max_question_len;  ///< nullopt: the question is not cut, as in the pipeline with fast tokenizers
  bool handle_impossible_answer = false;
  bool align_to_words = true;
};

struct FeatureExtraction {
  std::vector<Input> inputs;
  bool all_tokens = false;        ///< one vector per token instead of the pooled one
  bool normalize = true;          ///< pooled vectors to unit length
  std::optional<int> dimensions;  ///< keep the first n, before normalising
  std::optional<std::string> prompt_name;
  Truncation truncation;
};

struct SentenceSimilarity {
  std::string source;
  std::vector<std::string> sentences;
  FeatureExtraction options;  ///< inputs ignored
};

struct ZeroShotClassification {
  std::vector<std::string> inputs;
  std::vector<std::string> candidate_labels;
  std::string hypothesis_template = "This example is {}.";
  bool multi_label = false;
};

/// Generation parameters as a client may give them; what is absent comes from generation_config.json, as in
/// transformers.
struct GenerationParameters {
  std::optional<int> max_new_tokens, max_length, min_new_tokens, min_length;
  std::optional<bool> do_sample;
  std::optional<float> temperature, top_p, min_p, typical_p, repetition_penalty, frequency_penalty, presence_penalty;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  std::optional<int> no_repeat_ngram_size;
  std::optional<bool> ignore_eos;
  std::vector<std::string> stop;
  std::vector<std::string> bad_words;
  std::optional<int> truncate;  ///< keep the last n prompt ids (TGI)
  std::optional<int> top_n_tokens;
  int best_of = 1;  ///< best by mean log-probability of n samples
  std::optional<int> num_beams, num_return_sequences;
  std::optional<float> length_penalty;
  std::optional<EarlyStopping> early_stopping;
};

/// Causal and encoder-decoder generation alike.
struct Generation {
  std::vector<Input> inputs;
  GenerationParameters parameters;
  bool stream = false;            ///< token events are wanted (one input only)
  bool return_full_text = false;  ///< causal: prompt + generated
  bool prompt_logprobs = false;   ///< details of the prompt's tokens
  /// Pipeline asked for ("summarization", "translation_en_to_de"): config.json may name a prefix for its texts
  /// (T5's "translate English to German: ").
  std::string pipeline;
};

struct Tokenize {
  std::vector<std::string> inputs;
  bool add_special_tokens = true;
};

struct Decode {
  std::vector<std::vector<int32_t>> ids;
  bool skip_special_tokens = true;
};

using Work = std::variant<TokenClassification, TextClassification, FillMask, QuestionAnswering, FeatureExtraction,
                          SentenceSimilarity, ZeroShotClassification, Generation, Tokenize, Decode, TensorInference>;

struct Request {
  std::string id;     ///< request id, for logs and replies
  std::string model;  ///< "" = the default model
  Work work;
  int32_t priority = 0;
  Clock::time_point arrival = Clock::now();
  Clock::time_point deadline = Clock::time_point::max();
  CancelFlag cancelled = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<RequestTrace> trace;  ///< null: not traced
};

}  // namespace inazuma
