// `backend: "identity"`: the i-th output is the i-th input, as the well-known test back end answers. It is how users
// measure a server, and how ours is measured.

#include <model_config.pb.h>

#include <charconv>
#include <thread>

#include "serving/backends/program.h"

namespace inazuma {

namespace {

// `parameters` entries are strings that hold numbers.
uint64_t whole_number(const ProgramContext& context, const std::string& key, uint64_t absent, uint64_t most) {
  const std::string text = context.parameter(key);
  if (text.empty()) return absent;
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most)
    throw fail(StatusCode::invalid, "parameters {} is {}, must be a whole number in [0, {}]", quoted(key), quoted(text),
               most);
  return value;
}

uint64_t answer_count(const ProgramContext& context) {
  constexpr uint64_t kMost = 1'000'000;
  return whole_number(context, "response_count", 1, kMost);
}

class Identity : public TensorProgram {
 public:
  explicit Identity(const ProgramContext& context) : model_(context.model) {
    constexpr uint64_t kLongest = 3'600'000;
    delay_ = std::chrono::milliseconds(whole_number(context, "execute_delay_ms", 0, kLongest));
    answers_ = answer_count(context);
    if (model_->outputs.size() > model_->inputs.size())
      throw fail(StatusCode::invalid,
                 "the identity back end answers inputs: {} outputs need as many inputs, there are {}",
                 model_->outputs.size(), model_->inputs.size());
    for (size_t i = 0; i < model_->outputs.size(); ++i)
      if (model_->outputs[i].type != model_->inputs[i].type)
        throw fail(StatusCode::invalid, "output {} is {}, but input {}, which it repeats, is {}",
                   quoted(model_->outputs[i].name), wire_name(model_->outputs[i].type), quoted(model_->inputs[i].name),
                   wire_name(model_->inputs[i].type));
  }

  bool quick() const override { return delay_.count() == 0 && !model_->decoupled; }

  void execute(TensorJobs& jobs) override {
    if (delay_.count() > 0) std::this_thread::sleep_for(delay_);
    for (auto& job : jobs) {
      TensorResult result = repeat(job->inference);
      job->compute_output_start = Clock::now();
      const auto owned = std::move(job);
      if (!model_->decoupled) {
        owned->finish(std::move(result));
        continue;
      }
      for (uint64_t i = 0; i < answers_; ++i) {
        if (owned->cancelled()) break;
        owned->answer(result);
      }
      if (owned->cancelled())
        owned->fail(Status(StatusCode::cancelled, "the request was cancelled"));
      else
        owned->finish({.model_name = "", .model_version = "", .outputs = {}, .parameters = {}, .empty = true});
    }
  }

 private:
  TensorResult repeat(const TensorInference& inference) const {
    TensorResult result;
    for (size_t i = 0; i < model_->outputs.size(); ++i) {
      const auto input = std::find_if(inference.inputs.begin(), inference.inputs.end(),
                                      [&](const NamedTensor& tensor) { return tensor.name == model_->inputs[i].name; });
      if (input == inference.inputs.end()) continue;  // optional, and not sent
      NamedTensor& output = result.outputs.emplace_back(*input);
      output.name = model_->outputs[i].name;
    }
    return result;
  }

  std::shared_ptr<const TensorModel> model_;
  std::chrono::milliseconds delay_{};
  uint64_t answers_ = 1;
};

}  // namespace

BackendKind identity_backend() {
  return {.name = "identity",
          .complete = [](inference::ModelConfig&, const std::filesystem::path&, const std::filesystem::path&) {},
          .load = [](const ProgramContext& context) -> std::shared_ptr<TensorProgram> {
            return std::make_shared<Identity>(context);
          },
          .prepare = [](const ProgramContext& context,
                        TensorModel& model) { model.single_answer = !model.decoupled || answer_count(context) <= 1; }};
}

}  // namespace inazuma
