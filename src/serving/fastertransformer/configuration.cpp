// The tensors of the three models, for configurations that leave them out.

#include "serving/fastertransformer/configuration.h"

#include <model_config.pb.h>

namespace inazuma::fastertransformer {

namespace {

using WireType = inference::DataType;
using inference::ModelConfig;

constexpr int kMaxBatch = 1024;  ///< of the configurations that the original ships

void add_input(ModelConfig& config, const char* name, WireType type, std::initializer_list<int64_t> dims,
               bool optional) {
  inference::ModelInput& input = *config.add_input();
  input.set_name(name);
  input.set_data_type(type);
  input.mutable_dims()->Add(dims.begin(), dims.end());
  input.set_optional(optional);
}

/// [B, 1] at the client.
void add_scalar(ModelConfig& config, const char* name, WireType type, bool optional = true) {
  add_input(config, name, type, {1}, optional);
  (void)config.mutable_input(config.input_size() - 1)->mutable_reshape();
}

void add_output(ModelConfig& config, const char* name, WireType type, std::initializer_list<int64_t> dims) {
  inference::ModelOutput& output = *config.add_output();
  output.set_name(name);
  output.set_data_type(type);
  output.mutable_dims()->Add(dims.begin(), dims.end());
}

void add_decoding_options(ModelConfig& config) {
  add_scalar(config, "runtime_top_k", inference::TYPE_UINT32);
  add_scalar(config, "runtime_top_p", inference::TYPE_FP32);
  add_scalar(config, "beam_search_diversity_rate", inference::TYPE_FP32);
  add_scalar(config, "temperature", inference::TYPE_FP32);
  add_scalar(config, "len_penalty", inference::TYPE_FP32);
  add_scalar(config, "repetition_penalty", inference::TYPE_FP32);
  add_scalar(config, "presence_penalty", inference::TYPE_FP32);
  add_scalar(config, "min_length", inference::TYPE_INT32);
  add_scalar(config, "random_seed", inference::TYPE_UINT64);
  add_scalar(config, "is_return_log_probs", inference::TYPE_BOOL);
  add_scalar(config, "beam_width", inference::TYPE_UINT32);
  add_scalar(config, "start_id", inference::TYPE_UINT32);
  add_scalar(config, "end_id", inference::TYPE_UINT32);
  add_input(config, "stop_words_list", inference::TYPE_INT32, {2, -1}, true);
  add_input(config, "bad_words_list", inference::TYPE_INT32, {2, -1}, true);
}

void add_inputs(ModelConfig& config, ConvertedFamily family, WireType states) {
  if (family == ConvertedFamily::bert) {
    add_input(config, "input_hidden_state", states, {-1, -1}, false);
    return add_scalar(config, "sequence_lengths", inference::TYPE_INT32, false);
  }
  add_input(config, "input_ids", inference::TYPE_UINT32, {-1}, false);
  if (family == ConvertedFamily::gpt) {
    add_scalar(config, "input_lengths", inference::TYPE_UINT32, false);
    add_input(config, "request_output_len", inference::TYPE_UINT32, {-1}, false);
  } else {
    add_scalar(config, "sequence_length", inference::TYPE_UINT32, false);
    add_scalar(config, "max_output_len", inference::TYPE_UINT32, false);
  }
  add_decoding_options(config);
}

void add_outputs(ModelConfig& config, ConvertedFamily family, WireType states) {
  if (family == ConvertedFamily::bert) return add_output(config, "output_hidden_state", states, {-1, -1});
  const WireType ids = family == ConvertedFamily::gpt ? inference::TYPE_UINT32 : inference::TYPE_INT32;
  add_output(config, "output_ids", ids, {-1, -1});
  add_output(config, "sequence_length", ids, {-1});
  if (family == ConvertedFamily::gpt) add_output(config, "response_input_lengths", inference::TYPE_INT32, {-1});
  add_output(config, "cum_log_probs", inference::TYPE_FP32, {-1});
  add_output(config, "output_log_probs", inference::TYPE_FP32, {-1, -1});
}

}  // namespace

void complete(ModelConfig& config, ConvertedFamily family) {
  const auto type = config.parameters().find("data_type");
  const std::string text = type == config.parameters().end() ? "fp16" : type->second.string_value();
  const WireType states = text == "fp32"   ? inference::TYPE_FP32
                          : text == "bf16" ? inference::TYPE_BF16
                                           : inference::TYPE_FP16;
  if (config.max_batch_size() == 0 && config.input().empty()) config.set_max_batch_size(kMaxBatch);
  if (config.input().empty()) add_inputs(config, family, states);
  if (config.output().empty()) add_outputs(config, family, states);
}

}  // namespace inazuma::fastertransformer
