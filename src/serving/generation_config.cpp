#include "serving/generation_config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>

#include "base/json_file.h"

namespace inazuma {

namespace {

using nlohmann::json;

constexpr int kDefaultNewTokens = 256;  // the pipelines' own default when neither request nor directory gives a length
constexpr int kDefaultTopK = 50;        // transformers' global default for sampling

class Reader {
 public:
  Reader(const json& object, std::string file) : object_(object), file_(std::move(file)) {}

  template <class T>
  std::optional<T> number(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return std::nullopt;
    if (!found->is_number())
      throw fail(StatusCode::invalid, "{}: '{}' must be a number, is {}", file_, key, found->dump());
    const auto value = found->get<double>();
    if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<T>::max())))
      throw fail(StatusCode::invalid, "{}: '{}' is {}, which is out of range", file_, key, found->dump());
    if (std::is_integral_v<T> && value != std::floor(value))
      throw fail(StatusCode::invalid, "{}: '{}' must be a whole number, is {}", file_, key, found->dump());
    return static_cast<T>(value);
  }

  std::optional<bool> boolean(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return std::nullopt;
    if (!found->is_boolean())
      throw fail(StatusCode::invalid, "{}: '{}' must be true or false, is {}", file_, key, found->dump());
    return found->get<bool>();
  }

  /// An id or a list of ids.
  std::vector<int32_t> ids(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return {};
    std::vector<int32_t> out;
    const json list = found->is_array() ? *found : json::array({*found});
    for (const json& item : list) {
      if (!item.is_number_integer())
        throw fail(StatusCode::invalid, "{}: '{}' must hold token ids, has {}", file_, key, item.dump());
      const auto id = item.get<int64_t>();
      if (item.is_number_unsigned() ? item.get<uint64_t>() > INT32_MAX : id < INT32_MIN)
        throw fail(StatusCode::invalid, "{}: '{}' holds {}, which is out of range", file_, key, item.dump());
      out.push_back(static_cast<int32_t>(id));
    }
    return out;
  }

  std::optional<int32_t> id(const char* key) const {
    const auto list = ids(key);
    return list.empty() ? std::nullopt : std::optional(list.front());
  }

  bool has(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null();
  }

 private:
  const json& object_;
  std::string file_;
};

std::vector<std::vector<int32_t>> id_lists(const json& object, const std::string& file) {
  const auto found = object.find("bad_words_ids");
  if (found == object.end() || found->is_null()) return {};
  try {
    return found->get<std::vector<std::vector<int32_t>>>();
  } catch (const json::exception&) {
    throw fail(StatusCode::invalid, "{}: 'bad_words_ids' must be a list of lists of token ids", file);
  }
}

// Settings that would change the answer and that are not done: said, never silently dropped.
std::vector<std::string> ignored_settings(const Reader& in, const std::string& file) {
  std::vector<std::string> out;
  const auto warn = [&](const std::string& what) {
    out.push_back(fmt::format("{} asks for {}: not supported, answers are those without it", file, what));
  };
  if (in.number<int>("num_beams").value_or(1) > 1 && in.boolean("do_sample").value_or(false))
    warn(fmt::format("beams that sample (do_sample with num_beams {})", *in.number<int>("num_beams")));
  if (in.number<int>("num_beam_groups").value_or(1) > 1)
    warn(fmt::format("groups of beams (num_beam_groups {})", *in.number<int>("num_beam_groups")));
  for (const char* key : {"constraints", "force_words_ids", "penalty_alpha", "guidance_scale", "sequence_bias",
                          "exponential_decay_length_penalty", "dola_layers"})
    if (in.has(key)) warn(key);
  if (in.number<float>("encoder_repetition_penalty").value_or(1.0f) != 1.0f) warn("encoder_repetition_penalty");
  if (in.number<int>("encoder_no_repeat_ngram_size").value_or(0) > 0) warn("encoder_no_repeat_ngram_size");
  if (in.number<float>("epsilon_cutoff").value_or(0) > 0) warn("epsilon_cutoff");
  if (in.number<float>("eta_cutoff").value_or(0) > 0) warn("eta_cutoff");
  return out;
}

