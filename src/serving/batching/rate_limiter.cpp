#include "serving/batching/rate_limiter.h"

#include <algorithm>
#include <charconv>

namespace inazuma {

namespace {

// So far may one who comes back be behind the others and catch up: short pauses do not cost its share, and long ones do
// not let it push everybody aside.
constexpr uint64_t kCredit = 8;

template <class T>
bool whole(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

Status DeclaredResources::add(const std::string& text) {
  const size_t first = text.find(':');
  const size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  uint64_t count = 0;
  int device = kEveryDevice;
  const bool good =
      first != std::string::npos && first > 0 &&
      whole(std::string_view(text).substr(first + 1, second == std::string::npos ? second : second - first - 1),
            count) &&
      count > 0 &&
      (second == std::string::npos || (whole(std::string_view(text).substr(second + 1), device) && device >= 0));
  if (!good)
    return Status(
        StatusCode::invalid,
        fmt::format("{} is no resource: NAME:COUNT or NAME:COUNT:DEVICE, with a count above 0", quoted(text)));
  uint64_t& kept = counts[{device, text.substr(0, first)}];
  kept = std::max(kept, count);
  return Status();
}

Result<uint64_t> RateLimiter::add(const InstanceSpec& spec) {
  for (const auto& [resource, count] : spec.resources) {
    const auto& [device, name] = resource;
    for (const auto& [id, other] : instances_)
      for (const auto& [theirs, unused] : other.spec.resources)
        if (theirs.second == name && (theirs.first == InstanceSpec::kGlobal) != (device == InstanceSpec::kGlobal))
          return Status(StatusCode::invalid,
                        fmt::format("Resource {} is present as both global and device-specific resource in the model "
                                    "configuration.",
                                    quoted(name)));
    if (declared_.counts.empty()) continue;
    if (const uint64_t most = available(resource); most < count)
      return Status(StatusCode::invalid,
                    fmt::format("Resource count for {} is limited to {} which will prevent scheduling of one or more "
                                "model instances, the minimum required count is {} (--rate-limit-resource)",
                                quoted(name), most, count));
  }
  instances_[next_] = {.spec = spec, .score = floor()};
  return next_++;
}

void RateLimiter::remove(uint64_t instance) {
  if (instances_.at(instance).state == State::executing) done(instance, false);
  instances_.erase(instance);
}

void RateLimiter::ask(uint64_t instance) {
  Instance& one = instances_.at(instance);
  if (one.state != State::idle) return;
  const uint64_t lowest = floor();
  one.score = std::max(one.score, lowest > kCredit ? lowest - kCredit : 0);
  one.state = State::asking;
  one.since = asked_++;
}

void RateLimiter::withdraw(uint64_t instance) {
  Instance& one = instances_.at(instance);
  if (one.state == State::asking) one.state = State::idle;
}

std::vector<uint64_t> RateLimiter::grant() {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, uint64_t>> order;
  for (const auto& [id, one] : instances_)
    if (one.state == State::asking) order.push_back({{one.score, one.since}, id});
  std::sort(order.begin(), order.end());
  std::vector<uint64_t> out;
  std::set<InstanceSpec::Resource> awaited;  // by somebody with more right to it
  for (const auto& [rank, id] : order) {
    Instance& one = instances_.at(id);
    const auto& needs = one.spec.resources;
    const bool fits = std::all_of(needs.begin(), needs.end(), [&](const auto& need) {
      return !awaited.contains(need.first) && used(need.first) + need.second <= available(need.first);
    });
    if (!fits) {
      for (const auto& need : needs) awaited.insert(need.first);
      continue;
    }
    for (const auto& [resource, count] : needs) used_[resource] += count;
    one.state = State::executing;
    served_ = std::max(served_, one.score);
    out.push_back(id);
  }
  return out;
}

void RateLimiter::done(uint64_t instance, bool executed) {
  Instance& one = instances_.at(instance);
  if (one.state != State::executing) return;
  for (const auto& [resource, count] : one.spec.resources) used_[resource] -= count;
  one.state = State::idle;
  if (executed) one.score += std::max<uint32_t>(1, one.spec.priority);
}

uint64_t RateLimiter::used(const InstanceSpec::Resource& resource) const {
  const auto found = used_.find(resource);
  return found == used_.end() ? 0 : found->second;
}

uint64_t RateLimiter::available(const InstanceSpec::Resource& resource) const {
  uint64_t most = 0;
  if (declared_.counts.empty()) {
    for (const auto& [id, one] : instances_)
      if (const auto found = one.spec.resources.find(resource); found != one.spec.resources.end())
        most = std::max(most, found->second);
    return most;
  }
  for (const auto& [declared, count] : declared_.counts)
    if (declared.second == resource.second &&
        (resource.first == InstanceSpec::kGlobal || declared.first == DeclaredResources::kEveryDevice ||
         declared.first == resource.first))
      most = std::max(most, count);
  return most;
}

// Where somebody stands who has nothing to catch up with: with the first of those who wait or work, or, when nobody
// does, with who was served last.
uint64_t RateLimiter::floor() const {
  uint64_t lowest = UINT64_MAX;
  for (const auto& [id, one] : instances_)
    if (one.state != State::idle) lowest = std::min(lowest, one.score);
  return lowest == UINT64_MAX ? served_ : lowest;
}

}  // namespace inazuma
