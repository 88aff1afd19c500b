#include "kernels/cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/selection.h"
#include "kernels/host_checks.h"

namespace inazuma {

namespace {

// Below this many multiply-adds a fork and join costs more than it saves.
constexpr int64_t kLeastWork = 1 << 15;
constexpr int64_t kTasksPerThread = 4;

const float* row_of(const Tensor& t, int64_t row) {
  return t.as<const float>() + row * t.stride(0);
}
float* mutable_row(const Tensor& t, int64_t row) {
  return t.as<float>() + row * t.stride(0);
}
const float* optional(const Tensor& t) {
  return t.defined() ? t.as<const float>() : nullptr;
}
int64_t optional_stride(const Tensor& t) {
  return t.defined() ? t.stride(0) : 0;
}

int64_t blocks_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

}  // namespace

float* ThreadScratch::floats(size_t floats) {
  if (memory_.bytes() < floats * sizeof(float)) {
    memory_ = Buffer();  // before asking for more
    memory_ = Buffer::host(floats * sizeof(float));
  }
  return static_cast<float*>(memory_.data());
}

CpuOps::CpuOps(const Kernels& kernels, int threads)
    : kernels_(kernels),
      pool_(threads),
      scratch_(static_cast<size_t>(pool_.threads())),
      linear_scratch_(static_cast<size_t>(pool_.threads())) {}

std::string CpuOps::description() const {
  return fmt::format("cpu {} ({} thread{})", kernels_.name, pool_.threads(), pool_.threads() == 1 ? "" : "s");
}

template <class Work>
void CpuOps::split(int64_t count, int64_t work_per_item, Work&& work) {
  if (count * work_per_item < kLeastWork || pool_.threads() == 1) {
    work(int64_t{0}, count, 0);
    return;
  }
  const int64_t tasks = std::min(count, kTasksPerThread * pool_.threads());
  pool_.run(tasks, [&](int64_t task, int thread) { work(count * task / tasks, count * (task + 1) / tasks, thread); });
}

void CpuOps::do_linear(const LinearArgs& args) {
  const auto* weight = dynamic_cast<const CpuMatrix*>(args.weight);
  if (weight == nullptr || weight->kernels != &kernels_)
    throw fail(StatusCode::internal, "linear: the weight was packed for another home than {}", description());
  const LinearJob job{.x = args.x.as<const float>(),
                      .x_stride = args.x.stride(0),
                      .in = weight->in,
                      .out_columns = weight->out,
                      .panels = static_cast<const float*>(weight->memory.data()),
                      .moderate = weight->moderate,
                      .out = args.out.as<float>(),
                      .out_stride = args.out.stride(0),
                      .bias = optional(args.bias),
                      .multiplier = optional(args.multiplier),
                      .multiplier_stride = optional_stride(args.multiplier),
                      .residual = optional(args.residual),
                      .residual_stride = optional_stride(args.residual),
                      .alpha = args.alpha,
                      .activation = args.activation};
  const int64_t rows = args.x.rows(), row_tasks = blocks_of(rows, kernels_.linear_rows);
  const int64_t tallest = blocks_of(rows, row_tasks), panels = blocks_of(weight->out, kernels_.panel);
  const auto floats = static_cast<size_t>(kernels_.linear_scratch(tallest, weight->in));
  for (size_t t = 0; t < scratch_.size(); ++t) linear_scratch_[t] = {.memory = scratch_[t].floats(floats), .held = -1};
  const bool small = rows * weight->in * weight->out < kLeastWork;
  const int64_t panel_tasks = small ? 1 : std::min(panels, kTasksPerThread * pool_.threads());
  const auto work = [&](int64_t task, int thread) {
    const int64_t r = task / panel_tasks, p = task % panel_tasks;
    const int64_t first_row = rows * r / row_tasks, last_row = rows * (r + 1) / row_tasks;
    kernels_.linear(job, first_row, last_row - first_row, panels * p / panel_tasks, panels * (p + 1) / panel_tasks,
                    linear_scratch_[static_cast<size_t>(thread)]);
  };
  pool_.run(row_tasks * panel_tasks, work);
}

void CpuOps::do_norm(const NormArgs& args) {
  const NormJob job{.out = args.out.as<float>(),
                    .out_stride = args.out.stride(0),
                    .x = args.x.as<const float>(),
                    .x_stride = args.x.stride(0),
                    .residual = optional(args.residual),
                    .residual_stride = optional_stride(args.residual),
                    .sum = args.sum.defined() ? args.sum.as<float>() : nullptr,
                    .sum_stride = optional_stride(args.sum),
                    .weight = args.weight.as<const float>(),
                    .bias = optional(args.bias),
                    .width = args.x.cols(),
                    .epsilon = args.epsilon,
                    .centred = args.kind == NormKind::layer};
  split(args.x.rows(), 2 * job.width, [&](int64_t begin, int64_t end, int) { kernels_.norm(job, begin, end); });
}

void CpuOps::do_embed(const Tensor& out, std::span<const EmbeddingTerm> terms) {
  for (const EmbeddingTerm& term : terms) check_ids("embed: ids", term.ids, term.table.rows());
  const auto source = [](const EmbeddingTerm& term, int64_t t) {
    return row_of(term.table, term.ids.as<int32_t>()[t]);
  };
  split(out.rows(), out.cols() * static_cast<int64_t>(terms.size()), [&](int64_t begin, int64_t end, int) {
    for (int64_t t = begin; t < end; ++t) {
      std::memcpy(mutable_row(out, t), source(terms[0], t), static_cast<size_t>(out.cols()) * sizeof(float));
      for (const EmbeddingTerm& term : terms.subspan(1)) kernels_.add(mutable_row(out, t), source(term, t), out.cols());
    }
  });
}

void CpuOps::do_pool(const Tensor& out, const Tensor& x, const Tensor& offsets, const Tensor& which, Pooling pooling) {
  check_offsets("pool", offsets, x.rows(), -1);
  check_ids("pool: which", which, offsets.rows() - 1);
  const int64_t width = x.cols();
  for (int64_t i = 0; i < which.rows(); ++i) {
    const int32_t* span = offsets.as<int32_t>() + which.as<int32_t>()[i];
    const int64_t begin = span[0], end = span[1], length = end - begin;
    float* y = mutable_row(out, i);
    std::fill_n(y, width, 0.0f);
    if (length == 0) continue;
    const int64_t first = pooling == Pooling::last ? end - 1 : begin;
    std::memcpy(y, row_of(x, first), static_cast<size_t>(width) * sizeof(float));
    if (pooling == Pooling::cls || pooling == Pooling::last) continue;
    for (int64_t t = begin + 1; t < end; ++t) {
      if (pooling == Pooling::max) {
        kernels_.raise(y, row_of(x, t), width);
      } else if (pooling == Pooling::weighted_mean) {
        kernels_.add_scaled(y, row_of(x, t), static_cast<float>(t - begin + 1), width);
      } else {
        kernels_.add(y, row_of(x, t), width);
      }
    }
    const auto n = static_cast<float>(length);
    if (pooling == Pooling::mean) kernels_.scale(y, 1.0f / n, width);
    if (pooling == Pooling::mean_sqrt_len) kernels_.scale(y, 1.0f / std::sqrt(n), width);
    if (pooling == Pooling::weighted_mean) kernels_.scale(y, 2.0f / (n * (n + 1.0f)), width);
  }
}

void CpuOps::do_select_tokens(const SelectionArgs& args) {
  check_selection(args);
  const int64_t vocab = args.logits.cols(), capacity = args.history.cols();
  const int64_t best = args.top_ids.defined() ? args.top_ids.cols() : 0;
  for (ThreadScratch& scratch : scratch_) scratch.floats(SelectionScratch::floats(vocab, capacity));
  const auto work = [&](int64_t r, int thread) {
    SelectionRow row;
    std::memcpy(&row, args.rows.as<uint8_t>() + r * int64_t{sizeof row}, sizeof row);
    int32_t* history = args.history.as<int32_t>() + row.slot * args.history.stride(0);
    const int32_t* bans = args.bans.defined() ? args.bans.as<int32_t>() : nullptr;
    const auto top = static_cast<size_t>(best);
    const SelectionResult result =
        select_token(kernels_, row, {mutable_row(args.logits, r), static_cast<size_t>(vocab)},
                     {history, static_cast<size_t>(row.length)}, {bans + row.ban_begin, bans + row.ban_end},
                     best == 0 ? std::span<int32_t>() : std::span(args.top_ids.as<int32_t>() + r * best, top),
                     best == 0 ? std::span<float>() : std::span(args.top_logprobs.as<float>() + r * best, top),
                     SelectionScratch::in(scratch_[static_cast<size_t>(thread)].floats(0), vocab, capacity));
    args.tokens.as<int32_t>()[r] = history[row.length] = result.token;
    args.logprobs.as<float>()[r] = result.logprob;
  };
  pool_.run(args.logits.rows(), work);
}

void CpuOps::do_token_logprobs(const Tensor& out, const Tensor& logits, const Tensor& targets) {
  check_ids("token_logprobs: targets", targets, logits.cols());
  const int64_t vocab = logits.cols();
  split(logits.rows(), 4 * vocab, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = row_of(logits, r);
      const float largest = kernels_.largest(row, vocab);
      const double total = kernels_.exp_sum(row, largest, nullptr, vocab);
      const double distance = static_cast<double>(row[targets.as<int32_t>()[r]]) - largest;
      out.as<float>()[r] = static_cast<float>(distance - std::log(total));
    }
  });
}

}  // namespace inazuma
