#pragma once
// What a dialect makes of a request body: protocol-neutral work, and how to say its outcome. Both halves are pure.

#include <functional>
#include <string>
#include <vector>

#include "frontends/errors.h"
#include "frontends/json.h"
#include "models/model.h"
#include "serving/request.h"
#include "serving/response.h"

namespace inazuma {

/// Limits on what one body may ask for; the flag's name is in the message.
struct ParseLimits {
  int max_client_batch = 32;  ///< --max-client-batch-size
  int max_stop = 16;
  bool strict = false;        ///< unknown names inside `parameters` are errors
  bool labels_apart = false;  ///< zero-shot answers {sequence, labels, scores}: what huggingface_hub 0.x reads
};

struct Parsed {
  Work work;
  std::function<std::string(const Outcome&)> format;  ///< body of a 200
  std::vector<std::string> warnings;                  ///< for the x-warning header
  bool stream = false;                                ///< server-sent events are asked for
};

/// Throws Error(too_large) for more than `limits.max_client_batch` items.
void check_batch(size_t items, const ParseLimits& limits);
/// Names nobody asked for: warnings with the nearest known name, or Error(invalid) when strict.
void report_unknown(const JsonFields& fields, const ParseLimits& limits, std::vector<std::string>& warnings);
/// Generation parameters of the task API and TGI, which share their names.
GenerationParameters parse_generation(JsonFields& fields, const ParseLimits& limits);
/// Truncation fields (`truncate`, `truncation_direction`).
Truncation parse_truncation(JsonFields& fields);

namespace task_api {
/// `task` is the pipeline asked for by the route ("summarization"), or the model's own.
Parsed parse(std::string_view body, Task model_task, std::string_view task, const ParseLimits& limits);
}  // namespace task_api

namespace tgi {
/// Body of /generate and /generate_stream. `as_array`: the answer sits in a one-element array (POST /).
Parsed parse(std::string_view body, bool stream, bool as_array, const ParseLimits& limits);
/// data: lines of the stream, without the blank line after them.
std::string stream_event(const StreamToken& token);
/// A generation that ended well: at least one token.
std::string final_event(const Response& response);
std::string error_event(const Status& status);
}  // namespace tgi

namespace tei {
Parsed parse_embed(std::string_view body, const ParseLimits& limits);
Parsed parse_embed_all(std::string_view body, const ParseLimits& limits);
Parsed parse_predict(std::string_view body, const ParseLimits& limits);
Parsed parse_similarity(std::string_view body, const ParseLimits& limits);
Parsed parse_rerank(std::string_view body, const ParseLimits& limits);
/// `flat`: a model that only generates answers one string with one list (TGI's form).
Parsed parse_tokenize(std::string_view body, bool flat, const ParseLimits& limits);
Parsed parse_decode(std::string_view body, const ParseLimits& limits);
}  // namespace tei

}  // namespace inazuma
