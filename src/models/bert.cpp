// BERT: post-norm encoder with learned absolute positions, and the heads that are trained on it.

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

constexpr Task kTasks[] = {Task::feature_extraction, Task::token_classification, Task::text_classification,
                           Task::question_answering, Task::fill_mask};

struct BertConfig {
  int vocab, hidden, layers, heads, inner, positions, types;
  Activation activation;
  double epsilon;
  bool tied_head;
};

BertConfig read_config(const nlohmann::json& json) {
  const Config config(json);
  const BertConfig out{
      .vocab = config.integer({"vocab_size"}, 30522, 1, kMaxVocabulary),
      .hidden = config.integer({"hidden_size"}, 768, 1, kMaxWidth),
      .layers = config.integer({"num_hidden_layers"}, 12, 1, kMaxLayers),
      .heads = config.integer({"num_attention_heads"}, 12, 1, kMaxWidth),
      .inner = config.integer({"intermediate_size"}, 3072, 1, kMaxWidth),
      .positions = config.integer({"max_position_embeddings"}, 512, 1, kMaxPositions),
      .types = config.integer({"type_vocab_size"}, 2, 1, kMaxVocabulary),
      .activation = config.activation({"hidden_act"}, "gelu"),
      .epsilon = config.positive({"layer_norm_eps"}, 1e-12),
      .tied_head = config.flag({"tie_word_embeddings"}, true),
  };
  check_divisible("hidden_size", out.hidden, "num_attention_heads", out.heads);
  const std::string position_type = config.text({"position_embedding_type"}, "absolute");
  if (position_type != "absolute") {
    throw fail(StatusCode::unsupported, "config.json: position_embedding_type {} is not supported, only absolute is",
               inazuma::quoted(position_type));
  }
  if (config.flag({"is_decoder"}, false) || config.flag({"add_cross_attention"}, false)) {
    throw fail(StatusCode::unsupported,
               "config.json: BERT as a decoder (is_decoder, add_cross_attention) is not supported");
  }
  return out;
}

/// Both classifiers store classifier.weight: the tensor alone does not say what it was trained for.
void check_head(const ModelSource& source, Task task) {
  if (!source.options.task || task == Task::feature_extraction) return;
  const std::string class_name = class_of(source.config);
  const std::optional<Task> trained = task_of_class(class_name);
  if (trained == task) return;
  const bool classifier = task == Task::token_classification || task == Task::text_classification;
  const bool other_classifier = trained == Task::token_classification || trained == Task::text_classification;
  const std::string head = classifier                         ? "classifier.weight"
                           : task == Task::question_answering ? "qa_outputs.weight"
                                                              : "cls.predictions.transform.dense.weight";
  if (source.weights.has(head) && !(classifier && other_classifier)) return;
  throw fail(StatusCode::wrong_task, "{} has no head for {}{}", class_name.empty() ? "this model" : class_name,
             name(task),
             source.weights.has(head) ? "; its classifier was trained for " + std::string(name(*trained))
                                      : ": " + head + " is not among its tensors");
}

// Weights. ------------------------------------------------------------------------------------------------------------

struct Layer {
  Linear qkv, attention_out;
  Norm attention_norm;
  FeedForward feed_forward;
  Norm output_norm;
};

struct BertWeights {
  Parameter words, positions, types;
  Norm embedding_norm;
  std::vector<Layer> layers;
  Linear pooler;     ///< text classification
  Linear transform;  ///< fill-mask
  Norm transform_norm;
  Linear head;  ///< undefined for feature extraction
};

Layer load_layer(Loader& load, const BertConfig& config, const std::string& at) {
  const int h = config.hidden;
  const std::string self = at + "attention.self.";
  return {
      .qkv = load.fused({self + "query", self + "key", self + "value"}, h, h),
      .attention_out = load.linear(at + "attention.output.dense", h, h),
      .attention_norm = load.layer_norm(at + "attention.output.LayerNorm", h, config.epsilon),
      .feed_forward = {.up = load.linear(at + "intermediate.dense", config.inner, h),
                       .down = load.linear(at + "output.dense", h, config.inner),
                       .activation = config.activation},
      .output_norm = load.layer_norm(at + "output.LayerNorm", h, config.epsilon),
  };
}

