#include "serving/batching/dynamic_batcher.h"

#include <algorithm>
#include <utility>

namespace inazuma {

DynamicBatcher::DynamicBatcher(BatcherOptions options) : options_(std::move(options)) {
  for (const int size : options_.preferred) largest_preferred_ = std::max(largest_preferred_, size);
  if (largest_preferred_ == 0) largest_preferred_ = options_.max_batch;
  for (uint64_t level = 1; level <= std::max<uint64_t>(options_.levels, 1); ++level) {
    const auto own = options_.level_policy.find(level);
    levels_.push_back(
        {.policy = own == options_.level_policy.end() ? options_.policy : own->second, .queue = {}, .delayed = {}});
  }
}

Status DynamicBatcher::push(Item item, Clock::time_point now) {
  uint64_t level = 1;
  if (options_.levels > 0)
    level = item.priority == 0 || item.priority > options_.levels ? options_.default_level : item.priority;
  Level& target = levels_[static_cast<size_t>(level - 1)];
  const QueuePolicy& policy = target.policy;
  if (policy.max_size > 0 && target.size() >= policy.max_size)
    return Status(StatusCode::overloaded, "Exceeds maximum queue size");
  Clock::duration timeout = policy.timeout;
  if (policy.allow_override && item.timeout.count() > 0 && (timeout.count() == 0 || item.timeout < timeout))
    timeout = item.timeout;
  target.queue.push_back({std::move(item), now, timeout.count() > 0 ? now + timeout : Clock::time_point::max()});
  return Status();
}

void DynamicBatcher::drop_cancelled(std::deque<Waiting>& queue, Decision& decision) {
  std::erase_if(queue, [&](const Waiting& waiting) {
    if (!waiting.item.cancel || !waiting.item.cancel->load(std::memory_order_relaxed)) return false;
    decision.refused.push_back({waiting.item.handle, Status(StatusCode::cancelled, "the request was cancelled")});
    return true;
  });
}

// What is over leaves, or goes to the back of its level. Timeouts of one level may differ (override), so all are looked
// at.
void DynamicBatcher::sweep(Clock::time_point now, Decision& decision) {
  for (Level& level : levels_) {
    drop_cancelled(level.queue, decision);
    drop_cancelled(level.delayed, decision);
    std::erase_if(level.queue, [&](Waiting& waiting) {
      if (waiting.expires > now) return false;
      if (!level.policy.delay) {
        decision.refused.push_back({waiting.item.handle, Status(StatusCode::overloaded, "Request timeout expired")});
        return true;
      }
      level.delayed.push_back({waiting.item, waiting.since, Clock::time_point::max()});
      return true;
    });
    for (const Waiting& waiting : level.queue)
      if (waiting.expires != Clock::time_point::max())
        decision.look_again = decision.look_again ? std::min(*decision.look_again, waiting.expires) : waiting.expires;
  }
}

void DynamicBatcher::remove_front(size_t count, Decision& decision) {
  for (Level& level : levels_)
    for (std::deque<Waiting>* queue : {&level.queue, &level.delayed})
      while (count > 0 && !queue->empty()) {
        decision.batch.push_back(queue->front().item.handle);
        queue->pop_front();
        --count;
      }
}

DynamicBatcher::Decision DynamicBatcher::take(Clock::time_point now) {
  Decision decision;
  sweep(now, decision);
  if (size() == 0) return decision;
  if (!options_.batching) {
    remove_front(1, decision);
    return decision;
  }

  size_t count = 0, best = 0;  // requests so far; those of the last preferred size met
  int rows = 0;
  bool can_grow = true;
  Clock::time_point oldest = Clock::time_point::max();
  const std::string* match = nullptr;
  for (const Level& level : levels_) {
    for (const std::deque<Waiting>* queue : {&level.queue, &level.delayed}) {
      for (const Waiting& waiting : *queue) {
        if (match != nullptr && (rows + waiting.item.rows > options_.max_batch || waiting.item.match != *match)) {
          can_grow = false;
          break;
        }
        // The largest preferred size would be overshot and none was met: what there is is as good as it gets.
        if (count > 0 && best == 0 && rows <= largest_preferred_ && rows + waiting.item.rows > largest_preferred_)
          best = count;
        match = &waiting.item.match;
        rows += waiting.item.rows;
        ++count;
        oldest = std::min(oldest, waiting.since);
        if (std::find(options_.preferred.begin(), options_.preferred.end(), rows) != options_.preferred.end())
          best = count;
      }
      if (!can_grow) break;
    }
    if (!can_grow) break;
  }

  const Clock::time_point due = oldest + options_.max_delay;
  if (best > 0 && now < due) {
    remove_front(best, decision);
  } else if (!can_grow || rows >= largest_preferred_ || now >= due) {
    remove_front(count, decision);
  } else {
    decision.look_again = decision.look_again ? std::min(*decision.look_again, due) : due;
  }
  return decision;
}

DynamicBatcher::Decision DynamicBatcher::expire(Clock::time_point now) {
  Decision decision;
  sweep(now, decision);
  return decision;
}

std::vector<uint64_t> DynamicBatcher::clear() {
  Decision all;
  remove_front(size(), all);
  return std::move(all.batch);
}

size_t DynamicBatcher::size() const {
  size_t total = 0;
  for (const Level& level : levels_) total += level.size();
  return total;
}

}  // namespace inazuma
