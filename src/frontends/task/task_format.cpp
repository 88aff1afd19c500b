#include "frontends/task/task_format.h"

#include "frontends/json.h"

namespace inazuma::task_api {

namespace {

// One element per input, bare when a single input came.
template <class Items, class Write>
std::string per_input(const Items& items, bool single, Write&& write) {
  JsonWriter json;
  if (!single) json.begin_array();
  for (const auto& item : items) write(json, item);
  if (!single) json.end_array();
  return std::move(json).take();
}

void write_entity(JsonWriter& json, const Entity& entity, bool raw) {
  json.begin_object();
  json.key(raw ? "entity" : "entity_group").text(entity.label).key("score").number(entity.score);
  if (raw) json.key("index").number(static_cast<int64_t>(entity.index));
  json.key("word")
      .text(entity.word)
      .key("start")
      .number(static_cast<int64_t>(entity.span.start))
      .key("end")
      .number(static_cast<int64_t>(entity.span.end))
      .end_object();
}

void write_span(JsonWriter& json, const Entity& entity) {
  json.begin_object()
      .key("start")
      .number(static_cast<int64_t>(entity.span.start))
      .key("end")
      .number(static_cast<int64_t>(entity.span.end));
  json.key("text").text(entity.word).key("type").text(entity.label).end_object();
}

void write_labels(JsonWriter& json, const std::vector<LabelScore>& labels) {
  json.begin_array();
  for (const LabelScore& label : labels)
    json.begin_object().key("label").text(label.label).key("score").number(label.score).end_object();
  json.end_array();
}

void write_answer(JsonWriter& json, const Answer& answer) {
  json.begin_object().key("answer").text(answer.text).key("score").number(answer.score);
  json.key("start")
      .number(static_cast<int64_t>(answer.span.start))
      .key("end")
      .number(static_cast<int64_t>(answer.span.end))
      .end_object();
}

void write_fills(JsonWriter& json, const std::vector<MaskFill>& fills) {
  json.begin_array();
  for (const MaskFill& fill : fills)
    json.begin_object()
        .key("score")
        .number(fill.score)
        .key("token")
        .number(static_cast<int64_t>(fill.token))
        .key("token_str")
        .text(fill.token_text)
        .key("sequence")
        .text(fill.sequence)
        .end_object();
  json.end_array();
}

}  // namespace

std::string format_entities(const TokenClassificationResult& result, bool single, bool raw, bool spans) {
  // The compact form keeps its outer list also for one text: its services always answered one list per input.
  return per_input(result.entities, single && !spans, [&](JsonWriter& json, const std::vector<Entity>& entities) {
    json.begin_array();
    for (const Entity& entity : entities) spans ? write_span(json, entity) : write_entity(json, entity, raw);
    json.end_array();
  });
}

std::string format_labels(const TextClassificationResult& result) {
  return per_input(result.labels, false,
                   [](JsonWriter& json, const std::vector<LabelScore>& labels) { write_labels(json, labels); });
}

std::string format_fills(const FillMaskResult& result, bool single) {
  return per_input(result.fills, single, [](JsonWriter& json, const std::vector<std::vector<MaskFill>>& masks) {
    if (masks.size() == 1) return write_fills(json, masks.front());
    json.begin_array();
    for (const std::vector<MaskFill>& mask : masks) write_fills(json, mask);
    json.end_array();
  });
}

std::string format_answers(const QuestionAnsweringResult& result, bool single, bool list) {
  return per_input(result.answers, single, [&](JsonWriter& json, const std::vector<Answer>& answers) {
    if (list) json.begin_array();
    for (const Answer& answer : answers) write_answer(json, answer);
    if (list) json.end_array();
  });
}

std::string format_vectors(const FeatureExtractionResult& result, bool all_tokens) {
  return per_input(result.vectors, false, [&](JsonWriter& json, const Rows& rows) {
    if (all_tokens) json.begin_array();
    for (int row = 0; row < rows.count; ++row) {
      json.begin_array();
      for (int i = 0; i < rows.width; ++i)
        json.number(rows.values[static_cast<size_t>(row) * static_cast<size_t>(rows.width) + static_cast<size_t>(i)]);
      json.end_array();
    }
    if (all_tokens) json.end_array();
  });
}

std::string format_similarities(const SentenceSimilarityResult& result) {
  return per_input(result.scores, false, [](JsonWriter& json, float score) { json.number(score); });
}

std::string format_zero_shot(const ZeroShotResult& result, bool single, bool legacy) {
  size_t input = 0;
  return per_input(result.labels, single, [&](JsonWriter& json, const std::vector<LabelScore>& labels) {
    const std::string& sequence = result.sequences[input++];
    if (!legacy) return write_labels(json, labels);
    json.begin_object().key("sequence").text(sequence).key("labels").begin_array();
    for (const LabelScore& label : labels) json.text(label.label);
    json.end_array().key("scores").begin_array();
    for (const LabelScore& label : labels) json.number(label.score);
    json.end_array().end_object();
  });
}

std::string format_texts(const GenerationResult& result, const char* field, bool single, bool all) {
  const auto write = [&](JsonWriter& json, const GeneratedText& text) {
    json.begin_object().key(field).text(text.text).end_object();
  };
  // One text is an array of its answers; several are an array of those, in input order.
  return per_input(result.texts, single, [&](JsonWriter& json, const GeneratedText& text) {
    json.begin_array();
    write(json, text);
    if (all)
      for (const GeneratedText& other : text.others) write(json, other);
    json.end_array();
  });
}

}  // namespace inazuma::task_api
