// Attention's work is cut into tasks of one head of up to kTaskRows query rows of one sequence.

#include <algorithm>

#include "kernels/cpu/cpu_ops.h"
#include "kernels/host_checks.h"

namespace inazuma {

namespace {

constexpr int64_t kTaskRows = 32;
constexpr int64_t kLeastWork = 1 << 15;  // multiply-adds; see cpu_ops.cpp

struct Span {
  int64_t sequence, head, begin, end;  ///< rows of the sequence
};

// first[s]: number of the first task of sequence s; the last entry is the number of tasks.
void number_tasks(const Tensor& offsets, int heads, std::vector<int64_t>& first) {
  const int32_t* at = offsets.as<int32_t>();
  first.assign(1, 0);
  for (int64_t s = 0; s + 1 < offsets.rows(); ++s)
    first.push_back(first.back() + heads * ((at[s + 1] - at[s] + kTaskRows - 1) / kTaskRows));
}

Span span_of(int64_t task, const Tensor& offsets, int heads, const std::vector<int64_t>& first) {
  const int64_t s = std::upper_bound(first.begin(), first.end(), task) - first.begin() - 1;
  const int32_t* at = offsets.as<int32_t>() + s;
  const int64_t within = task - first[static_cast<size_t>(s)];
  const int64_t begin = within / heads * kTaskRows;
  return {s, within % heads, begin, std::min(begin + kTaskRows, int64_t{at[1]} - at[0])};
}

void set_bias(AttendJob& job, const RelativeBias& bias, int64_t head) {
  if (!bias.table.defined()) return;
  job.bias = bias.table.as<const float>() + head * bias.table.stride(0);
  job.bias_reach = bias.max_distance;
}

}  // namespace

template <class Job>
void CpuOps::attend(const Tensor& offsets, int heads, int head_dim, int64_t keys, Job job_of) {
  number_tasks(offsets, heads, first_tasks_);
  const auto scratch = static_cast<size_t>(kernels_.attend_scratch(keys, head_dim));
  for (ThreadScratch& memory : scratch_) memory.floats(scratch);
  const auto work = [&](int64_t task, int thread) {
    const Span span = span_of(task, offsets, heads, first_tasks_);
    AttendJob job = job_of(span.sequence, span.head, span.begin);
    job.rows = span.end - span.begin;
    job.head_dim = head_dim;
    job.scratch = scratch_[static_cast<size_t>(thread)].floats(0);
    kernels_.attend(job);
  };
  const int64_t tasks = first_tasks_.back();
  const int64_t rows = offsets.as<int32_t>()[offsets.rows() - 1];
  if (rows * heads * head_dim * keys >= kLeastWork) return pool_.run(tasks, work);
  for (int64_t task = 0; task < tasks; ++task) work(task, 0);
}

void CpuOps::do_attention(const AttentionArgs& args) {
  check_offsets("attention", args.offsets, args.q.rows(), args.max_length);
  const int32_t* offsets = args.offsets.as<int32_t>();
  const auto at = [&](const Tensor& t, int64_t row, int64_t head) {
    return t.as<float>() + row * t.stride(0) + head * args.head_dim;
  };
  attend(args.offsets, args.heads, args.head_dim, args.max_length, [&](int64_t s, int64_t head, int64_t begin) {
    const int64_t length = int64_t{offsets[s + 1]} - offsets[s];
    AttendJob job{.out = at(args.out, offsets[s] + begin, head), .out_stride = args.out.stride(0)};
    job.q = at(args.q, offsets[s] + begin, head);
    job.q_stride = args.q.stride(0);
    job.position = begin;
    job.keys = length;
    job.causal = args.causal;
    job.key = {.base = at(args.k, offsets[s], head), .row_stride = args.k.stride(0), .run = length};
    job.value = {.base = at(args.v, offsets[s], head), .row_stride = args.v.stride(0), .run = length};
    job.scale = args.scale;
    set_bias(job, args.bias, head);
    return job;
  });
}

void CpuOps::do_paged_attention(const PagedAttentionArgs& args) {
  check_paged(args);
  const int32_t* offsets = args.offsets.as<int32_t>();
  const int64_t block_tokens = args.keys.shape()[2], head_floats = block_tokens * args.head_dim;
  attend(args.offsets, args.heads, args.head_dim, args.max_context, [&](int64_t s, int64_t head, int64_t begin) {
    const int64_t row = offsets[s] + begin, column = head * args.head_dim;
    AttendJob job{.out = args.out.as<float>() + row * args.out.stride(0) + column, .out_stride = args.out.stride(0)};
    job.q = args.q.as<const float>() + row * args.q.stride(0) + column;
    job.q_stride = args.q.stride(0);
    job.keys = args.context_lengths.as<int32_t>()[s];
    job.position = job.keys - (int64_t{offsets[s + 1]} - offsets[s]) + begin;
    job.causal = args.causal;
    job.key = {.base = args.keys.as<const float>() + head * head_floats,
               .row_stride = args.head_dim,
               .run_stride = args.heads * head_floats,
               .run = block_tokens,
               .table = args.block_tables.as<int32_t>() + s * args.block_tables.stride(0)};
    job.value = job.key;
    job.value.base = args.values.as<const float>() + head * head_floats;
    job.scale = args.scale;
    set_bias(job, args.bias, head);
    return job;
  });
}

}  // namespace inazuma
