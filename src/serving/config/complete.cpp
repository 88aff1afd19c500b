#include "serving/config/complete.h"

#include <algorithm>
#include <cmath>

#include "serving/tensors/tensor.h"

namespace inazuma {

namespace fs = std::filesystem;
using inference::ModelConfig;
using inference::ModelInstanceGroup;

std::string guess_backend(const fs::path& version_directory) {
  const auto there = [&](const char* name) { return fs::exists(version_directory / name); };
  if (there("config.json")) return "inazuma";
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(version_directory, error))
    if (entry.path().filename().string().ends_with("-gpu") && fs::exists(entry.path() / "config.ini"))
      return "fastertransformer";
  if (there("model.savedmodel") || there("model.graphdef")) return "tensorflow";
  if (there("model.plan")) return "tensorrt";
  if (there("model.onnx")) return "onnxruntime";
  if (there("model.xml")) return "openvino";
  if (there("model.pt") || there("model.pt2")) return "pytorch";
  if (there("model.py")) return "python";
  return "";
}

void fill_defaults(ModelConfig& config, int gpus) {
  if (config.version_policy().policy_choice_case() == inference::ModelVersionPolicy::POLICY_CHOICE_NOT_SET)
    config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  if (config.version_policy().has_latest() && config.version_policy().latest().num_versions() == 0)
    config.mutable_version_policy()->mutable_latest()->set_num_versions(1);
  if (config.has_dynamic_batching() && config.max_batch_size() > 0 &&
      config.dynamic_batching().preferred_batch_size().empty())
    config.mutable_dynamic_batching()->add_preferred_batch_size(config.max_batch_size());
  if (config.has_sequence_batching()) {
    auto& sequence = *config.mutable_sequence_batching();
    constexpr uint64_t kIdle = 1'000'000;
    if (sequence.max_sequence_idle_microseconds() == 0) sequence.set_max_sequence_idle_microseconds(kIdle);
    if (sequence.strategy_choice_case() == inference::ModelSequenceBatching::STRATEGY_CHOICE_NOT_SET)
      sequence.mutable_direct();
    if (sequence.has_oldest() && config.max_batch_size() > 0 && sequence.oldest().preferred_batch_size().empty())
      sequence.mutable_oldest()->add_preferred_batch_size(config.max_batch_size());
  }
  if (config.platform() == "ensemble") {
    // Clients read the flag without asking whether the message is there.
    config.mutable_model_transaction_policy();
    return;
  }
  config.mutable_optimization()->mutable_input_pinned_memory()->set_enable(true);
  config.mutable_optimization()->mutable_output_pinned_memory()->set_enable(true);
  if (config.instance_group().empty()) config.add_instance_group()->set_name(config.name());
  for (int i = 0; i < config.instance_group_size(); ++i) {
    ModelInstanceGroup& group = *config.mutable_instance_group(i);
    if (group.name().empty()) group.set_name(fmt::format("{}_{}", config.name(), i));
    if (group.kind() == ModelInstanceGroup::KIND_AUTO)
      group.set_kind(gpus > 0 && std::all_of(group.gpus().begin(), group.gpus().end(),
                                             [&](int gpu) { return gpu >= 0 && gpu < gpus; })
                         ? ModelInstanceGroup::KIND_GPU
                         : ModelInstanceGroup::KIND_CPU);
    if (group.count() < 1) group.set_count(1);
    if (group.kind() == ModelInstanceGroup::KIND_GPU && group.gpus().empty())
      for (int gpu = 0; gpu < gpus; ++gpu) group.add_gpus(gpu);
  }
}

