// config.ini as the config.json of the model it was made from.

#include <algorithm>

#include "base/status.h"
#include "weights/converted/checkpoint.h"

namespace inazuma {
namespace {

using Json = nlohmann::json;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

/// Rows of a table that config.ini does not tell.
int64_t rows_of(const Checkpoint& checkpoint, const std::string& file, int64_t columns, int64_t fallback) {
  const std::optional<uintmax_t> bytes = file_size_of(checkpoint.folder, file);
  return bytes ? static_cast<int64_t>(*bytes / size_of(checkpoint.dtype)) / columns : fallback;
}

Json bert_config(const Checkpoint& checkpoint) {
  const ConfigIni& ini = checkpoint.ini;
  const ConvertedSizes& sizes = checkpoint.sizes;
  Json out{{"model_type", "bert"}, {"architectures", Json::array({"BertModel"})}};
  out["hidden_size"] = sizes.hidden;
  out["num_hidden_layers"] = sizes.layers;
  out["num_attention_heads"] = sizes.heads;
  out["intermediate_size"] = sizes.inner;
  out["hidden_act"] = lower(ini.text("bert", "activation_type").value_or("gelu"));
  out["layer_norm_eps"] = ini.positive("bert", "layer_norm_eps").value_or(1e-12);
  out["position_embedding_type"] = ini.text("bert", "position_embedding_type").value_or("absolute");
  const std::string tables = "model.embeddings.";
  const int64_t positions = ini.integer("bert", "max_position_embeddings", 1, 1 << 24).value_or(512);
  out["vocab_size"] = rows_of(checkpoint, tables + "word_embeddings.weight.bin", sizes.hidden, 1);
  out["type_vocab_size"] = rows_of(checkpoint, tables + "token_type_embeddings.weight.bin", sizes.hidden, 2);
  out["max_position_embeddings"] =
      rows_of(checkpoint, tables + "position_embeddings.weight.bin", sizes.hidden, positions);
  return out;
}

/// The network's own form of gelu is the tanh one, which FasterTransformer calls Gelu.
std::string gpt_activation(const ConfigIni& ini) {
  const std::string text = lower(ini.text("gpt", "activation_type").value_or("gelu"));
  return text == "gelu" ? "gelu_new" : text;
}

Json gpt_config(const Checkpoint& checkpoint) {
  const ConfigIni& ini = checkpoint.ini;
  const ConvertedSizes& sizes = checkpoint.sizes;
  Json out{{"model_type", "gpt2"}, {"architectures", Json::array({"GPT2LMHeadModel"})}};
  out["n_embd"] = sizes.hidden;
  out["n_layer"] = sizes.layers;
  out["n_head"] = sizes.heads;
  out["n_inner"] = sizes.inner;
  out["n_positions"] = sizes.positions;
  out["vocab_size"] = sizes.vocab;
  out["activation_function"] = gpt_activation(ini);
  out["layer_norm_epsilon"] = ini.positive("gpt", "layernorm_eps").value_or(1e-5);
  out["tie_word_embeddings"] = !file_size_of(checkpoint.folder, "model.lm_head.weight.bin").has_value();
  if (const auto id = ini.integer("gpt", "start_id", 0, 1 << 26)) out["bos_token_id"] = *id;
  if (const auto id = ini.integer("gpt", "end_id", 0, 1 << 26)) out["eos_token_id"] = *id;
  return out;
}

Json t5_config(const Checkpoint& checkpoint) {
  const ConfigIni& ini = checkpoint.ini;
  const ConvertedSizes& sizes = checkpoint.sizes;
  const bool decodes = sizes.decoder_layers > 0;
  const std::string_view last = decodes ? "decoder" : "encoder";
  const bool multilingual = ini.text("encoder", "model_type").value_or("t5") == "mt5";
  Json out{{"model_type", multilingual ? "mt5" : "t5"}};
  out["architectures"] =
      Json::array({std::string(multilingual ? "MT5" : "T5") + (decodes ? "ForConditionalGeneration" : "EncoderModel")});
  out["vocab_size"] = sizes.vocab;
  out["d_model"] = sizes.hidden;
  out["d_kv"] = sizes.width / sizes.heads;
  out["d_ff"] = sizes.inner;
  out["num_heads"] = sizes.heads;
  out["num_layers"] = sizes.layers;
  out["num_decoder_layers"] = std::max<int64_t>(sizes.decoder_layers, 1);
  out["relative_attention_num_buckets"] = sizes.buckets;
  out["relative_attention_max_distance"] =
      ini.integer("encoder", "relative_attention_max_distance", 1, 1 << 16).value_or(128);
  out["layer_norm_epsilon"] = ini.positive("encoder", "layer_norm_epsilon").value_or(1e-6);
  std::string activation = lower(ini.text("encoder", "feed_forward_proj").value_or("relu"));
  if (activation.starts_with("gated-")) activation = activation.substr(6);
  out["feed_forward_proj"] = sizes.gated ? "gated-" + activation : activation;
  out["tie_word_embeddings"] = ini.flag(last, "tie_word_embeddings").value_or(true);
  for (const char* key : {"decoder_start_token_id", "eos_token_id", "pad_token_id", "bos_token_id"})
    if (const auto id = ini.integer(last, key, 0, 1 << 26)) out[key] = *id;
  return out;
}

}  // namespace

ConvertedFamily converted_family(const std::filesystem::path& folder) {
  return read_checkpoint(folder).sizes.family;
}

Json converted_config(const std::filesystem::path& folder) {
  const Checkpoint checkpoint = read_checkpoint(folder);
  if (checkpoint.sizes.family == ConvertedFamily::bert) return bert_config(checkpoint);
  if (checkpoint.sizes.family == ConvertedFamily::gpt) return gpt_config(checkpoint);
  return t5_config(checkpoint);
}

}  // namespace inazuma
