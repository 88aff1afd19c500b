#include "frontends/kserve/http/infer.h"

#include <charconv>

#include "frontends/kserve/json_tensor.h"

namespace inazuma::kserve {

namespace {

namespace dom = simdjson::dom;

std::string_view text_of(Json value, std::string_view what) {
  std::string_view text;
  if (value.get_string().get(text)) throw fail(StatusCode::invalid, "{} is {}, must be a string", what, shown(value));
  return text;
}

uint64_t unsigned_of(Json value, std::string_view what) {
  uint64_t number = 0;
  if (value.get_uint64().get(number))
    throw fail(StatusCode::invalid, "{} is {}, must be a whole number, 0 or more", what, shown(value));
  return number;
}

bool flag_of(Json value, std::string_view what) {
  bool flag = false;
  if (value.get_bool().get(flag))
    throw fail(StatusCode::invalid, "{} is {}, must be true or false", what, shown(value));
  return flag;
}

dom::array array_of(Json value, std::string_view what) {
  dom::array items;
  if (value.get_array().get(items)) throw fail(StatusCode::invalid, "{} is {}, must be an array", what, shown(value));
  return items;
}

dom::object object_of(Json value, std::string_view what) {
  dom::object fields;
  if (value.get_object().get(fields))
    throw fail(StatusCode::invalid, "{} is {}, must be an object", what, shown(value));
  return fields;
}

ParameterValue parameter_of(Json value, std::string_view name) {
  switch (value.type()) {
    case dom::element_type::BOOL: return bool(value);
    case dom::element_type::INT64: return int64_t(value);
    case dom::element_type::DOUBLE: return double(value);
    case dom::element_type::STRING: return std::string(std::string_view(value));
    default:
      throw fail(StatusCode::invalid,
                 "parameter {} is {}, must be a string, a number of at most 63 bits, true or false", quoted(name),
                 shown(value));
  }
}

CorrelationId sequence_of(Json value) {
  constexpr size_t kMostCharacters = 128;
  std::string_view text;
  if (value.get_string().get(text)) return unsigned_of(value, "parameter 'sequence_id'");
  if (text.size() > kMostCharacters)
    throw fail(StatusCode::unsupported, "parameter 'sequence_id' has {} characters, at most {} are supported",
               text.size(), kMostCharacters);
  return std::string(text);
}

void read_request_parameters(const dom::object& fields, ParsedInference& out) {
  TensorInference& inference = out.inference;
  for (const auto [name, value] : fields) {
    if (name == "sequence_id")
      inference.sequence = sequence_of(value);
    else if (name == "sequence_start")
      inference.sequence_start = flag_of(value, "parameter 'sequence_start'");
    else if (name == "sequence_end")
      inference.sequence_end = flag_of(value, "parameter 'sequence_end'");
    else if (name == "priority")
      inference.priority = unsigned_of(value, "parameter 'priority'");
    else if (name == "timeout")
      inference.timeout_us = unsigned_of(value, "parameter 'timeout'");
    else if (name == "binary_data_output")
      out.binary_by_default = flag_of(value, "parameter 'binary_data_output'");
    else {
      check_parameter_name(name);
      inference.parameters[std::string(name)] = parameter_of(value, name);
    }
  }
}

struct Place {
  std::optional<SharedMemoryRef> shared;
  std::optional<uint64_t> binary;
};

// The parameters of one input or output that say where its bytes are.
class PlaceReader {
 public:
  explicit PlaceReader(std::string where) : where_(std::move(where)) {}

