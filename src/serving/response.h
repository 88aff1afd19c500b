#pragma once
// What comes back for a Request: typed results, one element per input in input order; and the events of a stream.

#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "engine/sequence.h"
#include "serving/tensors/inference.h"
#include "text/tokenizer.h"

namespace inazuma {

struct Entity {
  std::string label;  ///< group name (B-/I- removed), or the full label with Aggregation::none
  float score = 0;
  std::string word;  ///< input[start:end], or the raw token with Aggregation::none
  TextSpan span;
  int index = 0;  ///< token position, special tokens counted (Aggregation::none)
};
struct TokenClassificationResult {
  std::vector<std::vector<Entity>> entities;
};

struct LabelScore {
  std::string label;
  float score = 0;
};
struct TextClassificationResult {
  std::vector<std::vector<LabelScore>> labels;  ///< best first
};

struct MaskFill {
  float score = 0;
  int32_t token = 0;
  std::string token_text;
  std::string sequence;
};
struct FillMaskResult {
  std::vector<std::vector<std::vector<MaskFill>>> fills;  ///< [input][mask][rank]
};

struct Answer {
  std::string text;
  float score = 0;
  TextSpan span;  ///< in the context; (0, 0) and "" for an impossible question
};
struct QuestionAnsweringResult {
  std::vector<std::vector<Answer>> answers;
};

struct FeatureExtractionResult {
  std::vector<Rows> vectors;  ///< one row (pooled), or one per token
};
struct SentenceSimilarityResult {
  std::vector<float> scores;
};
struct ZeroShotResult {
  std::vector<std::string> sequences;
  std::vector<std::vector<LabelScore>> labels;  ///< best first
};

struct GeneratedToken {
  int32_t id = 0;
  std::string text;  ///< this token alone, as the detokenizer showed it
  float logprob = 0;
  bool special = false;
};
enum class StopCause { length, eos, stop_sequence };
struct GeneratedText {
  std::string text;  ///< without prompt (unless asked), without the stop string
  StopCause cause = StopCause::length;
  std::vector<GeneratedToken> prompt;  ///< with prompt_logprobs
  std::vector<GeneratedToken> tokens;  ///< generated ids only
  std::vector<std::vector<GeneratedToken>> top_tokens;
  int input_length = 0;
  std::optional<uint64_t> seed;  ///< when sampled
  std::vector<GeneratedText>
      others;  ///< best_of: the samples not chosen; num_return_sequences: the texts after the first
};
struct GenerationResult {
  std::vector<GeneratedText> texts;
};

struct TokenText {
  int32_t id = 0;
  std::string text;
  bool special = false;
  TextSpan span;
};
struct TokenizeResult {
  std::vector<std::vector<TokenText>> tokens;
};
struct DecodeResult {
  std::vector<std::string> texts;
};

using Outcome = std::variant<TokenClassificationResult, TextClassificationResult, FillMaskResult,
                             QuestionAnsweringResult, FeatureExtractionResult, SentenceSimilarityResult, ZeroShotResult,
                             GenerationResult, TokenizeResult, DecodeResult, TensorResult>;

/// What a request cost; durations of several rows are of the slowest.
struct Usage {
  std::string model;
  std::string device;   ///< "cpu", "gpu"
  int64_t version = 1;  ///< of the model that answered
  int batch = 0;        ///< tensor requests: rows worked; 0 = answered from the cache
  int characters = 0;
  int prompt_tokens = 0;
  int generated_tokens = 0;
  bool text = false;  ///< a text model's own work, inference (not Tokenize, Decode)
  bool generation = false;
  int stopped_rows = 0, full_rows = 0;  ///< generated rows that ended by themselves, and at their longest
  int max_new_tokens = 0;               ///< the largest of the request's rows
  bool refused = false;                 ///< found wrong before it was queued: no failure of the model
  Clock::duration validation{}, tokenization{}, queue{}, inference{}, total{};
  Clock::duration prefill{};    ///< of inference: up to the first token, of the slowest row
  Clock::duration token_gap{};  ///< mean time between two tokens of the slowest row; 0 = fewer than two
  Clock::duration cache{};      ///< looking the answer up, and keeping a new one
};

/// The end of a request that was accepted.
struct Response {
  Status status;  ///< not ok: `outcome` is meaningless
  Outcome outcome;
  Usage usage;
};

/// One step of a streamed generation. `piece` never ends inside a character; pieces joined equal the text.
struct StreamToken {
  int index = 0;         ///< 1, 2, ...
  GeneratedToken token;  ///< token.text is the piece
  std::vector<GeneratedToken> top_tokens;
};

using Event = std::variant<StreamToken, TensorEvent, Response>;

/// Where a request's events go. `post` runs a task on the receiver's own thread, later and in order (an asio executor,
/// a queue); `on_event` is only ever called there: StreamToken* (or TensorEvent* of a decoupled model), then exactly
/// one Response.
struct Receiver {
  std::function<void(std::function<void()>)> post;
  std::function<void(Event)> on_event;
};

}  // namespace inazuma
