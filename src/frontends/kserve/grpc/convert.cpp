#include "frontends/kserve/grpc/convert.h"

#include <limits>

namespace inazuma::kserve {

namespace {

using inference::InferParameter;
using inference::InferTensorContents;
using Parameters = google::protobuf::Map<std::string, InferParameter>;

std::string text_of(const InferParameter& value, std::string_view what) {
  if (value.parameter_choice_case() != InferParameter::kStringParam)
    throw fail(StatusCode::invalid, "{} must be a string_param", what);
  return value.string_param();
}

bool flag_of(const InferParameter& value, std::string_view what) {
  if (value.parameter_choice_case() != InferParameter::kBoolParam)
    throw fail(StatusCode::invalid, "{} must be a bool_param", what);
  return value.bool_param();
}

uint64_t unsigned_of(const InferParameter& value, std::string_view what) {
  if (value.parameter_choice_case() == InferParameter::kUint64Param) return value.uint64_param();
  if (value.parameter_choice_case() != InferParameter::kInt64Param || value.int64_param() < 0)
    throw fail(StatusCode::invalid, "{} must be an int64_param, 0 or more", what);
  return static_cast<uint64_t>(value.int64_param());
}

void read_parameters(const Parameters& parameters, GrpcInference& out) {
  constexpr size_t kMostCharacters = 128;
  TensorInference& inference = out.inference;
  for (const auto& [name, value] : parameters) {
    if (name == "sequence_id") {
      if (value.parameter_choice_case() != InferParameter::kStringParam) {
        inference.sequence = unsigned_of(value, "parameter 'sequence_id'");
        continue;
      }
      if (value.string_param().size() > kMostCharacters)
        throw fail(StatusCode::unsupported, "parameter 'sequence_id' has {} characters, at most {} are supported",
                   value.string_param().size(), kMostCharacters);
      inference.sequence = value.string_param();
    } else if (name == "sequence_start") {
      inference.sequence_start = flag_of(value, "parameter 'sequence_start'");
    } else if (name == "sequence_end") {
      inference.sequence_end = flag_of(value, "parameter 'sequence_end'");
    } else if (name == "priority") {
      inference.priority = unsigned_of(value, "parameter 'priority'");
    } else if (name == "timeout") {
      inference.timeout_us = unsigned_of(value, "parameter 'timeout'");
    } else if (name == "triton_enable_empty_final_response") {
      out.empty_final = flag_of(value, "parameter 'triton_enable_empty_final_response'");
    } else {
      check_parameter_name(name);
      switch (value.parameter_choice_case()) {
        case InferParameter::kBoolParam: inference.parameters[name] = value.bool_param(); break;
        case InferParameter::kInt64Param: inference.parameters[name] = int64_t{value.int64_param()}; break;
        case InferParameter::kStringParam: inference.parameters[name] = value.string_param(); break;
        case InferParameter::kDoubleParam: inference.parameters[name] = value.double_param(); break;
        default:
          throw fail(StatusCode::invalid,
                     "parameter {} must be a bool_param, int64_param, string_param or double_param", quoted(name));
      }
    }
  }
}

std::optional<SharedMemoryRef> read_place(const Parameters& parameters, const std::string& where) {
  const auto find = [&](const char* name) -> const InferParameter* {
    const auto found = parameters.find(name);
    return found == parameters.end() ? nullptr : &found->second;
  };
  const InferParameter *region = find("shared_memory_region"), *offset = find("shared_memory_offset"),
                       *size = find("shared_memory_byte_size");
  if (region == nullptr) {
    if (offset != nullptr || size != nullptr)
      throw fail(StatusCode::invalid, "{} has shared memory parameters, and 'shared_memory_region' is missing", where);
    return std::nullopt;
  }
  if (size == nullptr)
    throw fail(StatusCode::invalid, "{} is in shared memory, and 'shared_memory_byte_size' is missing", where);
  return SharedMemoryRef{text_of(*region, where + ": 'shared_memory_region'"),
                         offset == nullptr ? 0 : unsigned_of(*offset, where + ": 'shared_memory_offset'"),
                         unsigned_of(*size, where + ": 'shared_memory_byte_size'")};
}

template <class To, class From>
std::string narrow(const google::protobuf::RepeatedField<From>& values, const std::string& where) {
  std::string out;
  out.reserve(sizeof(To) * static_cast<size_t>(values.size()));
  for (const From value : values) {
    if (value < std::numeric_limits<To>::min() || value > std::numeric_limits<To>::max())
      throw fail(StatusCode::invalid, "{} holds {}, which its datatype cannot", where, value);
    const To small = static_cast<To>(value);
    out.append(reinterpret_cast<const char*>(&small), sizeof small);
  }
  return out;
}

template <class T>
std::string flat(const google::protobuf::RepeatedField<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), sizeof(T) * static_cast<size_t>(values.size()));
}

