#pragma once
// A value that many read while one replaces it as a whole.

#include <memory>
#include <mutex>
#include <utility>

namespace inazuma {

/// Thread-safe. Readers keep what they got however often it is replaced. A lock, not std::atomic<std::shared_ptr>: that
/// of libstdc++ 12 gives its own lock up without ordering after a read, which is a data race by the language's rules.
template <class T>
class SharedValue {
 public:
  explicit SharedValue(std::shared_ptr<const T> value = nullptr) : value_(std::move(value)) {}

  std::shared_ptr<const T> get() const {
    const std::lock_guard lock(mutex_);
    return value_;
  }
  void set(std::shared_ptr<const T> value) {
    const std::lock_guard lock(mutex_);
    value_.swap(value);  // the old one goes after the lock
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
};

}  // namespace inazuma
