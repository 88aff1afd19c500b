#include "frontends/kserve/service.h"

#include <algorithm>
#include <charconv>

namespace inazuma::kserve {

Background::Background(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { loop(); });
}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    waiting_.clear();
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Background::run(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
  }
  changed_.notify_one();
}

void Background::loop() {
  while (true) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return ended_ || !waiting_.empty(); });
      if (ended_) return;
      work = std::move(waiting_.front());
      waiting_.pop_front();
    }
    if (const Status done = capture(work); !done.ok())
      log::error("background work failed", {{"error", done.message()}});
  }
}

int64_t parse_version(std::string_view text) {
  if (text.empty()) return -1;
  int64_t version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc() || end != text.data() + text.size() || version < 0)
    throw fail(StatusCode::invalid,
               "failed to get model version from specified version string {} (an integral value > 0 is expected)",
               quoted(text));
  return version;
}

const std::vector<std::string>& extensions() {
  static const std::vector<std::string> names = {"classification",
                                                 "sequence",
                                                 "sequence(string_id)",
                                                 "model_repository",
                                                 "model_repository(unload_dependents)",
                                                 "schedule_policy",
                                                 "model_configuration",
                                                 "system_shared_memory",
                                                 "binary_tensor_data",
                                                 "parameters",
                                                 "statistics",
                                                 "trace",
                                                 "logging",
                                                 "generate"};
  return names;
}

void read_shared_inputs(const SharedMemory& memory, TensorInference& inference,
                        const std::vector<std::optional<SharedMemoryRef>>& places) {
  for (size_t i = 0; i < inference.inputs.size() && i < places.size(); ++i)
    if (places[i]) inference.inputs[i].data = memory.read(*places[i]).value();
}

std::vector<AnsweredOutput> answer_outputs(const Service& service, const std::vector<RequestedOutput>& requested,
                                           bool binary_by_default, const TensorResult& result) {
  std::vector<AnsweredOutput> out;
  const auto answer = [&](const NamedTensor& tensor, const RequestedOutput* asked) {
    AnsweredOutput one{tensor, asked == nullptr ? binary_by_default : asked->binary, false};
    if (asked != nullptr && asked->shared_memory) {
      if (const Status written = service.memory.write(*asked->shared_memory, one.tensor.data.view()); !written.ok())
        throw Error(written);
      one.tensor.data = SharedBytes();
      one.in_shared_memory = true;
    }
    out.push_back(std::move(one));
  };
  for (const NamedTensor& tensor : result.outputs) {
    if (requested.empty()) {
      answer(tensor, nullptr);
      continue;
    }
    // One name asked for twice (with different forms) is answered once, as the last of them says.
    const auto asked = std::find_if(requested.rbegin(), requested.rend(),
                                    [&](const RequestedOutput& one) { return one.name == tensor.name; });
    if (asked != requested.rend()) answer(tensor, &*asked);
  }
  return out;
}

void check_parameter_name(std::string_view name) {
  if (name.starts_with("triton_"))
    throw fail(StatusCode::invalid,
               "parameter keys starting with 'triton_' are reserved for the server: {} cannot be used", quoted(name));
  if (name == "headers") throw fail(StatusCode::invalid, "parameter key 'headers' is reserved for the server");
}

std::vector<std::regex> compile_patterns(const std::vector<std::string>& patterns) {
  std::vector<std::regex> out;
  for (const std::string& text : patterns) {
    const bool exact_case = text.starts_with("(?-i)");
    try {
      out.emplace_back(exact_case ? text.substr(5) : text,
                       exact_case ? std::regex::ECMAScript : std::regex::ECMAScript | std::regex::icase);
    } catch (const std::regex_error& error) {
      throw fail(StatusCode::invalid, "header pattern {} is not a regular expression: {}", quoted(text), error.what());
    }
  }
  return out;
}

void forward_headers(const std::vector<std::regex>& patterns, const Headers& headers, ParameterMap& parameters) {
  for (const std::regex& pattern : patterns)
    for (const auto& [name, value] : headers)
      if (std::regex_search(name, pattern)) parameters[name] = value;
}

}  // namespace inazuma::kserve