struct Source {
  json object;
  std::string file;
};

Source source_of(const std::filesystem::path& directory, const json& config) {
  Source out{.object = config, .file = "generation_config.json"};
  std::error_code ignored;
  if (!std::filesystem::exists(directory / out.file, ignored)) return {config, "config.json"};
  out.object = read_json_file(directory / out.file);
  if (!out.object.is_object()) throw fail(StatusCode::malformed, "generation_config.json must hold an object");
  return out;
}

EarlyStopping early_stopping(const json& object, const std::string& file) {
  const auto found = object.find("early_stopping");
  if (found == object.end() || found->is_null()) return EarlyStopping::heuristic;
  if (found->is_boolean()) return found->get<bool>() ? EarlyStopping::full : EarlyStopping::heuristic;
  if (*found == "never") return EarlyStopping::never;
  throw fail(StatusCode::invalid, "{}: 'early_stopping' must be true, false or \"never\", is {}", file, found->dump());
}

void read_beams(const Reader& in, const Source& source, GenerationOptions& options) {
  // Beams that sample are named in the warnings; of the two, sampling is what an answer shows.
  options.num_beams =
      options.sample || in.number<int>("num_beam_groups").value_or(1) > 1 ? 1 : in.number<int>("num_beams").value_or(1);
  if (options.num_beams < 1)
    throw fail(StatusCode::invalid, "{}: 'num_beams' is {}, must be at least 1", source.file, options.num_beams);
  options.num_return_sequences = std::clamp(in.number<int>("num_return_sequences").value_or(1), 1, options.num_beams);
  options.length_penalty = in.number<float>("length_penalty").value_or(1.0f);
  options.early_stopping = early_stopping(source.object, source.file);
}

GenerationConfig parse(const Source& source) {
  GenerationConfig out;
  const json& object = source.object;
  const std::string& file = source.file;
  const Reader in(object, file);
  GenerationOptions& options = out.options;
  out.max_length = in.number<int>("max_length");
  out.max_new_tokens = in.number<int>("max_new_tokens");
  out.min_length = in.number<int>("min_length");
  out.min_new_tokens = in.number<int>("min_new_tokens");
  out.pad = in.id("pad_token_id");
  out.bos = in.id("bos_token_id");
  out.decoder_start = in.id("decoder_start_token_id");
  options.eos = in.ids("eos_token_id");
  options.sample = in.boolean("do_sample").value_or(false);
  options.temperature = in.number<float>("temperature").value_or(1.0f);
  options.top_k = in.number<int>("top_k").value_or(kDefaultTopK);
  options.top_p = in.number<float>("top_p").value_or(1.0f);
  options.min_p = in.number<float>("min_p").value_or(0.0f);
  options.typical_p = in.number<float>("typical_p").value_or(1.0f);
  options.repetition_penalty = in.number<float>("repetition_penalty").value_or(1.0f);
  options.no_repeat_ngram = in.number<int>("no_repeat_ngram_size").value_or(0);
  options.suppress = in.ids("suppress_tokens");
  options.bad_words = id_lists(object, file);
  options.forced_bos = in.id("forced_bos_token_id");
  options.forced_eos = in.id("forced_eos_token_id");
  read_beams(in, source, options);
  out.warnings = ignored_settings(in, file);
  return out;
}

}  // namespace

Result<GenerationConfigs> read_generation_configs(const std::filesystem::path& directory, const json& config) {
  return capture([&] {
    const Source source = source_of(directory, config);
    GenerationConfigs out{.general = parse(source)};
    const auto tasks = config.find("task_specific_params");
    if (tasks == config.end() || !tasks->is_object()) return out;
    constexpr int kUnset = 20;  // transformers' own max_length
    const auto length = source.object.find("max_length");
    const bool has_length = length != source.object.end() && length->is_number() && *length != kUnset;
    for (const auto& [name, settings] : tasks->items()) {
      if (!settings.is_object()) continue;
      Source task{source.object, fmt::format("config.json, task_specific_params.{}", name)};
      task.object.update(settings);
      // The pipelines allow 256 new tokens whatever the task says of the total, unless the directory itself has a
      // total.
      if (!has_length) task.object.erase("max_length");
      out.by_pipeline.emplace(name, parse(task));
    }
    return out;
  });
}