// The one field that belongs to the datatype, and no other.
std::string read_contents(const InferTensorContents& contents, DataType type, const std::string& where) {
  struct Field {
    const char* name;
    int size;
  };
  const Field fields[] = {
      {"bool_contents", contents.bool_contents_size()},     {"int_contents", contents.int_contents_size()},
      {"int64_contents", contents.int64_contents_size()},   {"uint_contents", contents.uint_contents_size()},
      {"uint64_contents", contents.uint64_contents_size()}, {"fp32_contents", contents.fp32_contents_size()},
      {"fp64_contents", contents.fp64_contents_size()},     {"bytes_contents", contents.bytes_contents_size()}};
  const auto only = [&](std::string_view wanted) {
    for (const Field& field : fields)
      if (field.size > 0 && field.name != wanted)
        throw fail(StatusCode::invalid, "unexpected explicit tensor data for {}: {} belongs in {}, not in {}", where,
                   wire_name(type), wanted, field.name);
  };
  switch (type) {
    case DataType::boolean: return only("bool_contents"), flat(contents.bool_contents());
    case DataType::int8: return only("int_contents"), narrow<int8_t>(contents.int_contents(), where);
    case DataType::int16: return only("int_contents"), narrow<int16_t>(contents.int_contents(), where);
    case DataType::int32: return only("int_contents"), flat(contents.int_contents());
    case DataType::int64: return only("int64_contents"), flat(contents.int64_contents());
    case DataType::uint8: return only("uint_contents"), narrow<uint8_t>(contents.uint_contents(), where);
    case DataType::uint16: return only("uint_contents"), narrow<uint16_t>(contents.uint_contents(), where);
    case DataType::uint32: return only("uint_contents"), flat(contents.uint_contents());
    case DataType::uint64: return only("uint64_contents"), flat(contents.uint64_contents());
    case DataType::fp32: return only("fp32_contents"), flat(contents.fp32_contents());
    case DataType::fp64: return only("fp64_contents"), flat(contents.fp64_contents());
    case DataType::bytes: {
      only("bytes_contents");
      std::string out;
      for (const std::string& element : contents.bytes_contents()) append_bytes_element(out, element);
      return out;
    }
    default:
      throw fail(StatusCode::invalid, "{}: {} has no typed contents, send raw_input_contents", where, wire_name(type));
  }
}

void read_output(const inference::ModelInferRequest::InferRequestedOutputTensor& asked, GrpcInference& out) {
  RequestedOutput output;
  output.name = asked.name();
  const std::string where = fmt::format("output '{}'", output.name);
  if (const auto classes = asked.parameters().find("classification"); classes != asked.parameters().end()) {
    const InferParameter& value = classes->second;
    if (value.parameter_choice_case() != InferParameter::kInt64Param || value.int64_param() <= 0)
      throw fail(StatusCode::invalid,
                 "invalid value for 'classification' parameter of {}, expected an int64_param above 0", where);
    output.classification = static_cast<uint32_t>(std::min<int64_t>(value.int64_param(), UINT32_MAX));
  }
  output.shared_memory = read_place(asked.parameters(), where);
  if (output.shared_memory && output.classification > 0)
    throw fail(StatusCode::invalid, "{}: shared memory can't be set for classification", where);
  out.inference.outputs.push_back(std::move(output));
}

}  // namespace

GrpcInference parse_inference(std::shared_ptr<const inference::ModelInferRequest> message) {
  GrpcInference out;
  out.inference.id = message->id();
  out.inference.version = parse_version(message->model_version());
  read_parameters(message->parameters(), out);
  int raw = 0;  // inputs in shared memory take none
  for (const auto& input : message->inputs()) {
    const std::string where = fmt::format("input tensor '{}'", input.name());
    const auto type = parse_data_type(input.datatype());
    if (!type) throw fail(StatusCode::invalid, "{}: datatype {} is not known", where, quoted(input.datatype()));
    NamedTensor tensor{input.name(), *type, {input.shape().begin(), input.shape().end()}, {}};
    if (const Result<int64_t> count = element_count(tensor.shape); !count.ok())
      throw fail(StatusCode::invalid, "{}: {}", where, count.status().message());
    const std::optional<SharedMemoryRef> shared = read_place(input.parameters(), where);
    if (shared) {
      if (input.has_contents())
        throw fail(StatusCode::invalid, "unexpected 'contents' for {}, which is in shared memory", where);
    } else if (message->raw_input_contents_size() > 0) {
      if (input.has_contents())
        throw fail(StatusCode::invalid, "contents field must not be specified when using raw_input_contents for {}",
                   where);
      if (raw >= message->raw_input_contents_size())
        throw fail(StatusCode::invalid, "unable to find data for {}: raw_input_contents has {} entries", where, raw);
      tensor.data = SharedBytes(std::string_view(message->raw_input_contents(raw++)), message);
    } else if (input.has_contents()) {
      tensor.data = read_contents(input.contents(), *type, where);
    } else {
      throw fail(StatusCode::invalid, "unable to find data for {}", where);
    }
    out.inference.inputs.push_back(std::move(tensor));
    out.shared_inputs.push_back(shared);
  }
  for (const auto& output : message->outputs()) read_output(output, out);
  return out;
}

inference::ModelInferResponse format_message(const std::string& id, const TensorResult& result,
                                             const std::vector<AnsweredOutput>& outputs) {
  inference::ModelInferResponse out;
  out.set_id(id);
  out.set_model_name(result.model_name);
  out.set_model_version(result.model_version);
  for (const auto& [name, value] : result.parameters) {
    InferParameter& parameter = (*out.mutable_parameters())[name];
    if (const bool* flag = std::get_if<bool>(&value))
      parameter.set_bool_param(*flag);
    else if (const int64_t* number = std::get_if<int64_t>(&value))
      parameter.set_int64_param(*number);
    else if (const double* real = std::get_if<double>(&value))
      parameter.set_double_param(*real);
    else
      parameter.set_string_param(std::get<std::string>(value));
  }
  for (const AnsweredOutput& output : outputs) {
    auto* tensor = out.add_outputs();
    tensor->set_name(output.tensor.name);
    tensor->set_datatype(std::string(wire_name(output.tensor.type)));
    for (const int64_t dim : output.tensor.shape) tensor->add_shape(dim);
    out.add_raw_output_contents(output.tensor.data.data(), output.tensor.data.size());
  }
  return out;
}

}  // namespace inazuma::kserve