void load_head(Loader& load, const BertConfig& config, Task task, int labels, const Tensor& words, BertWeights& out) {
  const int h = config.hidden;
  if (task == Task::token_classification) out.head = load.linear("classifier", labels, h);
  if (task == Task::question_answering) out.head = load.linear("qa_outputs", 2, h);
  if (task == Task::text_classification) {
    out.pooler = load.linear("pooler.dense", h, h);
    out.head = load.linear("classifier", labels, h);
  }
  if (task == Task::fill_mask) {
    out.transform = load.linear("cls.predictions.transform.dense", h, h);
    out.transform_norm = load.layer_norm("cls.predictions.transform.LayerNorm", h, config.epsilon);
    const Shape shape{config.vocab, h};
    out.head.weight = load.pack(config.tied_head ? words : load.view("cls.predictions.decoder.weight", shape));
    out.head.bias = load.parameter("cls.predictions.bias", {config.vocab}, {"cls.predictions.decoder.bias"});
  }
}

BertWeights load_weights(Loader& load, const BertConfig& config, Task task, int labels, bool encoder_only) {
  const int h = config.hidden;
  BertWeights out;
  Tensor words;
  if (!encoder_only) {
    words = load.view("embeddings.word_embeddings.weight", {config.vocab, h});
    out.words = load.table(words);
    out.positions = load.parameter("embeddings.position_embeddings.weight", {config.positions, h});
    out.types = load.parameter("embeddings.token_type_embeddings.weight", {config.types, h});
    out.embedding_norm = load.layer_norm("embeddings.LayerNorm", h, config.epsilon);
  }
  for (int i = 0; i < config.layers; ++i) {
    out.layers.push_back(load_layer(load, config, "encoder.layer." + std::to_string(i) + "."));
  }
  load_head(load, config, task, labels, words, out);
  return out;
}

void ignore_leftovers(WeightReader& weights, Task task) {
  weights.ignore({"*embeddings.position_ids", "cls.seq_relationship.*"});
  if (task != Task::text_classification) weights.ignore({"*pooler.dense.*"});
  weights.ignore({task == Task::fill_mask ? "cls.predictions.decoder.*" : "cls.predictions.*"});
}

// Forward. ------------------------------------------------------------------------------------------------------------

class Bert final : public Model {
 public:
  Bert(const BertConfig& config, ModelInfo info, BertWeights weights, SentenceHead sentence)
      : info_(std::move(info)),
        weights_(std::move(weights)),
        sentence_(std::move(sentence)),
        hidden_(config.hidden),
        inner_(config.inner) {
    const int dim = config.hidden / config.heads;
    heads_ = {.count = config.heads, .dim = dim, .scale = 1.0f / std::sqrt(static_cast<float>(dim))};
  }

  const ModelInfo& info() const override { return info_; }

  Output forward(Ops& ops, const Batch& batch, KvView&, Arena& arena) const override {
    const EncoderLane& lane = batch.encoder;
    Output out;
    if (lane.tokens == 0) return out;
    const Tensor x = encode(ops, lane, arena);  // [T, H]
    if (lane.rows.defined() && info_.row_width > 0)
      out.rows = row_outputs(ops, gather_rows(ops, arena, x, lane), arena);
    if (lane.pooled.defined() && info_.pooled_width > 0) out.pooled = pooled_outputs(ops, x, lane, arena);
    return out;
  }

 private:
  Tensor encode(Ops& ops, const EncoderLane& lane, Arena& arena) const {
    const DType type = ops.compute_dtype();
    const Tensor hidden = arena.tensor(type, {lane.tokens, hidden_});
    const Tensor sum = arena.tensor(type, {lane.tokens, hidden_});
    const Tensor qkv = arena.tensor(type, {lane.tokens, 3 * hidden_});
    const Tensor ctx = arena.tensor(type, {lane.tokens, hidden_});
    const Tensor inner = arena.tensor(type, {lane.tokens, inner_});

    Tensor x = lane.inputs;
    if (!x.defined()) {
      if (info_.vocab == 0)
        throw fail(StatusCode::unsupported, "this network has no embeddings: it takes hidden states");
      const EmbeddingTerm terms[] = {{weights_.words.tensor, lane.ids},
                                     {weights_.types.tensor, lane.type_ids},
                                     {weights_.positions.tensor, lane.positions}};
      ops.embed(sum, terms);
      norm(ops, weights_.embedding_norm, hidden, sum);
      x = hidden;
    }
    for (const Layer& layer : weights_.layers) {
      linear(ops, layer.qkv, qkv, x);                                     // [T, 3H]
      encoder_attention(ops, heads_, ctx, qkv, lane);                     // [T, H]
      linear(ops, layer.attention_out, sum, ctx, {.residual = x});        // [T, H]
      norm(ops, layer.attention_norm, hidden, sum);                       // [T, H]
      feed_forward(ops, layer.feed_forward, sum, hidden, hidden, inner);  // [T, H]
      norm(ops, layer.output_norm, hidden, sum);                          // [T, H]
      x = hidden;
    }
    return x;
  }

