// /generate and /generate_stream: Text Generation Inference's dialect (api: docs/TASK_API.md), for causal and
// encoder-decoder models alike.

#include "frontends/parsed.h"

namespace inazuma::tgi {

namespace {

void write_token(JsonWriter& json, const GeneratedToken& token, bool special) {
  json.begin_object()
      .key("id")
      .number(static_cast<int64_t>(token.id))
      .key("text")
      .text(token.text)
      .key("logprob")
      .number(token.logprob);
  if (special) json.key("special").boolean(token.special);
  json.end_object();
}

void write_tokens(JsonWriter& json, const std::vector<GeneratedToken>& tokens, bool special) {
  json.begin_array();
  for (const GeneratedToken& token : tokens) write_token(json, token, special);
  json.end_array();
}

std::string_view finish_reason(StopCause cause) {
  switch (cause) {
    case StopCause::length: return "length";
    case StopCause::eos: return "eos_token";
    case StopCause::stop_sequence: return "stop_sequence";
  }
  return "length";
}

void write_seed(JsonWriter& json, const GeneratedText& text) {
  json.key("seed");
  if (text.seed)
    json.number_u64(*text.seed);
  else
    json.null();
}

// The fields that a chosen text and its best_of rivals share.
void write_details(JsonWriter& json, const GeneratedText& text) {
  json.key("finish_reason")
      .text(finish_reason(text.cause))
      .key("generated_tokens")
      .number(static_cast<int64_t>(text.tokens.size()));
  write_seed(json, text);
  json.key("prefill");
  write_tokens(json, text.prompt, false);
  json.key("tokens");
  write_tokens(json, text.tokens, true);
  if (text.top_tokens.empty()) return;
  json.key("top_tokens").begin_array();
  for (const auto& top : text.top_tokens) write_tokens(json, top, true);
  json.end_array();
}

void write_answer(JsonWriter& json, const GeneratedText& text, bool details) {
  json.begin_object().key("generated_text").text(text.text);
  if (details) {
    json.key("details").begin_object();
    write_details(json, text);
    if (!text.others.empty()) {
      json.key("best_of_sequences").begin_array();
      for (const GeneratedText& other : text.others) {
        json.begin_object().key("generated_text").text(other.text);
        write_details(json, other);
        json.end_object();
      }
      json.end_array();
    }
    json.end_object();
  }
  json.end_object();
}

void begin_event(JsonWriter& json, int index, const GeneratedToken& token, const std::vector<GeneratedToken>& top) {
  json.begin_object().key("index").number(static_cast<int64_t>(index)).key("token");
  write_token(json, token, true);
  if (!top.empty()) {
    json.key("top_tokens");
    write_tokens(json, top, true);
  }
}

}  // namespace

Parsed parse(std::string_view bytes, bool stream, bool as_array, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  const JsonDocument empty("{}");
  JsonFields fields(document.root());
  const auto inputs = fields.text("inputs");
  if (!inputs) throw fail(StatusCode::invalid, "inputs is missing; send {{\"inputs\": \"text\"}}");
  const auto given = fields.find("parameters");
  JsonFields parameters(given ? *given : empty.root(), "parameters.");

  Parsed parsed;
  Generation work;
  work.inputs = {{*inputs, std::nullopt}};
  work.parameters = parse_generation(parameters, limits);
  work.return_full_text = parameters.boolean("return_full_text").value_or(false);
  work.prompt_logprobs = parameters.boolean("decoder_input_details").value_or(false);
  const bool details = parameters.boolean("details").value_or(false) || work.prompt_logprobs;
  work.stream = parsed.stream = stream || fields.boolean("stream").value_or(false);
  if (work.stream && work.prompt_logprobs)
    throw fail(StatusCode::invalid,
               "parameters.decoder_input_details is true: a stream cannot carry it, use /generate");
  report_unknown(parameters, limits, parsed.warnings);
  parsed.work = std::move(work);
  parsed.format = [details, as_array](const Outcome& outcome) {
    JsonWriter json;
    if (as_array) json.begin_array();
    write_answer(json, std::get<GenerationResult>(outcome).texts.front(), details);
    if (as_array) json.end_array();
    return std::move(json).take();
  };
  return parsed;
}

std::string stream_event(const StreamToken& event) {
  JsonWriter json;
  begin_event(json, event.index, event.token, event.top_tokens);
  json.key("generated_text").null().key("details").null().end_object();
  return "data:" + std::move(json).take();
}

std::string final_event(const Response& response) {
  const GeneratedText& text = std::get<GenerationResult>(response.outcome).texts.front();
  const std::vector<GeneratedToken> none;
  JsonWriter json;
  begin_event(json, static_cast<int>(text.tokens.size()), text.tokens.back(),
              text.top_tokens.empty() ? none : text.top_tokens.back());
  json.key("generated_text").text(text.text).key("details").begin_object();
  json.key("finish_reason")
      .text(finish_reason(text.cause))
      .key("generated_tokens")
      .number(static_cast<int64_t>(text.tokens.size()));
  json.key("input_length").number(static_cast<int64_t>(text.input_length));
  write_seed(json, text);
  json.end_object().end_object();
  return "data:" + std::move(json).take();
}

std::string error_event(const Status& status) {
  return "data:" + error_response(status, Dialect::tgi).body;
}

}  // namespace inazuma::tgi
