#include "serving/batching/sequence_batcher.h"

#include <algorithm>
#include <utility>

namespace inazuma {

SequenceBatcher::SequenceBatcher(SequenceBatcherOptions options)
    : options_(std::move(options)),
      used_(static_cast<size_t>(options_.instances) * static_cast<size_t>(options_.slots)) {}

Status SequenceBatcher::push(Item item, Clock::time_point now) {
  if (item.sequence.empty())
    return Status(StatusCode::invalid,
                  fmt::format("inference request to model '{}' must specify a non-zero or non-empty correlation ID",
                              options_.model));
  auto at = sequences_.find(item.sequence);
  if (at == sequences_.end()) {
    if (!item.start)
      return Status(StatusCode::invalid, fmt::format("inference request for sequence {} to model '{}' must specify the "
                                                     "START flag on the first request of the sequence",
                                                     item.shown, options_.model));
    at = sequences_.emplace(item.sequence, Sequence{}).first;
    at->second.order = next_order_++;
    if (item.timeout.count() > 0) at->second.expires = now + item.timeout;
    backlog_.push_back(item.sequence);
  } else if (!item.start) {
    // After the end flag a sequence is over, even while its last request still waits.
    const bool over =
        at->second.queue.empty() ? at->second.running && at->second.ending : at->second.queue.back().item.end;
    if (over)
      return Status(StatusCode::invalid, fmt::format("inference request for sequence {} to model '{}' must specify the "
                                                     "START flag on the first request of the sequence",
                                                     item.shown, options_.model));
  }
  // A start on an open id closes the old sequence early; the new one goes on in its slot.
  at->second.active = now;
  at->second.queue.push_back({std::move(item), now});
  assign(now);
  return Status();
}

void SequenceBatcher::set_instances(int count, Clock::time_point now) {
  options_.instances = count;
  used_.resize(std::max(used_.size(), static_cast<size_t>(count) * static_cast<size_t>(options_.slots)));
  assign(now);
}

bool SequenceBatcher::ready() const {
  return std::any_of(sequences_.begin(), sequences_.end(), [](const auto& entry) { return ready(entry.second); });
}

void SequenceBatcher::assign(Clock::time_point now) {
  const size_t open = static_cast<size_t>(options_.instances) * static_cast<size_t>(options_.slots);
  for (size_t slot = 0; slot < open && !backlog_.empty(); ++slot) {
    if (used_[slot]) continue;
    Sequence& sequence = sequences_.at(backlog_.front());
    backlog_.pop_front();
    used_[slot] = true;
    sequence.slot = static_cast<int>(slot);
    sequence.active = now;
    sequence.expires = Clock::time_point::max();
  }
}

void SequenceBatcher::release(std::map<std::string, Sequence>::iterator at) {
  if (at->second.slot >= 0)
    used_[static_cast<size_t>(at->second.slot)] = false;
  else
    std::erase(backlog_, at->first);
  sequences_.erase(at);
}

// Cancelled and expired sequences lose what waits; idle ones their slot.
void SequenceBatcher::sweep(Clock::time_point now, Decision& decision) {
  const auto sooner = [&](Clock::time_point when) {
    decision.look_again = decision.look_again ? std::min(*decision.look_again, when) : when;
  };
  for (auto at = sequences_.begin(); at != sequences_.end();) {
    Sequence& sequence = at->second;
    const bool cancelled = std::any_of(sequence.queue.begin(), sequence.queue.end(), [](const Waiting& waiting) {
      return waiting.item.cancel && waiting.item.cancel->load(std::memory_order_relaxed);
    });
    const bool expired = sequence.expires <= now;
    if (cancelled || expired) {
      for (const Waiting& waiting : sequence.queue)
        decision.refused.push_back(
            {waiting.item.handle,
             cancelled ? Status(StatusCode::cancelled, "a request of the sequence was cancelled")
                       : Status(StatusCode::overloaded, "timeout of the corresponding sequence has been expired")});
      sequence.queue.clear();
    }
    const bool idle =
        sequence.queue.empty() && !sequence.running && (expired || cancelled || sequence.active + options_.idle <= now);
    if (idle) {
      release(at++);
      continue;
    }
    if (sequence.expires != Clock::time_point::max()) sooner(sequence.expires);
    if (sequence.queue.empty() && !sequence.running) sooner(sequence.active + options_.idle);
    ++at;
  }
  assign(now);
}

bool SequenceBatcher::take_from(int instance, Clock::time_point now, Decision& decision) {
  std::vector<std::map<std::string, Sequence>::iterator> candidates;
  for (auto at = sequences_.begin(); at != sequences_.end(); ++at)
    if (ready(at->second) && at->second.slot / options_.slots == instance) candidates.push_back(at);
  if (candidates.empty()) return false;
  const auto since = [](const auto& at) { return at->second.queue.front().since; };
  Clock::time_point oldest = since(candidates.front());
  for (const auto& at : candidates) oldest = std::min(oldest, since(at));
  const Clock::time_point due = oldest + options_.max_delay;

  size_t count = std::min(candidates.size(), static_cast<size_t>(options_.max_batch));
  if (options_.oldest) {
    std::stable_sort(candidates.begin(), candidates.end(), [&](const auto& a, const auto& b) {
      return std::pair(since(a), a->second.order) < std::pair(since(b), b->second.order);
    });
    int largest = 0, met = 0;
    for (const int size : options_.preferred) {
      largest = std::max(largest, size);
      if (static_cast<size_t>(size) <= count) met = std::max(met, size);
    }
    if (now < due) {
      if (met > 0)
        count = static_cast<size_t>(met);
      else if (count < static_cast<size_t>(options_.max_batch) && static_cast<int>(count) < largest)
        count = 0;
    }
  } else {
    std::sort(candidates.begin(), candidates.end(),
              [](const auto& a, const auto& b) { return a->second.slot < b->second.slot; });
    const float share = static_cast<float>(candidates.size()) / static_cast<float>(options_.slots);
    if (share < options_.minimum_utilization && now < due) count = 0;
  }
  if (count == 0) {
    decision.look_again = decision.look_again ? std::min(*decision.look_again, due) : due;
    return false;
  }
  for (size_t i = 0; i < count; ++i) {
    Sequence& sequence = candidates[i]->second;
    const Item item = std::move(sequence.queue.front().item);
    sequence.queue.pop_front();
    sequence.running = true;
    sequence.ending = item.end;
    sequence.active = now;
    decision.batch.push_back({item.handle, candidates[i]->first, item.start, item.end});
  }
  return true;
}

SequenceBatcher::Decision SequenceBatcher::take(Clock::time_point now) {
  Decision decision;
  sweep(now, decision);
  const auto instances = static_cast<int>(used_.size()) / options_.slots;
  for (int instance = 0; instance < instances; ++instance)
    if (take_from(instance, now, decision)) break;
  return decision;
}

void SequenceBatcher::done(const std::string& sequence, Clock::time_point now) {
  const auto at = sequences_.find(sequence);
  if (at == sequences_.end()) return;
  at->second.running = false;
  at->second.active = now;
  // With a new start behind it the slot stays with the id.
  if (std::exchange(at->second.ending, false) && at->second.queue.empty()) release(at);
  assign(now);
}

std::vector<uint64_t> SequenceBatcher::clear() {
  std::vector<uint64_t> out;
  for (auto& [name, sequence] : sequences_)
    for (const Waiting& waiting : sequence.queue) out.push_back(waiting.item.handle);
  sequences_.clear();
  backlog_.clear();
  std::fill(used_.begin(), used_.end(), false);
  return out;
}

size_t SequenceBatcher::size() const {
  size_t total = 0;
  for (const auto& [name, sequence] : sequences_) total += sequence.queue.size();
  return total;
}

}  // namespace inazuma
