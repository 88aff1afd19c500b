// GPT-2: pre-norm decoder with learned absolute positions; Conv1D weights lie [in, out].

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "models/blocks.h"
#include "models/config.h"
#include "models/loader.h"
#include "models/model.h"

namespace inazuma {
namespace {

// Config. -------------------------------------------------------------------------------------------------------------

constexpr Task kTasks[] = {Task::text_generation};

struct Gpt2Config {
  int vocab, hidden, layers, heads, inner, positions;
  Activation activation;
  double epsilon;
  bool scaled, scaled_by_layer, tied_head;
};

Gpt2Config read_config(const nlohmann::json& json) {
  const Config config(json);
  const int hidden = config.integer({"hidden_size", "n_embd"}, 768, 1, kMaxWidth);
  const Gpt2Config out{
      .vocab = config.integer({"vocab_size"}, 50257, 1, kMaxVocabulary),
      .hidden = hidden,
      .layers = config.integer({"num_hidden_layers", "n_layer"}, 12, 1, kMaxLayers),
      .heads = config.integer({"num_attention_heads", "n_head"}, 12, 1, kMaxWidth),
      .inner = config.integer({"n_inner"}, 4 * hidden, 1, 4 * kMaxWidth),
      .positions = config.integer({"max_position_embeddings", "n_positions"}, 1024, 1, kMaxPositions),
      .activation = config.activation({"activation_function"}, "gelu_new"),
      .epsilon = config.positive({"layer_norm_epsilon"}, 1e-5),
      .scaled = config.flag({"scale_attn_weights"}, true),
      .scaled_by_layer = config.flag({"scale_attn_by_inverse_layer_idx"}, false),
      .tied_head = config.flag({"tie_word_embeddings"}, true),
  };
  check_divisible("n_embd", out.hidden, "n_head", out.heads);
  if (config.flag({"add_cross_attention"}, false)) {
    throw fail(StatusCode::unsupported, "config.json: GPT-2 with add_cross_attention is not supported");
  }
  // Read for its type only: the order in which scores are scaled and summed is f32 here in either case.
  (void)config.flag({"reorder_and_upcast_attn"}, false);
  return out;
}

/// What transformers' eager attention multiplies the scores of a layer with; its SDPA path ignores both switches.
float score_scale(const Gpt2Config& config, int dim, int layer) {
  const double by_width = config.scaled ? 1.0 / std::sqrt(static_cast<double>(dim)) : 1.0;
  return static_cast<float>(config.scaled_by_layer ? by_width / (layer + 1) : by_width);
}

// Weights. ------------------------------------------------------------------------------------------------------------

struct Layer {
  Heads heads;
  Norm attention_norm;
  Linear qkv, attention_out;
  Norm feed_forward_norm;
  FeedForward feed_forward;
};

struct Gpt2Weights {
  Parameter words, positions;
  std::vector<Layer> layers;
  Norm final_norm;
  Linear head;
};

Layer load_layer(Loader& load, const Gpt2Config& config, int index) {
  const int h = config.hidden;
  const int dim = h / config.heads;
  const std::string at = "h." + std::to_string(index) + ".";
  constexpr WeightLayout kConv = WeightLayout::in_out;
  return {
      .heads = {.count = config.heads, .dim = dim, .scale = score_scale(config, dim, index)},
      .attention_norm = load.layer_norm(at + "ln_1", h, config.epsilon),
      .qkv = load.linear(at + "attn.c_attn", 3 * h, h, kConv),
      .attention_out = load.linear_into_residual(at + "attn.c_proj", h, h, kConv),
      .feed_forward_norm = load.layer_norm(at + "ln_2", h, config.epsilon),
      .feed_forward = {.up = load.linear(at + "mlp.c_fc", config.inner, h, kConv),
                       .down = load.linear_into_residual(at + "mlp.c_proj", h, config.inner, kConv),
                       .activation = config.activation},
  };
}

Gpt2Weights load_weights(Loader& load, const Gpt2Config& config) {
  const Shape table{config.vocab, config.hidden};
  const Tensor words = load.view("wte.weight", table);
  Gpt2Weights out;
  out.words = load.table(words);
  out.positions = load.parameter("wpe.weight", {config.positions, config.hidden});
  for (int i = 0; i < config.layers; ++i) out.layers.push_back(load_layer(load, config, i));
  out.final_norm = load.layer_norm("ln_f", config.hidden, config.epsilon);
  // A tied head is the word table even where the file has an lm_head of its own, as in transformers.
  out.head.weight = load.pack(config.tied_head ? words : load.view("lm_head.weight", table));
  return out;
}

// Forward. ------------------------------------------------------------------------------------------------------------

class Gpt2 final : public Model {
 public:
  Gpt2(const Gpt2Config& config, ModelInfo info, Gpt2Weights weights)
      : info_(std::move(info)), weights_(std::move(weights)), hidden_(config.hidden), inner_(config.inner) {}

