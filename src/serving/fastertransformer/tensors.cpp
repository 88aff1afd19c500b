#include "serving/fastertransformer/tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace inazuma::fastertransformer {

namespace {

const NamedTensor* find(const TensorInference& inference, std::string_view name) {
  for (const NamedTensor& tensor : inference.inputs)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

const NamedTensor& need(const TensorInference& inference, std::string_view name) {
  if (const NamedTensor* tensor = find(inference, name)) return *tensor;
  throw fail(StatusCode::invalid, "input {} is missing", name);
}

template <class T>
T element(const NamedTensor& tensor, int64_t i) {
  T value;
  std::memcpy(&value, tensor.data.data() + i * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

/// Clients send ids and lengths as UINT32 or INT32; the configuration says which.
int64_t integer(const NamedTensor& tensor, int64_t i) {
  switch (tensor.type) {
    case DataType::boolean:
    case DataType::uint8: return element<uint8_t>(tensor, i);
    case DataType::int8: return element<int8_t>(tensor, i);
    case DataType::uint16: return element<uint16_t>(tensor, i);
    case DataType::int16: return element<int16_t>(tensor, i);
    case DataType::uint32: return element<uint32_t>(tensor, i);
    case DataType::int32: return element<int32_t>(tensor, i);
    case DataType::uint64:
    case DataType::int64: return element<int64_t>(tensor, i);
    default:
      throw fail(StatusCode::invalid, "input {} is {}, must be an integer type", tensor.name, wire_name(tensor.type));
  }
}

float real(const NamedTensor& tensor, int64_t i) {
  switch (tensor.type) {
    case DataType::fp16: return to_float(Half{element<uint16_t>(tensor, i)});
    case DataType::bf16: return to_float(BFloat16{element<uint16_t>(tensor, i)});
    case DataType::fp32: return element<float>(tensor, i);
    case DataType::fp64: return static_cast<float>(element<double>(tensor, i));
    default:
      throw fail(StatusCode::invalid, "input {} is {}, must be a floating-point type", tensor.name,
                 wire_name(tensor.type));
  }
}

int64_t count(const NamedTensor& tensor) {
  return element_count(tensor.shape).value();
}

/// Scalars of a request: [B, 1] or [B].
class Scalars {
 public:
  Scalars(const TensorInference& inference, int batch) : inference_(inference), batch_(batch) {}

  std::optional<int64_t> whole(std::string_view name, int row, int64_t low, int64_t high) const {
    const NamedTensor* tensor = per_row(name);
    if (tensor == nullptr) return std::nullopt;
    const int64_t value = integer(*tensor, row);
    if (value < low || value > high)
      throw fail(StatusCode::invalid, "{}[{}] is {}, must be in [{}, {}]", name, row, value, low, high);
    return value;
  }
  float real_or(std::string_view name, int row, float fallback) const {
    const NamedTensor* tensor = per_row(name);
    if (tensor == nullptr) return fallback;
    const float value = real(*tensor, row);
    if (!std::isfinite(value)) throw fail(StatusCode::invalid, "{}[{}] is {}, must be finite", name, row, value);
    return value;
  }
  bool given(std::string_view name) const { return per_row(name) != nullptr; }

 private:
  /// One value a row; null when the tensor was not sent.
  const NamedTensor* per_row(std::string_view name) const {
    const NamedTensor* tensor = find(inference_, name);
    if (tensor == nullptr || count(*tensor) == 0) return nullptr;
    if (count(*tensor) != batch_)
      throw fail(StatusCode::invalid, "{} has the shape {}, must hold one value for each of the {} rows", name,
                 show(tensor->shape), batch_);
    return tensor;
  }
  const TensorInference& inference_;
  int batch_;
};

/// [B, 2, W], or [2, W] for all rows: flattened ids above cumulative ends, which -1 pads.
std::vector<std::vector<int32_t>> read_words(const TensorInference& inference, std::string_view name, int row,
                                             int batch, int vocab) {
  const NamedTensor* tensor = find(inference, name);
  std::vector<std::vector<int32_t>> out;
  if (tensor == nullptr || count(*tensor) == 0) return out;
  const std::vector<int64_t>& shape = tensor->shape;
  const bool shared = shape.size() == 2 && shape[0] == 2;
  if (!shared && (shape.size() != 3 || shape[0] != batch || shape[1] != 2))
    throw fail(StatusCode::invalid, "{} has the shape {}, must be [{},2,W]: ids of all words above the end of each",
               name, show(shape), batch);
  const int64_t width = shape.back();
  const int64_t ids = shared ? 0 : int64_t{2} * row * width;
  int64_t begin = 0;
  for (int64_t i = 0; i < width; ++i) {
    const int64_t end = integer(*tensor, ids + width + i);
    if (end == -1) break;
    if (end <= begin || end > width)
      throw fail(StatusCode::invalid, "{}[{}]: the end of word {} is {}, must be above {} and at most {}", name, row, i,
                 end, begin, width);
    std::vector<int32_t>& word = out.emplace_back();
    for (int64_t at = begin; at < end; ++at) {
      const int64_t id = integer(*tensor, ids + at);
      if (id < 0 || id >= vocab)
        throw fail(StatusCode::invalid, "{}[{}] holds the id {}, must be in [0, {})", name, row, id, vocab);
      word.push_back(static_cast<int32_t>(id));
    }
    begin = end;
  }
  return out;
}

/// The table of the original: k and p both absent or 0 mean greedy.
void read_sampling(const Scalars& scalars, int row, GenerationOptions& out) {
  constexpr int64_t kMostTopK = 1024;
  const auto k = static_cast<int>(
      std::min(kMostTopK, scalars.whole("runtime_top_k", row, 0, std::numeric_limits<uint32_t>::max()).value_or(0)));
  const float p = std::clamp(scalars.real_or("runtime_top_p", row, 0.0f), 0.0f, 1.0f);
  const float temperature = scalars.real_or("temperature", row, 1.0f);
  if (temperature < 0) throw fail(StatusCode::invalid, "temperature[{}] is {}, must be at least 0", row, temperature);
  const bool greedy = k == 1 || (k == 0 && p == 0.0f) || temperature == 0.0f;
  out.sample = !greedy;
  if (!greedy) {
    out.top_k = k;
    out.top_p = p == 0.0f ? 1.0f : p;
    out.temperature = temperature;
  }
  out.seed = static_cast<uint64_t>(
      scalars.whole("random_seed", row, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max())
          .value_or(0));
  out.repetition_penalty = scalars.real_or("repetition_penalty", row, 1.0f);
  out.presence_penalty = scalars.real_or("presence_penalty", row, 0.0f);
  if (out.repetition_penalty <= 0)
    throw fail(StatusCode::invalid, "repetition_penalty[{}] is {}, must be above 0", row, out.repetition_penalty);
  if (out.repetition_penalty != 1.0f && out.presence_penalty != 0.0f)
    throw fail(StatusCode::invalid,
               "row {} has both repetition_penalty and presence_penalty, of which one can be given", row);
}

/// The original's search: temperature and penalties act on logits, log-softmax comes last. T5 is done when beam_width
/// texts have ended; GPT keeps ended texts among its beams, and has one length for all of them, so that len_penalty
/// does not reorder them.
void read_beams(const Scalars& scalars, int row, bool encoder_decoder, GenerationOptions& out) {
  constexpr int64_t kMostBeams = 64;
  constexpr float kColdest = 1e-6f;  // what the original adds to a temperature
  out.num_beams = static_cast<int>(std::max<int64_t>(scalars.whole("beam_width", row, 0, kMostBeams).value_or(1), 1));
  const float length_penalty = scalars.real_or("len_penalty", row, 0.0f);
  const float diversity = scalars.real_or("beam_search_diversity_rate", row, 0.0f);
  if (out.num_beams == 1) return;
  out.num_return_sequences = out.num_beams;
  out.sample = false;
  out.top_k = 0;
  out.top_p = 1.0f;
  out.temperature = std::max(scalars.real_or("temperature", row, 1.0f), kColdest);
  out.beam_logits = true;
  out.beam_diversity = diversity;
  out.length_penalty = encoder_decoder ? length_penalty : 0.0f;
  out.early_stopping = EarlyStopping::full;
  out.beams_keep_ended = !encoder_decoder;
}

/// What the original has and this server has not; values that change nothing pass.
void refuse_unsupported(const Scalars& scalars, int row) {
  const auto refuse = [&](std::string_view name, bool present) {
    if (present) throw fail(StatusCode::unsupported, "{}[{}] is not supported", name, row);
  };
  constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
  refuse("top_p_decay", scalars.real_or("top_p_decay", row, 1.0f) != 1.0f);
  refuse("request_prompt_type", scalars.whole("request_prompt_type", row, 0, kMost).value_or(0) != 0);
  refuse("is_return_context_embeddings", scalars.whole("is_return_context_embeddings", row, 0, 1).value_or(0) != 0);
}

std::vector<int32_t> read_ids(const NamedTensor& tensor, int row, int64_t padded, int64_t length, int vocab) {
  std::vector<int32_t> out;
  for (int64_t i = 0; i < length; ++i) {
    const int64_t id = integer(tensor, row * padded + i);
    if (id < 0 || id >= vocab)
      throw fail(StatusCode::invalid, "input_ids[{}][{}] is {}, must be in [0, {})", row, i, id, vocab);
    out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

/// request_output_len may have further columns, of which the first counts.
int64_t first_column(const TensorInference& inference, std::string_view name, int row, int batch, int64_t most) {
  const NamedTensor& tensor = need(inference, name);
  const int64_t columns = count(tensor) / batch;
  if (columns < 1)
    throw fail(StatusCode::invalid, "{} has the shape {}, must hold a value for each of the {} rows", name,
               show(tensor.shape), batch);
  const int64_t value = integer(tensor, row * columns);
  if (value < 1 || value > most)
    throw fail(StatusCode::invalid, "{}[{}] is {}, must be in [1, {}]", name, row, value, most);
  return value;
}

void append(std::string& raw, DataType type, float value) {
  const auto put = [&](auto bits) { raw.append(reinterpret_cast<const char*>(&bits), sizeof bits); };
  if (type == DataType::fp16) return put(to_half(value).bits);
  if (type == DataType::bf16) return put(to_bfloat16(value).bits);
  put(value);
}

/// Integers in the declared type: older configurations say UINT32 where newer ones say INT32.
NamedTensor integers(const TensorSpec& spec, std::vector<int64_t> shape, const std::vector<int32_t>& values) {
  if (element_size(spec.type) == 8)
    return make_tensor(spec.name, spec.type, std::move(shape), std::vector<int64_t>(values.begin(), values.end()));
  if (element_size(spec.type) != 4 || spec.type == DataType::fp32)
    throw fail(StatusCode::invalid, "output {} is declared as {}, must be TYPE_UINT32 or TYPE_INT32", spec.name,
               wire_name(spec.type));
  return make_tensor(spec.name, spec.type, std::move(shape), values);
}

}  // namespace

int padded_length(const TensorInference& inference, std::string_view name) {
  const NamedTensor& tensor = need(inference, name);
  if (tensor.shape.size() < 2)
    throw fail(StatusCode::invalid, "{} has the shape {}, must be [B,S]", name, show(tensor.shape));
  return static_cast<int>(tensor.shape[1]);
}

Decoding read_decoding(const TensorInference& inference, int batch, const ModelInfo& model, const Defaults& defaults) {
  constexpr int64_t kMostNew = 1 << 20;
  const bool two_sided = model.has_encoder;
  const std::string_view lengths = two_sided ? "sequence_length" : "input_lengths";
  const NamedTensor& ids = need(inference, "input_ids");
  const Scalars scalars(inference, batch);
  if (!scalars.given(lengths)) throw fail(StatusCode::invalid, "input {} is missing", lengths);
  Decoding out;
  out.padded = padded_length(inference, "input_ids");
  for (int row = 0; row < batch; ++row) {
    refuse_unsupported(scalars, row);
    Row& one = out.rows.emplace_back();
    const int64_t length = *scalars.whole(lengths, row, two_sided ? 1 : 0, out.padded);
    one.ids = read_ids(ids, row, out.padded, length, model.vocab);
    const auto id_of = [&](std::string_view name, int32_t fallback) {
      return static_cast<int32_t>(scalars.whole(name, row, 0, model.vocab - 1).value_or(fallback));
    };
    const int32_t start = id_of("start_id", defaults.start_id);
    one.end_id = id_of("end_id", defaults.end_id);
    if (two_sided && start >= 0) one.decoder_ids = {start};
    if (!two_sided && length == 0) {
      if (start < 0) throw fail(StatusCode::invalid, "row {} has no input and no start_id to begin with", row);
      one.ids = {start};
    }
    GenerationOptions& generation = one.generation;
    generation.max_new_tokens = static_cast<int>(
        first_column(inference, two_sided ? "max_output_len" : "request_output_len", row, batch, kMostNew));
    generation.min_new_tokens = static_cast<int>(
        std::min<int64_t>(scalars.whole("min_length", row, 0, kMostNew).value_or(0), generation.max_new_tokens));
    if (one.end_id >= 0) generation.eos = {one.end_id};
    generation.ignore_eos = one.end_id < 0;
    read_sampling(scalars, row, generation);
    read_beams(scalars, row, two_sided, generation);
    generation.bad_words = read_words(inference, "bad_words_list", row, batch, model.vocab);
    one.stop_words = read_words(inference, "stop_words_list", row, batch, model.vocab);
    one.log_probs = scalars.whole("is_return_log_probs", row, 0, 1).value_or(0) != 0;
    out.longest = std::max(out.longest, generation.max_new_tokens);
    out.beams = std::max(out.beams, generation.num_beams);
  }
  return out;
}

bool ends_with_word(const std::vector<std::vector<int32_t>>& words, std::span<const int32_t> ids) {
  return std::any_of(words.begin(), words.end(), [&](const std::vector<int32_t>& word) {
    return word.size() <= ids.size() &&
           std::equal(word.begin(), word.end(), ids.end() - static_cast<std::ptrdiff_t>(word.size()));
  });
}

namespace {

/// The outputs as flat arrays while they are filled, a beam after another.
struct Packing {
  const Decoding& decoding;
  bool encoder_decoder;
  int64_t width;   ///< of output_ids
  size_t most;     ///< tokens of a beam that are told
  size_t longest;  ///< that any beam tells
  std::vector<int32_t> ids, lengths, inputs;
  std::vector<float> cumulative, each;

  void add(const Row& row, const Generated& beam) {
    const size_t told = std::min(most, beam.tokens.size());
    const size_t begin = ids.size();
    if (!encoder_decoder) ids.insert(ids.end(), row.ids.begin(), row.ids.end());
    ids.insert(ids.end(), beam.tokens.begin(), beam.tokens.begin() + static_cast<std::ptrdiff_t>(told));
    fill(row, begin);
    lengths.push_back(static_cast<int32_t>(told) + (encoder_decoder ? 0 : decoding.padded));
    inputs.push_back(static_cast<int32_t>(row.ids.size()));
    float sum = 0;
    for (size_t i = 0; i < static_cast<size_t>(decoding.longest); ++i) {
      each.push_back(row.log_probs && i < told ? beam.log_probs[i] : 0.0f);
      sum += each.back();
    }
    cumulative.push_back(sum);
  }
  /// A beam that the row has not.
  void add_none(const Row& row) {
    fill(row, ids.size());
    lengths.push_back(0);
    inputs.push_back(static_cast<int32_t>(row.ids.size()));
    each.resize(each.size() + static_cast<size_t>(decoding.longest), 0.0f);
    cumulative.push_back(0.0f);
  }

 private:
  /// Behind a beam's end: end_id, for T5 only as far as the request's longest has come.
  void fill(const Row& row, size_t begin) {
    const size_t end = begin + static_cast<size_t>(width);
    ids.resize(std::min(end, encoder_decoder ? begin + longest : end), std::max(row.end_id, 0));
    ids.resize(end, 0);
  }
};

}  // namespace

TensorResult pack_decoding(const Decoding& decoding, const std::vector<std::vector<Generated>>& answers, size_t most,
                           const TensorModel& model, bool encoder_decoder) {
  const auto batch = static_cast<int64_t>(decoding.rows.size());
  const int64_t beams = decoding.beams;
  Packing out{.decoding = decoding,
              .encoder_decoder = encoder_decoder,
              .width = encoder_decoder ? decoding.longest : decoding.padded + decoding.longest,
              .most = most,
              .longest = 0,
              .ids = {},
              .lengths = {},
              .inputs = {},
              .cumulative = {},
              .each = {}};
  bool log_probs = false;
  for (const std::vector<Generated>& answer : answers)
    for (const Generated& beam : answer) out.longest = std::max(out.longest, std::min(most, beam.tokens.size()));
  for (size_t r = 0; r < decoding.rows.size(); ++r) {
    const Row& row = decoding.rows[r];
    log_probs = log_probs || row.log_probs;
    for (size_t b = 0; b < static_cast<size_t>(beams); ++b)
      b < answers[r].size() ? out.add(row, answers[r][b]) : out.add_none(row);
  }
  TensorResult result;
  for (const TensorSpec& spec : model.outputs) {
    if (spec.name == "output_ids") result.outputs.push_back(integers(spec, {batch, beams, out.width}, out.ids));
    if (spec.name == "sequence_length") result.outputs.push_back(integers(spec, {batch, beams}, out.lengths));
    if (spec.name == "response_input_lengths") result.outputs.push_back(integers(spec, {batch, beams}, out.inputs));
    if (spec.name == "cum_log_probs" && log_probs)
      result.outputs.push_back(make_tensor(spec.name, DataType::fp32, {batch, beams}, out.cumulative));
    if (spec.name == "output_log_probs" && log_probs)
      result.outputs.push_back(make_tensor(spec.name, DataType::fp32, {batch, beams, decoding.longest}, out.each));
  }
  return result;
}

std::vector<std::vector<float>> read_hidden(const TensorInference& inference, int batch, int width) {
  const NamedTensor& states = need(inference, "input_hidden_state");
  const int padded = padded_length(inference, "input_hidden_state");
  if (states.shape.size() != 3 || states.shape[2] != width)
    throw fail(StatusCode::invalid, "input_hidden_state has the shape {}, must be [B,S,{}]", show(states.shape), width);
  const Scalars scalars(inference, batch);
  if (!scalars.given("sequence_lengths")) throw fail(StatusCode::invalid, "input sequence_lengths is missing");
  std::vector<std::vector<float>> out;
  for (int row = 0; row < batch; ++row) {
    const int64_t length = *scalars.whole("sequence_lengths", row, 1, padded);
    std::vector<float>& values = out.emplace_back(static_cast<size_t>(length * width));
    const int64_t begin = int64_t{row} * padded * width;
    for (size_t i = 0; i < values.size(); ++i) values[i] = real(states, begin + static_cast<int64_t>(i));
  }
  return out;
}

TensorResult pack_hidden(const std::vector<Rows>& rows, int padded, int width, const TensorModel& model) {
  const TensorSpec* spec = model.output("output_hidden_state");
  std::string raw;
  raw.reserve(rows.size() * static_cast<size_t>(padded) * static_cast<size_t>(width) * element_size(spec->type));
  for (const Rows& row : rows) {
    for (const float value : row.values) append(raw, spec->type, value);
    raw.append(static_cast<size_t>(padded - row.count) * static_cast<size_t>(width) * element_size(spec->type), '\0');
  }
  TensorResult out;
  out.outputs.push_back({spec->name, spec->type, {static_cast<int64_t>(rows.size()), padded, width}, std::move(raw)});
  return out;
}

}  // namespace inazuma::fastertransformer
