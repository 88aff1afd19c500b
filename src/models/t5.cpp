// T5 1.0, 1.1, Flan and mT5: pre-norm encoder and decoder with RMS norm, relative position bias and no biases in
// products.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "models/blocks.h"
#include "models/config.h"
#include "models/loader.h"
#include "models/model.h"
#include "models/sentence_head.h"

namespace inazuma {
namespace {

// Config. -------------------------------------------------------------------------------------------------------------

constexpr Task kTasks[] = {Task::text2text_generation, Task::feature_extraction};

/// Where a configuration is silent, mT5 means other numbers than T5.
struct Defaults {
  int vocab, inner, layers, heads;
  std::string_view feed_forward;
  bool tied_head;
};
constexpr Defaults kT5{32128, 2048, 6, 8, "relu", true};
constexpr Defaults kMt5{250112, 1024, 8, 6, "gated-gelu", false};

struct T5Config {
  int vocab, hidden, head_dim, inner, encoder_layers, decoder_layers, heads, buckets, max_distance, decoder_start;
  Activation activation;
  bool gated, head_in_file, scaled_output;
  double epsilon;
};

/// "relu", "gated-gelu" (which means the tanh form), "gated-silu", ...
void read_feed_forward(const Config& config, std::string_view fallback, T5Config& out) {
  const std::string text = config.text({"feed_forward_proj"}, fallback);
  out.gated = text.starts_with("gated-");
  const std::string act = out.gated ? text.substr(6) : text;
  const Result<Activation> parsed = parse_activation(text == "gated-gelu" ? "gelu_new" : act);
  if (!parsed) throw Error(parsed.status().in("config.json: feed_forward_proj"));
  out.activation = *parsed;
}

/// 5 of "5.23.0.dev0", 0 of what is no version.
int major_version(std::string_view text) {
  int major = 0;
  std::from_chars(text.data(), text.data() + text.size(), major);
  return major;
}

/// transformers 4 lets tie_word_embeddings decide both the head and the output scale. Version 5 always sets that flag
/// and writes scale_decoder_outputs instead; its heads are tied only where the file has no other. Its mT5 never scales
/// and has no key for it: there the version itself tells.
void read_head(const Config& config, const WeightReader& weights, const Defaults& defaults, T5Config& out) {
  const bool tied = config.flag({"tie_word_embeddings"}, defaults.tied_head);
  const bool mt5_by_5 = &defaults == &kMt5 && major_version(config.text({"transformers_version"}, "")) >= 5;
  const bool written_by_5 = mt5_by_5 || config.present({"scale_decoder_outputs"}).has_value();
  out.scaled_output = config.flag({"scale_decoder_outputs"}, tied && !mt5_by_5);
  out.head_in_file = written_by_5 ? weights.has("lm_head.weight") : !tied;
}

T5Config read_config(const nlohmann::json& json, const WeightReader& weights) {
  const Config config(json);
  const Defaults& defaults = config.text({"model_type"}, "t5") == "mt5" ? kMt5 : kT5;
  T5Config out{};
  out.vocab = config.integer({"vocab_size"}, defaults.vocab, 1, kMaxVocabulary);
  out.hidden = config.integer({"hidden_size", "d_model"}, 512, 1, kMaxWidth);
  out.head_dim = config.integer({"head_dim", "d_kv"}, 64, 1, kMaxWidth);
  out.inner = config.integer({"d_ff"}, defaults.inner, 1, kMaxWidth);
  out.encoder_layers = config.integer({"num_hidden_layers", "num_layers"}, defaults.layers, 1, kMaxLayers);
  out.decoder_layers = config.integer({"num_decoder_layers"}, out.encoder_layers, 1, kMaxLayers);
  out.heads = config.integer({"num_attention_heads", "num_heads"}, defaults.heads, 1, kMaxWidth);
  out.buckets = config.integer({"relative_attention_num_buckets"}, 32, 4, 1 << 16);
  // The encoder halves the buckets, the decoder does not: distances must reach beyond its exact half.
  out.max_distance = config.integer({"relative_attention_max_distance"}, 128, out.buckets / 2 + 1, 1 << 16);
  out.epsilon = config.positive({"layer_norm_epsilon"}, 1e-6);
  const int pad = config.integer({"pad_token_id"}, 0, -1, out.vocab - 1);
  out.decoder_start = config.integer({"decoder_start_token_id"}, std::max(pad, 0), 0, out.vocab - 1);
  if (static_cast<int64_t>(out.heads) * out.head_dim > kMaxWidth) {
    throw fail(StatusCode::invalid, "config.json: num_heads {} times d_kv {} exceeds {}", out.heads, out.head_dim,
               kMaxWidth);
  }
  read_feed_forward(config, defaults.feed_forward, out);
  read_head(config, weights, defaults, out);
  return out;
}

// Weights. ------------------------------------------------------------------------------------------------------------

struct Layer {
  Norm self_norm;
  Linear qkv, self_out;
  Norm cross_norm;  ///< decoder only, and the next three
  Linear cross_q, cross_kv, cross_out;
  Norm feed_forward_norm;
  FeedForward feed_forward;
};

struct Stack {
  std::vector<Layer> layers;
  Parameter bias_memory;
  RelativeBias bias;
  Norm final_norm;
};

struct T5Weights {
  Parameter words;
  Stack encoder;
  Stack decoder;  ///< no layers for feature extraction
  Linear head;
};

Layer load_layer(Loader& load, const T5Config& config, const std::string& block, bool decoder) {
  const int h = config.hidden;
  const int width = config.heads * config.head_dim;
  const std::string self = block + "layer.0.SelfAttention.";
  const std::string cross = block + "layer.1.EncDecAttention.";
  const std::string last = block + (decoder ? "layer.2." : "layer.1.");
  const std::string dense = last + "DenseReluDense.";
  Layer out;
  out.self_norm = load.rms_norm(block + "layer.0.layer_norm", h, config.epsilon);
  out.qkv = load.fused_without_bias({self + "q", self + "k", self + "v"}, width, h);
  out.self_out = load.linear_without_bias(self + "o", h, width);
  if (decoder) {
    out.cross_norm = load.rms_norm(block + "layer.1.layer_norm", h, config.epsilon);
    out.cross_q = load.linear_without_bias(cross + "q", width, h);
    out.cross_kv = load.fused_without_bias({cross + "k", cross + "v"}, width, h);
    out.cross_out = load.linear_without_bias(cross + "o", h, width);
  }
  out.feed_forward_norm = load.rms_norm(last + "layer_norm", h, config.epsilon);
  out.feed_forward.activation = config.activation;
  out.feed_forward.up = load.linear_without_bias(dense + (config.gated ? "wi_0" : "wi"), config.inner, h);
  if (config.gated) out.feed_forward.gate = load.linear_without_bias(dense + "wi_1", config.inner, h);
  out.feed_forward.down = load.linear_without_bias(dense + "wo", h, config.inner);
  return out;
}

Stack load_stack(Loader& load, const T5Config& config, const std::string& at, int layers, bool decoder) {
  Stack out;
  for (int i = 0; i < layers; ++i) {
    out.layers.push_back(load_layer(load, config, at + "block." + std::to_string(i) + ".", decoder));
  }
  const DistanceBuckets buckets{config.buckets, config.max_distance, !decoder};
  out.bias = load.relative_bias(at + "block.0.layer.0.SelfAttention.relative_attention_bias", config.heads, buckets,
                                out.bias_memory);
  out.final_norm = load.rms_norm(at + "final_layer_norm", config.hidden, config.epsilon);
  return out;
}

T5Weights load_weights(Loader& load, const T5Config& config, bool with_decoder) {
  const Shape table{config.vocab, config.hidden};
  const Tensor words =
      load.view("shared.weight", table, {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"});
  T5Weights out;
  out.words = load.table(words);
  out.encoder = load_stack(load, config, "encoder.", config.encoder_layers, false);
  if (!with_decoder) return out;
  out.decoder = load_stack(load, config, "decoder.", config.decoder_layers, true);
  out.head.weight = load.pack(config.head_in_file ? load.view("lm_head.weight", table) : words);
  return out;
}

void ignore_leftovers(WeightReader& weights, const T5Config& config, bool with_decoder) {
  weights.ignore({"encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                  "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"});
  if (!config.head_in_file) weights.ignore({"lm_head.weight"});
  if (!with_decoder) weights.ignore({"decoder.*", "lm_head.weight"});
}

// Forward. ------------------------------------------------------------------------------------------------------------

class T5 final : public Model {
 public:
  T5(const T5Config& config, ModelInfo info, T5Weights weights, SentenceHead sentence)
      : info_(std::move(info)),
        weights_(std::move(weights)),
        sentence_(std::move(sentence)),
        heads_{.count = config.heads, .dim = config.head_dim, .scale = 1.0f},
        hidden_(config.hidden),
        inner_(config.inner),
        gated_(config.gated),
        logit_scale_(config.scaled_output ? static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.hidden)))
                                          : 1.0f) {}

  const ModelInfo& info() const override { return info_; }

  Output forward(Ops& ops, const Batch& batch, KvView& kv, Arena& arena) const override {
    Output out;
    if (batch.encoder.tokens > 0) encode(ops, batch.encoder, kv, arena, out);
    if (batch.decoder.tokens > 0) decode(ops, batch.decoder, kv, arena, out);
    return out;
  }

 private:
  struct Buffers {
    Tensor x, normed, qkv, ctx, inner, gate;
  };

  Buffers buffers(DType type, int64_t tokens, Arena& arena) const {
    return {.x = arena.tensor(kResidualType, {tokens, hidden_}),
            .normed = arena.tensor(type, {tokens, hidden_}),
            .qkv = arena.tensor(type, {tokens, 3 * heads_.width()}),
            .ctx = arena.tensor(type, {tokens, heads_.width()}),
            .inner = arena.tensor(type, {tokens, inner_}),
            .gate = gated_ ? arena.tensor(type, {tokens, inner_}) : Tensor()};
  }

  /// x [T, H], W = heads · dim
  void encode(Ops& ops, const EncoderLane& lane, const KvView& kv, Arena& arena, Output& out) const {
    if (lane.inputs.defined()) throw fail(StatusCode::unsupported, "T5 takes ids, not embeddings");
    const auto [x, normed, qkv, ctx, inner, gate] = buffers(ops.compute_dtype(), lane.tokens, arena);
    ops.embed(x, {{EmbeddingTerm{weights_.words.tensor, lane.ids}}});
    for (const Layer& layer : weights_.encoder.layers) {
      norm(ops, layer.self_norm, normed, x);
      linear(ops, layer.qkv, qkv, normed);                                    // [T, 3W]
      encoder_attention(ops, heads_, ctx, qkv, lane, weights_.encoder.bias);  // [T, W]
      linear(ops, layer.self_out, x, ctx, {.residual = x});
      norm(ops, layer.feed_forward_norm, normed, x);
      feed_forward(ops, layer.feed_forward, x, normed, x, inner, gate);
    }
    norm(ops, weights_.encoder.final_norm, normed, x);
    if (lane.cross_slots.defined()) {
      const Tensor kv_rows = qkv.columns(0, 2 * heads_.width());  // [T, 2W]
      for (size_t i = 0; i < weights_.decoder.layers.size(); ++i) {
        linear(ops, weights_.decoder.layers[i].cross_kv, kv_rows, normed);
        store_cross(ops, heads_, kv_rows, lane.cross_slots, kv, i);
      }
    }
    if (lane.rows.defined() && info_.row_width > 0) out.rows = gather(ops, arena, normed, lane.rows, DType::f32);
    if (lane.pooled.defined() && info_.pooled_width > 0) {
      out.pooled = sentence_.run(ops, arena, normed, lane);
    }
  }

  void decode(Ops& ops, const DecoderLane& lane, const KvView& kv, Arena& arena, Output& out) const {
    const DType type = ops.compute_dtype();
    const auto [x, normed, qkv, ctx, inner, gate] = buffers(type, lane.tokens, arena);
    const Tensor q = qkv.columns(0, heads_.width());
    ops.embed(x, {{EmbeddingTerm{weights_.words.tensor, lane.ids}}});
    for (size_t i = 0; i < weights_.decoder.layers.size(); ++i) {
      const Layer& layer = weights_.decoder.layers[i];
      norm(ops, layer.self_norm, normed, x);
      linear(ops, layer.qkv, qkv, normed);                                           // [T, 3W]
      decoder_attention(ops, heads_, ctx, qkv, lane, kv, i, weights_.decoder.bias);  // [T, W]
      linear(ops, layer.self_out, x, ctx, {.residual = x});
      norm(ops, layer.cross_norm, normed, x);
      linear(ops, layer.cross_q, q, normed);              // [T, W]
      cross_attention(ops, heads_, ctx, q, lane, kv, i);  // [T, W]
      linear(ops, layer.cross_out, x, ctx, {.residual = x});
      norm(ops, layer.feed_forward_norm, normed, x);
      feed_forward(ops, layer.feed_forward, x, normed, x, inner, gate);
    }
    if (!lane.rows.defined()) return;
    const Tensor last = gather(ops, arena, x, lane.rows, kResidualType);  // [n, H]
    const Tensor last_normed = arena.tensor(type, last.shape());
    norm(ops, weights_.decoder.final_norm, last_normed, last);
    out.logits = arena.tensor(DType::f32, {last.rows(), info_.vocab});  // [n, V]
    linear(ops, weights_.head, out.logits, last_normed, {.alpha = logit_scale_});
  }

  ModelInfo info_;
  T5Weights weights_;
  SentenceHead sentence_;
  Heads heads_;
  int64_t hidden_, inner_;
  bool gated_;
  float logit_scale_;
};

// Registration. -------------------------------------------------------------------------------------------------------

std::shared_ptr<const Model> load(ModelSource& source) {
  const T5Config config = read_config(source.config, source.weights);
  const Task task = task_of(source, kTasks, Task::text2text_generation);
  const bool generates = task == Task::text2text_generation;
  ModelInfo info = common_info(source, task);
  info.vocab = config.vocab;
  info.hidden = config.hidden;
  info.has_encoder = true;
  info.has_decoder = generates;
  if (generates) {
    info.kv_layers = config.decoder_layers;
    info.kv_heads = config.heads;
    info.kv_head_dim = config.head_dim;
    info.decoder_start = config.decoder_start;
  } else {
    info.row_width = config.hidden;
  }
  ignore_leftovers(source.weights, config, generates);
  Loader loader(source);
  T5Weights weights = load_weights(loader, config, generates);
  loader.report(info);
  SentenceHead sentence;
  if (!generates) sentence = SentenceHead(source, info);
  return std::make_shared<T5>(config, std::move(info), std::move(weights), std::move(sentence));
}

const RegisterArchitecture t5{{.model_type = "t5", .class_prefixes = {"T5"}, .load = load}};
const RegisterArchitecture mt5{{.model_type = "mt5", .class_prefixes = {"MT5"}, .load = load}};

}  // namespace
}  // namespace inazuma
