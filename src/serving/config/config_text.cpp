#include "serving/config/config_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

namespace inazuma {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::TextFormat;

// The first complaint of a parse; positions count from 0.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (text.empty()) text = fmt::format("{}:{}: {}", line + 1, column + 1, message);
  }
  void AddWarning(int, google::protobuf::io::ColumnNumber, const std::string&) override {}
  std::string text;
};

// Fields that exist, that we cannot honour and that would change what a model answers, or what it may touch.
struct Unsupported {
  std::string_view path;
  std::string_view why;
};
constexpr Unsupported kUnsupported[] = {
    {"runtime", "back ends are compiled in; leave it out"},
    {"batch_input", "no back end here takes inputs computed from the batch"},
    {"batch_output", "no back end here scatters outputs by an input's shape"},
    {"model_operations", "there are no custom operation libraries here"},
    {"model_repository_agents",
     "there are no repository agents here; do their work before the server reads the repository"},
    {"cc_model_filenames", "back ends here do not choose files by compute capability"},
    {"instance_group.secondary_devices", "there are no secondary devices here"},
    {"instance_group.profile", "optimization profiles belong to TensorRT"},
    {"instance_group.passive", "passive instances would never run; remove the group"},
    {"instance_group.host_policy", "host policies are not built; use numactl or taskset"},
    {"input.is_shape_tensor", "shape tensors belong to TensorRT"},
    {"output.is_shape_tensor", "shape tensors belong to TensorRT"},
    {"input.is_non_linear_format_io", "non-linear formats belong to TensorRT"},
    {"output.is_non_linear_format_io", "non-linear formats belong to TensorRT"},
    {"optimization.execution_accelerators", "accelerators belong to other back ends; leave them out"},
    {"sequence_batching.iterative_sequence", "no back end here reschedules its own requests"},
    {"sequence_batching.state", "no back end here keeps implicit state between requests"},
    {"ensemble_scheduling.step.model_namespace", "namespaces are not built"},
};

void check_supported(const Message& message, const std::string& path, const TextFormat::ParseInfoTree* tree,
                     std::string_view origin) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string here = path.empty() ? field->name() : path + "." + field->name();
    for (const Unsupported& unsupported : kUnsupported) {
      if (unsupported.path != here) continue;
      std::string place;
      if (tree != nullptr) {
        const TextFormat::ParseLocation at = tree->GetLocation(field, field->is_repeated() ? 0 : -1);
        if (at.line >= 0) place = fmt::format("{}:{}:{}: ", origin, at.line + 1, at.column + 1);
      }
      throw fail(StatusCode::unsupported, "{}field {} is not supported: {}", place, here, unsupported.why);
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const Message& inner = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                  : reflection.GetMessage(message, field);
      check_supported(inner, here,
                      tree == nullptr ? nullptr : tree->GetTreeForNested(field, field->is_repeated() ? i : -1), origin);
    }
  }
}

// Fields that concern speed, or the choice of files, of other back ends.
constexpr std::string_view kIdle[] = {"default_model_filename",
                                      "input.format",
                                      "optimization.graph",
                                      "optimization.priority",
                                      "optimization.cuda",
                                      "optimization.input_pinned_memory",
                                      "optimization.output_pinned_memory",
                                      "optimization.gather_kernel_buffer_threshold",
                                      "optimization.eager_batching"};

void find_idle(const Message& message, const std::string& path, std::vector<std::string>& out) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string here = path.empty() ? field->name() : path + "." + field->name();
    if (std::find(std::begin(kIdle), std::end(kIdle), here) != std::end(kIdle)) {
      if (std::find(out.begin(), out.end(), here) == out.end()) out.push_back(here);
      continue;
    }
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE || field->is_map()) continue;
    for (int i = 0; i < (field->is_repeated() ? reflection.FieldSize(message, field) : 1); ++i)
      find_idle(field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                     : reflection.GetMessage(message, field),
                here, out);
  }
}

using Json = nlohmann::ordered_json;

