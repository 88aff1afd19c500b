#include "frontends/kserve/http/generate.h"

#include "frontends/kserve/json_tensor.h"
#include "frontends/kserve/service.h"

namespace inazuma::kserve {

namespace {

namespace dom = simdjson::dom;

int64_t leaves(Json value) {
  if (!value.is_array()) return 1;
  int64_t count = 0;
  for (const Json item : dom::array(value)) count += leaves(item);
  return count;
}

// n elements spread over the model's shape: fixed dimensions divide, the innermost open one takes the rest, others
// are 1.
std::vector<int64_t> spread(int64_t count, const TensorModel& model, const TensorSpec& spec) {
  std::vector<int64_t> shape = model.shown_shape(spec);
  int64_t rest = count;
  const auto impossible = [&] {
    return fail(StatusCode::invalid, "input '{}': {} elements cannot be given the shape {}", spec.name, count,
                show(model.shown_shape(spec)));
  };
  for (const int64_t dim : shape) {
    if (dim == -1) continue;
    if (dim == 0 || rest % dim != 0) throw impossible();
    rest /= dim;
  }
  bool placed = false;
  for (auto dim = shape.rbegin(); dim != shape.rend(); ++dim) {
    if (*dim != -1) continue;
    *dim = placed ? 1 : rest;
    placed = true;
  }
  if (!placed && rest != 1) throw impossible();
  return shape;
}

class GenerateParser {
 public:
  GenerateParser(const TensorModel& model, size_t limit) : model_(model), limit_(limit) {}

  void members(const dom::object& fields, bool nested) {
    for (const auto [name, value] : fields) {
      if (!nested && name == "parameters") {
        dom::object inner;
        if (value.get_object().get(inner))
          throw fail(StatusCode::invalid, "'parameters' is {}, must be an object", shown(value));
        members(inner, true);
        continue;
      }
      if (!nested && name == "id") {
        std::string_view id;
        if (value.get_string().get(id)) throw fail(StatusCode::invalid, "'id' is {}, must be a string", shown(value));
        out.id = id;
        continue;
      }
      if (const TensorSpec* spec = model_.input(name))
        input(*spec, value);
      else
        parameter(name, value);
    }
  }

  TensorInference out;

 private:
  void input(const TensorSpec& spec, Json value) {
    for (const NamedTensor& earlier : out.inputs)
      if (earlier.name == spec.name) throw fail(StatusCode::invalid, "input '{}' already exists in request", spec.name);
    NamedTensor tensor{spec.name, spec.type, {}, {}};
    const int64_t count = leaves(value);
    tensor.shape = spread(count, model_, spec);
    tensor.data = read_json_data(value, spec.type, count, spec.name, limit_, true);
    out.inputs.push_back(std::move(tensor));
  }

  void parameter(std::string_view name, Json value) {
    switch (value.type()) {
      case dom::element_type::BOOL: out.parameters[std::string(name)] = bool(value); return;
      case dom::element_type::INT64: out.parameters[std::string(name)] = int64_t(value); return;
      case dom::element_type::DOUBLE: out.parameters[std::string(name)] = double(value); return;
      case dom::element_type::STRING: out.parameters[std::string(name)] = std::string(std::string_view(value)); return;
      default:
        throw fail(StatusCode::invalid,
                   "{} is no input of model '{}', and as a parameter {} is no string, number, true or false",
                   quoted(name), model_.name, shown(value));
    }
  }

  const TensorModel& model_;
  size_t limit_;
};

}  // namespace

TensorInference parse_generate(std::string_view body, const TensorModel& model, size_t max_json) {
  if (body.size() > max_json)
    throw fail(StatusCode::invalid, "the request has {} bytes, the limit is {} (--http-max-input-size)", body.size(),
               max_json);
  const TensorDocument document(body);
  dom::object fields;
  if (document.root().get_object().get(fields))
    throw fail(StatusCode::invalid, "the request must be a JSON object, is {}", shown(document.root()));
  GenerateParser parser(model, max_json);
  parser.members(fields, false);
  return std::move(parser.out);
}

std::string format_generate(const std::string& id, const TensorResult& result) {
  JsonWriter json;
  json.begin_object();
  if (!id.empty()) json.key("id").text(id);
  json.key("model_name").text(result.model_name).key("model_version").text(result.model_version);
  write_members(json, result.parameters);
  for (const NamedTensor& tensor : result.outputs) {
    const bool single = element_count(tensor.shape).value() == 1;
    json.key(tensor.name).raw(single ? write_json_elements(tensor) : write_json_data(tensor));
  }
  json.end_object();
  return std::move(json).take();
}

}  // namespace inazuma::kserve
