#pragma once
// Which instances may execute now, when executions need resources that there are not enough of: Triton's rate limiter
// (--rate-limit=execution_count). Pure: no threads, no clock.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"

namespace inazuma {

/// What `instance_group.rate_limiter` says of one instance.
struct InstanceSpec {
  /// Device of a resource: kGlobal of those that the whole server shares, else the instance's own.
  static constexpr int kGlobal = -1;
  using Resource = std::pair<int, std::string>;  ///< device, name

  std::map<Resource, uint64_t> resources;  ///< copies that one execution takes
  uint32_t priority = 1;                   ///< of priority 2: half as often as of priority 1

  bool operator==(const InstanceSpec&) const = default;
};

/// `--rate-limit-resource`: copies by device and name. kEveryDevice: of each device by itself.
struct DeclaredResources {
  static constexpr int kEveryDevice = -2;
  std::map<InstanceSpec::Resource, uint64_t> counts;

  /// Adds "name:count[:device]". invalid.
  Status add(const std::string& text);
};

/// There are as many copies of a resource as declared; where nothing is declared at all, as many as the instance that
/// needs most of it. Instances that ask are served by their executions times their priority, the lowest first; one may
/// pass another that has to wait only when it needs nothing that the other waits for. An instance that comes
/// begins where the others stand, and one that comes back has little to catch up with.
class RateLimiter {
 public:
  explicit RateLimiter(DeclaredResources declared = {}) : declared_(std::move(declared)) {}

  /// invalid: the instance could never execute with what is declared; a resource that is global here and of a device
  /// elsewhere.
  Result<uint64_t> add(const InstanceSpec& spec);
  /// Also while it asks or executes; its resources are free again.
  void remove(uint64_t instance);
  void ask(uint64_t instance);
  void withdraw(uint64_t instance);
  /// Who executes from now on, in order. Their resources are taken.
  std::vector<uint64_t> grant();
  /// The execution has ended, or (`executed` false) there was nothing to execute.
  void done(uint64_t instance, bool executed);

  /// Copies of a resource that are in use, and that there are.
  uint64_t used(const InstanceSpec::Resource& resource) const;
  uint64_t available(const InstanceSpec::Resource& resource) const;

 private:
  enum class State { idle, asking, executing };
  struct Instance {
    InstanceSpec spec;
    State state = State::idle;
    uint64_t score = 0;  ///< executions times priority, from where it began
    uint64_t since = 0;  ///< order of asking, among equals
  };
  uint64_t floor() const;

  DeclaredResources declared_;
  std::map<uint64_t, Instance> instances_;
  std::map<InstanceSpec::Resource, uint64_t> used_;
  uint64_t next_ = 1, asked_ = 0;
  uint64_t served_ = 0;  ///< score of the last that was served
};

}  // namespace inazuma
