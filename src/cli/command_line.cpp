#include "cli/command_line.h"

#include <unistd.h>

#include <cstdio>

#include "base/log.h"

namespace inazuma::cli {

int exit_code(const Status& status) {
  return status.code() == StatusCode::out_of_memory ? kNoMemory : kNotLoaded;
}

int complain(const Status& status, int code) {
  const char* advice = status.code() == StatusCode::out_of_memory
                           ? "; free memory, serve fewer or smaller models, or lower --kv-tokens and --max-context"
                           : "";
  fmt::print(stderr, "inazuma: {}{}\n", status.message(), advice);
  return code;
}

void ModelFlags::add_to(CLI::App& app) {
  app.add_option("--task", task, "Task, when the directory does not say (token-classification, text-generation, ...)")
      ->envname("INAZUMA_TASK");
  app.add_option("--pooling", pooling, "Embeddings: mean, cls, max, ... instead of what modules.json says")
      ->envname("INAZUMA_POOLING");
  app.add_option("--device", device, "auto (a GPU if there is one), cpu, cuda or cuda:N")
      ->envname("INAZUMA_DEVICE")
      ->capture_default_str();
  app.add_option(
         "--dtype", dtype,
         "auto, float32, float16 or bfloat16 (computing; auto is float16 on a GPU, the CPU computes in float32)")
      ->envname("INAZUMA_DTYPE")
      ->capture_default_str();
  app.add_flag("--batch-invariant", batch_invariant,
               "GPU: no bit of an answer depends on what else is in the batch (slower)")
      ->envname("INAZUMA_BATCH_INVARIANT");
  app.add_option("--threads", threads, "Computing threads of a model on the CPU; 0 = one per core")
      ->envname("INAZUMA_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--mecab-dic", mecab_dictionaries, "MeCab dictionary NAME=DIR (ipadic is built in)")
      ->envname("INAZUMA_MECAB_DIC");
  app.add_option("--max-input-length", max_input_length,
                 "Lower the longest text a model takes, in ids; 0 = the model's own")
      ->envname("INAZUMA_MAX_INPUT_LENGTH")
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("-q,--quiet", quiet, "Say nothing but errors");
  app.add_flag("--no-progress", no_progress, "No progress bar");
}

namespace {

/// The first GPU, or the CPU and a line that says why.
Device choose_device(bool quiet) {
  const Status found = find_cuda(0);
  if (found.ok()) return Device::cuda(0);
  if (cuda_built_in() && !quiet) log::info("computing on the CPU", {{"why", found.message()}});
  return Device::cpu();
}

}  // namespace

BackendOptions ModelFlags::options() const {
  BackendOptions out;
  if (!task.empty()) out.task = parse_task(task).value();
  if (!pooling.empty()) out.pooling = parse_pooling(pooling).value();
  out.device = device == "auto" ? choose_device(quiet) : parse_device(device).value();
  out.dtype = dtype != "auto" ? parse_dtype(dtype).value() : out.device.is_cpu() ? DType::f32 : DType::f16;
  out.batch_invariant = batch_invariant;
  if (out.device.is_cpu() && out.dtype != DType::f32)
    throw fail(StatusCode::unsupported,
               "--dtype {}: the CPU computes in float32; leave --dtype out or choose --device cuda", dtype);
  out.threads = threads;
  out.max_input_length = max_input_length;
  for (const std::string& given : mecab_dictionaries) {
    const size_t equals = given.find('=');
    if (equals == std::string::npos || equals == 0)
      throw fail(StatusCode::invalid, "--mecab-dic is {}, must be NAME=DIR", quoted(given));
    out.tokenizer.mecab_dictionaries[given.substr(0, equals)] = given.substr(equals + 1);
  }
  return out;
}

CompactFormatter::CompactFormatter() {
  column_width(44);
}

std::string CompactFormatter::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const {
  if (mode == CLI::AppFormatMode::All) all_ = true;
  return CLI::Formatter::make_help(app, std::move(name), mode);
}

std::string CompactFormatter::make_option_opts(const CLI::Option* option) const {
  if (all_) return CLI::Formatter::make_option_opts(option);
  if (option->get_items_expected_max() == 0) return "";
  return option->get_default_str().empty() ? " ..." : " " + option->get_default_str();
}

NamedPath parse_named_path(const std::string& argument) {
  const size_t equals = argument.find('=');
  if (equals != std::string::npos && equals > 0 && !std::filesystem::exists(argument))
    return {argument.substr(0, equals), argument.substr(equals + 1)};
  return {"", argument};
}

ProgressBar::ProgressBar(std::string title, bool enabled)
    : title_(std::move(title)), enabled_(enabled), terminal_(isatty(STDERR_FILENO) == 1) {}
ProgressBar::~ProgressBar() {
  finish();
}

void ProgressBar::update(size_t done, size_t total) {
  if (!enabled_ || total == 0) return;
  const Clock::time_point now = Clock::now();
  const double fraction = static_cast<double>(done) / static_cast<double>(total);
  const double seconds = std::chrono::duration<double>(now - begin_).count();
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  constexpr double kMega = 1e6;
  if (terminal_) {
    if (done < total && now - last_ < std::chrono::milliseconds(50)) return;
    constexpr int kWidth = 28;
    const int filled = static_cast<int>(fraction * kWidth);
    std::string bar;
    for (int i = 0; i < kWidth; ++i) bar += i < filled ? "█" : "░";
    fmt::print(stderr, "\r\x1b[K{} {} {:3.0f} % {:.1f}/{:.1f} MB {:.0f} MB/s {:.0f} s left", title_, bar,
               fraction * 100, static_cast<double>(done) / kMega, static_cast<double>(total) / kMega, rate / kMega,
               left);
    drawn_ = true;
  } else {
    const int tenth = static_cast<int>(fraction * 10);
    const bool slow = now - begin_ > std::chrono::seconds(1);  // a load of a moment needs no report
    if (!slow || (tenth == last_tenth_ && now - last_ < std::chrono::seconds(5))) return;
    fmt::print(stderr, "{} {:.0f} % of {:.1f} MB, {:.0f} s left\n", title_, fraction * 100,
               static_cast<double>(total) / kMega, left);
    last_tenth_ = tenth;
  }
  last_ = now;
}

void ProgressBar::finish() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace inazuma::cli