namespace {

template <class... Args>
Error wrong(fmt::format_string<Args...> format, Args&&... args) {
  return Error(StatusCode::invalid, fmt::format(format, std::forward<Args>(args)...));
}

int64_t product(const google::protobuf::RepeatedField<int64_t>& dims) {
  int64_t out = 1;
  for (const int64_t dim : dims) out *= dim == -1 ? 1 : dim;
  return out;
}

// Input or output: they share these fields.
template <class Tensor>
void check_tensor(const Tensor& tensor, const char* kind, const ModelConfig& config) {
  const std::string where = fmt::format("model {} {} {}", quoted(config.name()), kind, quoted(tensor.name()));
  if (tensor.name().empty()) throw wrong("model {}: an {} has no name", quoted(config.name()), kind);
  if (tensor.data_type() == inference::TYPE_INVALID) throw wrong("{}: data_type is missing", where);
  if (tensor.dims().empty()) throw wrong("{}: dims are missing", where);
  for (const int64_t dim : tensor.dims())
    if (dim == 0 || dim < -1) throw wrong("{}: dims hold {}, must be >= 1, or -1 for any", where, dim);
  if (!tensor.has_reshape()) return;
  const auto& shape = tensor.reshape().shape();
  if (shape.empty() && config.max_batch_size() == 0)
    throw wrong("{}: an empty reshape needs max_batch_size > 0", where);
  for (const int64_t dim : shape)
    if (dim == 0 || dim < -1) throw wrong("{}: reshape holds {}, must be >= 1, or -1 for any", where, dim);
  if (std::count(shape.begin(), shape.end(), -1) != std::count(tensor.dims().begin(), tensor.dims().end(), -1) ||
      product(shape) != product(tensor.dims()))
    throw wrong("{}: reshape must have as many elements as dims", where);
}

void check_queue_policy(const inference::ModelQueuePolicy& policy, bool preserve, const std::string& model) {
  if (preserve && policy.timeout_action() == inference::ModelQueuePolicy::DELAY &&
      (policy.default_timeout_microseconds() != 0 || policy.allow_timeout_override()))
    throw wrong("model {}: preserve_ordering does not go with timeout_action DELAY and a timeout", model);
}

void check_dynamic(const ModelConfig& config) {
  const auto& dynamic = config.dynamic_batching();
  const std::string model = quoted(config.name());
  for (const int size : dynamic.preferred_batch_size())
    if (size <= 0 || size > config.max_batch_size())
      throw wrong("model {}: preferred_batch_size holds {}, must be in [1, max_batch_size {}]", model, size,
                  config.max_batch_size());
  const uint64_t levels = dynamic.priority_levels();
  if (levels > 0 && (dynamic.default_priority_level() < 1 || dynamic.default_priority_level() > levels))
    throw wrong("model {}: default_priority_level is {}, must be in [1, priority_levels {}]", model,
                dynamic.default_priority_level(), levels);
  for (const auto& [level, policy] : dynamic.priority_queue_policy()) {
    if (level < 1 || level > levels)
      throw wrong("model {}: priority_queue_policy has level {}, must be in [1, priority_levels {}]", model, level,
                  levels);
    check_queue_policy(policy, dynamic.preserve_ordering(), model);
  }
  if (dynamic.preserve_ordering() && levels > 1)
    throw wrong("model {}: preserve_ordering does not go with more than one priority level", model);
  check_queue_policy(dynamic.default_queue_policy(), dynamic.preserve_ordering(), model);
}

void check_sequence(const ModelConfig& config) {
  using Control = inference::ModelSequenceBatching::Control;
  const auto& sequence = config.sequence_batching();
  const std::string model = quoted(config.name());
  if (sequence.direct().minimum_slot_utilization() < 0 || sequence.direct().minimum_slot_utilization() > 1)
    throw wrong("model {}: minimum_slot_utilization is {}, must be in [0, 1]", model,
                sequence.direct().minimum_slot_utilization());
  if (sequence.has_oldest()) {
    if (sequence.oldest().max_candidate_sequences() < 1)
      throw wrong("model {}: max_candidate_sequences is {}, must be >= 1", model,
                  sequence.oldest().max_candidate_sequences());
    for (const int size : sequence.oldest().preferred_batch_size())
      if (size <= 0 || size > std::max(1, config.max_batch_size()))
        throw wrong("model {}: preferred_batch_size holds {}, must be in [1, max_batch_size {}]", model, size,
                    config.max_batch_size());
  }
  std::vector<Control::Kind> seen;
  for (const auto& input : sequence.control_input()) {
    if (input.name().empty()) throw wrong("model {}: a control_input has no name", model);
    for (const Control& control : input.control()) {
      if (std::find(seen.begin(), seen.end(), control.kind()) != seen.end())
        throw wrong("model {}: control {} appears twice", model, Control::Kind_Name(control.kind()));
      seen.push_back(control.kind());
      const int pairs = (control.int32_false_true_size() > 0) + (control.fp32_false_true_size() > 0) +
                        (control.bool_false_true_size() > 0);
      if (control.kind() == Control::CONTROL_SEQUENCE_CORRID) {
        const auto type = control.data_type();
        if (type != inference::TYPE_UINT64 && type != inference::TYPE_INT64 && type != inference::TYPE_UINT32 &&
            type != inference::TYPE_INT32 && type != inference::TYPE_STRING)
          throw wrong(
              "model {}: the data_type of CONTROL_SEQUENCE_CORRID must be TYPE_UINT64, TYPE_INT64, TYPE_UINT32, "
              "TYPE_INT32 or TYPE_STRING",
              model);
      } else if (pairs != 1 || std::max({control.int32_false_true_size(), control.fp32_false_true_size(),
                                         control.bool_false_true_size()}) != 2) {
        throw wrong(
            "model {}: control {} needs exactly one of int32_false_true, fp32_false_true and bool_false_true, with two "
            "values",
            model, Control::Kind_Name(control.kind()));
      }
    }
  }
}

void check_instances(const ModelConfig& config, int gpus) {
  const std::string model = quoted(config.name());
  for (const ModelInstanceGroup& group : config.instance_group()) {
    const std::string where = fmt::format("model {} instance_group {}", model, quoted(group.name()));
    constexpr int kMostInstances = 1024;  // each is a thread
    if (group.count() > kMostInstances)
      throw wrong("{}: count is {}, must be at most {}", where, group.count(), kMostInstances);
    if (group.kind() != ModelInstanceGroup::KIND_GPU && !group.gpus().empty())
      throw wrong("{}: {} takes no gpus", where, ModelInstanceGroup::Kind_Name(group.kind()));
    if (group.kind() != ModelInstanceGroup::KIND_GPU) continue;
    if (gpus == 0) throw wrong("{}: KIND_GPU, but this server has no GPU to use; choose KIND_CPU or KIND_AUTO", where);
    for (const int gpu : group.gpus())
      if (gpu < 0 || gpu >= gpus) throw wrong("{}: gpus hold {}, must be in [0, {})", where, gpu, gpus);
  }
}

void check_metrics(const ModelConfig& config) {
  const std::string model = quoted(config.name());
  for (const auto& [tag, value] : config.metric_tags()) {
    const bool fits =
        tag.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos &&
        !tag.starts_with('_');
    if (!fits)
      throw wrong(
          "model {}: metric_tags has {}, which cannot be the name of a label (letters, digits and '_', not at "
          "the beginning)",
          model, quoted(tag));
  }
  for (const auto& control : config.model_metrics().metric_control()) {
    const auto& buckets = control.histogram_options().buckets();
    const std::string family = quoted(control.metric_identifier().family());
    if (buckets.empty()) throw wrong("model {}: model_metrics of {} has no buckets", model, family);
    for (int i = 0; i < buckets.size(); ++i)
      if (!std::isfinite(buckets[i]) || (i > 0 && buckets[i] <= buckets[i - 1]))
        throw wrong("model {}: the buckets of {} hold {} at place {}, must be finite and each above the one before",
                    model, family, buckets[i], i + 1);
  }
}

}  // namespace

