// The table of file names, shapes and split axes, and the copies between a file and a tensor.

#include <algorithm>
#include <array>
#include <cstring>

#include "base/status.h"
#include "weights/converted/fastertransformer.h"

namespace inazuma {
namespace {

using Shape64 = std::vector<int64_t>;

/// A matrix that the checkpoint holds [out, in] and the file [in, out].
ConvertedTensor transposed(std::string file, std::string name, int64_t in, int64_t out, int split) {
  return {.file = std::move(file),
          .names = {std::move(name)},
          .shape = {in, out},
          .source = {out, in},
          .split = split,
          .transposed = true};
}

/// The same elements in the same order.
ConvertedTensor same(std::string file, std::string name, Shape64 shape, int split = -1) {
  return {.file = std::move(file), .names = {std::move(name)}, .shape = shape, .source = shape, .split = split};
}

ConvertedTensor optional(std::string file, std::string name, Shape64 shape) {
  ConvertedTensor out = same(std::move(file), std::move(name), std::move(shape));
  out.optional = true;
  return out;
}

std::string layer_path(std::string_view stack, int64_t layer) {
  return std::string(stack) + std::to_string(layer) + ".";
}

void add_bert_layer(const ConvertedSizes& s, int64_t layer, std::vector<ConvertedTensor>& out) {
  const std::string at = layer_path("encoder.layer.", layer);
  const auto file = [&](std::string_view tail) { return "model." + at + std::string(tail); };
  for (const std::string_view part : {"query", "key", "value"}) {
    const std::string tail = "attention.self." + std::string(part);
    out.push_back(transposed(file(tail + ".weight"), at + tail + ".weight", s.hidden, s.width, 1));
    out.push_back(same(file(tail + ".bias"), at + tail + ".bias", {s.width}, 0));
  }
  const auto row_parallel = [&](const std::string& tail, int64_t in) {
    out.push_back(transposed(file(tail + ".weight"), at + tail + ".weight", in, s.hidden, 0));
    out.push_back(same(file(tail + ".bias"), at + tail + ".bias", {s.hidden}));
  };
  row_parallel("attention.output.dense", s.width);
  row_parallel("output.dense", s.inner);
  const std::string up = "intermediate.dense";
  out.push_back(transposed(file(up + ".weight"), at + up + ".weight", s.hidden, s.inner, 1));
  out.push_back(same(file(up + ".bias"), at + up + ".bias", {s.inner}, 0));
  for (const char* norm : {"attention.output.LayerNorm.weight", "attention.output.LayerNorm.bias",
                           "output.LayerNorm.weight", "output.LayerNorm.bias"})
    out.push_back(same(file(norm), at + norm, {s.hidden}));
}

/// What FasterTransformer leaves to the client. Its scheme carried on: "model." before the name of the bare model,
/// stored as the checkpoint has it.
void add_bert_rest(const ConvertedSizes& s, std::vector<ConvertedTensor>& out) {
  const std::pair<const char*, Shape64> rest[] = {
      {"embeddings.word_embeddings.weight", {0, s.hidden}},
      {"embeddings.position_embeddings.weight", {0, s.hidden}},
      {"embeddings.token_type_embeddings.weight", {0, s.hidden}},
      {"embeddings.LayerNorm.weight", {s.hidden}},
      {"embeddings.LayerNorm.bias", {s.hidden}},
      {"pooler.dense.weight", {s.hidden, s.hidden}},
      {"pooler.dense.bias", {s.hidden}},
      {"classifier.weight", {0, s.hidden}},
      {"classifier.bias", {0}},
      {"qa_outputs.weight", {0, s.hidden}},
      {"qa_outputs.bias", {0}},
      {"cls.predictions.transform.dense.weight", {s.hidden, s.hidden}},
      {"cls.predictions.transform.dense.bias", {s.hidden}},
      {"cls.predictions.transform.LayerNorm.weight", {s.hidden}},
      {"cls.predictions.transform.LayerNorm.bias", {s.hidden}},
      {"cls.predictions.decoder.weight", {0, s.hidden}},
      {"cls.predictions.bias", {0}},
  };
  for (const auto& [name, shape] : rest) out.push_back(optional(std::string("model.") + name, name, shape));
}

void add_gpt(const ConvertedSizes& s, std::vector<ConvertedTensor>& out) {
  out.push_back(same("model.wte", "wte.weight", {s.vocab, s.hidden}));
  out.push_back(same("model.wpe", "wpe.weight", {s.positions, s.hidden}));
  for (const std::string tail : {"weight", "bias"})
    out.push_back(same("model.final_layernorm." + tail, "ln_f." + tail, {s.hidden}));
  out.push_back(optional("model.lm_head.weight", "lm_head.weight", {s.vocab, s.hidden}));
  for (int64_t i = 0; i < s.layers; ++i) {
    const std::string file = layer_path("model.layers.", i);
    const std::string at = layer_path("h.", i);
    for (const std::string tail : {"weight", "bias"}) {
      out.push_back(same(file + "input_layernorm." + tail, at + "ln_1." + tail, {s.hidden}));
      out.push_back(same(file + "post_attention_layernorm." + tail, at + "ln_2." + tail, {s.hidden}));
    }
    // [H][q, k, v][W/tp]: for one rank this is the checkpoint's [H, 3W].
    ConvertedTensor qkv =
        same(file + "attention.query_key_value.weight", at + "attn.c_attn.weight", {s.hidden, 3, s.width}, 2);
    qkv.source = {s.hidden, 3 * s.width};
    ConvertedTensor qkv_bias = same(file + "attention.query_key_value.bias", at + "attn.c_attn.bias", {3, s.width}, 1);
    qkv_bias.source = {3 * s.width};
    out.push_back(std::move(qkv));
    out.push_back(std::move(qkv_bias));
    out.push_back(same(file + "attention.dense.weight", at + "attn.c_proj.weight", {s.width, s.hidden}, 0));
    out.push_back(same(file + "attention.dense.bias", at + "attn.c_proj.bias", {s.hidden}));
    out.push_back(same(file + "mlp.dense_h_to_4h.weight", at + "mlp.c_fc.weight", {s.hidden, s.inner}, 1));
    out.push_back(same(file + "mlp.dense_h_to_4h.bias", at + "mlp.c_fc.bias", {s.inner}, 0));
    out.push_back(same(file + "mlp.dense_4h_to_h.weight", at + "mlp.c_proj.weight", {s.inner, s.hidden}, 0));
    out.push_back(same(file + "mlp.dense_4h_to_h.bias", at + "mlp.c_proj.bias", {s.hidden}));
  }
}

void add_t5_layer(const ConvertedSizes& s, const std::string& at, bool decoder, std::vector<ConvertedTensor>& out) {
  const auto projection = [&](const std::string& path, int64_t in, int64_t columns, int split) {
    out.push_back(transposed(path + ".weight", path + ".weight", in, columns, split));
  };
  const std::string self = at + "layer.0.SelfAttention.";
  if (decoder) {
    out.push_back({.file = self + "qkv.weight",
                   .names = {self + "q.weight", self + "k.weight", self + "v.weight"},
                   .shape = {s.hidden, 3, s.width},
                   .source = {s.width, s.hidden},
                   .split = 2,
                   .transposed = true});
  } else {
    for (const char* part : {"q", "k", "v"}) projection(self + part, s.hidden, s.width, 1);
  }
  projection(self + "o", s.width, s.hidden, 0);
  out.push_back(same(at + "layer.0.layer_norm.weight", at + "layer.0.layer_norm.weight", {s.hidden}));
  if (decoder) {
    const std::string cross = at + "layer.1.EncDecAttention.";
    for (const char* part : {"q", "k", "v"}) projection(cross + part, s.hidden, s.width, 1);
    projection(cross + "o", s.width, s.hidden, 0);
    out.push_back(same(at + "layer.1.layer_norm.weight", at + "layer.1.layer_norm.weight", {s.hidden}));
  }
  const std::string last = at + (decoder ? "layer.2." : "layer.1.");
  const std::string dense = last + "DenseReluDense.";
  out.push_back(transposed(dense + "wi.weight", dense + (s.gated ? "wi_0.weight" : "wi.weight"), s.hidden, s.inner, 1));
  if (s.gated) out.push_back(transposed(dense + "wi2.weight", dense + "wi_1.weight", s.hidden, s.inner, 1));
  projection(dense + "wo", s.inner, s.hidden, 0);
  out.push_back(same(last + "layer_norm.weight", last + "layer_norm.weight", {s.hidden}));
}

void add_t5(const ConvertedSizes& s, std::vector<ConvertedTensor>& out) {
  out.push_back(same("shared.weight_T", "shared.weight", {s.vocab, s.hidden}));
  if (s.decoder_layers > 0) out.push_back(optional("lm_head.weight", "lm_head.weight", {s.vocab, s.hidden}));
  for (const bool decoder : {false, true}) {
    const std::string stack = decoder ? "decoder." : "encoder.";
    const int64_t layers = decoder ? s.decoder_layers : s.layers;
    if (layers == 0) continue;
    for (int64_t i = 0; i < layers; ++i) add_t5_layer(s, layer_path(stack + "block.", i), decoder, out);
    const std::string bias = stack + "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
    out.push_back(transposed(bias, bias, s.heads, s.buckets, 0));
    out.push_back(same(stack + "final_layer_norm.weight", stack + "final_layer_norm.weight", {s.hidden}));
  }
}

/// Where the elements of one rank's file lie in that file and in the whole tensor, both in elements. A matrix has the
/// axes 0 and 2, a vector axis 2.
struct Overlap {
  std::array<int64_t, 3> extents{1, 1, 1};
  std::array<int64_t, 3> in_part{}, in_whole{};
  int64_t part_begin = 0, whole_begin = 0;
};

Overlap overlap_of(const ConvertedTensor& tensor, size_t which, int rank, int ranks) {
  constexpr std::array<std::array<size_t, 3>, 4> kAxes{{{}, {2}, {0, 2}, {0, 1, 2}}};
  const std::array<size_t, 3>& axes = kAxes.at(tensor.shape.size());
  Overlap out;
  Shape64 part = tensor.shape;
  if (tensor.split >= 0) part[static_cast<size_t>(tensor.split)] /= ranks;
  int64_t part_stride = 1, whole_stride = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    out.extents[axes[i]] = part[i];
    out.in_part[axes[i]] = part_stride;
    out.in_whole[axes[i]] = whole_stride;
    part_stride *= part[i];
    whole_stride *= tensor.shape[i];
  }
  if (tensor.names.size() > 1) {  // [in, 3, out]: this tensor's slice of the middle axis
    out.part_begin = static_cast<int64_t>(which) * out.in_part[1];
    out.extents[1] = 1;
  }
  if (tensor.transposed) out.in_whole = {1, 0, tensor.shape.front()};
  if (tensor.split >= 0) {
    const size_t split = static_cast<size_t>(tensor.split);
    out.whole_begin = rank * part[split] * out.in_whole[axes[split]];
  }
  return out;
}

/// Square tiles: one of the two sides is walked across its rows, and a tile's lines stay in the cache.
template <class Move>
void for_each_element(const Overlap& o, Move&& move) {
  constexpr int64_t kTile = 32;
  for (int64_t j = 0; j < o.extents[1]; ++j) {
    for (int64_t i0 = 0; i0 < o.extents[0]; i0 += kTile) {
      for (int64_t k0 = 0; k0 < o.extents[2]; k0 += kTile) {
        for (int64_t i = i0; i < std::min(i0 + kTile, o.extents[0]); ++i) {
          for (int64_t k = k0; k < std::min(k0 + kTile, o.extents[2]); ++k) {
            move(o.part_begin + i * o.in_part[0] + j * o.in_part[1] + k * o.in_part[2],
                 o.whole_begin + i * o.in_whole[0] + j * o.in_whole[1] + k * o.in_whole[2]);
          }
        }
      }
    }
  }
}

template <class Element, class From, class To>
void copy_elements(const Overlap& overlap, const char* from, char* to, From&& from_at, To&& to_at) {
  for_each_element(overlap, [&](int64_t in_part, int64_t in_whole) {
    std::memcpy(to + to_at(in_part, in_whole) * static_cast<int64_t>(sizeof(Element)),
                from + from_at(in_part, in_whole) * static_cast<int64_t>(sizeof(Element)), sizeof(Element));
  });
}

}  // namespace

