#pragma once
// What a back end is to the repository: something that completes a configuration, loads a version, and works batches of
// requests that the schedulers formed.

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "serving/backend.h"

namespace inazuma {

/// A request on its way through a model. Whoever holds it must finish it, once, on any thread; one that is dropped
/// unfinished answers `internal`.
class TensorJob {
 public:
  /// Hears an answer that is not the last (decoupled), or the end: a result or a failure.
  class Listener {
   public:
    virtual ~Listener() = default;
    virtual void on_answer(TensorJob& job, TensorResult result) = 0;
    virtual void on_end(TensorJob& job, Status status, TensorResult result) = 0;
  };

  TensorJob(TensorInference request, std::shared_ptr<Listener> listener)
      : inference(std::move(request)), listener_(std::move(listener)) {}
  ~TensorJob() {
    if (listener_) fail(Status(StatusCode::internal, "the back end dropped the request"));
  }
  TensorJob(const TensorJob&) = delete;
  TensorJob& operator=(const TensorJob&) = delete;

  /// Decoupled models only: one answer of several.
  void answer(TensorResult result) { listener_->on_answer(*this, std::move(result)); }
  void finish(TensorResult result) { std::exchange(listener_, nullptr)->on_end(*this, Status(), std::move(result)); }
  void fail(Status status) { std::exchange(listener_, nullptr)->on_end(*this, std::move(status), {}); }
  bool cancelled() const { return cancel->load(std::memory_order_relaxed); }

  TensorInference inference;  ///< checked against the model; a back end may take its tensors away
  int batch = 1;              ///< rows of the batch dimension; 1 where the model has none
  CancelFlag cancel;
  Clock::time_point arrival{}, deadline = Clock::time_point::max();
  int32_t engine_priority = 0;          ///< for back ends that hand rows to an engine
  std::shared_ptr<RequestTrace> trace;  ///< null: not traced

  // Moments that statistics are made of. The scheduler sets the first two; a back end that knows better than "all of it
  // was inference" sets the others.
  Clock::time_point queued{}, compute_start{}, compute_input_end{}, compute_output_start{};
  std::shared_ptr<void> execution;  ///< the scheduler's record of the batch this belonged to

 private:
  std::shared_ptr<Listener> listener_;
};
using TensorJobs = std::vector<std::unique_ptr<TensorJob>>;

/// A loaded version. `execute` is called by as many threads at once as the configuration has instances.
class TensorProgram {
 public:
  virtual ~TensorProgram() = default;
  /// Works one batch: requests that may run together, in order. Returning frees the instance; jobs may be finished
  /// later (an engine of its own queues them). Throwing fails the jobs that are left in `jobs`.
  virtual void execute(TensorJobs& jobs) = 0;
  /// Never waits: may run on the thread of the connection.
  virtual bool quick() const { return false; }
  /// The text model inside, for the text APIs; null where there is none.
  virtual std::shared_ptr<Backend> text() const { return nullptr; }
};

/// How JSON of the task API becomes work and back. It belongs to a room above: handed in by whoever builds the server.
struct TextWork {
  Work work;
  std::function<std::string(const Outcome&)> format;  ///< JSON of one outcome
};
using TextDialect = std::function<TextWork(std::string_view body, const ModelInfo& model)>;

/// Doors to the other models of the server, for ensembles: Core's.
using FindModel = std::function<Result<std::shared_ptr<Backend>>(const std::string& model, int64_t version)>;
using SubmitRequest = std::function<void(Request, Receiver)>;

/// What a back end may know when it loads a version.
struct ProgramContext {
  std::shared_ptr<const TensorModel> model;
  std::filesystem::path model_directory;
  std::filesystem::path version_directory;
  BackendOptions options;  ///< server-wide: device, threads, engine budgets
  TextDialect dialect;
  FindModel find_model;
  SubmitRequest submit;

  /// `parameters { key: ... value { string_value: ... } }` of the configuration; "" when absent.
  std::string parameter(const std::string& key) const;
};

/// One entry of the list of back ends. Both functions throw Error.
struct BackendKind {
  std::string name;  ///< `backend` of config.pbtxt
  /// Fills in what the files of a version say and the configuration leaves out: max_batch_size, input, output,
  /// decoupled.
  std::function<void(inference::ModelConfig& config, const std::filesystem::path& model_directory,
                     const std::filesystem::path& version_directory)>
      complete;
  std::function<std::shared_ptr<TensorProgram>(const ProgramContext& context)> load;
  /// May add to what is known of the model before it is shared (labels of an ensemble's outputs); may be null.
  std::function<void(const ProgramContext& context, TensorModel& model)> prepare;
};

/// All that are built in. unsupported for names of back ends that exist elsewhere (with what to do instead), and for
/// others.
Result<const BackendKind*> find_backend_kind(std::string_view backend, std::string_view platform);

// One file each beside this one.
BackendKind identity_backend();
BackendKind text_backend();
BackendKind ensemble_backend();

/// The tensor face of a text model: BYTES text_input -> text_output.
std::shared_ptr<TensorProgram> make_text_program(std::shared_ptr<const TensorModel> model,
                                                 std::shared_ptr<Backend> text, TextDialect dialect);

}  // namespace inazuma
