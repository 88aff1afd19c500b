#pragma once
// Model versions on their way out: let go by a thread of their own once the last request has ended.

#include <condition_variable>
#include <mutex>
#include <thread>

#include "serving/core.h"

namespace inazuma {

/// Thread-safe.
class Retirement {
 public:
  struct Leaving {
    std::string model;
    int64_t version = 0;
    std::shared_ptr<Backend> backend;
    bool unloading = false;  ///< the snapshot shows UNLOADING until it is gone
  };

  explicit Retirement(Repository& repository);
  ~Retirement();  ///< waits for one more look at each; what still works then is let go where it stands

  /// The snapshot that held them must have been replaced before.
  void add(std::vector<Leaving> leaving);

 private:
  void let_go();

  Repository& repository_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Leaving> leaving_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace inazuma
