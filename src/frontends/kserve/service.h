#pragma once
// What both protocols of KServe v2 share: the server's facts, shared memory, settings, and work that must not hold a
// connection's thread.

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <regex>
#include <string>
#include <thread>

#include "base/log.h"
#include "frontends/http.h"
#include "frontends/kserve/settings.h"
#include "frontends/kserve/shared_memory.h"
#include "frontends/kserve/trace.h"
#include "serving/core.h"

namespace inazuma::kserve {

struct Options {
  std::string server_name = "inazuma";    ///< --id
  size_t max_json = 64 << 20;             ///< --http-max-input-size: JSON text, each tensor in it, a raw body
  bool client_shared_memory = false;      ///< --allow-client-shm
  std::vector<std::string> http_forward;  ///< --http-header-forward-pattern
  std::vector<std::string> grpc_forward;  ///< --grpc-header-forward-pattern
  log::Options log;                       ///< what the log settings begin with
  TraceValues trace;                      ///< --trace-config
};

/// Runs blocking work (loads) one after another on its own threads.
class Background {
 public:
  explicit Background(int threads);
  ~Background();  ///< finishes what was begun, drops the rest
  void run(std::function<void()> work);

 private:
  void loop();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool ended_ = false;
  std::vector<std::thread> threads_;
};

/// Patterns find anywhere in a name and in any case, unless they begin with "(?-i)". invalid: not a regular expression.
std::vector<std::regex> compile_patterns(const std::vector<std::string>& patterns);

struct Service {
  Service(Core& served, Options given)
      : core(served),
        options(std::move(given)),
        http_forward(compile_patterns(options.http_forward)),
        grpc_forward(compile_patterns(options.grpc_forward)),
        memory(options.client_shared_memory),
        log_settings(options.log),
        tracer(options.trace),
        background(2) {}

  Core& core;
  Options options;
  std::vector<std::regex> http_forward, grpc_forward;
  SharedMemory memory;
  LogSettings log_settings;
  Tracer tracer;
  Background background;
};

/// "" is -1: the highest that is ready. invalid: no whole number, or below 0 (no model has a version 0).
int64_t parse_version(std::string_view text);

/// Extensions of the protocol that are served, by their names in server metadata.
const std::vector<std::string>& extensions();

/// Sets shared-memory inputs' data; the sizes that `places` names must be whole tensors, which the back end checks.
void read_shared_inputs(const SharedMemory& memory, TensorInference& inference,
                        const std::vector<std::optional<SharedMemoryRef>>& places);

/// What a client asked of each output, done to a result: bytes into shared memory (the tensor then has none of its
/// own). In the order of the result; outputs not asked for are dropped unless none was.
struct AnsweredOutput {
  NamedTensor tensor;
  bool binary = false;
  bool in_shared_memory = false;
};
std::vector<AnsweredOutput> answer_outputs(const Service& service, const std::vector<RequestedOutput>& requested,
                                           bool binary_by_default, const TensorResult& result);

/// Headers whose names a pattern finds become string parameters.
void forward_headers(const std::vector<std::regex>& patterns, const Headers& headers, ParameterMap& parameters);

/// Refuses names that the protocol keeps for itself ("triton_...", "headers"). invalid.
void check_parameter_name(std::string_view name);

}  // namespace inazuma::kserve
