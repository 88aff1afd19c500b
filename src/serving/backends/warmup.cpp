// model_warmup: requests that run before a model is ready.

#include <model_config.pb.h>

#include <future>
#include <random>

#include "base/json_file.h"
#include "serving/backends/model_backend.h"
#include "serving/batching/scheduler.h"

namespace inazuma {

namespace {

// Remembers the end of one job.
class End : public TensorJob::Listener {
 public:
  void on_answer(TensorJob&, TensorResult) override {}
  void on_end(TensorJob&, Status status, TensorResult) override { end_.set_value(std::move(status)); }
  std::future<Status> future() { return end_.get_future(); }

 private:
  std::promise<Status> end_;
};

std::string data_of(const inference::ModelWarmup::Input& input, DataType type, int64_t count, uint32_t seed,
                    const std::filesystem::path& folder) {
  if (input.has_input_data_file()) {
    const std::string& name = input.input_data_file();
    if (std::filesystem::path(name).is_absolute() || name.find("..") != std::string::npos)
      throw fail(StatusCode::invalid, "input_data_file {} must lie in the model's warmup directory", quoted(name));
    return read_text_file(folder / name);
  }
  if (type == DataType::bytes) return join_bytes(std::vector<std::string>(static_cast<size_t>(count)));
  std::string data(static_cast<size_t>(count) * element_size(type), '\0');
  if (!input.random_data()) return data;
  std::minstd_rand random(seed);
  if (type == DataType::boolean)
    for (char& byte : data) byte = static_cast<char>(random() & 1);
  else if (type == DataType::fp32)
    for (size_t i = 0; i + sizeof(float) <= data.size(); i += sizeof(float)) {
      const float value = static_cast<float>(random()) / static_cast<float>(std::minstd_rand::max());
      std::memcpy(data.data() + i, &value, sizeof value);
    }
  else if (type == DataType::fp64)
    for (size_t i = 0; i + sizeof(double) <= data.size(); i += sizeof(double)) {
      const double value = static_cast<double>(random()) / static_cast<double>(std::minstd_rand::max());
      std::memcpy(data.data() + i, &value, sizeof value);
    }
  else if (type != DataType::fp16 && type != DataType::bf16)  // random half bits would hold NaN
    for (size_t i = 0; i < data.size(); i += element_size(type)) data[i] = static_cast<char>(random() & 0x7F);
  return data;
}

TensorInference request_of(const TensorModel& model, const inference::ModelWarmup& sample,
                           const std::filesystem::path& folder) {
  TensorInference out;
  out.id = "warmup";
  constexpr int64_t kMostElements = int64_t{1} << 30;
  for (const auto& [name, input] : sample.inputs()) {
    NamedTensor tensor{.name = name,
                       .type = static_cast<DataType>(input.data_type()),
                       .shape = {input.dims().begin(), input.dims().end()},
                       .data = {}};
    if (model.max_batch_size > 0) tensor.shape.insert(tensor.shape.begin(), sample.batch_size());
    const int64_t count = element_count(tensor.shape).value();
    if (count > kMostElements)
      throw fail(StatusCode::invalid, "input {}: {} elements, at most {} are made up", quoted(name), count,
                 kMostElements);
    tensor.data = data_of(input, tensor.type, count, static_cast<uint32_t>(out.inputs.size() + 1), folder);
    out.inputs.push_back(std::move(tensor));
  }
  return out;
}

void run(const TensorModel& model, TensorProgram& program, const TensorInference& inference) {
  const int batch = check_inference(model, inference).value();
  const auto end = std::make_shared<End>();
  std::future<Status> future = end->future();
  TensorJobs jobs;
  jobs.push_back(std::make_unique<TensorJob>(inference, end));
  jobs.front()->batch = batch;
  jobs.front()->cancel = std::make_shared<std::atomic<bool>>(false);
  jobs.front()->arrival = jobs.front()->queued = jobs.front()->compute_start = Clock::now();
  const Status thrown = capture([&] { program.execute(jobs); });
  if (!thrown.ok() && jobs.front()) jobs.front()->fail(thrown);
  jobs.clear();
  if (const Status status = future.get(); !status.ok()) throw Error(status);
}

}  // namespace

Status warm_up(const TensorModel& model, TensorProgram& program, const std::filesystem::path& model_directory) {
  for (const inference::ModelWarmup& sample : model.config->model_warmup()) {
    if (sample.batch_size() == 0) continue;  // switched off
    const Status status = capture([&] {
      const TensorInference inference = request_of(model, sample, model_directory / "warmup");
      const uint32_t times =
          std::max<uint32_t>(1, sample.count()) * static_cast<uint32_t>(instance_specs(*model.config, false).size());
      for (uint32_t i = 0; i < times; ++i) run(model, program, inference);
    });
    if (!status.ok()) return status.in(fmt::format("model_warmup {}", quoted(sample.name())));
  }
  return Status();
}

}  // namespace inazuma
