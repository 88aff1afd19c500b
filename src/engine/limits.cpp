#include "engine/limits.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/beams/beam_group.h"
#include "engine/kv_pool.h"

namespace inazuma {

namespace {

constexpr int kUnboundedContext = 2048;
constexpr int kMaxTopTokens = 100;
constexpr int kMaxBeams = 64;
constexpr int kMaxPriority = 1 << 20;
constexpr int64_t kCpuPoolBytes = int64_t{1} << 30;
constexpr int64_t kGpuPoolBytes = int64_t{16} << 30;

void check_option(std::string_view name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high)
    throw fail(StatusCode::invalid, "engine option {} is {}, must be in [{}, {}] (0 = chosen from the model)", name,
               value, low, high);
}

int64_t kv_bytes_per_token(const ModelInfo& info, DType dtype) {
  return int64_t{2} * info.kv_layers * info.kv_heads * info.kv_head_dim * static_cast<int64_t>(size_of(dtype));
}

/// Pool tokens of one row at full length, in whole blocks.
int64_t full_row(const ModelInfo& info, const EngineOptions& options) {
  const int blocks = blocks_for(options.max_context, options.block_tokens);
  const int cross = info.has_encoder ? blocks_for(source_limit(info, options), options.block_tokens) : 0;
  return int64_t{blocks + cross} * options.block_tokens;
}

void resolve_pool(EngineOptions& out, const ModelInfo& info, Device device, DType compute_dtype) {
  const int64_t one = full_row(info, out);
  if (out.kv_tokens == 0) {
    const int64_t bytes = device.is_cpu() ? kCpuPoolBytes : kGpuPoolBytes;
    const int64_t affordable = bytes / std::max<int64_t>(kv_bytes_per_token(info, compute_dtype), 1);
    const int64_t whole = affordable / out.block_tokens * out.block_tokens;
    out.kv_tokens = std::max(std::min(one * out.max_sequences, whole), one);
  }
  out.kv_tokens = int64_t{blocks_for(out.kv_tokens, out.block_tokens)} * out.block_tokens;
  if (out.kv_tokens < one)
    throw fail(StatusCode::invalid,
               "engine option kv_tokens is {}, must be at least {}: one row of max_context {} (raise kv_tokens or "
               "lower max_context)",
               out.kv_tokens, one, out.max_context);
}

}  // namespace

EngineOptions resolve_options(const EngineOptions& options, const ModelInfo& info, Device device, DType compute_dtype) {
  constexpr int kMany = 1 << 24;  // slots of the pool and tokens of a step are counted in int32
  check_option("max_queue", options.max_queue, 1, kMany);
  check_option("max_sequences", options.max_sequences, 0, 1 << 16);
  check_option("max_batch_tokens", options.max_batch_tokens, 0, kMany);
  check_option("block_tokens", options.block_tokens, 1, 1 << 12);
  check_option("steps_in_flight", options.steps_in_flight, 0, 2);
  check_option("kv_tokens", options.kv_tokens, 0, int64_t{1} << 30);
  check_option("max_context", options.max_context, 0, info.max_positions > 0 ? info.max_positions : kMany);
  EngineOptions out = options;
  const bool cpu = device.is_cpu();
  // Texts that a GPU has answered, but not told of, count too: two steps of them.
  if (out.max_sequences == 0) out.max_sequences = info.has_decoder ? (cpu ? 32 : 256) : (cpu ? 64 : 1024);
  if (out.max_batch_tokens == 0) out.max_batch_tokens = info.has_decoder ? (cpu ? 512 : 4096) : (cpu ? 1024 : 16384);
  if (out.steps_in_flight == 0) out.steps_in_flight = cpu ? 1 : 2;
  if (out.max_context == 0) out.max_context = info.max_positions > 0 ? info.max_positions : kUnboundedContext;
  if (!info.has_decoder) {
    out.kv_tokens = 0;
    return out;
  }
  out.max_sequences = std::min(out.max_sequences, out.max_batch_tokens);
  resolve_pool(out, info, device, compute_dtype);
  return out;
}

int source_limit(const ModelInfo& info, const EngineOptions& options) {
  return info.max_positions > 0 ? info.max_positions : options.max_context;
}

namespace {

/// invalid: "top_p is 1.5, must be in (0, 1]"; NaN is never in range.
template <class T>
void require(bool in_range, std::string_view field, T value, std::string_view range) {
  if (!in_range) throw fail(StatusCode::invalid, "{} is {}, must be {}", field, value, range);
}

void check_ids(std::string_view field, const std::vector<int32_t>& ids, int bound) {
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= bound)
      throw fail(StatusCode::invalid, "{}[{}] is {}, must be in [0, {})", field, i, ids[i], bound);
}

