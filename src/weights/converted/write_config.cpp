#include "weights/converted/write_config.h"

#include "base/status.h"

namespace inazuma {
namespace {

using Json = nlohmann::json;
using Names = std::initializer_list<const char*>;

/// The first of these keys that is there; null when none is.
const Json& value_of(const Json& config, Names names) {
  static const Json kNone;
  for (const char* name : names)
    if (const auto found = config.find(name); found != config.end() && !found->is_null()) return *found;
  return kNone;
}

std::string text_of(const Json& config, Names names, std::string fallback) {
  const Json& value = value_of(config, names);
  return value.is_string() ? value.get<std::string>() : fallback;
}

bool flag_of(const Json& config, Names names, bool fallback) {
  const Json& value = value_of(config, names);
  return value.is_boolean() ? value.get<bool>() : fallback;
}

double real_of(const Json& config, Names names, double fallback) {
  const Json& value = value_of(config, names);
  return value.is_number() ? value.get<double>() : fallback;
}

/// As Python's repr and str print it.
std::string python(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) {
    const std::string text = fmt::format("{}", value.get<double>());
    return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
  }
  return value.dump();
}

/// A number or None: a key that is absent means what transformers means by it.
std::string id_of(const Json& config, const char* key, int fallback) {
  const auto found = config.find(key);
  return found == config.end() ? std::to_string(fallback) : python(*found);
}

std::string_view short_name(DType dtype) {
  return dtype == DType::f32 ? "fp32" : dtype == DType::f16 ? "fp16" : "bf16";
}

class Ini {
 public:
  void section(std::string_view name) {
    if (!text_.empty()) text_ += "\n";
    text_ += fmt::format("[{}]\n", name);
  }
  template <class T>
  void set(std::string_view key, const T& value) {
    text_ += fmt::format("{} = {}\n", key, value);
  }
  std::string take() && { return text_ + "\n"; }

