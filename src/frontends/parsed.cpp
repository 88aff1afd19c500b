#include "frontends/parsed.h"

namespace inazuma {

void check_batch(size_t items, const ParseLimits& limits) {
  if (items > static_cast<size_t>(limits.max_client_batch))
    throw fail(StatusCode::too_large, "inputs has {} items, the limit is {} (--max-client-batch-size)", items,
               limits.max_client_batch);
}

void report_unknown(const JsonFields& fields, const ParseLimits& limits, std::vector<std::string>& warnings) {
  constexpr size_t kMostWarnings = 8;  // they travel in one header line
  const std::vector<std::string> unknown = fields.unknown();
  for (const std::string& name : unknown) {
    if (warnings.size() >= kMostWarnings)
      return warnings.push_back(fmt::format("{} parameters are not known", unknown.size()));
    const auto near = nearest(name, fields.known());
    std::string sentence = fmt::format("parameter {} is not known", quoted(name));
    if (near) sentence += fmt::format(", did you mean '{}'?", *near);
    if (limits.strict) throw Error(StatusCode::invalid, sentence);
    warnings.push_back(std::move(sentence));
  }
}

namespace {

void parse_beams(JsonFields& fields, GenerationParameters& p) {
  constexpr int kMostBeams = 64;
  p.num_beams = fields.integer("num_beams", 1, kMostBeams);
  p.num_return_sequences = fields.integer("num_return_sequences", 1, kMostBeams);
  p.length_penalty = fields.real("length_penalty");
  if (const auto early = fields.find("early_stopping")) {
    std::string_view text;
    if (early->is_bool())
      p.early_stopping = bool(*early) ? EarlyStopping::full : EarlyStopping::heuristic;
    else if (!early->get(text) && text == "never")
      p.early_stopping = EarlyStopping::never;
    else
      throw fail(StatusCode::invalid, "early_stopping is {}, must be true, false or \"never\"", shown(*early));
  }
  if (const auto groups = fields.integer("num_beam_groups", 1, kMostBeams); groups.value_or(1) > 1)
    throw fail(StatusCode::invalid, "num_beam_groups is {}: groups of beams are not offered here, leave it out",
               *groups);
  if (const auto penalty = fields.real("diversity_penalty"); penalty.value_or(0.0f) != 0.0f)
    throw fail(StatusCode::invalid, "diversity_penalty is {}: groups of beams are not offered here, leave it out",
               *penalty);
  for (const char* name : {"constraints", "force_words_ids"})
    if (const auto value = fields.find(name))
      throw fail(StatusCode::invalid, "{} is {}: constrained beams are not offered here, leave it out", name,
                 shown(*value));
}

}  // namespace

GenerationParameters parse_generation(JsonFields& fields, const ParseLimits& limits) {
  constexpr int kMost = 1 << 30;
  GenerationParameters p;
  p.max_new_tokens = fields.integer("max_new_tokens", 1, kMost);
  p.max_length = fields.integer("max_length", 1, kMost);
  p.min_new_tokens = fields.integer("min_new_tokens", 0, kMost);
  p.min_length = fields.integer("min_length", 0, kMost);
  p.do_sample = fields.boolean("do_sample");
  p.temperature = fields.real("temperature");
  p.top_k = fields.integer("top_k", 0, kMost);
  p.top_p = fields.real("top_p");
  p.min_p = fields.real("min_p");
  p.typical_p = fields.real("typical_p");
  p.seed = fields.unsigned64("seed");
  p.repetition_penalty = fields.real("repetition_penalty");
  p.frequency_penalty = fields.real("frequency_penalty");
  p.presence_penalty = fields.real("presence_penalty");
  p.no_repeat_ngram_size = fields.integer("no_repeat_ngram_size", 0, kMost);
  p.ignore_eos = fields.boolean("ignore_eos");
  p.truncate = fields.integer("truncate", 1, kMost);
  p.top_n_tokens = fields.integer("top_n_tokens", 0, 20);
  p.best_of = fields.integer("best_of", 1, 16).value_or(1);
  p.stop = fields.texts("stop").value_or(std::vector<std::string>{});
  for (auto& stop : fields.texts("stop_sequences").value_or(std::vector<std::string>{}))
    p.stop.push_back(std::move(stop));
  if (p.stop.size() > static_cast<size_t>(limits.max_stop))
    throw fail(StatusCode::invalid, "stop has {} strings, at most {} are allowed", p.stop.size(), limits.max_stop);
  p.bad_words = fields.texts("bad_words").value_or(std::vector<std::string>{});
  parse_beams(fields, p);
  for (const char* name : {"watermark", "grammar"})
    if (const auto value = fields.find(name); value && !(value->is_bool() && !bool(*value)))
      throw fail(StatusCode::invalid, "{} is {}: not offered here, leave it out", name, shown(*value));
  return p;
}

Truncation parse_truncation(JsonFields& fields) {
  Truncation out;
  out.truncate = fields.boolean("truncate");
  if (const auto side = fields.text("truncation_direction")) {
    if (*side == "left" || *side == "Left")
      out.side = TruncationSide::left;
    else if (*side != "right" && *side != "Right")
      throw fail(StatusCode::invalid, "truncation_direction is {}, must be 'left' or 'right'", quoted(*side));
  }
  return out;
}

}  // namespace inazuma
