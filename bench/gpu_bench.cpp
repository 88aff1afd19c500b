// Where the time of an encoder's step goes on a GPU: steps of twelve layers of BERT-base, recorded and replayed back to
// back, whole and with one kind of operation alone, as microseconds a layer.
//
//   gpu_bench [--dtype bf16] [--length 40] [--ways] [--seconds 0] [ROWS...]
//
// `alone` is a chain of that operation only (twelve layers' weights, so that they come from memory); `saved` is what
// the whole layer gains when it is left out. --ways times every product by every way of making it
// (cuda/home/products.h). --seconds: whole layers without a pause for so long, after as long: what the device keeps up.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "tensor/arena.h"

namespace inazuma {
namespace {

constexpr int kLayers = 12, kWidth = 768, kInner = 3072, kHeads = 12, kOps = 7;
const char* const kNames[kOps] = {"qkv", "attention", "out", "norm 1", "up", "down", "norm 2"};

struct Weights {
  Matrix matrix;
  Parameter bias;
};
struct Layer {
  Weights qkv, out, up, down;
};

class Bench {
 public:
  Bench(DType dtype, int length)
      : ops_(make_cuda_ops({.index = 0, .dtype = dtype, .invariant = false}).value()), length_(length) {
    for (int i = 0; i < kLayers; ++i)
      layers_.push_back(
          {weights(3 * kWidth, kWidth), weights(kWidth, kWidth), weights(kInner, kWidth), weights(kWidth, kInner)});
    const std::vector<float> ones(kWidth, 1.0f);
    one_ = ops_->parameter(Tensor(ones.data(), DType::f32, Shape{kWidth}), dtype);
  }

  void prepare(int rows) {
    const DType type = ops_->compute_dtype();
    memory_.clear();
    const auto tensor = [&](int64_t columns) {
      memory_.push_back(ops_->allocate(static_cast<size_t>(rows * columns) * 2));
      const Tensor out = memory_.back().tensor(type, Shape{rows, columns});
      std::vector<uint16_t> bits(static_cast<size_t>(rows * columns));
      std::uniform_real_distribution<float> value(-1.0f, 1.0f);
      for (uint16_t& b : bits) b = type == DType::f16 ? to_half(value(random_)).bits : to_bfloat16(value(random_)).bits;
      ops_->upload(out, bits.data());
      return out;
    };
    hidden_ = tensor(kWidth), sum_ = tensor(kWidth), qkv_ = tensor(3 * kWidth), context_ = tensor(kWidth),
    inner_ = tensor(kInner);
    std::vector<int32_t> offsets{0};
    while (offsets.back() < rows) offsets.push_back(std::min(rows, offsets.back() + length_));
    memory_.push_back(ops_->allocate(offsets.size() * 4));
    offsets_ = memory_.back().tensor(DType::i32, Shape{static_cast<int64_t>(offsets.size())});
    ops_->upload(offsets_, offsets.data());
  }

  /// Microseconds a layer of all operations, replayed for `seconds` after as long.
  double sustained(double seconds) {
    const auto recording = record((1u << kOps) - 1);
    double taken = 0;
    for (int part = 0; part < 2; ++part) {
      const auto begin = std::chrono::steady_clock::now();
      int count = 0;
      do {
        for (int i = 0; i < 4; ++i, ++count) ops_->replay(*recording);
        ops_->synchronize();
        taken = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      } while (taken < seconds);
      taken /= count;
    }
    return taken / kLayers * 1e6;
  }

  /// Microseconds a layer of the operations in `which`.
  double time(unsigned which) {
    const auto recording = record(which);
    const int repeats = hidden_.rows() > 8192 ? 3 : 30;
    double best = 1e9;
    for (int round = 0; round < 4; ++round) {
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < repeats; ++i) ops_->replay(*recording);
      ops_->synchronize();
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return best / repeats / kLayers * 1e6;
  }

 private:
  std::unique_ptr<Recording> record(unsigned which) {
    const auto work = [&] {
      for (const Layer& layer : layers_)
        for (int op = 0; op < kOps; ++op)
          if (which >> op & 1) run(layer, op);
    };
    work();  // searches, and grows what has to grow
    ops_->synchronize();
    return ops_->record(work);
  }