void check_type_ids(const SequenceRequest& request, const ModelInfo& info) {
  if (request.type_ids.empty()) return;
  if (request.type_ids.size() != request.ids.size())
    throw fail(StatusCode::invalid, "type_ids has {} entries, must have one for each of the {} ids",
               request.type_ids.size(), request.ids.size());
  check_ids("type_ids", request.type_ids, std::max(info.type_vocab, 1));  // without types only 0 means something
}

/// Models without embeddings take hidden states in place of ids; returns how many positions there are.
size_t check_source(const SequenceRequest& request, const ModelInfo& info) {
  if (info.vocab > 0) {
    if (!request.hidden.empty())
      throw fail(StatusCode::invalid, "hidden states are given, but {} takes ids", info.architecture);
    return request.ids.size();
  }
  if (!request.ids.empty())
    throw fail(StatusCode::invalid, "ids are given, but {} has no embeddings: it takes hidden states",
               info.architecture);
  const auto width = static_cast<size_t>(info.hidden);
  if (request.hidden.size() % width != 0)
    throw fail(StatusCode::invalid, "hidden has {} values, must be a multiple of the width {}", request.hidden.size(),
               width);
  return request.hidden.size() / width;
}

void check_wanted(const SequenceRequest& request, const ModelInfo& info, size_t length) {
  using Wanted = SequenceRequest::Wanted;
  const bool encoder_only = !info.has_decoder;
  if (request.rows != Wanted::none && (!encoder_only || info.row_width == 0))
    throw fail(StatusCode::invalid, "rows are wanted, but {} gives no output per token", info.architecture);
  if (request.pooled && (!encoder_only || info.pooled_width == 0))
    throw fail(StatusCode::invalid, "a pooled output is wanted, but {} gives none", info.architecture);
  if (encoder_only && request.rows == Wanted::none && !request.pooled)
    throw fail(StatusCode::invalid, "neither rows nor pooled is wanted: nothing to compute");
  if (request.rows != Wanted::listed) return;
  require(!request.listed.empty(), "listed.size", request.listed.size(), "at least 1");
  check_ids("listed", request.listed, static_cast<int>(length));
  if (std::adjacent_find(request.listed.begin(), request.listed.end(), std::greater_equal<>{}) != request.listed.end())
    throw fail(StatusCode::invalid, "listed positions must be increasing");
}

void check_sampling(const GenerationOptions& g) {
  if (g.sample)
    require(g.temperature > 0 && std::isfinite(g.temperature), "temperature", g.temperature, "above 0 and finite");
  require(g.top_k >= 0, "top_k", g.top_k, "at least 0 (0 = off)");
  require(g.top_p > 0 && g.top_p <= 1, "top_p", g.top_p, "in (0, 1]");
  require(g.min_p >= 0 && g.min_p <= 1, "min_p", g.min_p, "in [0, 1]");
  require(g.typical_p > 0 && g.typical_p <= 1, "typical_p", g.typical_p, "in (0, 1]");
  require(g.repetition_penalty > 0 && std::isfinite(g.repetition_penalty), "repetition_penalty", g.repetition_penalty,
          "above 0 and finite");
  require(std::isfinite(g.frequency_penalty), "frequency_penalty", g.frequency_penalty, "finite");
  require(std::isfinite(g.presence_penalty), "presence_penalty", g.presence_penalty, "finite");
}

void check_beams(const GenerationOptions& g, const EngineOptions& options) {
  require(g.num_beams >= 1 && g.num_beams <= kMaxBeams, "num_beams", g.num_beams, fmt::format("in [1, {}]", kMaxBeams));
  require(g.num_return_sequences >= 1 && g.num_return_sequences <= g.num_beams, "num_return_sequences",
          g.num_return_sequences, fmt::format("in [1, {}] (num_beams)", g.num_beams));
  if (g.num_beams == 1) return;
  if (g.num_beams > options.max_sequences)
    throw fail(StatusCode::invalid,
               "num_beams is {}, but the engine runs {} sequences at once (ask for fewer, or raise max_sequences)",
               g.num_beams, options.max_sequences);
  require(std::isfinite(g.length_penalty), "length_penalty", g.length_penalty, "finite");
  require(std::isfinite(g.beam_diversity), "beam_diversity", g.beam_diversity, "finite");
  if (g.beam_logits)
    require(g.temperature > 0 && std::isfinite(g.temperature), "temperature", g.temperature, "above 0 and finite");
  if (g.sample)
    throw fail(StatusCode::invalid, "num_beams is {} and sampling is on: beams are searched, not drawn", g.num_beams);
  require(g.top_tokens == 0, "top_tokens", g.top_tokens, "0 with num_beams above 1: a search tells hypotheses");
  if (g.max_new_tokens == 0)
    throw fail(StatusCode::invalid, "max_new_tokens is 0, must be at least 1 with num_beams above 1");
}

