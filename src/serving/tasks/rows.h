#pragma once
// Gathers the outputs of an encoder request's rows; the last one wakes the receiver.

#include <memory>
#include <vector>

#include "serving/response.h"
#include "serving/tasks/task.h"

namespace inazuma {

class RowCollector : public SequenceSink, public std::enable_shared_from_this<RowCollector> {
 public:
  using Done = std::function<void(Response)>;

  /// `owner` keeps what `task` refers to alive. `done` is called once on the receiver's thread.
  RowCollector(PreparedTask task, std::shared_ptr<const void> owner, Receiver receiver, Done done);

  /// The rows with this collector as their sink, once.
  std::vector<SequenceRequest> take_rows(const Request& request);

  void on_event(SequenceEvent event) override;

 private:
  void finish();

  PreparedTask task_;
  std::shared_ptr<const void> owner_;
  Receiver receiver_;
  Done done_;
  std::vector<RowOutput> outputs_;
  size_t open_ = 0;
  Status status_;
  Usage usage_;
};

}  // namespace inazuma
