#pragma once
// Series looked up once or more a request: by many threads at once, and made where they are missing.

#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>

namespace inazuma {

template <class Key, class One, class Order = std::less<>>
class SeriesTable {
 public:
  /// Calls use(one) with what stands at `key` (a Key, or what Order compares with one); where nothing does, make() is
  /// put there first. Neither may come back here.
  template <class View, class Make, class Use>
  void with(const View& key, Make&& make, Use&& use) {
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = table_.find(key); found != table_.end()) return use(found->second);
    }
    const std::unique_lock lock(mutex_);
    auto found = table_.find(key);
    if (found == table_.end()) found = table_.emplace(Key(key), make()).first;
    use(found->second);
  }

 private:
  std::shared_mutex mutex_;
  std::map<Key, One, Order> table_;
};

}  // namespace inazuma
