// Times one model in this process, without server or tokenizer: latency of one user, throughput of many.
//
//   inprocess_bench MODEL_DIRECTORY [--users 16] [--input 40] [--output 40] [--seconds 10] [--home cpu] [--threads N]
//
// Every request is `input` random ids (fixed seed); a generating model adds `output` ids greedily, end token ignored.
// With --batch N one caller sends N rows at once and waits for all of them, over and over; with --in-flight M the rate
// is that of M callers, whose batches follow each other (a batch of one is on its way while another's is at work). An
// encoder is asked for the outputs of all rows, or with --first-row for those of the first (what a peer that leaves
// them on the device does). --answers FILE writes what a few rows of ids were answered, for bench/peers_gpu.py. A
// caller looks for its answer for a while before it sleeps, as one that waits for a GPU does. Users send their next
// request when they have the answer to the last. GFLOP/s counts dense products only, estimated from the number of
// parameters: two operations per parameter and token.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "engine/engine.h"
#include "kernels/ops.h"
#include "models/model.h"

namespace inazuma {
namespace {

struct Settings {
  std::string directory, home = "cpu", isa, dtype = "f16", answers;
  int users = 16, input = 40, output = 40, threads = 0, batch_tokens = 0, sequences = 0, in_flight = 1;
  std::vector<int> batches;
  bool first_row = false, invariant = false;
  double seconds = 10, warm_up = 0;
};

/// One user's ear: waits for the end of all rows of a request and notes when the first token came.
class Ear final : public SequenceSink {
 public:
  explicit Ear(int rows, bool keeps = false) : left_(rows), keeps_(keeps) {}
  /// With `keeps`: ids generated, or outputs.
  const std::vector<float>& answer() const { return answer_; }
  void on_event(SequenceEvent event) override {
    const std::lock_guard lock(mutex_);
    if (event.kind == SequenceEvent::Kind::token && tokens_++ == 0) first_ = Clock::now();
    if (event.kind == SequenceEvent::Kind::token && keeps_) answer_.push_back(static_cast<float>(event.token.id));
    if (event.kind == SequenceEvent::Kind::finished && keeps_ && event.rows.count > 0) answer_ = event.rows.values;
    if (event.kind == SequenceEvent::Kind::failed) status_ = event.status;
    if (event.kind == SequenceEvent::Kind::finished || event.kind == SequenceEvent::Kind::failed) --left_;
    if (left_ > 0) return;
    over_ = true;
    changed_.notify_all();
  }
  /// Time of the first token; throws what the row failed with.
  Clock::time_point wait() {
    for (const Clock::time_point until = Clock::now() + kWatchful; !over_ && Clock::now() < until;) {
    }
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return left_ == 0; });
    if (!status_.ok()) throw Error(status_);
    return first_;
  }

 private:
  static constexpr auto kWatchful = std::chrono::microseconds(2000);
  std::atomic<bool> over_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  Clock::time_point first_;
  int tokens_ = 0;
  int left_;
  const bool keeps_;
  std::vector<float> answer_;
  Status status_;
};

struct Timing {
  double total = 0;  // seconds
  double first = 0;  // to the first token
};

SequenceRequest make_row(const Engine& engine, const Settings& settings, std::mt19937& random) {
  SequenceRequest row;
  std::uniform_int_distribution<int32_t> id(0, engine.info().vocab - 1);
  for (int i = 0; i < settings.input; ++i) row.ids.push_back(id(random));
  if (engine.info().has_decoder) {
    row.generation.max_new_tokens = settings.output;
    row.generation.ignore_eos = true;
  } else {
    row.rows = engine.info().row_width > 0 ? SequenceRequest::Wanted::all : SequenceRequest::Wanted::none;
    row.pooled = engine.info().row_width == 0;
    if (settings.first_row && engine.info().row_width > 0) {
      row.rows = SequenceRequest::Wanted::listed;
      row.listed = {0};
    }
  }
  return row;
}

