// `backend: "inazuma"`: a Hugging Face directory as a model of a repository. Texts go in as BYTES `text_input` and come
// out as BYTES `text_output`: the generated text, or the task API's JSON for tasks that answer more than a text.

#include <model_config.pb.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "serving/backends/program.h"

namespace inazuma {

namespace {

constexpr const char* kInput = "text_input";
constexpr const char* kOutput = "text_output";
constexpr int kDefaultBatch = 32;

// The thread on which answers of the text model are heard, in order.
class Line {
 public:
  Line() : thread_([this] { work(); }) {}
  ~Line() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void post(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::thread thread_;
};

// One request's rows on their way; the last one to end answers.
struct Rows {
  Rows(std::unique_ptr<TensorJob> owned, size_t count) : job(std::move(owned)), texts(count), open(count) {}
  std::mutex mutex;  // rows that the text model refuses at once end on the submitting thread
  std::unique_ptr<TensorJob> job;
  std::vector<std::string> texts;
  size_t open;
  Status status;
  std::vector<int64_t> shape;

  void end(size_t row, Status one, std::string text) {
    const std::unique_lock lock(mutex);
    if (!one.ok() && status.ok()) status = std::move(one);
    texts[row] = std::move(text);
    if (--open > 0) return;
    job->compute_output_start = Clock::now();
    if (!status.ok()) return job->fail(std::move(status));
    TensorResult result;
    result.outputs.push_back({kOutput, DataType::bytes, shape, join_bytes(texts)});
    job->finish(std::move(result));
  }
};

nlohmann::json value_of(const ParameterValue& value) {
  return std::visit([](const auto& typed) { return nlohmann::json(typed); }, value);
}

class TextProgram : public TensorProgram {
 public:
  TextProgram(std::shared_ptr<const TensorModel> model, std::shared_ptr<Backend> text, TextDialect dialect)
      : model_(std::move(model)), dialect_(std::move(dialect)), text_(std::move(text)) {
    const TensorSpec* input = model_->input(kInput);
    const TensorSpec* output = model_->output(kOutput);
    if (model_->inputs.size() != 1 || model_->outputs.size() != 1 || input == nullptr || output == nullptr ||
        input->type != DataType::bytes || output->type != DataType::bytes)
      throw fail(StatusCode::invalid,
                 "a text model has the one input {} and the one output {}, both TYPE_STRING; leave input and output "
                 "out of config.pbtxt and they are filled in",
                 quoted(kInput), quoted(kOutput));
    generates_ = text_->info().model.has_decoder;
    if (model_->decoupled && !generates_) throw fail(StatusCode::invalid, "only models that generate can be decoupled");
  }

  bool quick() const override { return true; }
  std::shared_ptr<Backend> text() const override { return text_; }

  void execute(TensorJobs& jobs) override {
    for (auto& job : jobs) {
      // A text that cannot be read fails its own request, and none beside it.
      const Status status = capture([&] { start(job); });
      if (!status.ok() && job) std::exchange(job, nullptr)->fail(status);
    }
  }

 private:
  void start(std::unique_ptr<TensorJob>& job) {
    const NamedTensor& tensor = job->inference.inputs.front();
    const auto texts = split_bytes(tensor.data.view(), element_count(tensor.shape).value()).value();
    if (texts.empty()) throw fail(StatusCode::empty, "{} holds no text", quoted(kInput));
    std::vector<TextWork> works;
    for (const std::string_view text : texts)
      works.push_back(dialect_(body(text, job->inference.parameters), text_->info().model));
    job->compute_input_end = Clock::now();
    const bool stream = model_->decoupled;
    if (stream && works.size() > 1)
      throw fail(StatusCode::invalid, "a decoupled text model takes one text a request, got {}", works.size());

    std::vector<Request> requests;
    for (TextWork& work : works) {
      Request& request = requests.emplace_back();
      request.id = job->inference.id;
      request.model = model_->name;
      request.work = std::move(work.work);
      request.priority = job->engine_priority;
      request.arrival = job->arrival;
      request.deadline = job->deadline;
      request.cancelled = job->cancel;
      if (auto* generation = std::get_if<Generation>(&request.work)) generation->stream = stream;
    }
    const auto rows = std::make_shared<Rows>(std::move(job), works.size());
    rows->shape = rows->job->inference.inputs.front().shape;
    for (size_t i = 0; i < works.size(); ++i)
      text_->submit(std::move(requests[i]), {[this](std::function<void()> task) { line_.post(std::move(task)); },
                                             [this, rows, i, stream, format = std::move(works[i].format)](Event event) {
                                               hear(*rows, i, stream, format, std::move(event));
                                             }});
  }

