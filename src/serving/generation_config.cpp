#include "serving/generation_config.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <random>
#include <type_traits>

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
    if (!found->is_number()) throw fail(StatusCode::invalid, "{}: '{}' must be a number, is {}", file_, key, found->dump());
    const auto value = found->get<double>();
    if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<T>::max()))) throw fail(StatusCode::invalid, "{}: '{}' is {}, which is out of range", file_, key, found->dump());
    if (std::is_integral_v<T> && value != std::floor(value)) throw fail(StatusCode::invalid, "{}: '{}' must be a whole number, is {}", file_, key, found->dump());
    return static_cast<T>(value);
  }

  std::optional<bool> boolean(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return std::nullopt;
    if (!found->is_boolean()) throw fail(StatusCode::invalid, "{}: '{}' must be true or false, is {}", file_, key, found->dump());
    return found->get<bool>();
  }

  /// An id or a list of ids.
  std::vector<int32_t> ids(const char* key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || found->is_null()) return {};
    std::vector<int32_t> out;
    const json list = found->is_array() ? *found : json::array({*found});
    for (const json& item : list) {
      if (!item.is_number_integer()) throw fail(StatusCode::invalid, "{}: '{}' must hold token ids, has {}", file_, key, item.dump());
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

// Settings that would change the answer and that single-sequence decoding does not do: said, never silently dropped.
std::vector<std::string> ignored_settings(const Reader& in, const std::string& file) {
  std::vector<std::string> out;
  const auto warn = [&](const std::string& what) { out.push_back(fmt::format("{} asks for {}: not supported, answers are those without it", file, what)); };
  if (in.number<int>("num_beams").value_or(1) > 1) warn(fmt::format("beam search (num_beams {})", *in.number<int>("num_beams")));
  for (const char* key : {"penalty_alpha", "guidance_scale", "sequence_bias", "exponential_decay_length_penalty", "dola_layers"})
    if (in.has(key)) warn(key);
  if (in.number<float>("encoder_repetition_penalty").value_or(1.0f) != 1.0f) warn("encoder_repetition_penalty");
  if (in.number<int>("encoder_no_repeat_ngram_size").value_or(0) > 0) warn("encoder_no_repeat_ngram_size");
  if (in.number<float>("epsilon_cutoff").value_or(0) > 0) warn("epsilon_cutoff");
  if (in.number<float>("eta_cutoff").value_or(0) > 0) warn("eta_cutoff");
  return out;
}

}  // namespace

Result<GenerationConfig> GenerationConfig::read(const std::filesystem::path& directory, const json& config) {
  return capture([&] {
    GenerationConfig out;
    std::string file = "generation_config.json";
    json object;
    if (std::ifstream stream(directory / file); stream) {
      try {
        object = json::parse(stream);
      } catch (const json::exception& error) {
        throw fail(StatusCode::malformed, "generation_config.json is not JSON: {}", error.what());
      }
      if (!object.is_object()) throw fail(StatusCode::malformed, "generation_config.json must hold an object");
    } else {
      file = "config.json";
      object = config;
    }
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
    out.warnings = ignored_settings(in, file);
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
  check_range("frequency_penalty", p.frequency_penalty, p.frequency_penalty >= -2 && p.frequency_penalty <= 2, "in [-2, 2]");
  check_range("presence_penalty", p.presence_penalty, p.presence_penalty >= -2 && p.presence_penalty <= 2, "in [-2, 2]");
  check_range("no_repeat_ngram_size", p.no_repeat_ngram_size, p.no_repeat_ngram_size >= 0, "at least 0 (0 = off)");
  check_range("truncate", p.truncate, p.truncate > 0, "at least 1");
  check_range("top_n_tokens", p.top_n_tokens, p.top_n_tokens >= 0 && p.top_n_tokens <= 20, "in [0, 20]");
}

template <class T>
void lay_over(T& value, const std::optional<T>& request) {
  if (request) value = *request;
}

// New tokens allowed: request over directory, a count of new tokens over a total length (which counts `prompt`).
int new_tokens(const GenerationParameters& request, const GenerationConfig& defaults, int prompt, int context, bool encoder_decoder) {
  const int room = context - prompt;
  const auto from_total = [&](int total, const char* source) {
    if (total <= prompt)
      throw fail(StatusCode::too_long, "{} is {} but the {} already has {} ids; raise it or use max_new_tokens", source, total,
                 encoder_decoder ? "decoder prompt" : "prompt", prompt);
    return total - prompt;
  };
  if (request.max_new_tokens) return *request.max_new_tokens;
  if (request.max_length) return from_total(*request.max_length, "max_length");
  if (defaults.max_new_tokens) return std::min(*defaults.max_new_tokens, room);
  if (defaults.max_length && *defaults.max_length > prompt) return std::min(*defaults.max_length - prompt, room);
  return std::min(kDefaultNewTokens, room);
}

}  // namespace

Result<GenerationOptions> resolve(const GenerationParameters& request, const GenerationConfig& defaults, int prompt, int context, bool encoder_decoder) {
  return capture([&] {
    check(request);
    GenerationOptions out = defaults.options;
    lay_over(out.sample, request.do_sample);
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
    out.top_tokens = request.top_n_tokens.value_or(0);
    if (out.sample) out.seed = request.seed ? *request.seed : std::random_device{}() | (static_cast<uint64_t>(std::random_device{}()) << 32);

    if (prompt >= context)
      throw fail(StatusCode::too_long, "the prompt has {} ids, the model takes {} with what it generates; shorten it or set truncate", prompt, context);
    out.max_new_tokens = new_tokens(request, defaults, prompt, context, encoder_decoder);
    if (out.max_new_tokens > context - prompt)
      throw fail(StatusCode::too_long, "prompt ({} ids) and max_new_tokens ({}) exceed the model's {} positions; lower max_new_tokens to {} or less",
                 prompt, out.max_new_tokens, context, context - prompt);
    int least = 0;
    if (request.min_new_tokens) least = *request.min_new_tokens;
    else if (request.min_length) least = *request.min_length - prompt;
    else if (defaults.min_new_tokens) least = std::min(*defaults.min_new_tokens, out.max_new_tokens);
    else if (defaults.min_length) least = std::min(*defaults.min_length - prompt, out.max_new_tokens);
    out.min_new_tokens = std::max(least, 0);
    if (out.min_new_tokens > out.max_new_tokens)
      throw fail(StatusCode::invalid, "min_new_tokens is {}, must not exceed max_new_tokens ({})", out.min_new_tokens, out.max_new_tokens);
    return out;
  });
}

}  // namespace inazuma