Json to_value(const Message& message);

Json scalar(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection& reflection = *message.GetReflection();
  const bool repeated = index >= 0;
  std::string scratch;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? reflection.GetRepeatedInt32(message, field, index) : reflection.GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? reflection.GetRepeatedInt64(message, field, index) : reflection.GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? reflection.GetRepeatedUInt32(message, field, index) : reflection.GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? reflection.GetRepeatedUInt64(message, field, index) : reflection.GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return repeated ? reflection.GetRepeatedDouble(message, field, index) : reflection.GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return repeated ? reflection.GetRepeatedFloat(message, field, index) : reflection.GetFloat(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? reflection.GetRepeatedBool(message, field, index) : reflection.GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (repeated ? reflection.GetRepeatedEnum(message, field, index) : reflection.GetEnum(message, field))
          ->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return repeated ? reflection.GetRepeatedStringReference(message, field, index, &scratch)
                      : reflection.GetStringReference(message, field, &scratch);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return to_value(repeated ? reflection.GetRepeatedMessage(message, field, index)
                               : reflection.GetMessage(message, field));
  }
  return nullptr;
}

std::string map_key(const Message& entry) {
  const Json key = scalar(entry, entry.GetDescriptor()->map_key(), -1);
  return key.is_string() ? key.get<std::string>() : key.dump();
}

Json to_value(const Message& message) {
  const Reflection& reflection = *message.GetReflection();
  Json out = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    if (field->is_map()) {
      Json& map = out[field->name()] = Json::object();
      for (int k = 0; k < reflection.FieldSize(message, field); ++k) {
        const Message& entry = reflection.GetRepeatedMessage(message, field, k);
        map[map_key(entry)] = scalar(entry, entry.GetDescriptor()->map_value(), -1);
      }
    } else if (field->is_repeated()) {
      Json& list = out[field->name()] = Json::array();
      for (int k = 0; k < reflection.FieldSize(message, field); ++k) list.push_back(scalar(message, field, k));
    } else if (!field->has_presence() || reflection.HasField(message, field)) {
      out[field->name()] = scalar(message, field, -1);
    }
  }
  return out;
}

}  // namespace

Result<inference::ModelConfig> parse_config_text(std::string_view text, std::string_view origin) {
  return capture([&] {
    inference::ModelConfig config;
    FirstError error;
    TextFormat::ParseInfoTree tree;
    TextFormat::Parser parser;
    parser.RecordErrorsTo(&error);
    parser.WriteLocationsTo(&tree);
    parser.SetRecursionLimit(32);
    google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
    if (!parser.Parse(&stream, &config) || !error.text.empty())
      throw fail(StatusCode::malformed, "{}:{}", origin, error.text.empty() ? "not a model configuration" : error.text);
    check_supported(config, "", &tree, origin);
    return config;
  });
}

Result<inference::ModelConfig> parse_config_json(std::string_view text) {
  return capture([&] {
    inference::ModelConfig config;
    google::protobuf::util::JsonParseOptions options;
    options.case_insensitive_enum_parsing = true;
    const auto status = google::protobuf::util::JsonStringToMessage({text.data(), text.size()}, &config, options);
    if (!status.ok()) throw fail(StatusCode::invalid, "Invalid config override: {}", std::string(status.message()));
    check_supported(config, "", nullptr, "");
    return config;
  });
}

std::vector<std::string> fields_without_effect(const inference::ModelConfig& config) {
  inference::ModelConfig rest = config;
  if (rest.backend() == "fastertransformer") rest.clear_default_model_filename();
  // What every configuration says that a server has shown.
  auto& optimization = *rest.mutable_optimization();
  if (optimization.input_pinned_memory().enable()) optimization.clear_input_pinned_memory();
  if (optimization.output_pinned_memory().enable()) optimization.clear_output_pinned_memory();
  std::vector<std::string> out;
  find_idle(rest, "", out);
  return out;
}

std::string to_json(const Message& message) {
  return to_value(message).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace inazuma
