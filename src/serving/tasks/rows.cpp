#include "serving/tasks/rows.h"

#include <algorithm>

namespace inazuma {

RowCollector::RowCollector(PreparedTask task, std::shared_ptr<const void> owner, Receiver receiver, Done done)
    : task_(std::move(task)),
      owner_(std::move(owner)),
      receiver_(std::move(receiver)),
      done_(std::move(done)),
      outputs_(task_.rows.size()),
      open_(task_.rows.size()) {}

std::vector<SequenceRequest> RowCollector::take_rows(const Request& request) {
  std::vector<SequenceRequest> rows = std::move(task_.rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].index = static_cast<int32_t>(i);
    rows[i].sink = shared_from_this();
    rows[i].cancelled = request.cancelled;
    rows[i].deadline = request.deadline;
    rows[i].priority = request.priority;
    usage_.prompt_tokens += static_cast<int>(rows[i].ids.size());
  }
  return rows;
}

// Engine thread only, so no lock; the hand-over through `post` orders it before `finish`.
void RowCollector::on_event(SequenceEvent event) {
  if (event.kind == SequenceEvent::Kind::failed) {
    if (status_.ok()) status_ = std::move(event.status);
  } else if (event.kind == SequenceEvent::Kind::finished) {
    if (event.reason == FinishReason::cancelled && status_.ok())
      status_ = Status(StatusCode::cancelled, "the request was cancelled");
    outputs_[static_cast<size_t>(event.index)] = {std::move(event.rows), std::move(event.pooled)};
    usage_.queue = std::max(usage_.queue, event.times.queued);
    usage_.inference = std::max(usage_.inference, event.times.prefill);
  } else {
    return;
  }
  if (--open_ == 0) receiver_.post([self = shared_from_this()] { self->finish(); });
}

void RowCollector::finish() {
  Response response;
  response.status = status_;
  if (status_.ok()) {
    Result<Outcome> outcome = capture([&] { return task_.finish(std::move(outputs_)); });
    if (outcome.ok())
      response.outcome = std::move(*outcome);
    else
      response.status = outcome.status();
  }
  response.usage = usage_;
  done_(std::move(response));
}

}  // namespace inazuma