  const ModelInfo& info() const override { return info_; }

  Output forward(Ops& ops, const Batch& batch, KvView& kv, Arena& arena) const override {
    const DecoderLane& lane = batch.decoder;
    Output out;
    if (lane.tokens == 0) return out;
    const DType type = ops.compute_dtype();
    const Tensor x = arena.tensor(kResidualType, {lane.tokens, hidden_});
    const Tensor normed = arena.tensor(type, {lane.tokens, hidden_});
    const Tensor qkv = arena.tensor(type, {lane.tokens, 3 * hidden_});
    const Tensor ctx = arena.tensor(type, {lane.tokens, hidden_});
    const Tensor inner = arena.tensor(type, {lane.tokens, inner_});

    const EmbeddingTerm terms[] = {{weights_.words.tensor, lane.ids}, {weights_.positions.tensor, lane.positions}};
    ops.embed(x, terms);  // [T, H]
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      const Layer& layer = weights_.layers[i];
      norm(ops, layer.attention_norm, normed, x);
      linear(ops, layer.qkv, qkv, normed);                         // [T, 3H]
      decoder_attention(ops, layer.heads, ctx, qkv, lane, kv, i);  // [T, H]
      linear(ops, layer.attention_out, x, ctx, {.residual = x});   // [T, H]
      norm(ops, layer.feed_forward_norm, normed, x);
      feed_forward(ops, layer.feed_forward, x, normed, x, inner);  // [T, H]
    }
    if (!lane.rows.defined()) return out;
    const Tensor last = gather(ops, arena, x, lane.rows, kResidualType);  // [n, H]
    const Tensor last_normed = arena.tensor(type, last.shape());
    norm(ops, weights_.final_norm, last_normed, last);
    out.logits = arena.tensor(DType::f32, {last.rows(), info_.vocab});  // [n, V]
    linear(ops, weights_.head, out.logits, last_normed);
    return out;
  }

 private:
  ModelInfo info_;
  Gpt2Weights weights_;
  int64_t hidden_;
  int64_t inner_;
};

// Registration. -------------------------------------------------------------------------------------------------------

std::shared_ptr<const Model> load(ModelSource& source) {
  const Gpt2Config config = read_config(source.config);
  ModelInfo info = common_info(source, task_of(source, kTasks, Task::text_generation));
  info.vocab = config.vocab;
  info.hidden = config.hidden;
  info.max_positions = config.positions;
  info.has_decoder = true;
  info.kv_layers = config.layers;
  info.kv_heads = config.heads;
  info.kv_head_dim = config.hidden / config.heads;
  source.weights.set_prefixes({"transformer.", ""});
  source.weights.ignore({"*.attn.bias", "*.attn.masked_bias"});
  if (config.tied_head) source.weights.ignore({"lm_head.weight"});
  Loader loader(source);
  Gpt2Weights weights = load_weights(loader, config);
  loader.report(info);
  return std::make_shared<Gpt2>(config, std::move(info), std::move(weights));
}

const RegisterArchitecture registration{{.model_type = "gpt2", .class_prefixes = {"GPT2"}, .load = load}};

}  // namespace
}  // namespace inazuma