Status validate(const ModelConfig& config, std::string_view directory, int gpus) {
  return capture([&] {
    const std::string model = quoted(config.name());
    if (config.name() != directory)
      throw wrong("config names the model {}, but its directory is {}; they must be equal (or leave name out)", model,
                  quoted(directory));
    if (config.backend().empty() && config.platform() != "ensemble")
      throw wrong("model {}: backend is missing, and the files of its version directories do not tell it", model);
    if (config.max_batch_size() < 0)
      throw wrong("model {}: max_batch_size is {}, must be >= 0", model, config.max_batch_size());
    std::vector<std::string_view> names;
    const auto unique = [&](std::string_view name, const char* kind) {
      if (std::find(names.begin(), names.end(), name) != names.end())
        throw wrong("model {}: two {}s are called {}", model, kind, quoted(name));
      names.push_back(name);
    };
    for (const auto& input : config.input()) {
      check_tensor(input, "input", config);
      if (input.format() != inference::ModelInput::FORMAT_NONE && input.dims_size() != 3)
        throw wrong("model {} input {}: FORMAT_NHWC and FORMAT_NCHW need 3 dims", model, quoted(input.name()));
      unique(input.name(), "input");
    }
    names.clear();
    for (const auto& output : config.output()) check_tensor(output, "output", config), unique(output.name(), "output");
    if (config.has_dynamic_batching()) check_dynamic(config);
    if (config.has_sequence_batching()) check_sequence(config);
    check_metrics(config);
    if (config.response_cache().enable() &&
        (config.has_sequence_batching() || config.model_transaction_policy().decoupled()))
      throw wrong("model {}: response_cache does not go with {}", model,
                  config.has_sequence_batching() ? "sequence_batching" : "a decoupled transaction policy");
    for (const int64_t version : config.version_policy().specific().versions())
      if (version < 1) throw wrong("model {}: version_policy names version {}, must be >= 1", model, version);
    if (config.platform() == "ensemble") {
      if (!config.instance_group().empty()) throw wrong("model {}: an ensemble has no instance_group", model);
      if (config.ensemble_scheduling().step().empty()) throw wrong("model {}: ensemble_scheduling has no step", model);
    } else {
      if (config.has_ensemble_scheduling())
        throw wrong("model {}: ensemble_scheduling needs platform: \"ensemble\"", model);
      check_instances(config, gpus);
    }
  });
}

}  // namespace inazuma
