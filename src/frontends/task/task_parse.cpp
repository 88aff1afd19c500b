// The Hugging Face Inference shape, in: {"inputs": ..., "parameters": {...}, "options": {...}}.

#include "frontends/parsed.h"
#include "frontends/task/task_format.h"

namespace inazuma::task_api {

namespace {

// The body taken apart once: inputs, parameters, and what came beside them.
struct Body {
  explicit Body(std::string_view bytes, const ParseLimits& parse_limits)
      : document(bytes), fields(document.root()), limits(parse_limits) {
    const auto found = fields.find("inputs");
    if (!found) throw fail(StatusCode::invalid, "inputs is missing; send {{\"inputs\": ...}}");
    inputs = *found;
    if (const auto object = fields.find("parameters"))
      parameters.emplace(*object, "parameters.");
    else
      parameters.emplace(empty.root(), "parameters.");
  }

  bool single() const { return !inputs.is_array(); }

  std::vector<std::string> texts() const {
    std::vector<std::string> out;
    std::string_view text;
    if (!inputs.get(text)) return {std::string(text)};
    if (!inputs.is_array())
      throw fail(StatusCode::invalid, "inputs is {}, must be a string or an array of strings", shown(inputs));
    for (const Json item : simdjson::dom::array(inputs)) {
      if (item.get(text))
        throw fail(StatusCode::invalid, "inputs holds {}, must be a string or an array of strings", shown(item));
      out.emplace_back(text);
    }
    check_batch(out.size(), limits);
    return out;
  }

  Parsed finish(Parsed parsed) {
    report_unknown(*parameters, limits, parsed.warnings);
    return parsed;
  }

