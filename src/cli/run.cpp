// inazuma run DIR [TEXT]: one answer, or one JSON line per line of stdin; no server.

#include <condition_variable>
#include <deque>
#include <iostream>
#include <mutex>

#include "base/log.h"
#include "cli/command_line.h"
#include "frontends/parsed.h"
#include "serving/core.h"

namespace inazuma::cli {

namespace {

// The receiver of a program without a transport: tasks run on the thread that waits.
class Waiter {
 public:
  Receiver receiver() {
    return {[this](std::function<void()> task) {
              const std::lock_guard lock(mutex_);
              tasks_.push_back(std::move(task));
              ready_.notify_one();
            },
            [this](Event event) {
              if (auto* response = std::get_if<Response>(&event)) response_ = std::move(*response);
            }};
  }

  Response wait() {
    while (!response_) {
      std::unique_lock lock(mutex_);
      ready_.wait(lock, [&] { return !tasks_.empty(); });
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    Response out = std::move(*response_);
    response_.reset();
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> tasks_;
  std::optional<Response> response_;
};

struct RunFlags {
  ModelFlags model;
  std::string directory;
  std::optional<std::string> text;
  std::string parameters;
  bool json = false;
};

// A line that is a JSON object is a request body; anything else is the text itself.
std::string body_of(const std::string& line, const RunFlags& flags) {
  if (flags.json) return line;
  JsonWriter json;
  json.begin_object().key("inputs").text(line).end_object();
  std::string body = std::move(json).take();
  if (!flags.parameters.empty()) body = body.substr(0, body.size() - 1) + ",\"parameters\":" + flags.parameters + "}";
  return body;
}

int answer(Backend& backend, const std::string& line, const RunFlags& flags) {
  Waiter waiter;
  std::string out;
  const Status status = capture([&] {
    ParseLimits limits;
    limits.strict = true;
    Parsed parsed = task_api::parse(body_of(line, flags), backend.info().model.task, "", limits);
    Request request;
    request.work = std::move(parsed.work);
    backend.submit(std::move(request), waiter.receiver());
    Response response = waiter.wait();
    if (!response.status.ok()) throw Error(response.status);
    out = parsed.format(response.outcome);
  });
  if (!status.ok()) out = error_response(status, Dialect::task).body;
  std::cout << out << '\n' << std::flush;
  return status.ok() ? kOk : kFailed;
}

int run(const RunFlags& flags) {
  BackendOptions options = flags.model.options();
  const NamedPath named = parse_named_path(flags.directory);
  options.id = named.id;
  if (flags.model.quiet) log::configure({.level = log::Level::error});
  ProgressBar bar("Loading", !flags.model.quiet && !flags.model.no_progress);
  options.progress = bar.callback();
  Result<std::shared_ptr<Backend>> backend = load_backend(named.path, options);
  bar.finish();
  if (!backend.ok()) return complain(backend.status(), exit_code(backend.status()));
  if (!flags.model.quiet)
    for (const std::string& warning : (*backend)->info().warnings)
      fmt::print(stderr, "inazuma: warning: {}\n", warning);
  if (flags.text) return answer(**backend, *flags.text, flags);
  int code = kOk;
  for (std::string line; std::getline(std::cin, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (answer(**backend, line, flags) != kOk) code = kFailed;
  }
  return code;
}

}  // namespace

Run add_run(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* command = app.add_subcommand("run", "Answer one text, or each line of stdin, as JSON lines; no server");
  command->add_option("DIR", flags->directory, "Model directory")->required();
  command->add_option("TEXT", flags->text, "The text; without it every line of stdin is one");
  command->add_option("--parameters", flags->parameters,
                      "Task parameters as a JSON object, e.g. '{\"format\":\"spans\"}'");
  command->add_flag("--json", flags->json,
                    "TEXT and lines are request bodies: {\"inputs\": ..., \"parameters\": {...}}");
  flags->model.add_to(*command);
  return [flags] { return run(*flags); };
}

}  // namespace inazuma::cli