namespace {

template <class T>
void check_range(const char* name, std::optional<T> value, bool ok, const char* range) {
  if (value && !ok) throw fail(StatusCode::invalid, "{} is {}, must be {}", name, *value, range);
}

void check(const GenerationParameters& p) {
  check_range("max_new_tokens", p.max_new_tokens, p.max_new_tokens > 0, "at least 1");
  check_range("max_length", p.max_length, p.max_length > 0, "at least 1");
  check_range("min_new_tokens", p.min_new_tokens, p.min_new_tokens >= 0, "at least 0");
  check_range("min_length", p.min_length, p.min_length >= 0, "at least 0");
  check_range("temperature", p.temperature, p.temperature > 0, "greater than 0");
  check_range("top_k", p.top_k, p.top_k >= 0, "at least 0 (0 = off)");
  check_range("top_p", p.top_p, p.top_p > 0 && p.top_p <= 1, "in (0, 1]");
  check_range("min_p", p.min_p, p.min_p >= 0 && p.min_p <= 1, "in [0, 1]");
  check_range("typical_p", p.typical_p, p.typical_p > 0 && p.typical_p <= 1, "in (0, 1]");
  check_range("repetition_penalty", p.repetition_penalty, p.repetition_penalty > 0, "greater than 0");
  check_range("frequency_penalty", p.frequency_penalty, p.frequency_penalty >= -2 && p.frequency_penalty <= 2,
              "in [-2, 2]");
  check_range("presence_penalty", p.presence_penalty, p.presence_penalty >= -2 && p.presence_penalty <= 2,
              "in [-2, 2]");
  check_range("no_repeat_ngram_size", p.no_repeat_ngram_size, p.no_repeat_ngram_size >= 0, "at least 0 (0 = off)");
  check_range("num_beams", p.num_beams, p.num_beams > 0, "at least 1");
  check_range("num_return_sequences", p.num_return_sequences, p.num_return_sequences > 0, "at least 1");
  check_range("length_penalty", p.length_penalty, p.length_penalty && std::isfinite(*p.length_penalty), "finite");
  check_range("truncate", p.truncate, p.truncate > 0, "at least 1");
  check_range("top_n_tokens", p.top_n_tokens, p.top_n_tokens >= 0 && p.top_n_tokens <= 20, "in [0, 20]");
}

template <class T>
void lay_over(T& value, const std::optional<T>& request) {
  if (request) value = *request;
}

// Greedy decoding does not read these of a directory, whatever they hold: "temperature": 0 beside "do_sample": false is
// common. A request's own are checked in any case.
void drop_sampling(GenerationOptions& out) {
  const GenerationOptions neutral;
  out.temperature = neutral.temperature;
  out.top_k = neutral.top_k;
  out.top_p = neutral.top_p;
  out.min_p = neutral.min_p;
  out.typical_p = neutral.typical_p;
}

void lay_over_beams(GenerationOptions& out, const GenerationParameters& request) {
  const bool ours = !request.num_beams;  // the directory's beams
  lay_over(out.num_beams, request.num_beams);
  lay_over(out.length_penalty, request.length_penalty);
  lay_over(out.early_stopping, request.early_stopping);
  const int texts = request.num_return_sequences.value_or(std::min(out.num_return_sequences, out.num_beams));
  const auto beams = fmt::format("num_beams is {}{}", out.num_beams, ours ? " (generation_config.json)" : "");
  if (out.num_beams > 1) {
    out.num_return_sequences = texts;
    if (texts > out.num_beams)
      throw fail(StatusCode::invalid, "num_return_sequences is {} but {}: a search keeps one text a beam", texts,
                 beams);
    if (out.sample)
      throw fail(StatusCode::invalid,
                 "{} and do_sample is true: beams that sample are not offered, set one of them off", beams);
    if (request.best_of > 1)
      throw fail(StatusCode::invalid, "{} and best_of is {}: use num_return_sequences with beams", beams,
                 request.best_of);
    if (request.top_n_tokens.value_or(0) > 0)
      throw fail(StatusCode::invalid, "{} and top_n_tokens is {}: a search tells no alternatives, set num_beams to 1",
                 beams, *request.top_n_tokens);
    return;
  }
  out.num_return_sequences = 1;  // samples are rows of their own
  if (texts > 1 && !out.sample)
    throw fail(StatusCode::invalid,
               "num_return_sequences is {}: greedy decoding has one answer, set num_beams or do_sample", texts);
  if (texts > 1 && request.best_of > 1)
    throw fail(StatusCode::invalid, "num_return_sequences is {} and best_of is {}: give one of them", texts,
               request.best_of);
}

// New tokens allowed: request over directory, a count of new tokens over a total length (which counts `prompt`).
int new_tokens(const GenerationParameters& request, const GenerationConfig& defaults, int prompt, int context,
               bool encoder_decoder) {
  const int room = context - prompt;
  const auto from_total = [&](int total, const char* source) {
    if (total <= prompt)
      throw fail(StatusCode::too_long, "{} is {} but the {} already has {} ids; raise it or use max_new_tokens", source,
                 total, encoder_decoder ? "decoder prompt" : "prompt", prompt);
    return total - prompt;
  };
  if (request.max_new_tokens) return *request.max_new_tokens;
  if (request.max_length) return from_total(*request.max_length, "max_length");
  if (defaults.max_new_tokens) return std::min(*defaults.max_new_tokens, room);
  if (defaults.max_length && *defaults.max_length > prompt) return std::min(*defaults.max_length - prompt, room);
  return std::min(kDefaultNewTokens, room);
}

}  // namespace

