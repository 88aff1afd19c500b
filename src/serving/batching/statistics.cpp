#include "serving/batching/statistics.h"

#include <grpc_service.pb.h>

namespace inazuma {

namespace {

uint64_t now_ms() {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
}

}  // namespace

void ModelStatisticsBook::success(Clock::duration total, Clock::duration queue, const Phases& phases, int rows) {
  const std::lock_guard lock(mutex_);
  success_.add(total);
  queue_.add(queue);
  input_.add(phases.input);
  infer_.add(phases.infer);
  output_.add(phases.output);
  inferences_ += static_cast<uint64_t>(rows);
}

void ModelStatisticsBook::cache_hit(Clock::duration total, Clock::duration lookup) {
  const std::lock_guard lock(mutex_);
  success_.add(total);
  queue_.add({});
  hit_.add(lookup);
}

void ModelStatisticsBook::cache_miss(Clock::duration took) {
  const std::lock_guard lock(mutex_);
  miss_.add(took);
}

void ModelStatisticsBook::failure(Clock::duration total) {
  const std::lock_guard lock(mutex_);
  fail_.add(total);
}

void ModelStatisticsBook::execution(int rows, const Phases& phases) {
  const std::lock_guard lock(mutex_);
  ++executions_;
  last_ms_ = now_ms();
  Batch& batch = batches_[rows];
  batch.input.add(phases.input);
  batch.infer.add(phases.infer);
  batch.output.add(phases.output);
}

void ModelStatisticsBook::answer(uint64_t index, Clock::duration infer, bool empty) {
  const std::lock_guard lock(mutex_);
  Answer& answer = answers_[index];
  answer.infer.add(infer);
  (empty ? answer.empty : answer.success).add(infer);
}

void ModelStatisticsBook::write(inference::ModelStatistics& out) const {
  const auto put = [](const Duration& from, inference::StatisticDuration& to) {
    to.set_count(from.count), to.set_ns(from.ns);
  };
  const std::lock_guard lock(mutex_);
  out.set_last_inference(last_ms_);
  out.set_inference_count(inferences_);
  out.set_execution_count(executions_);
  inference::InferStatistics& all = *out.mutable_inference_stats();
  put(success_, *all.mutable_success());
  put(fail_, *all.mutable_fail());
  put(queue_, *all.mutable_queue());
  put(input_, *all.mutable_compute_input());
  put(infer_, *all.mutable_compute_infer());
  put(output_, *all.mutable_compute_output());
  put(hit_, *all.mutable_cache_hit());
  put(miss_, *all.mutable_cache_miss());
  for (const auto& [rows, batch] : batches_) {
    inference::InferBatchStatistics& one = *out.add_batch_stats();
    one.set_batch_size(static_cast<uint64_t>(rows));
    put(batch.input, *one.mutable_compute_input());
    put(batch.infer, *one.mutable_compute_infer());
    put(batch.output, *one.mutable_compute_output());
  }
  for (const auto& [index, answer] : answers_) {
    inference::InferResponseStatistics& one = (*out.mutable_response_stats())[std::to_string(index)];
    put(answer.infer, *one.mutable_compute_infer());
    put({}, *one.mutable_compute_output());
    put(answer.success, *one.mutable_success());
    put({}, *one.mutable_fail());
    put(answer.empty, *one.mutable_empty_response());
    put({}, *one.mutable_cancel());
  }
}

}  // namespace inazuma