  JsonDocument document;
  JsonDocument empty{"{}"};
  JsonFields fields;
  Json inputs;
  std::optional<JsonFields> parameters;
  ParseLimits limits;
};

Aggregation parse_aggregation(JsonFields& fields) {
  const std::string text = fields.text("aggregation_strategy").value_or("simple");
  if (text == "none") return Aggregation::none;
  if (text == "simple") return Aggregation::simple;
  if (text == "first") return Aggregation::first;
  if (text == "average") return Aggregation::average;
  if (text == "max") return Aggregation::max;
  throw fail(StatusCode::invalid, "parameters.aggregation_strategy is {}, must be none, simple, first, average or max",
             quoted(text));
}

Parsed token_classification(Body& body) {
  TokenClassification work;
  work.inputs = body.texts();
  JsonFields& p = *body.parameters;
  work.aggregation = parse_aggregation(p);
  if (auto labels = p.texts("ignore_labels")) work.ignore_labels = std::move(*labels);
  work.stride = p.integer("stride", 0, 1 << 20);
  const std::string format = p.text("format").value_or("");
  if (!format.empty() && format != "spans")
    throw fail(StatusCode::invalid, "parameters.format is {}, must be 'spans'", quoted(format));
  work.spans = format == "spans";
  const bool single = body.single();
  const Aggregation aggregation = work.aggregation;
  const bool spans = work.spans;
  return {std::move(work),
          [=](const Outcome& o) {
            return format_entities(std::get<TokenClassificationResult>(o), single, aggregation == Aggregation::none,
                                   spans);
          },
          {},
          false};
}

TextClassification::Text text_or_pair(Json item) {
  std::string_view text;
  if (!item.get(text)) return {std::string(text), std::nullopt};
  JsonFields fields(item, "inputs.");
  auto first = fields.text("text");
  if (!first)
    throw fail(StatusCode::invalid, "inputs.text is missing; send a string, or {{\"text\": ..., \"text_pair\": ...}}");
  return {std::move(*first), fields.text("text_pair")};
}

Parsed text_classification(Body& body) {
  TextClassification work;
  if (body.inputs.is_array())
    for (const Json item : simdjson::dom::array(body.inputs)) work.inputs.push_back(text_or_pair(item));
  else
    work.inputs.push_back(text_or_pair(body.inputs));
  check_batch(work.inputs.size(), body.limits);
  JsonFields& p = *body.parameters;
  work.top_k = p.integer("top_k", 1, 1 << 20);
  work.truncation = parse_truncation(p);
  if (const auto function = p.text("function_to_apply")) {
    if (*function == "sigmoid")
      work.function = ScoreFunction::sigmoid;
    else if (*function == "softmax")
      work.function = ScoreFunction::softmax;
    else if (*function == "none")
      work.function = ScoreFunction::none;
    else
      throw fail(StatusCode::invalid, "parameters.function_to_apply is {}, must be sigmoid, softmax or none",
                 quoted(*function));
  }
  return {std::move(work),
          [](const Outcome& o) { return format_labels(std::get<TextClassificationResult>(o)); },
          {},
          false};
}

Parsed fill_mask(Body& body) {
  FillMask work;
  work.inputs = body.texts();
  JsonFields& p = *body.parameters;
  work.top_k = p.integer("top_k", 1, 1 << 20).value_or(5);
  work.targets = p.texts("targets").value_or(std::vector<std::string>{});
  return {std::move(work),
          [single = body.single()](const Outcome& o) { return format_fills(std::get<FillMaskResult>(o), single); },
          {},
          false};
}

QuestionAnswering::Item question(Json item) {
  JsonFields fields(item, "inputs.");
  auto question = fields.text("question");
  auto context = fields.text("context");
  if (!question || !context)
    throw fail(StatusCode::invalid, "inputs.{} is missing; send {{\"question\": ..., \"context\": ...}}",
               question ? "context" : "question");
  return {std::move(*question), std::move(*context)};
}

Parsed question_answering(Body& body) {
  QuestionAnswering work;
  if (body.inputs.is_array())
    for (const Json item : simdjson::dom::array(body.inputs)) work.inputs.push_back(question(item));
  else
    work.inputs.push_back(question(body.inputs));
  check_batch(work.inputs.size(), body.limits);
  JsonFields& p = *body.parameters;
  work.top_k = p.integer("top_k", 1, 1 << 20).value_or(1);
  work.doc_stride = p.integer("doc_stride", 0, 1 << 20);
  work.max_answer_len = p.integer("max_answer_len", 1, 1 << 20).value_or(15);
  work.max_seq_len = p.integer("max_seq_len", 1, 1 << 20);
  work.max_question_len = p.integer("max_question_len", 1, 1 << 20);
  work.handle_impossible_answer = p.boolean("handle_impossible_answer").value_or(false);
  work.align_to_words = p.boolean("align_to_words").value_or(true);
  const bool single = body.single();
  const bool list = work.top_k > 1;
  return {std::move(work),
          [=](const Outcome& o) { return format_answers(std::get<QuestionAnsweringResult>(o), single, list); },
          {},
          false};
}

// The client sends these beside `inputs`, older ones inside `parameters`: both are taken.
FeatureExtraction embedding_options(Body& body) {
  FeatureExtraction work;
  for (JsonFields* fields : {&*body.parameters, &body.fields}) {
    if (const auto normalize = fields->boolean("normalize")) work.normalize = *normalize;
    if (const auto dimensions = fields->integer("dimensions", 1, 1 << 20)) work.dimensions = dimensions;
    if (auto prompt = fields->text("prompt_name")) work.prompt_name = std::move(prompt);
    const Truncation truncation = parse_truncation(*fields);
    if (truncation.truncate) work.truncation.truncate = truncation.truncate;
    if (truncation.side == TruncationSide::left) work.truncation.side = truncation.side;
    if (const auto pooling = fields->text("pooling")) {
      if (*pooling != "none")
        throw fail(StatusCode::invalid, "pooling is {}: only 'none' (a vector per token) can be asked for",
                   quoted(*pooling));
      work.all_tokens = true;
    }
  }
  return work;
}

Parsed sentence_similarity(Body& body) {
  SentenceSimilarity work;
  JsonFields inputs(body.inputs, "inputs.");
  auto source = inputs.text("source_sentence");
  auto sentences = inputs.texts("sentences");
  if (!source || !sentences)
    throw fail(StatusCode::invalid, "inputs.{} is missing; send {{\"source_sentence\": ..., \"sentences\": [...]}}",
               source ? "sentences" : "source_sentence");
  check_batch(sentences->size(), body.limits);
  work.source = std::move(*source);
  work.sentences = std::move(*sentences);
  work.options = embedding_options(body);
  return {std::move(work),
          [](const Outcome& o) { return format_similarities(std::get<SentenceSimilarityResult>(o)); },
          {},
          false};
}

Parsed feature_extraction(Body& body) {
  if (body.inputs.is_object()) return sentence_similarity(body);
  FeatureExtraction work = embedding_options(body);
  for (std::string& text : body.texts()) work.inputs.push_back({std::move(text), std::nullopt});
  const bool all = work.all_tokens;
  return {std::move(work),
          [all](const Outcome& o) { return format_vectors(std::get<FeatureExtractionResult>(o), all); },
          {},
          false};
}

// "a, b, c" is a list too, as in the pipeline; a label of an array keeps its commas.
std::vector<std::string> candidate_labels(JsonFields& fields) {
  const auto found = fields.find("candidate_labels");
  if (!found) throw fail(StatusCode::invalid, "parameters.candidate_labels is missing; give the labels to choose from");
  std::string_view rest;
  if (found->get(rest)) return *fields.texts("candidate_labels");
  std::vector<std::string> out;
  while (true) {
    const size_t comma = rest.find(',');
    std::string_view label = rest.substr(0, comma);
    const size_t begin = label.find_first_not_of(" \t");
    if (begin != std::string_view::npos)
      out.emplace_back(label.substr(begin, label.find_last_not_of(" \t") - begin + 1));
    if (comma == std::string_view::npos) return out;
    rest.remove_prefix(comma + 1);
  }
}

Parsed zero_shot(Body& body) {
  ZeroShotClassification work;
  work.inputs = body.texts();
  JsonFields& p = *body.parameters;
  work.candidate_labels = candidate_labels(p);
  if (auto pattern = p.text("hypothesis_template")) work.hypothesis_template = std::move(*pattern);
  work.multi_label = p.boolean("multi_label").value_or(false);
  const std::string format = p.text("format").value_or("");
  if (!format.empty() && format != "legacy")
    throw fail(StatusCode::invalid, "parameters.format is {}, must be 'legacy'", quoted(format));
  const bool single = body.single();
  return {std::move(work),
          [single, legacy = !format.empty() || body.limits.labels_apart](const Outcome& o) {
            return format_zero_shot(std::get<ZeroShotResult>(o), single, legacy);
          },
          {},
          false};
}

std::string translation_pipeline(JsonFields& fields, std::string_view task) {
  if (!task.starts_with("translation")) return "";
  const auto source = fields.text("src_lang");
  const auto target = fields.text("tgt_lang");
  if (source.has_value() != target.has_value())
    throw fail(StatusCode::invalid, "parameters.{} is missing; src_lang and tgt_lang go together",
               source ? "tgt_lang" : "src_lang");
  return source ? fmt::format("translation_{}_to_{}", *source, *target) : std::string(task);
}

// summarization, translation, text2text-generation, text-generation: one work, four names for the answer's field.
Parsed generation(Body& body, std::string_view task) {
  Generation work;
  for (std::string& text : body.texts()) work.inputs.push_back({std::move(text), std::nullopt});
  JsonFields& p = *body.parameters;
  work.parameters = parse_generation(p, body.limits);
  std::vector<std::string> warnings;
  if (const auto nested = p.find("generate_parameters")) {
    JsonFields inner(*nested, "parameters.generate_parameters.");
    work.parameters = parse_generation(inner, body.limits);
    report_unknown(inner, body.limits, warnings);
  }
  work.return_full_text = p.boolean("return_full_text").value_or(false);
  work.pipeline = task == "summarization" ? "summarization" : translation_pipeline(p, task);
  const bool stream = body.fields.boolean("stream").value_or(false);
  work.stream = stream;
  const bool all = work.parameters.best_of == 1;  // of best_of only the best is the answer
  const char* field = task == "summarization"           ? "summary_text"
                      : task.starts_with("translation") ? "translation_text"
                                                        : "generated_text";
  return {std::move(work),
          [field, all, single = body.single()](const Outcome& o) {
            return format_texts(std::get<GenerationResult>(o), field, single, all);
          },
          std::move(warnings), stream};
}

// Details are Text Generation Inference's, whose clients ask for them on this route too.
bool wants_details(Body& body) {
  const bool details = body.parameters->boolean("details").value_or(false);
  const bool wanted = body.parameters->boolean("decoder_input_details").value_or(false) || details;
  if (wanted && !body.single())
    throw fail(StatusCode::invalid, "parameters.details is true: details are given for one text, inputs is an array");
  return wanted;
}

}  // namespace

Parsed parse(std::string_view bytes, Task model_task, std::string_view task, const ParseLimits& limits) {
  Body body(bytes, limits);
  const bool own = task.empty();
  if (own) task = name(model_task);
  const bool labels_given = body.parameters->find("candidate_labels").has_value();
  if (task == "zero-shot-classification" || (own && model_task == Task::text_classification && labels_given))
    return body.finish(zero_shot(body));
  if (task == "sentence-similarity") return body.finish(sentence_similarity(body));
  if (task == "summarization" || task.starts_with("translation")) return body.finish(generation(body, task));
  const Result<Task> known = parse_task(task);
  if (!known.ok()) throw Error(StatusCode::not_found, known.status().message());
  switch (*known) {
    case Task::token_classification: return body.finish(token_classification(body));
    case Task::text_classification: return body.finish(text_classification(body));
    case Task::fill_mask: return body.finish(fill_mask(body));
    case Task::question_answering: return body.finish(question_answering(body));
    case Task::feature_extraction: return body.finish(feature_extraction(body));
    case Task::text_generation:
    case Task::text2text_generation:
      return wants_details(body) ? tgi::parse(bytes, false, true, limits) : body.finish(generation(body, task));
  }
  throw fail(StatusCode::internal, "task {} has no parser", task);
}

}  // namespace inazuma::task_api