  /// Whether the parameter was one of the place's.
  bool take(std::string_view name, Json value) {
    const std::string what = fmt::format("{} parameter '{}'", where_, name);
    if (name == "shared_memory_region")
      region_.emplace(text_of(value, what));
    else if (name == "shared_memory_offset")
      offset_ = unsigned_of(value, what);
    else if (name == "shared_memory_byte_size")
      size_ = unsigned_of(value, what);
    else
      return false;
    return true;
  }
  std::optional<SharedMemoryRef> finish() const {
    if (!region_) {
      if (size_ || offset_)
        throw fail(StatusCode::invalid, "{} has shared memory parameters, and 'shared_memory_region' is missing",
                   where_);
      return std::nullopt;
    }
    if (!size_)
      throw fail(StatusCode::invalid, "{} is in shared memory, and 'shared_memory_byte_size' is missing", where_);
    return SharedMemoryRef{*region_, offset_.value_or(0), *size_};
  }

 private:
  std::string where_;
  std::optional<std::string> region_;
  std::optional<uint64_t> offset_, size_;
};

// Cuts the binary tail into the inputs that have a part of it.
struct Tail {
  SharedBytes bytes;
  size_t taken = 0;

  SharedBytes take(uint64_t size, const std::string& input) {
    const size_t left = bytes.size() - taken;
    if (size > left)
      throw fail(StatusCode::invalid, "unexpected size for input '{}', expecting {} additional bytes", input,
                 size - left);
    SharedBytes out = bytes.part(taken, size);
    taken += size;
    return out;
  }
};

void read_input(Json item, ParsedInference& out, Tail& tail, size_t max_json) {
  NamedTensor tensor;
  Json data, shape, datatype;
  bool has_data = false, has_shape = false, has_type = false;
  const dom::object fields = object_of(item, "an element of 'inputs'");
  std::string_view name;
  if (fields["name"].get_string().get(name))
    throw fail(StatusCode::invalid, "an element of 'inputs' has no string 'name'");
  tensor.name = name;
  const std::string where = fmt::format("input '{}'", tensor.name);
  PlaceReader place(where);
  std::optional<uint64_t> binary;
  for (const auto [key, value] : fields) {
    if (key == "datatype")
      datatype = value, has_type = true;
    else if (key == "shape")
      shape = value, has_shape = true;
    else if (key == "data")
      data = value, has_data = true;
    else if (key == "parameters") {
      for (const auto [parameter, given] : object_of(value, where + " 'parameters'")) {
        if (parameter == "binary_data_size")
          binary = unsigned_of(given, where + " parameter 'binary_data_size'");
        else
          place.take(parameter, given);
      }
    }
  }
  if (!has_type) throw fail(StatusCode::invalid, "{} has no 'datatype'", where);
  if (!has_shape) throw fail(StatusCode::invalid, "{} has no 'shape'", where);
  const std::string_view type = text_of(datatype, where + " 'datatype'");
  const auto known = parse_data_type(type);
  if (!known) throw fail(StatusCode::invalid, "{}: datatype {} is not known", where, quoted(type));
  tensor.type = *known;
  for (const Json dim : array_of(shape, where + " 'shape'")) {
    int64_t size = 0;
    if (dim.get_int64().get(size) || size < 0)
      throw fail(StatusCode::invalid, "{}: 'shape' holds {}, must be whole numbers, 0 or more", where, shown(dim));
    tensor.shape.push_back(size);
  }
  const std::optional<SharedMemoryRef> shared = place.finish();
  const int given = (has_data ? 1 : 0) + (binary ? 1 : 0) + (shared ? 1 : 0);
  if (given != 1)
    throw fail(StatusCode::invalid,
               "{} must specify exactly one of 'data', 'binary_data_size' and 'shared_memory_region', got {}{}{}{}",
               where, given == 0 ? "none" : "", has_data ? "'data' " : "", binary ? "'binary_data_size' " : "",
               shared ? "'shared_memory_region'" : "");
  const Result<int64_t> count = element_count(tensor.shape);
  if (!count.ok()) throw fail(StatusCode::invalid, "{}: {}", where, count.status().message());
  if (has_data)
    tensor.data = read_json_data(data, tensor.type, *count, tensor.name, max_json);
  else if (binary)
    tensor.data = tail.take(*binary, tensor.name);
  out.inference.inputs.push_back(std::move(tensor));
  out.shared_inputs.push_back(shared);
}

void read_output(Json item, ParsedInference& out) {
  RequestedOutput output;
  const dom::object fields = object_of(item, "an element of 'outputs'");
  std::string_view name;
  if (fields["name"].get_string().get(name))
    throw fail(StatusCode::invalid, "an element of 'outputs' has no string 'name'");
  output.name = name;
  const std::string where = fmt::format("output '{}'", output.name);
  PlaceReader place(where);
  Json parameters;
  if (!fields["parameters"].get(parameters)) {
    for (const auto [parameter, given] : object_of(parameters, where + " 'parameters'")) {
      if (parameter == "binary_data")
        output.binary = flag_of(given, where + " parameter 'binary_data'");
      else if (parameter == "classification") {
        const uint64_t classes = unsigned_of(given, where + " parameter 'classification'");
        output.classification = static_cast<uint32_t>(std::min<uint64_t>(classes, UINT32_MAX));
      } else {
        place.take(parameter, given);
      }
    }
  }
  output.shared_memory = place.finish();
  if (output.shared_memory && output.classification > 0)
    throw fail(StatusCode::invalid, "{}: shared memory can't be set for classification", where);
  if (output.shared_memory && output.binary)
    throw fail(StatusCode::invalid, "{}: shared memory can't be set for an output with 'binary_data'", where);
  out.inference.outputs.push_back(std::move(output));
}

// A body without JSON: the one input that the model has, of as many elements as the bytes make.
ParsedInference parse_raw(std::shared_ptr<const std::string> body, const TensorModel& model, size_t limit) {
  if (body->size() > limit)
    throw fail(StatusCode::invalid, "the raw body has {} bytes, the limit is {} (--http-max-input-size)", body->size(),
               limit);
  if (model.inputs.size() != 1)
    throw fail(
        StatusCode::invalid,
        "Raw request must only have 1 input (found {}) to be deduced but got {} inputs in '{}' model configuration",
        model.inputs.size(), model.inputs.size(), model.name);
  const TensorSpec& spec = model.inputs[0];
  ParsedInference out;
  out.binary_by_default = true;
  NamedTensor tensor{spec.name, spec.type, spec.dims, SharedBytes(std::string_view(*body), body)};
  if (spec.type == DataType::bytes) {
    for (int64_t& dim : tensor.shape)
      if (dim == -1) dim = 1;
    if (element_count(tensor.shape).value() != 1)
      throw fail(StatusCode::invalid, "For BYTES datatype raw input '{}', the model must have input shape [1]",
                 spec.name);
    std::string raw;
    append_bytes_element(raw, *body);
    tensor.data = std::move(raw);
  } else {
    int64_t fixed = 1, open = 0;
    for (const int64_t dim : spec.dims) (dim == -1 ? open : fixed) = dim == -1 ? open + 1 : fixed * dim;
    if (open > 1)
      throw fail(
          StatusCode::invalid,
          "The shape of the raw input '{}' can not be deduced because there are more than one variable-sized dimension",
          spec.name);
    const auto element = static_cast<int64_t>(element_size(spec.type));
    const auto size = static_cast<int64_t>(body->size());
    if (open == 1 && size % (element * fixed) != 0)
      throw fail(StatusCode::invalid,
                 "The shape of the raw input '{}' can not be deduced: {} bytes are no multiple of {}", spec.name, size,
                 element * fixed);
    for (int64_t& dim : tensor.shape)
      if (dim == -1) dim = size / (element * fixed);
  }
  if (model.max_batch_size > 0) tensor.shape.insert(tensor.shape.begin(), 1);
  out.inference.inputs.push_back(std::move(tensor));
  out.shared_inputs.emplace_back();
  return out;
}

}  // namespace

std::optional<size_t> parse_json_size(const Headers& headers, size_t body_size) {
  const auto header = find_header(headers, "inference-header-content-length");
  if (!header) return std::nullopt;
  size_t size = 0;
  const auto [end, error] = std::from_chars(header->data(), header->data() + header->size(), size);
  if (error != std::errc() || end != header->data() + header->size() || size > body_size)
    throw fail(StatusCode::invalid,
               "Inference-Header-Content-Length is {}, must be a whole number in [0, {}], the bytes of the body",
               quoted(*header), body_size);
  return size;
}

ParsedInference parse_inference(std::shared_ptr<const std::string> body, std::optional<size_t> json_size,
                                const TensorModel& model, size_t max_json) {
  // An empty body without the header is an empty raw input, as in the reference.
  if (json_size.value_or(body->empty() ? 0 : 1) == 0) return parse_raw(std::move(body), model, max_json);
  const size_t size = json_size.value_or(body->size());
  if (size > max_json)
    throw fail(StatusCode::invalid, "the JSON of the request has {} bytes, the limit is {} (--http-max-input-size)",
               size, max_json);
  const TensorDocument document(std::string_view(*body).substr(0, size));
  ParsedInference out;
  Tail tail{SharedBytes(std::string_view(*body).substr(size), body)};
  const dom::object fields = object_of(document.root(), "the request");
  bool has_inputs = false;
  for (const auto [name, value] : fields) {
    if (name == "id") {
      out.inference.id = text_of(value, "'id'");
    } else if (name == "parameters") {
      read_request_parameters(object_of(value, "'parameters'"), out);
    } else if (name == "inputs") {
      has_inputs = true;
      for (const Json item : array_of(value, "'inputs'")) read_input(item, out, tail, max_json);
    } else if (name == "outputs") {
      for (const Json item : array_of(value, "'outputs'")) read_output(item, out);
    }
  }
  if (!has_inputs) throw fail(StatusCode::invalid, "the request has no 'inputs'");
  if (tail.taken != tail.bytes.size())
    throw fail(StatusCode::invalid, "unexpected additional input data for model '{}': {} bytes belong to no input",
               model.name, tail.bytes.size() - tail.taken);
  return out;
}

HttpResponse format_inference(const std::string& id, const TensorResult& result,
                              const std::vector<AnsweredOutput>& outputs) {
  JsonWriter json;
  json.begin_object();
  if (!id.empty()) json.key("id").text(id);
  json.key("model_name").text(result.model_name).key("model_version").text(result.model_version);
  if (!result.parameters.empty()) {
    write_members(json.key("parameters").begin_object(), result.parameters);
    json.end_object();
  }
  json.key("outputs").begin_array();
  size_t binary = 0;
  for (const AnsweredOutput& output : outputs) {
    const NamedTensor& tensor = output.tensor;
    json.begin_object()
        .key("name")
        .text(tensor.name)
        .key("datatype")
        .text(wire_name(tensor.type))
        .key("shape")
        .begin_array();
    for (const int64_t dim : tensor.shape) json.number(dim);
    json.end_array();
    if (!output.in_shared_memory) {
      if (output.binary) {
        json.key("parameters").begin_object().key("binary_data_size").number_u64(tensor.data.size()).end_object();
        binary += tensor.data.size();
      } else {
        json.key("data").raw(write_json_data(tensor));
      }
    }
    json.end_object();
  }
  json.end_array().end_object();
  HttpResponse response;
  response.body = std::move(json).take();
  if (binary == 0) return response;
  response.headers.emplace_back("inference-header-content-length", std::to_string(response.body.size()));
  response.content_type = "application/octet-stream";
  response.body.reserve(response.body.size() + binary);
  for (const AnsweredOutput& output : outputs)
    if (output.binary && !output.in_shared_memory) response.body.append(output.tensor.data.view());
  return response;
}

}  // namespace inazuma::kserve
