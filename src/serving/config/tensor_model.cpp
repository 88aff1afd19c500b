#include "serving/config/tensor_model.h"

#include <model_config.pb.h>

#include <algorithm>
#include <set>

namespace inazuma {

namespace {

const TensorSpec* find(const std::vector<TensorSpec>& specs, std::string_view name) {
  const auto found =
      std::find_if(specs.begin(), specs.end(), [&](const TensorSpec& spec) { return spec.name == name; });
  return found == specs.end() ? nullptr : &*found;
}

std::string quoted_names(const std::vector<std::string>& names) {
  return fmt::format("['{}']", fmt::join(names, "','"));
}

// quoted() without the quotes.
std::string bare(std::string_view text) {
  const std::string safe = quoted(text, 128);
  return safe.substr(1, safe.size() - 2);
}

// Core-side refusals begin with the request's id, as clients' logs expect.
class Complaint {
 public:
  Complaint(const TensorModel& model, const TensorInference& inference)
      : model_(model),
        prefix_(fmt::format("[request id: {}] ", inference.id.empty() ? "<id_unknown>" : bare(inference.id))) {}
  template <class... Args>
  Error operator()(fmt::format_string<Args...> format, Args&&... args) const {
    return Error(StatusCode::invalid, prefix_ + fmt::format(format, std::forward<Args>(args)...));
  }
  const std::string& model() const { return model_.name; }

