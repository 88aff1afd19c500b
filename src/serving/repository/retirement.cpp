#include "serving/repository/retirement.h"

namespace inazuma {

Retirement::Retirement(Repository& repository) : repository_(repository), thread_([this] { let_go(); }) {}

Retirement::~Retirement() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Retirement::add(std::vector<Leaving> leaving) {
  if (leaving.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (Leaving& one : leaving) leaving_.push_back(std::move(one));
  }
  changed_.notify_all();
}

// A back end goes when nobody else holds it (a request on its way in may still) and its accepted work has ended.
void Retirement::let_go() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopping_ || !leaving_.empty(); });
    if (leaving_.empty()) return;
    std::vector<Leaving> round = std::exchange(leaving_, {});
    lock.unlock();
    std::vector<Leaving> again;
    for (Leaving& one : round) {
      // Read by others no more once only this thread has it: the snapshot that held it was replaced before.
      if (one.backend.use_count() > 1 || !one.backend->drain(Clock::now())) {
        again.push_back(std::move(one));
        continue;
      }
      one.backend.reset();
      if (!one.unloading) continue;
      const auto snapshot = repository_.snapshot();
      const ServedModel* served = snapshot->find(one.model);
      const ServedVersion* version = served == nullptr ? nullptr : served->find(one.version);
      if (version != nullptr && version->state == ModelState::unloading)
        repository_.set_state(one.model, one.version, ModelState::unloaded, "unloaded");
    }
    lock.lock();
    const bool some = !again.empty();
    for (Leaving& one : again) leaving_.push_back(std::move(one));
    if (some && stopping_) {
      // The server ends: what is left is let go where it stands.
      leaving_.clear();
      return;
    }
    if (some) changed_.wait_for(lock, std::chrono::milliseconds(2));
  }
}

}  // namespace inazuma