  Weights weights(int64_t out, int64_t in) {
    if (noise_.empty()) {
      std::normal_distribution<float> value(0.0f, 0.03f);
      for (int i = 0; i < 1 << 20; ++i) noise_.push_back(value(random_));
    }
    std::vector<float> values(static_cast<size_t>(out * in));
    for (size_t i = 0; i < values.size(); ++i) values[i] = noise_[i % noise_.size()];
    return {ops_->pack(Tensor(values.data(), DType::f32, Shape{out, in}), WeightLayout::out_in),
            ops_->parameter(Tensor(values.data(), DType::f32, Shape{out}), ops_->compute_dtype())};
  }

  void linear(const Weights& w, const Tensor& out, const Tensor& x, Activation activation, const Tensor& residual) {
    LinearArgs args{.out = out, .x = x, .weight = w.matrix.get(), .bias = w.bias.tensor};
    args.activation = activation;
    args.residual = residual;
    ops_->linear(args);
  }
  void norm() { ops_->norm({.out = hidden_, .x = sum_, .weight = one_.tensor, .bias = one_.tensor}); }
  void run(const Layer& layer, int op) {
    if (op == 0) linear(layer.qkv, qkv_, hidden_, Activation::none, {});
    if (op == 1)
      ops_->attention({.out = context_,
                       .q = qkv_.columns(0, kWidth),
                       .k = qkv_.columns(kWidth, 2 * kWidth),
                       .v = qkv_.columns(2 * kWidth, 3 * kWidth),
                       .offsets = offsets_,
                       .heads = kHeads,
                       .head_dim = kWidth / kHeads,
                       .max_length = length_,
                       .scale = 0.125f});
    if (op == 2) linear(layer.out, sum_, context_, Activation::none, hidden_);
    if (op == 3 || op == 6) norm();
    if (op == 4) linear(layer.up, inner_, hidden_, Activation::gelu, {});
    if (op == 5) linear(layer.down, sum_, inner_, Activation::none, hidden_);
  }

  std::unique_ptr<Ops> ops_;
  int length_;
  std::mt19937 random_{1};
  std::vector<float> noise_;
  std::vector<Layer> layers_;
  Parameter one_;
  std::vector<Buffer> memory_;
  Tensor hidden_, sum_, qkv_, context_, inner_, offsets_;
};

void whole(DType dtype, int length, double seconds, const std::vector<int>& rows) {
  Bench bench(dtype, length);
  for (const int count : rows) {
    bench.prepare(count);
    const unsigned all = (1u << kOps) - 1;
    const double layer = bench.time(all);
    std::printf("%6d rows: %8.2f us a layer", count, layer);
    if (seconds > 0) std::printf(", %.2f kept up", bench.sustained(seconds));
    std::printf("\n");
    for (int op = 0; op < kOps; ++op)
      std::printf("    %-10s alone %8.2f   saved %8.2f\n", kNames[op], bench.time(1u << op),
                  layer - bench.time(all & ~(1u << op)));
    std::fflush(stdout);
  }
}

void ways(DType dtype, int length, const std::vector<int>& rows) {
  std::vector<std::string> names{"", "library", "own"};
  for (int i = 0; i < 12; ++i) names.push_back("tiled" + std::to_string(i));
  std::printf("%-12s%6s %9s %9s %9s %9s\n", "way", "rows", "qkv", "out", "up", "down");
  for (const std::string& name : names) {
    setenv("INAZUMA_CUDA_PRODUCTS", name.c_str(), 1);
    Bench bench(dtype, length);
    for (const int count : rows) {
      if (name == "own" && count > 1024) continue;
      bench.prepare(count);
      std::printf("%-12s%6d", name.empty() ? "searched" : name.c_str(), count);
      for (const int op : {0, 2, 4, 5}) std::printf(" %9.2f", bench.time(1u << op));
      std::printf("\n");
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace inazuma

int main(int count, char** values) {
  try {
    inazuma::DType dtype = inazuma::DType::bf16;
    int length = 40;
    bool by_way = false;
    double seconds = 0;
    std::vector<int> rows;
    for (int i = 1; i < count; ++i) {
      const std::string word = values[i];
      if (word == "--dtype" && i + 1 < count)
        dtype = inazuma::parse_dtype(values[++i]).value();
      else if (word == "--length" && i + 1 < count)
        length = std::stoi(values[++i]);
      else if (word == "--seconds" && i + 1 < count)
        seconds = std::stod(values[++i]);
      else if (word == "--ways")
        by_way = true;
      else
        rows.push_back(std::stoi(word));
    }
    if (rows.empty()) rows = {40, 640, 2560, 40960};
    by_way ? inazuma::ways(dtype, length, rows) : inazuma::whole(dtype, length, seconds, rows);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gpu_bench: %s\n", error.what());
    return 1;
  }
}
