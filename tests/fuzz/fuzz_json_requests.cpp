// Any bytes as a request body: every dialect parses them or says why not, with a status that blames the client.
//
// Input: one byte whose bits choose strictness and the model's task, then the body.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "frontends/parsed.h"

namespace {

using inazuma::ParseLimits;
using inazuma::Task;

void require(bool holds, const char* what, std::string_view detail = "") {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s: %.*s\n", what, static_cast<int>(detail.size()), detail.data());
  std::abort();
}

template <class Work>
bool parses(Work&& work) {
  const inazuma::Status status = inazuma::capture([&] { work(); });
  if (status.ok()) return true;
  const int code = inazuma::http_status(status.code(), inazuma::Dialect::task);
  require(code >= 400 && code < 500, "a bad body is the client's error", status.message());
  require(!status.message().empty() && status.message().size() < 2000, "one sentence", status.message());
  const inazuma::HttpResponse response = inazuma::error_response(status, inazuma::Dialect::tgi);
  const inazuma::JsonDocument answer(response.body);
  require(answer.root().is_object(), "errors are JSON", response.body);
  return false;
}

void write(inazuma::JsonWriter& json, inazuma::Json value) {
  namespace dom = simdjson::dom;
  switch (value.type()) {
    case dom::element_type::OBJECT:
      json.begin_object();
      for (const auto field : dom::object(value)) write(json.key(field.key), field.value);
      json.end_object();
      return;
    case dom::element_type::ARRAY:
      json.begin_array();
      for (const auto item : dom::array(value)) write(json, item);
      json.end_array();
      return;
    case dom::element_type::STRING: json.text(value.get_string().value()); return;
    case dom::element_type::INT64: json.number(value.get_int64().value()); return;
    case dom::element_type::UINT64: json.number_u64(value.get_uint64().value()); return;
    case dom::element_type::DOUBLE: json.number(value.get_double().value()); return;
    case dom::element_type::BOOL: json.boolean(value.get_bool().value()); return;
    case dom::element_type::NULL_VALUE: json.null(); return;
  }
}

std::string written(inazuma::Json value) {
  inazuma::JsonWriter json;
  write(json, value);
  return std::move(json).take();
}

// What is written reads back to what was written.
void round_trip(std::string_view body) {
  const inazuma::JsonDocument document(body);
  const std::string once = written(document.root());
  const inazuma::JsonDocument again(once);
  require(written(again.root()) == once, "writing round trips", once);
}

void parse_all(std::string_view body, Task task, const ParseLimits& limits) {
  using namespace std::string_view_literals;
  for (const std::string_view route : {""sv, "summarization"sv, "translation"sv, "zero-shot-classification"sv,
                                       "sentence-similarity"sv, "no-such-task"sv})
    parses([&] { (void)inazuma::task_api::parse(body, task, route, limits); });
  for (const bool stream : {false, true}) parses([&] { (void)inazuma::tgi::parse(body, stream, stream, limits); });
  constexpr std::array kParsers = {inazuma::tei::parse_embed,   inazuma::tei::parse_embed_all,
                                   inazuma::tei::parse_predict, inazuma::tei::parse_similarity,
                                   inazuma::tei::parse_rerank,  inazuma::tei::parse_decode};
  for (const auto parser : kParsers) parses([&] { (void)parser(body, limits); });
  for (const bool flat : {false, true}) parses([&] { (void)inazuma::tei::parse_tokenize(body, flat, limits); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr std::array kTasks = {
      Task::token_classification, Task::text_classification, Task::question_answering,  Task::fill_mask,
      Task::feature_extraction,   Task::text_generation,     Task::text2text_generation};
  ParseLimits limits;
  limits.strict = (data[0] & 1) != 0;
  const Task task = kTasks[(data[0] >> 1) % kTasks.size()];
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (parses([&] { round_trip(body); })) parse_all(body, task, limits);
  return 0;
}