 private:
  const TensorModel& model_;
  std::string prefix_;
};

void check_names(const TensorModel& model, const TensorInference& inference, const Complaint& wrong) {
  std::set<std::string_view> seen;
  for (const NamedTensor& tensor : inference.inputs) {
    if (model.input(tensor.name) == nullptr)
      throw fail(StatusCode::invalid, "unexpected inference input {} for model '{}'", quoted(tensor.name), model.name);
    if (!seen.insert(tensor.name).second)
      throw fail(StatusCode::invalid, "input '{}' already exists in request", tensor.name);
  }
  std::vector<std::string> got, missing;
  size_t required = 0;
  for (const NamedTensor& tensor : inference.inputs) got.push_back(tensor.name);
  for (const TensorSpec& spec : model.inputs) {
    required += spec.optional ? 0 : 1;
    if (!spec.optional && !seen.contains(spec.name)) missing.push_back(spec.name);
  }
  if (!missing.empty()) {
    const std::string names =
        fmt::format("Got input(s) {}, but missing required input(s) {}. Please provide all required input(s).",
                    got.empty() ? "[]" : quoted_names(got), quoted_names(missing));
    if (required == model.inputs.size())
      throw wrong("expected {} inputs but got {} inputs for model '{}'. {}", required, got.size(), wrong.model(),
                  names);
    throw wrong("expected number of inputs between {} and {} but got {} inputs for model '{}'. {}", required,
                model.inputs.size(), got.size(), wrong.model(), names);
  }
  // The same output twice is accepted, as the reference does.
  for (const RequestedOutput& output : inference.outputs)
    if (model.output(output.name) == nullptr)
      throw fail(StatusCode::invalid, "unexpected inference output {} for model '{}'", quoted(output.name), model.name);
}

bool fits(const std::vector<int64_t>& shape, const std::vector<int64_t>& dims) {
  return std::equal(shape.begin(), shape.end(), dims.begin(), dims.end(),
                    [](int64_t got, int64_t want) { return want == -1 || got == want; });
}

void check_bytes(const NamedTensor& tensor, int64_t count, const Complaint& wrong) {
  if (tensor.type == DataType::bytes) {
    if (const auto elements = split_bytes(tensor.data.view(), count); !elements.ok())
      throw wrong("{} for inference input '{}' for model '{}'", elements.status().message(), tensor.name,
                  wrong.model());
    return;
  }
  // element_count is below 2^62 and sizes are at most 8: widen.
  const auto expected = static_cast<unsigned __int128>(count) * element_size(tensor.type);
  if (expected != tensor.data.size())
    throw wrong("input byte size mismatch for input '{}' for model '{}'. Expected {}, got {}", tensor.name,
                wrong.model(),
                expected >> 64 != 0 ? std::string("more than 2^64") : std::to_string(static_cast<uint64_t>(expected)),
                tensor.data.size());
}

}  // namespace

const TensorSpec* TensorModel::input(std::string_view wanted) const {
  return find(inputs, wanted);
}
const TensorSpec* TensorModel::output(std::string_view wanted) const {
  return find(outputs, wanted);
}

std::vector<int64_t> TensorModel::shown_shape(const TensorSpec& spec) const {
  std::vector<int64_t> shape = spec.dims;
  if (max_batch_size > 0) shape.insert(shape.begin(), -1);
  return shape;
}

TensorModel make_tensor_model(std::shared_ptr<const inference::ModelConfig> config, int64_t version) {
  TensorModel out;
  out.name = config->name();
  out.version = version;
  out.platform = config->platform().empty() ? config->backend() : config->platform();
  out.max_batch_size = config->max_batch_size();
  out.decoupled = config->model_transaction_policy().decoupled();
  out.single_answer = !out.decoupled;
  for (const inference::ModelInput& input : config->input())
    out.inputs.push_back({.name = input.name(),
                          .type = static_cast<DataType>(input.data_type()),
                          .dims = {input.dims().begin(), input.dims().end()},
                          .optional = input.optional(),
                          .ragged = input.allow_ragged_batch()});
  for (const inference::ModelOutput& output : config->output())
    out.outputs.push_back({.name = output.name(),
                           .type = static_cast<DataType>(output.data_type()),
                           .dims = {output.dims().begin(), output.dims().end()}});
  out.config = std::move(config);
  return out;
}

Result<int> check_inference(const TensorModel& model, const TensorInference& inference) {
  return capture([&]() -> int {
    const Complaint wrong(model, inference);
    check_names(model, inference, wrong);
    int64_t batch = model.max_batch_size > 0 ? -1 : 1;
    for (const NamedTensor& tensor : inference.inputs) {
      const TensorSpec& spec = *model.input(tensor.name);
      if (tensor.type != spec.type)
        throw wrong("inference input '{}' data-type is '{}', but model '{}' expects '{}'", tensor.name,
                    wire_name(tensor.type), model.name, wire_name(spec.type));
      const Result<int64_t> count = element_count(tensor.shape);
      if (!count.ok()) throw wrong("input '{}' for model '{}': {}", tensor.name, model.name, count.status().message());
      const std::vector<int64_t> expected = model.shown_shape(spec);
      if (!fits(tensor.shape, expected)) {
        // A batching model met by a shape without (or with a foreign) batch dimension is what people get wrong most.
        const char* hint = model.max_batch_size > 0 ? " NOTE: Setting a non-zero max_batch_size in the model config "
                                                      "requires a batch dimension to be prepended to each input shape. "
                                                      "If you want to specify the full shape including the batch dim "
                                                      "in your input dims config, try setting max_batch_size to zero."
                                                    : "";
        throw wrong("unexpected shape for input '{}' for model '{}'. Expected {}, got {}.{}", tensor.name, model.name,
                    show(expected), show(tensor.shape), hint);
      }
      if (model.max_batch_size > 0) {
        if (batch != -1 && batch != tensor.shape[0])
          throw wrong("input '{}' batch size does not match other inputs for '{}'", tensor.name, model.name);
        batch = tensor.shape[0];
      }
      check_bytes(tensor, *count, wrong);
    }
    if (batch == -1) batch = 1;  // a batching model whose inputs are all optional and absent
    if (model.max_batch_size > 0 && (batch < 1 || batch > model.max_batch_size))
      throw wrong("inference request batch-size must be {} for '{}'",
                  batch < 1 ? std::string(">= 1") : fmt::format("<= {}", model.max_batch_size), model.name);
    return static_cast<int>(batch);
  });
}

}  // namespace inazuma