  void hear(Rows& rows, size_t row, bool stream, const std::function<std::string(const Outcome&)>& format,
            Event event) const {
    if (const auto* token = std::get_if<StreamToken>(&event)) {
      if (!stream || token->token.text.empty()) return;
      TensorResult piece;
      std::string raw;
      append_bytes_element(raw, token->token.text);
      piece.outputs.push_back({kOutput, DataType::bytes, rows.shape, std::move(raw)});
      return rows.job->answer(std::move(piece));
    }
    auto* response = std::get_if<Response>(&event);
    if (response == nullptr) return;
    if (!response->status.ok()) return rows.end(row, std::move(response->status), "");
    if (stream)
      return rows.job->finish({.model_name = "", .model_version = "", .outputs = {}, .parameters = {}, .empty = true});
    std::string text;
    const Status status = capture([&] {
      const auto* generated = std::get_if<GenerationResult>(&response->outcome);
      text = generated != nullptr ? generated->texts.at(0).text : format(response->outcome);
    });
    rows.end(row, status, std::move(text));
  }

  // The task API's body for one text. Tasks that take more than a text get it as JSON ({"question": ..., "context":
  // ...}).
  std::string body(std::string_view text, const ParameterMap& parameters) const {
    nlohmann::json out;
    if (text_->info().model.task == Task::question_answering) {
      out["inputs"] = nlohmann::json::parse(text, nullptr, false);
      if (!out["inputs"].is_object())
        throw fail(StatusCode::invalid, R"({} must hold JSON with "question" and "context" for this model)",
                   quoted(kInput));
    } else {
      out["inputs"] = std::string(text);
    }
    if (generates_ && !model_->decoupled) out["parameters"]["return_full_text"] = false;
    for (const auto& [name, value] : parameters)
      out["parameters"][name == "max_tokens" ? "max_new_tokens" : name] = value_of(value);
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  Line line_;  // last to go: a text model that stops says so to its rows there
  std::shared_ptr<const TensorModel> model_;
  TextDialect dialect_;
  bool generates_ = false;
  std::shared_ptr<Backend> text_;
};

std::filesystem::path directory_of(const ProgramContext& context) {
  const std::string given = context.parameter("hf_model");
  if (given.empty()) return context.version_directory;
  return std::filesystem::path(given).is_absolute() ? std::filesystem::path(given) : context.model_directory / given;
}

void complete(inference::ModelConfig& config, const std::filesystem::path&, const std::filesystem::path&) {
  const bool bare = config.input().empty() && config.output().empty();
  if (bare && config.max_batch_size() == 0) config.set_max_batch_size(kDefaultBatch);
  if (config.input().empty()) {
    auto& input = *config.add_input();
    input.set_name(kInput);
    input.set_data_type(inference::TYPE_STRING);
    input.add_dims(1);
  }
  if (config.output().empty()) {
    auto& output = *config.add_output();
    output.set_name(kOutput);
    output.set_data_type(inference::TYPE_STRING);
    output.add_dims(1);
  }
}

}  // namespace

std::shared_ptr<TensorProgram> make_text_program(std::shared_ptr<const TensorModel> model,
                                                 std::shared_ptr<Backend> text, TextDialect dialect) {
  return std::make_shared<TextProgram>(std::move(model), std::move(text), std::move(dialect));
}

BackendKind text_backend() {
  return {.name = "inazuma",
          .complete = complete,
          .load =
              [](const ProgramContext& context) {
                return make_text_program(context.model, load_backend(directory_of(context), context.options).value(),
                                         context.dialect);
              },
          .prepare = nullptr};
}

}  // namespace inazuma
