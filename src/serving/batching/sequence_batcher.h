#pragma once
// Requests that belong together by a correlation id: which sequence has a slot, which waits, and which requests run
// next. Triton's sequence batcher as a pure function of what it was told and of the time it is given.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/sequence.h"

namespace inazuma {

struct SequenceBatcherOptions {
  std::string model;    ///< for messages
  bool oldest = false;  ///< else direct
  int instances = 1;
  int slots = 1;  ///< of an instance: direct max(1, max_batch_size), oldest max_candidate_sequences
  int max_batch = 1;
  Clock::duration idle{std::chrono::seconds(1)};
  Clock::duration max_delay{};
  float minimum_utilization = 0;  ///< direct: share of an instance's slots that should be ready
  std::vector<int> preferred;     ///< oldest
};

class SequenceBatcher {
 public:
  struct Item {
    uint64_t handle = 0;
    std::string sequence;  ///< correlation id as a key; "" = none
    std::string shown;     ///< as the client wrote it, for messages
    bool start = false, end = false;
    Clock::duration timeout{};  ///< of a sequence that still waits for a slot; zero = none
    CancelFlag cancel;          ///< may be null
  };
  struct Refused {
    uint64_t handle = 0;
    Status status;
  };
  struct Ready {
    uint64_t handle = 0;
    std::string sequence;
    bool start = false, end = false;
  };
  struct Decision {
    std::vector<Ready> batch;  ///< at most one request of a sequence
    std::vector<Refused> refused;
    std::optional<Clock::time_point> look_again;
  };

  explicit SequenceBatcher(SequenceBatcherOptions options);

  /// invalid: no correlation id, or a first request without the start flag.
  Status push(Item item, Clock::time_point now);
  /// For an instance's thread that can work now.
  Decision take(Clock::time_point now);
  /// The request of `sequence` that `take` gave out has ended.
  void done(const std::string& sequence, Clock::time_point now);
  /// Slots of instances that are no more are used until the sequences in them have ended.
  void set_instances(int count, Clock::time_point now);
  std::vector<uint64_t> clear();
  size_t size() const;  ///< requests that wait
  bool ready() const;   ///< some sequence with a slot has a request that could run
  size_t open() const { return sequences_.size(); }

 private:
  struct Waiting {
    Item item;
    Clock::time_point since;
  };
  struct Sequence {
    int slot = -1;                                         // -1: waits for one
    bool running = false;                                  // a request of it is out
    bool ending = false;                                   // that request has the end flag
    Clock::time_point active;                              // last sign of life
    Clock::time_point expires = Clock::time_point::max();  // while it waits for a slot
    std::deque<Waiting> queue;
    int64_t order = 0;  // of arrival
  };
  void assign(Clock::time_point now);
  void release(std::map<std::string, Sequence>::iterator at);
  void sweep(Clock::time_point now, Decision& decision);
  bool take_from(int instance, Clock::time_point now, Decision& decision);
  static bool ready(const Sequence& sequence) {
    return sequence.slot >= 0 && !sequence.running && !sequence.queue.empty();
  }

  SequenceBatcherOptions options_;
  std::map<std::string, Sequence> sequences_;
  std::vector<bool> used_;           // slots, instance by instance; also of instances that are leaving
  std::deque<std::string> backlog_;  // sequences without a slot, in order
  int64_t next_order_ = 0;
};

}  // namespace inazuma