 private:
  std::string text_;
};

void refuse(bool present, std::string_view what) {
  if (present)
    throw fail(StatusCode::unsupported, "config.json: {}: FasterTransformer's config.ini cannot express it", what);
}

std::string bert_ini(const Json& config, const ConvertedSizes& sizes, const ConvertOptions& options,
                     std::vector<std::string>& notes) {
  const std::string activation = text_of(config, {"hidden_act"}, "gelu");
  if (activation != "gelu" && activation != "relu")
    notes.push_back(
        fmt::format("hidden_act {}: FasterTransformer itself computes gelu and relu only", quoted(activation)));
  Ini ini;
  ini.section("bert");
  ini.set("model_name", text_of(config, {"model_type"}, "bert"));
  ini.set("position_embedding_type", text_of(config, {"position_embedding_type"}, "absolute"));
  ini.set("hidden_size", sizes.hidden);
  ini.set("num_layer", sizes.layers);
  ini.set("head_num", sizes.heads);
  ini.set("size_per_head", sizes.width / sizes.heads);
  ini.set("activation_type", activation);
  ini.set("inter_size", sizes.inner);
  ini.set("max_position_embeddings", python(value_of(config, {"max_position_embeddings"})));
  ini.set("layer_norm_eps", python(real_of(config, {"layer_norm_eps"}, 1e-12)));
  ini.set("weight_data_type", short_name(options.dtype));
  ini.set("tensor_para_size", options.ranks);
  return std::move(ini).take();
}

std::string gpt_ini(const Json& config, const ConvertedSizes& sizes, const ConvertOptions& options,
                    std::vector<std::string>& notes) {
  refuse(!flag_of(config, {"scale_attn_weights"}, true), "scale_attn_weights false");
  refuse(flag_of(config, {"scale_attn_by_inverse_layer_idx"}, false), "scale_attn_by_inverse_layer_idx true");
  Ini ini;
  ini.section("gpt");
  const std::string name = text_of(config, {"_name_or_path"}, "");
  ini.set("model_name", name.empty() ? "gpt" : name);
  ini.set("head_num", sizes.heads);
  ini.set("size_per_head", sizes.width / sizes.heads);
  ini.set("inter_size", sizes.inner);
  ini.set("max_pos_seq_len", sizes.positions);
  ini.set("num_layer", sizes.layers);
  ini.set("vocab_size", sizes.vocab);
  ini.set("start_id", id_of(config, "bos_token_id", 50256));
  ini.set("end_id", id_of(config, "eos_token_id", 50256));
  ini.set("weight_data_type", short_name(options.dtype));
  ini.set("tensor_para_size", options.ranks);
  if (const double epsilon = real_of(config, {"layer_norm_epsilon"}, 1e-5); epsilon != 1e-5)
    ini.set("layernorm_eps", python(epsilon));
  if (const std::string act = text_of(config, {"activation_function"}, "gelu_new"); act != "gelu_new") {
    ini.set("activation_type", act == "relu" ? "Relu" : act == "silu" ? "Silu" : act);
    if (act != "relu" && act != "silu")
      notes.push_back(
          fmt::format("activation_function {}: FasterTransformer itself refuses or approximates it", quoted(act)));
  }
  return std::move(ini).take();
}

void t5_stack(Ini& ini, const Json& config, const ConvertedSizes& sizes, const ConvertOptions& options, bool decoder) {
  Json stack = config;
  stack.erase("relative_attention_num_buckets");
  stack["d_model"] = sizes.hidden;
  stack["d_kv"] = sizes.width / sizes.heads;
  stack["d_ff"] = sizes.inner;
  stack["num_heads"] = sizes.heads;
  stack["vocab_size"] = sizes.vocab;
  stack["num_layers"] = decoder ? sizes.decoder_layers : sizes.layers;
  stack["is_decoder"] = decoder;
  stack["is_encoder_decoder"] = false;
  if (!decoder) stack["use_cache"] = false;
  stack["relative_attention_num_buckets_or_max_pos_seq_len"] = sizes.buckets;
  stack["tie_word_embeddings"] = head_is_tied(config);
  stack["feed_forward_proj"] = text_of(config, {"feed_forward_proj"}, sizes.gated ? "gated-gelu" : "relu");
  if (!stack.contains("decoder_start_token_id")) stack["decoder_start_token_id"] = stack.value("pad_token_id", 0);
  if (!stack.contains("eos_token_id")) stack["eos_token_id"] = 1;
  stack["weight_data_type"] = short_name(options.dtype);
  ini.section(decoder ? "decoder" : "encoder");
  for (const auto& [key, value] : stack.items()) ini.set(key, python(value));
}

std::string t5_ini(const Json& config, const ConvertedSizes& sizes, const ConvertOptions& options) {
  Ini ini;
  t5_stack(ini, config, sizes, options, false);
  if (sizes.decoder_layers > 0) t5_stack(ini, config, sizes, options, true);
  ini.section("structure");
  ini.set("t5_with_bias", "false");
  ini.set("use_gated_activation", sizes.gated ? "true" : "false");
  ini.set("position_embedding_type", "relative");
  return std::move(ini).take();
}

}  // namespace

ConvertedFamily family_of(const Json& config) {
  const std::string type = text_of(config, {"model_type"}, "");
  if (type == "bert") return ConvertedFamily::bert;
  if (type == "gpt2") return ConvertedFamily::gpt;
  if (type == "t5" || type == "mt5") return ConvertedFamily::t5;
  throw fail(StatusCode::unsupported,
             "config.json: model_type {} cannot be written for FasterTransformer; bert, gpt2, t5 and mt5 can",
             quoted(type));
}

int64_t heads_of(const Json& config) {
  const Json& value = value_of(config, {"num_attention_heads", "n_head"});
  if (value.is_null()) return 12;  // what both architectures mean by silence
  if (!value.is_number_integer() || value.get<int64_t>() < 1)
    throw fail(StatusCode::invalid, "config.json: the number of attention heads is {}, must be a positive integer",
               value.dump());
  return value.get<int64_t>();
}

bool head_is_tied(const Json& config) {
  const bool by_default = text_of(config, {"model_type"}, "") != "mt5";
  return flag_of(config, {"scale_decoder_outputs", "tie_word_embeddings"}, by_default);
}

std::string config_ini(const Json& config, const ConvertedSizes& sizes, const ConvertOptions& options,
                       std::vector<std::string>& notes) {
  if (sizes.family == ConvertedFamily::bert) return bert_ini(config, sizes, options, notes);
  if (sizes.family == ConvertedFamily::gpt) return gpt_ini(config, sizes, options, notes);
  return t5_ini(config, sizes, options);
}

}  // namespace inazuma