  Tensor gather_rows(Ops& ops, Arena& arena, const Tensor& x, const EncoderLane& lane) const {
    const bool plain = info_.task == Task::feature_extraction;
    return gather(ops, arena, x, lane.rows, plain ? DType::f32 : ops.compute_dtype());
  }

  Tensor row_outputs(Ops& ops, const Tensor& rows, Arena& arena) const {  // rows [n, H]
    if (info_.task == Task::feature_extraction) return rows;
    Tensor x = rows;
    if (info_.task == Task::fill_mask) {
      x = arena.tensor(rows.dtype(), rows.shape());
      linear(ops, weights_.transform, x, rows, {.activation = weights_.layers[0].feed_forward.activation});
      norm(ops, weights_.transform_norm, x, x);
    }
    const Tensor scores = arena.tensor(DType::f32, {rows.rows(), info_.row_width});
    linear(ops, weights_.head, scores, x);
    return scores;
  }

  Tensor pooled_outputs(Ops& ops, const Tensor& x, const EncoderLane& lane, Arena& arena) const {
    const int64_t n = lane.pooled.rows();
    if (info_.task == Task::feature_extraction) return sentence_.run(ops, arena, x, lane);
    const Tensor pooled = arena.tensor(ops.compute_dtype(), {n, hidden_});
    ops.pool(pooled, x, lane.offsets, lane.pooled, Pooling::cls);
    const Tensor dense = arena.tensor(ops.compute_dtype(), {n, hidden_});
    linear(ops, weights_.pooler, dense, pooled, {.activation = Activation::tanh});
    const Tensor scores = arena.tensor(DType::f32, {n, info_.pooled_width});
    linear(ops, weights_.head, scores, dense);
    return scores;
  }

  ModelInfo info_;
  BertWeights weights_;
  SentenceHead sentence_;
  Heads heads_;
  int64_t hidden_;
  int64_t inner_;
};

// Registration. -------------------------------------------------------------------------------------------------------

std::shared_ptr<const Model> load(ModelSource& source) {
  const BertConfig config = read_config(source.config);
  const Task task =
      source.options.encoder_only ? Task::feature_extraction : task_of(source, kTasks, Task::feature_extraction);
  check_head(source, task);
  if (source.encoder_only && task != Task::feature_extraction) {
    throw fail(
        StatusCode::invalid,
        "the FasterTransformer folder holds the encoder only, {} needs embeddings and head too: put the original "
        "checkpoint (model.safetensors or pytorch_model.bin) beside it",
        name(task));
  }
  ModelInfo info = common_info(source, task);
  info.hidden = config.hidden;
  if (!source.encoder_only) {
    info.vocab = config.vocab;
    info.max_positions = config.positions;
    info.type_vocab = config.types;
  }
  info.has_encoder = true;
  const bool classifier = task == Task::token_classification || task == Task::text_classification;
  if (classifier) info.labels = labels_of(source.config);
  const int labels = static_cast<int>(info.labels.size());
  if (task == Task::token_classification) info.row_width = labels;
  if (task == Task::question_answering) info.row_width = 2;
  if (task == Task::fill_mask) info.row_width = config.vocab;
  if (task == Task::text_classification) info.pooled_width = labels;
  if (task == Task::feature_extraction) info.row_width = config.hidden;
  source.weights.set_prefixes({"bert.", ""});
  ignore_leftovers(source.weights, task);
  if (source.encoder_only) source.weights.ignore({"embeddings.*", "classifier.*", "qa_outputs.*", "cls.*"});
  Loader loader(source);
  BertWeights weights = load_weights(loader, config, task, labels, source.encoder_only);
  loader.report(info);
  SentenceHead sentence;
  if (task == Task::feature_extraction) sentence = SentenceHead(source, info);
  return std::make_shared<Bert>(config, std::move(info), std::move(weights), std::move(sentence));
}

const RegisterArchitecture registration{{.model_type = "bert", .class_prefixes = {"Bert"}, .load = load}};

}  // namespace
}  // namespace inazuma