Timing ask(Engine& engine, const Settings& settings, std::mt19937& random, int count = 1) {
  const auto ear = std::make_shared<Ear>(count);
  std::vector<SequenceRequest> rows;
  for (int i = 0; i < count; ++i) {
    rows.push_back(make_row(engine, settings, random));
    rows.back().sink = ear;
  }
  const Clock::time_point begin = Clock::now();
  if (const Status status = engine.submit(std::move(rows)); !status.ok()) throw Error(status);
  const Clock::time_point first = ear->wait();
  const auto since = [&](Clock::time_point end) { return std::chrono::duration<double>(end - begin).count(); };
  return {since(Clock::now()), engine.info().has_decoder ? since(first) : 0};
}

/// Rows of ids and their answers, asked all at once: {"ids": [[...]], "answers": [[...]]}.
void write_answers(Engine& engine, const Settings& settings) {
  constexpr int kRows = 16;
  std::mt19937 random(11);
  std::vector<std::shared_ptr<Ear>> ears;
  std::vector<SequenceRequest> rows;
  nlohmann::json out;
  for (int i = 0; i < kRows; ++i) {
    ears.push_back(std::make_shared<Ear>(1, true));
    rows.push_back(make_row(engine, settings, random));
    rows.back().sink = ears.back();
    out["ids"].push_back(rows.back().ids);
  }
  if (const Status status = engine.submit(std::move(rows)); !status.ok()) throw Error(status);
  for (const auto& ear : ears) {
    (void)ear->wait();
    out["answers"].push_back(ear->answer());
  }
  std::ofstream file(settings.answers);
  file << out.dump() << '\n';
  if (!file.flush()) throw fail(StatusCode::invalid, "{} cannot be written", settings.answers);
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  const size_t place = std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(place), values.end());
  return values[place];
}

/// Dense operations of one request. Embedding tables do no products; the head works where logits are wanted. Of an
/// encoder-decoder's layers 3/7 read the source and 4/7 (one more attention) the decoder's side, as in T5 1.0.
double operations(const ModelInfo& info, const Settings& settings) {
  const double table = static_cast<double>(info.vocab) * info.hidden;
  const double layers =
      static_cast<double>(info.parameters) - table - static_cast<double>(info.max_positions) * info.hidden;
  const double input = settings.input, output = settings.output;
  if (!info.has_decoder) return 2 * layers * input;
  if (!info.has_encoder) return 2 * layers * (input + output - 1) + 2 * table * output;
  return 2 * layers * (3.0 / 7 * input + 4.0 / 7 * output) + 2 * table * output;
}

struct Load {
  std::vector<double> latencies;
  double seconds = 0;
  int64_t requests = 0;
};

/// `users` threads for `warm_up` seconds and then the `seconds` that count.
Load run_load(Engine& engine, const Settings& settings, int users) {
  Load load;
  std::mutex mutex;
  Status failed;
  const auto in = [](double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  };
  const Clock::time_point begin = Clock::now() + in(settings.warm_up);
  const Clock::time_point end = begin + in(settings.seconds);
  double counted = 0;  // requests; one under way when the clock starts or stops counts in part

  std::vector<std::thread> threads;
  for (int user = 0; user < users; ++user)
    threads.emplace_back([&, user] {
      std::mt19937 random(static_cast<unsigned>(user + 1));
      std::vector<double> latencies;
      double mine = 0;
      const Status status = capture([&] {
        for (Clock::time_point start = Clock::now(); start < end;) {
          latencies.push_back(ask(engine, settings, random).total);
          const Clock::time_point stop = Clock::now();
          const auto inside = std::min(stop, end) - std::max(start, begin);
          mine += std::max(0.0, std::chrono::duration<double>(inside) / std::chrono::duration<double>(stop - start));
          if (start < begin) latencies.pop_back();
          start = stop;
        }
      });
      const std::lock_guard lock(mutex);
      counted += mine;
      if (!status.ok()) failed = status;
      load.latencies.insert(load.latencies.end(), latencies.begin(), latencies.end());
    });
  for (std::thread& thread : threads) thread.join();
  if (!failed.ok()) throw Error(failed);
  load.seconds = settings.seconds;
  load.requests = std::llround(counted);
  return load;
}