std::string ConvertedTensor::file_of(int rank) const {
  return split < 0 ? file + ".bin" : fmt::format("{}.{}.bin", file, rank);
}

int64_t ConvertedTensor::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

std::vector<ConvertedTensor> converted_layout(const ConvertedSizes& sizes) {
  std::vector<ConvertedTensor> out;
  if (sizes.family == ConvertedFamily::gpt) add_gpt(sizes, out);
  if (sizes.family == ConvertedFamily::t5) add_t5(sizes, out);
  if (sizes.family == ConvertedFamily::bert) {
    for (int64_t i = 0; i < sizes.layers; ++i) add_bert_layer(sizes, i, out);
    add_bert_rest(sizes, out);
  }
  return out;
}

void join_part(const ConvertedTensor& tensor, size_t which, int rank, int ranks, size_t element, const char* part,
               char* whole) {
  const Overlap overlap = overlap_of(tensor, which, rank, ranks);
  const auto in_part = [](int64_t p, int64_t) { return p; };
  const auto in_whole = [](int64_t, int64_t w) { return w; };
  if (element == 4) return copy_elements<uint32_t>(overlap, part, whole, in_part, in_whole);
  copy_elements<uint16_t>(overlap, part, whole, in_part, in_whole);
}

void split_part(const ConvertedTensor& tensor, size_t which, int rank, int ranks, size_t element, const char* whole,
                char* part) {
  const Overlap overlap = overlap_of(tensor, which, rank, ranks);
  const auto in_part = [](int64_t p, int64_t) { return p; };
  const auto in_whole = [](int64_t, int64_t w) { return w; };
  if (element == 4) return copy_elements<uint32_t>(overlap, whole, part, in_whole, in_part);
  copy_elements<uint16_t>(overlap, whole, part, in_whole, in_part);
}

}  // namespace inazuma
