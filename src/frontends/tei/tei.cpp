// /embed, /embed_all, /predict, /similarity, /rerank, /tokenize, /decode: Text Embeddings Inference's dialect.

#include <algorithm>

#include "frontends/parsed.h"
#include "frontends/task/task_format.h"

namespace inazuma::tei {

namespace {

constexpr int kMost = 1 << 30;

Json required(JsonFields& fields, std::string_view name, std::string_view shape) {
  const auto found = fields.find(name);
  if (!found) throw fail(StatusCode::invalid, "{} is missing; send {}", name, shape);
  return *found;
}

std::vector<int32_t> ids_of(Json list, std::string_view where) {
  std::vector<int32_t> out;
  for (const Json item : simdjson::dom::array(list)) {
    int64_t id = 0;
    if (item.get(id) || id < 0 || id > kMost)
      throw fail(StatusCode::invalid, "{} holds {}, must be token ids", where, shown(item));
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

bool is_ids(Json value) {
  if (!value.is_array()) return false;
  const simdjson::dom::array list(value);
  return list.begin() != list.end() && (*list.begin()).is_number();
}

Input one_input(Json value) {
  std::string_view text;
  if (!value.get(text)) return {std::string(text), std::nullopt};
  if (is_ids(value)) return {"", ids_of(value, "inputs")};
  throw fail(StatusCode::invalid, "inputs holds {}, must be a string or an array of token ids", shown(value));
}

// s, s[], ids, ids[].
std::vector<Input> inputs_of(Json value, const ParseLimits& limits) {
  if (!value.is_array() || is_ids(value)) return {one_input(value)};
  std::vector<Input> out;
  for (const Json item : simdjson::dom::array(value)) out.push_back(one_input(item));
  if (out.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  check_batch(out.size(), limits);
  return out;
}

FeatureExtraction embed_work(JsonFields& fields, const ParseLimits& limits) {
  FeatureExtraction work;
  work.inputs = inputs_of(required(fields, "inputs", "{\"inputs\": \"text\"}"), limits);
  work.truncation = parse_truncation(fields);
  work.prompt_name = fields.text("prompt_name");
  return work;
}

TextClassification::Text text_or_pair(Json value) {
  std::vector<std::string> parts;
  std::string_view text;
  for (const Json item : simdjson::dom::array(value)) {
    if (item.get(text)) throw fail(StatusCode::invalid, "inputs holds {}, must be strings", shown(item));
    parts.emplace_back(text);
  }
  if (parts.empty() || parts.size() > 2)
    throw fail(
        StatusCode::invalid,
        "inputs holds a list of {} strings: [a] is one text, [a, b] is one pair; for a batch send [[a], [b], ...]",
        parts.size());
  return {parts[0], parts.size() == 2 ? std::optional(parts[1]) : std::nullopt};
}

void write_labels(JsonWriter& json, const std::vector<LabelScore>& labels) {
  json.begin_array();
  for (const LabelScore& label : labels)
    json.begin_object().key("score").number(label.score).key("label").text(label.label).end_object();
  json.end_array();
}

}  // namespace

Parsed parse_embed(std::string_view bytes, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  FeatureExtraction work = embed_work(fields, limits);
  work.normalize = fields.boolean("normalize").value_or(true);
  work.dimensions = fields.integer("dimensions", 1, kMost);
  return {std::move(work),
          [](const Outcome& o) { return task_api::format_vectors(std::get<FeatureExtractionResult>(o), false); },
          {},
          false};
}

Parsed parse_embed_all(std::string_view bytes, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  FeatureExtraction work = embed_work(fields, limits);
  work.all_tokens = true;
  return {std::move(work),
          [](const Outcome& o) { return task_api::format_vectors(std::get<FeatureExtractionResult>(o), true); },
          {},
          false};
}

Parsed parse_predict(std::string_view bytes, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  const Json inputs = required(fields, "inputs", "{\"inputs\": \"text\"}");
  TextClassification work;
  bool single = true;
  std::string_view text;
  if (!inputs.get(text)) {
    work.inputs.push_back({std::string(text), std::nullopt});
  } else if (!inputs.is_array()) {
    throw fail(StatusCode::invalid, "inputs is {}, must be a string, a pair [a, b], or a batch [[a], [a, b], ...]",
               shown(inputs));
  } else {
    const simdjson::dom::array list(inputs);
    single = list.begin() == list.end() || !(*list.begin()).is_array();
    if (list.begin() == list.end()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
    if (single) {
      work.inputs.push_back(text_or_pair(inputs));
    } else {
      for (const Json item : list) {
        if (!item.is_array())
          throw fail(StatusCode::invalid, "inputs mixes lists and {}: a batch is [[a], [a, b], ...]", shown(item));
        work.inputs.push_back(text_or_pair(item));
      }
      check_batch(work.inputs.size(), limits);
    }
  }
  if (fields.boolean("raw_scores").value_or(false)) work.function = ScoreFunction::none;
  work.truncation = parse_truncation(fields);
  return {std::move(work),
          [single](const Outcome& o) {
            JsonWriter json;
            const auto& labels = std::get<TextClassificationResult>(o).labels;
            if (single) {
              write_labels(json, labels.front());
            } else {
              json.begin_array();
              for (const auto& one : labels) write_labels(json, one);
              json.end_array();
            }
            return std::move(json).take();
          },
          {},
          false};
}

Parsed parse_similarity(std::string_view bytes, const ParseLimits& limits) {
  return task_api::parse(bytes, Task::feature_extraction, "sentence-similarity", limits);
}

Parsed parse_rerank(std::string_view bytes, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  const auto query = fields.text("query");
  auto texts = fields.texts("texts");
  if (!query || !texts)
    throw fail(StatusCode::invalid, "{} is missing; send {{\"query\": ..., \"texts\": [...]}}",
               query ? "texts" : "query");
  if (texts->empty()) throw fail(StatusCode::empty, "texts is empty; give at least one text");
  check_batch(texts->size(), limits);
  TextClassification work;
  for (const std::string& text : *texts) work.inputs.push_back({*query, text});
  if (fields.boolean("raw_scores").value_or(false)) work.function = ScoreFunction::none;
  work.truncation = parse_truncation(fields);
  const bool with_text = fields.boolean("return_text").value_or(false);
  return {
      std::move(work),
      [texts = std::move(*texts), with_text](const Outcome& o) {
        const auto& labels = std::get<TextClassificationResult>(o).labels;
        std::vector<size_t> order(labels.size());
        for (size_t i = 0; i < order.size(); ++i) order[i] = i;
        for (const auto& one : labels)
          if (one.size() != 1)
            throw fail(StatusCode::wrong_task, "reranking needs a model with one label, this one has {}", one.size());
        std::stable_sort(order.begin(), order.end(),
                         [&](size_t a, size_t b) { return labels[a].front().score > labels[b].front().score; });
        JsonWriter json;
        json.begin_array();
        for (const size_t i : order) {
          json.begin_object().key("index").number(static_cast<int64_t>(i)).key("score").number(labels[i].front().score);
          if (with_text) json.key("text").text(texts[i]);
          json.end_object();
        }
        json.end_array();
        return std::move(json).take();
      },
      {},
      false};
}

Parsed parse_tokenize(std::string_view bytes, bool flat, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  (void)required(fields, "inputs", "{\"inputs\": \"text\"}");
  Tokenize work;
  work.inputs = *fields.texts("inputs");
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  check_batch(work.inputs.size(), limits);
  work.add_special_tokens = fields.boolean("add_special_tokens").value_or(true);
  const bool bare = flat && !required(fields, "inputs", "").is_array();
  return {std::move(work),
          [bare](const Outcome& o) {
            JsonWriter json;
            if (!bare) json.begin_array();
            for (const auto& tokens : std::get<TokenizeResult>(o).tokens) {
              json.begin_array();
              for (const TokenText& token : tokens) {
                json.begin_object()
                    .key("id")
                    .number(static_cast<int64_t>(token.id))
                    .key("text")
                    .text(token.text)
                    .key("special")
                    .boolean(token.special);
                json.key("start");
                token.special ? json.null() : json.number(static_cast<int64_t>(token.span.start));
                json.key("stop");
                token.special ? json.null() : json.number(static_cast<int64_t>(token.span.end));
                json.end_object();
              }
              json.end_array();
            }
            if (!bare) json.end_array();
            return std::move(json).take();
          },
          {},
          false};
}

Parsed parse_decode(std::string_view bytes, const ParseLimits& limits) {
  const JsonDocument document(bytes);
  JsonFields fields(document.root());
  const Json ids = required(fields, "ids", "{\"ids\": [1, 2, 3]}");
  if (!ids.is_array())
    throw fail(StatusCode::invalid, "ids is {}, must be an array of token ids or of such arrays", shown(ids));
  Decode work;
  const simdjson::dom::array list(ids);
  if (list.begin() != list.end() && (*list.begin()).is_array()) {
    for (const Json item : list) {
      if (!item.is_array()) throw fail(StatusCode::invalid, "ids mixes arrays and {}", shown(item));
      work.ids.push_back(ids_of(item, "ids"));
    }
    check_batch(work.ids.size(), limits);
  } else {
    work.ids.push_back(ids_of(ids, "ids"));
  }
  work.skip_special_tokens = fields.boolean("skip_special_tokens").value_or(true);
  return {std::move(work),
          [](const Outcome& o) {
            JsonWriter json;
            json.begin_array();
            for (const std::string& text : std::get<DecodeResult>(o).texts) json.text(text);
            json.end_array();
            return std::move(json).take();
          },
          {},
          false};
}

}  // namespace inazuma::tei