/// Several callers, `batch` rows at a time each: seconds between answers, once all are under way.
Load run_batches_in_flight(Engine& engine, const Settings& settings, int batch) {
  Load load;
  std::mutex mutex;
  Status failed;
  std::atomic<bool> stop{false};
  std::vector<Clock::time_point> answers;
  std::vector<std::thread> callers;
  for (int caller = 0; caller < settings.in_flight; ++caller)
    callers.emplace_back([&, caller] {
      std::mt19937 random(static_cast<unsigned>(caller + 5));
      const Status status = capture([&] {
        while (!stop) {
          const Timing timing = ask(engine, settings, random, batch);
          const std::lock_guard lock(mutex);
          load.latencies.push_back(timing.total);
          answers.push_back(Clock::now());
        }
      });
      const std::lock_guard lock(mutex);
      if (!status.ok()) failed = status, stop = true;
    });
  std::this_thread::sleep_for(std::chrono::duration<double>(settings.seconds));
  stop = true;
  for (std::thread& caller : callers) caller.join();
  if (!failed.ok()) throw Error(failed);
  // Not the first, which found the engine idle, nor the last, which had it to themselves.
  const size_t skipped = 2 * static_cast<size_t>(settings.in_flight);
  if (answers.size() < 2 * skipped + 2) throw fail(StatusCode::invalid, "too short: {} batches", answers.size());
  std::sort(answers.begin(), answers.end());
  const size_t last = answers.size() - 1 - skipped;
  load.seconds = std::chrono::duration<double>(answers[last] - answers[skipped]).count();
  load.requests = static_cast<int64_t>(last - skipped) * batch;
  return load;
}

/// One caller, `batch` rows at a time.
Load run_batches(Engine& engine, const Settings& settings, int batch) {
  Load load;
  std::mt19937 random(5);
  for (int i = 0; i < 3; ++i) (void)ask(engine, settings, random, batch);
  const Clock::time_point begin = Clock::now();
  double busy = 0;  // without making up the ids
  while (std::chrono::duration<double>(Clock::now() - begin).count() < settings.seconds || load.latencies.size() < 3) {
    load.latencies.push_back(ask(engine, settings, random, batch).total);
    busy += load.latencies.back();
  }
  load.seconds = busy;
  load.requests = static_cast<int64_t>(load.latencies.size()) * batch;
  return load;
}

nlohmann::json report(const char* name, const Load& load, const ModelInfo& info, const Settings& settings) {
  const double rate = static_cast<double>(load.requests) / load.seconds;
  const double tokens = rate * (info.has_decoder ? settings.output : settings.input);
  const double gflops = rate * operations(info, settings) * 1e-9;
  std::printf("%-10s %8.2f ms median %8.2f ms p95 %9.2f req/s %10.1f tokens/s %8.1f GFLOP/s  (%lld requests)\n", name,
              quantile(load.latencies, 0.5) * 1e3, quantile(load.latencies, 0.95) * 1e3, rate, tokens, gflops,
              static_cast<long long>(load.requests));
  return {{"median_ms", quantile(load.latencies, 0.5) * 1e3},
          {"p95_ms", quantile(load.latencies, 0.95) * 1e3},
          {"requests_per_s", rate},
          {"tokens_per_s", tokens},
          {"gflop_per_s", gflops},
          {"requests", load.requests}};
}

Result<std::unique_ptr<Ops>> make_home(const Settings& settings) {
  if (settings.home == "reference") return make_reference_ops();
  if (settings.home == "cpu") return make_cpu_ops({settings.threads, settings.isa});
  return capture([&]() -> std::unique_ptr<Ops> {
    const Device device = parse_device(settings.home).value();
    return make_cuda_ops({device.index, parse_dtype(settings.dtype).value(), settings.invariant}).value();
  });
}

