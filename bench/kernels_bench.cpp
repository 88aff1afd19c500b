// Times the CPU home in physical units beside the machine's own peak, measured in the same run and the same breath:
//   kernels_bench [--threads N] [--isa NAME] [--seconds S] [stack | cases] [filter]
// "stack": the dense products of whole models over weights too large for the caches. "cases": the list of
// tests/kernels. Every line alternates with the peak loops; the best of each is kept, because other tenants of the
// machine come and go.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <time.h>

#include "base/thread_pool.h"
#include "kernels/cases.h"
#include "peak.h"

namespace inazuma {
namespace {

// With one thread the time it had a core, so that other tenants' turns do not count; with more the wall clock.
clockid_t g_clock = CLOCK_MONOTONIC;

double seconds_now() {
  timespec now{};
  clock_gettime(g_clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_of(const std::function<void()>& work) {
  const double start = seconds_now();
  work();
  return seconds_now() - start;
}

class Machine {
 public:
  Machine(std::string_view isa, int threads)
      : loops_(isa == "avx512" || isa == "amx" ? avx512::kPeak
               : isa == "avx2" ? avx2::kPeak
                               : baseline::kPeak),
        pool_(threads),
        memory_(Buffer::host(kBytes)) {
    std::memset(memory_.data(), 0, kBytes);
  }

  /// One short look at both peaks; the best so far is kept.
  void look() {
    std::vector<double> done(static_cast<size_t>(pool_.threads()));
    std::vector<float> results(done.size());
    const double flop_time = seconds_of([&] {
      pool_.run(pool_.threads(), [&](int64_t task, int) {
        done[static_cast<size_t>(task)] = loops_.multiply_adds(1000000, results[static_cast<size_t>(task)]);
      });
    });
    double total = 0.0;
    for (double d : done) total += d;
    flops_ = std::max(flops_, total / flop_time);
    const float* data = static_cast<const float*>(memory_.data());
    constexpr int64_t kPieces = 64, kPiece = kBytes / sizeof(float) / kPieces;
    const auto sweep = [&](auto work) { return seconds_of([&] { pool_.run(kPieces, work); }); };
    read_ = std::max(read_, kBytes / sweep([&](int64_t p, int) { sink_ = loops_.read(data + p * kPiece, kPiece); }));
    float* half = static_cast<float*>(memory_.data());
    copy_ = std::max(copy_, kBytes / sweep([&](int64_t p, int) {
                              loops_.copy(half + p * kPiece, half + p * kPiece + kPiece / 2, kPiece / 2);
                            }));
  }
  /// Seconds of one fork and join with nothing to do, the best of many.
  double fork_and_join() {
    double best = HUGE_VAL;
    for (int i = 0; i < 20000; ++i)
      best = std::min(best, seconds_of([&] { pool_.run(pool_.threads(), [](int64_t, int) {}); }));
    return best;
  }
  double flops() const { return flops_; }
  double read() const { return read_; }
  double copy() const { return copy_; }

 private:
  static constexpr int64_t kBytes = int64_t{256} << 20;
  const PeakLoops& loops_;
  ThreadPool pool_;
  Buffer memory_;
  volatile float sink_ = 0.0f;
  double flops_ = 0.0, read_ = 0.0, copy_ = 0.0;
};

struct Line {
  std::string name;
  double flops, bytes;
  std::function<void()> run;
};

void report(Machine& machine, const Line& line, double seconds) {
  line.run();
  double best = HUGE_VAL, total = 0.0, squares = 0.0, looked = 0.0;
  int runs = 0;
  for (; total < seconds || runs < 5; ++runs) {
    if (runs == 0 || total > looked + seconds / 4) machine.look(), looked = total;
    const double time = seconds_of(line.run);
    best = std::min(best, time);
    total += time;
    squares += time * time;
  }
  const double mean = total / runs, deviation = std::sqrt(std::max(0.0, squares / runs - mean * mean));
  std::printf("%-46s %9.1f us (mean %9.1f ± %7.1f)  %7.1f GFLOP/s %5.1f %%  %6.1f GB/s %5.1f %%\n", line.name.c_str(),
              best * 1e6, mean * 1e6, deviation * 1e6, line.flops / best * 1e-9,
              100 * line.flops / best / machine.flops(), line.bytes / best * 1e-9,
              100 * line.bytes / best / machine.read());
  std::fflush(stdout);
}

struct Product {
  int64_t in, out;
  Activation activation = Activation::none;
  bool residual = false;
};

/// All dense products of a model's layers (and head), one after the other, as a forward pass reads them.
class Stack {
 public:
  Stack(Ops& ops, std::vector<Product> layer, int layers, int64_t head_in, int64_t head_out, int64_t rows) : ops_(ops) {
    std::vector<float> noise(1 << 20);
    testing::Random random(1);
    for (float& value : noise) value = 0.02f * random.normal();
    int64_t widest = head_out;
    for (int l = 0; l < layers; ++l)
      for (const Product& p : layer) add(noise, p, rows), widest = std::max({widest, p.in, p.out});
    if (head_out > 0) add(noise, {head_in, head_out}, rows);
    x_ = Buffer::host(static_cast<size_t>(rows * widest) * sizeof(float));
    y_ = Buffer::host(static_cast<size_t>(rows * widest) * sizeof(float));
    std::fill_n(static_cast<float*>(x_.data()), rows * widest, 0.01f);
    std::fill_n(static_cast<float*>(y_.data()), rows * widest, 0.0f);
    rows_ = rows;
  }
  void run() {
    for (size_t i = 0; i < products_.size(); ++i) {
      const auto& [product, weight, bias] = products_[i];
      LinearArgs args{.out = y_.tensor(DType::f32, Shape{rows_, product.out}),
                      .x = x_.tensor(DType::f32, Shape{rows_, product.in})};
      args.weight = weight.get();
      args.bias = bias.tensor;
      args.activation = product.activation;
      if (product.residual) args.residual = args.out;
      ops_.linear(args);
    }
  }
  Line line(std::string name) {
    return {std::move(name), flops_ * static_cast<double>(rows_), bytes_, [this] { run(); }};
  }

 private:
  struct Packed {
    Product product;
    Matrix weight;
    Parameter bias;
  };
  void add(const std::vector<float>& noise, const Product& p, int64_t) {
    std::vector<float> values(static_cast<size_t>(p.in * p.out));
    for (size_t i = 0; i < values.size(); ++i) values[i] = noise[i % noise.size()];
    products_.push_back({p, ops_.pack(Tensor(values.data(), DType::f32, Shape{p.out, p.in}), WeightLayout::out_in),
                         ops_.parameter(Tensor(values.data(), DType::f32, Shape{p.out}), DType::f32)});
    flops_ += 2.0 * static_cast<double>(p.in * p.out);
    bytes_ += static_cast<double>(products_.back().weight->bytes);
  }

  Ops& ops_;
  std::vector<Packed> products_;
  Buffer x_, y_;
  int64_t rows_ = 0;
  double flops_ = 0.0, bytes_ = 0.0;
};

void stacks(Machine& machine, Ops& ops, double seconds, const std::string& filter) {
  const std::vector<Product> bert = {{768, 2304},
                                     {768, 768, Activation::none, true},
                                     {768, 3072, Activation::gelu},
                                     {3072, 768, Activation::none, true}};
  const std::vector<Product> gpt2 = {{1024, 3072},
                                     {1024, 1024, Activation::none, true},
                                     {1024, 4096, Activation::gelu_tanh},
                                     {4096, 1024, Activation::none, true}};
  const auto model = [&](const char* name, const std::vector<Product>& layer, int layers, int64_t head,
                         std::vector<int64_t> rows) {
    for (int64_t r : rows) {
      const std::string title = fmt::format("{} stack, {} rows", name, r);
      if (title.find(filter) == std::string::npos) continue;
      Stack stack(ops, layer, layers, layer[0].in, head, r);
      report(machine, stack.line(title), seconds);
    }
  };
  model("BERT-base", bert, 12, 0, {40, 640});
  model("GPT2-medium", gpt2, 24, 32000, {1, 2, 4, 8, 16, 40});
}

void cases(Machine& machine, testing::Home& home, double seconds, const std::string& filter) {
  for (const testing::Case& c : testing::all_cases()) {
    if (c.name.find(filter) == std::string::npos) continue;
    const testing::Ready ready = c.prepare(home);
    report(machine, {c.name, c.flops, c.bytes, ready.run}, seconds);
  }
}

int run(std::vector<std::string> arguments) {
  CpuOptions options;
  double seconds = 1.0;
  std::vector<std::string> words;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool more = i + 1 < arguments.size();
    if (arguments[i] == "--threads" && more)
      options.threads = std::stoi(arguments[++i]);
    else if (arguments[i] == "--isa" && more)
      options.isa = arguments[++i];
    else if (arguments[i] == "--seconds" && more)
      seconds = std::stod(arguments[++i]);
    else
      words.push_back(arguments[i]);
  }
  const std::string what = words.empty() ? "stack" : words[0], filter = words.size() > 1 ? words[1] : "";
  if (what != "stack" && what != "cases") throw fail(StatusCode::invalid, "{} is not 'stack' or 'cases'", quoted(what));
  if (options.threads == 1) g_clock = CLOCK_THREAD_CPUTIME_ID;
  if (options.isa.empty()) options.isa = available_cpu_isas().front();
  testing::Home home("cpu", std::move(make_cpu_ops(options)).value());
  Machine machine(options.isa, options.threads);
  for (int i = 0; i < 5; ++i) machine.look();
  std::printf("%s; peak %.1f GFLOP/s, read %.1f GB/s, copy %.1f GB/s (read and written)\n",
              home.ops().description().c_str(), machine.flops() * 1e-9, machine.read() * 1e-9, machine.copy() * 1e-9);
  std::printf("fork and join: %.2f us\n", machine.fork_and_join() * 1e6);
  if (what == "stack") stacks(machine, home.ops(), seconds, filter);
  if (what == "cases") cases(machine, home, seconds, filter);
  std::printf("peak at the end: %.1f GFLOP/s, read %.1f GB/s, copy %.1f GB/s\n", machine.flops() * 1e-9,
              machine.read() * 1e-9, machine.copy() * 1e-9);
  return 0;
}

}  // namespace
}  // namespace inazuma

int main(int count, char** values) {
  try {
    return inazuma::run({values + 1, values + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernels_bench: %s\n", error.what());
    return 2;
  }
}
