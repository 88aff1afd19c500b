#pragma once
// A repository in a temporary directory, a Core over it, and requests that wait for their answer.

#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <unistd.h>

#include "serving/repository/model_manager.h"

namespace inazuma::test {

/// Tasks and events of one request, on the calling thread.
class Waiter {
 public:
  Receiver receiver() {
    return {[this](std::function<void()> task) {
              const std::lock_guard lock(mutex_);
              tasks_.push_back(std::move(task));
              wake_.notify_one();
            },
            [this](Event event) {
              if (auto* answer = std::get_if<TensorEvent>(&event))
                answers.push_back(std::move(answer->result));
              else if (auto* response = std::get_if<Response>(&event))
                end = std::move(*response), ended = true;
            }};
  }
  /// Runs what is posted until the end was heard; false after `patience`.
  bool wait(std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    const auto until = Clock::now() + patience;
    while (!ended) {
      std::unique_lock lock(mutex_);
      if (!wake_.wait_until(lock, until, [&] { return !tasks_.empty(); })) return false;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    return true;
  }
  std::vector<TensorResult> answers;
  Response end;
  bool ended = false;

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
};

class RepositoryHarness {
 public:
  RepositoryHarness()
      : root(std::filesystem::temp_directory_path() /
             fmt::format("inazuma_repository_test.{}.{}", getpid(), count_++)) {
    std::filesystem::remove_all(root);
    std::filesystem::create_directories(root);
    options.repositories = {root};
  }
  ~RepositoryHarness() {
    core.repository().clear();
    core.set_control(nullptr);
    manager.reset();
    std::filesystem::remove_all(root);
  }

  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((root / name).parent_path());
    std::ofstream(root / name, std::ios::binary) << text;
  }
  /// MODEL/config.pbtxt and an empty directory for each version.
  void model(const std::string& name, const std::string& config, const std::vector<int>& versions = {1}) const {
    write(name + "/config.pbtxt", config);
    for (const int version : versions) std::filesystem::create_directories(root / name / std::to_string(version));
  }
  Status start() {
    manager = std::make_shared<ModelManager>(core, options);
    core.set_control(manager);
    return manager->start();
  }
  void submit(const std::string& name, TensorInference inference, Waiter& waiter, CancelFlag cancel = nullptr) {
    Request request;
    request.model = name;
    request.work = std::move(inference);
    if (cancel) request.cancelled = std::move(cancel);
    core.submit(std::move(request), waiter.receiver());
  }
  Response infer(const std::string& name, TensorInference inference) {
    Waiter waiter;
    submit(name, std::move(inference), waiter);
    if (!waiter.wait())
      return {.status = Status(StatusCode::deadline_exceeded, "no answer"), .outcome = {}, .usage = {}};
    return std::move(waiter.end);
  }

  std::filesystem::path root;
  ManagerOptions options;
  Core core;
  std::shared_ptr<ModelManager> manager;

 private:
  inline static std::atomic<int> count_ = 0;
};

inline const char* kIdentity = R"(backend: "identity"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
)";

/// The same model, whose executions take `ms`.
inline std::string slow(const std::string& more, int ms = 150) {
  return fmt::format("{} parameters {{ key: \"execute_delay_ms\" value {{ string_value: \"{}\" }} }} {}", kIdentity, ms,
                     more);
}

inline TensorInference floats(std::vector<float> values, const std::string& name = "IN") {
  TensorInference out;
  const auto count = static_cast<int64_t>(values.size());
  out.inputs.push_back(make_tensor<float>(name, DataType::fp32, {1, count}, values));
  return out;
}
inline std::vector<float> values_of(const NamedTensor& tensor) {
  std::vector<float> out(tensor.data.size() / sizeof(float));
  std::memcpy(out.data(), tensor.data.data(), tensor.data.size());
  return out;
}

}  // namespace inazuma::test