void run(const Settings& settings) {
  std::unique_ptr<Ops> ops = make_home(settings).value();
  const Clock::time_point begin = Clock::now();
  const LoadedModel loaded = load_model(settings.directory, *ops).value();
  const Clock::time_point ready = Clock::now();
  EngineOptions options;
  options.max_batch_tokens = settings.batch_tokens;
  options.max_sequences = settings.sequences;
  options.max_queue = 1 << 16;
  const auto engine = Engine::start(loaded.model, std::move(ops), options).value();
  const ModelInfo& info = engine->info();
  const auto seconds = [](Clock::duration d) { return std::chrono::duration<double>(d).count(); };
  std::printf("%s, %.1f M parameters, %s; loaded in %.2f s, warm in %.2f s; %d ids in, %d out\n",
              info.architecture.c_str(), static_cast<double>(info.parameters) * 1e-6,
              engine->device_description().c_str(), seconds(ready - begin), seconds(Clock::now() - ready),
              settings.input, info.has_decoder ? settings.output : 0);

  if (!settings.answers.empty()) write_answers(*engine, settings);
  std::mt19937 random(7);
  std::vector<double> first;
  for (int i = 0; i < 3; ++i) first.push_back(ask(*engine, settings, random).first);
  nlohmann::json out = {{"model", info.architecture}, {"home", engine->device_description()}};
  for (const int batch : settings.batches) {
    const std::string name = "batch " + std::to_string(batch);
    out[name] = report(name.c_str(), run_batches(*engine, settings, batch), info, settings);
    if (settings.in_flight == 1) continue;
    const std::string many = fmt::format("{} x{}", name, settings.in_flight);
    out[many] = report(many.c_str(), run_batches_in_flight(*engine, settings, batch), info, settings);
  }
  if (!settings.batches.empty()) {
    std::printf("%s\n", out.dump().c_str());
    return;
  }
  out["one_user"] = report("1 user", run_load(*engine, settings, 1), info, settings);
  if (info.has_decoder) {
    out["first_token_ms"] = quantile(first, 0.5) * 1e3;
    std::printf("           %8.2f ms to the first token\n", quantile(first, 0.5) * 1e3);
  }
  const std::string name = std::to_string(settings.users) + " users";
  out["many_users"] = report(name.c_str(), run_load(*engine, settings, settings.users), info, settings);
  std::printf("%s\n", out.dump().c_str());
}

}  // namespace
}  // namespace inazuma

int main(int argc, char** argv) {
  inazuma::Settings settings;
  CLI::App app("Times one model in this process");
  app.add_option("directory", settings.directory, "model directory")->required();
  app.add_option("--home", settings.home, "cpu, reference, cuda or cuda:N")->capture_default_str();
  app.add_option("--isa", settings.isa, "instruction set of the cpu home");
  app.add_option("--dtype", settings.dtype, "element type on a GPU")->capture_default_str();
  app.add_option("--threads", settings.threads, "threads of the cpu home (0 = one per core)");
  app.add_option("--users", settings.users, "concurrent users")->capture_default_str()->check(CLI::Range(1, 100000));
  app.add_option("--input", settings.input, "ids per request")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--output", settings.output, "ids generated per request")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--batch", settings.batches, "rows of one request, instead of users (repeatable)")
      ->check(CLI::Range(1, 100000));
  app.add_option("--in-flight", settings.in_flight, "batches on their way at once, with --batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_option("--sequences", settings.sequences, "the engine's max_sequences (0 = its default)");
  app.add_option("--answers", settings.answers, "a file for what a few rows are answered");
  app.add_flag("--first-row", settings.first_row, "encoders: outputs of the first row only");
  app.add_flag("--invariant", settings.invariant, "GPU: answers that do not depend on the batch");
  app.add_option("--batch-tokens", settings.batch_tokens, "the engine's max_batch_tokens (0 = its default)");
  app.add_option("--warm-up", settings.warm_up, "seconds of load before users are timed")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", settings.seconds, "time per measurement")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  const inazuma::Status status = inazuma::capture([&] { inazuma::run(settings); });
  if (status.ok()) return 0;
  std::fprintf(stderr, "inprocess_bench: %s\n", status.message().c_str());
  return 1;
}