Result<GenerationOptions> resolve(const GenerationParameters& request, const GenerationConfig& defaults, int prompt,
                                  int context, bool encoder_decoder) {
  return capture([&] {
    check(request);
    GenerationOptions out = defaults.options;
    lay_over(out.sample, request.do_sample);
    if (!out.sample) drop_sampling(out);
    lay_over(out.temperature, request.temperature);
    lay_over(out.top_k, request.top_k);
    lay_over(out.top_p, request.top_p);
    lay_over(out.min_p, request.min_p);
    lay_over(out.typical_p, request.typical_p);
    lay_over(out.repetition_penalty, request.repetition_penalty);
    lay_over(out.frequency_penalty, request.frequency_penalty);
    lay_over(out.presence_penalty, request.presence_penalty);
    lay_over(out.no_repeat_ngram, request.no_repeat_ngram_size);
    lay_over(out.ignore_eos, request.ignore_eos);
    lay_over_beams(out, request);
    out.top_tokens = request.top_n_tokens.value_or(0);
    if (out.sample)
      out.seed =
          request.seed ? *request.seed : std::random_device{}() | (static_cast<uint64_t>(std::random_device{}()) << 32);

    if (prompt >= context)
      throw fail(StatusCode::too_long,
                 "the prompt has {} ids, the model takes {} with what it generates; shorten it or set truncate", prompt,
                 context);
    out.max_new_tokens = new_tokens(request, defaults, prompt, context, encoder_decoder);
    if (out.max_new_tokens > context - prompt)
      throw fail(
          StatusCode::too_long,
          "prompt ({} ids) and max_new_tokens ({}) exceed the model's {} positions; lower max_new_tokens to {} or less",
          prompt, out.max_new_tokens, context, context - prompt);
    int least = 0;
    if (request.min_new_tokens)
      least = *request.min_new_tokens;
    else if (request.min_length)
      least = *request.min_length - prompt;
    else if (defaults.min_new_tokens)
      least = std::min(*defaults.min_new_tokens, out.max_new_tokens);
    else if (defaults.min_length)
      least = std::min(*defaults.min_length - prompt, out.max_new_tokens);
    out.min_new_tokens = std::max(least, 0);
    if (out.min_new_tokens > out.max_new_tokens)
      throw fail(StatusCode::invalid, "min_new_tokens is {}, must not exceed max_new_tokens ({})", out.min_new_tokens,
                 out.max_new_tokens);
    return out;
  });
}

}  // namespace inazuma