void check_generation(const GenerationOptions& g, const ModelInfo& info, const EngineOptions& options) {
  check_beams(g, options);
  const int least = g.prompt_logprobs ? 0 : 1;  // scoring a prompt needs no new token
  require(g.max_new_tokens >= least, "max_new_tokens", g.max_new_tokens, fmt::format("at least {}", least));
  require(g.min_new_tokens >= 0 && g.min_new_tokens <= g.max_new_tokens, "min_new_tokens", g.min_new_tokens,
          fmt::format("in [0, {}] (max_new_tokens)", g.max_new_tokens));
  require(g.eos.size() <= SelectionRow::kMaxEos, "eos.size", g.eos.size(),
          fmt::format("at most {}", SelectionRow::kMaxEos));
  require(g.no_repeat_ngram >= 0, "no_repeat_ngram", g.no_repeat_ngram, "at least 0 (0 = off)");
  const int most = std::min(kMaxTopTokens, info.vocab);
  require(g.top_tokens >= 0 && g.top_tokens <= most, "top_tokens", g.top_tokens, fmt::format("in [0, {}]", most));
  if (g.prompt_logprobs && info.has_encoder)
    throw fail(StatusCode::invalid, "prompt_logprobs is only for decoder-only models, {} is none", info.architecture);
  check_ids("eos", g.eos, info.vocab);
  check_ids("suppress", g.suppress, info.vocab);
  for (size_t i = 0; i < g.bad_words.size(); ++i) {
    if (g.bad_words[i].empty()) throw fail(StatusCode::invalid, "bad_words[{}] is empty, must hold at least one id", i);
    check_ids(fmt::format("bad_words[{}]", i), g.bad_words[i], info.vocab);
  }
  if (g.forced_bos) check_ids("forced_bos", {*g.forced_bos}, info.vocab);
  if (g.forced_eos) check_ids("forced_eos", {*g.forced_eos}, info.vocab);
  check_sampling(g);
}

/// A group must fit into the pool at once, or it would wait for ever.
void check_room(int prompt, int source, const GenerationOptions& g, const EngineOptions& options) {
  if (g.num_beams == 1) return;
  const int64_t blocks = int64_t{beam_blocks(prompt, g.max_new_tokens, g.num_beams, options.block_tokens)} +
                         blocks_for(source, options.block_tokens);
  const int64_t most = options.kv_tokens / options.block_tokens;
  if (blocks > most)
    throw fail(
        StatusCode::too_long,
        "num_beams {} with max_new_tokens {} may need the keys and values of {} tokens, there is room for {} (ask for "
        "fewer beams or tokens, or raise kv_tokens)",
        g.num_beams, g.max_new_tokens, blocks * options.block_tokens, most * options.block_tokens);
}

void check_length(size_t prompt, int source, const GenerationOptions& g, const EngineOptions& options) {
  const int limit = options.max_context;
  if (static_cast<int64_t>(prompt) + g.max_new_tokens <= limit)
    return check_room(static_cast<int>(prompt), source, g, options);
  throw fail(StatusCode::too_long,
             "text too long: prompt of {} tokens + max_new_tokens {} = {}, the context holds {} (shorten the text or "
             "lower max_new_tokens)",
             prompt, g.max_new_tokens, static_cast<int64_t>(prompt) + g.max_new_tokens, limit);
}

}  // namespace

void check_request(const SequenceRequest& request, const ModelInfo& info, const EngineOptions& options) {
  if (!request.sink) throw fail(StatusCode::invalid, "sink is null, must be given: it hears the row's events");
  if (request.ids.empty() && request.hidden.empty()) throw fail(StatusCode::empty, "the text has no tokens");
  require(std::abs(static_cast<int64_t>(request.priority)) <= kMaxPriority, "priority", request.priority,
          fmt::format("in [-{}, {}]", kMaxPriority, kMaxPriority));
  const int source = source_limit(info, options);
  const size_t length = check_source(request, info);
  if (info.has_encoder && length > static_cast<size_t>(source))
    throw fail(StatusCode::too_long,
               "text too long: {} tokens, the model reads at most {} (shorten or truncate the text)", length, source);
  check_ids("ids", request.ids, info.vocab);
  check_type_ids(request, info);
  check_wanted(request, info, length);
  if (!info.has_decoder) return;
  check_generation(request.generation, info, options);
  if (!info.has_encoder) {
    if (!request.decoder_ids.empty())
      throw fail(StatusCode::invalid, "decoder_ids are only for encoder-decoders; put the prompt in ids");
    check_length(request.ids.size(), 0, request.generation, options);
    return;
  }
  check_ids("decoder_ids", request.decoder_ids, info.vocab);
  check_length(std::max<size_t>(request.decoder_ids.size(), 1), static_cast<int>(length), request.generation, options);
}

}  // namespace inazuma
