#include "serving/batching/instances.h"

#include <model_config.pb.h>

#include <algorithm>

namespace inazuma {

Result<std::shared_ptr<RateGate::Seat>> RateGate::add(const InstanceSpec& spec) {
  const std::lock_guard lock(mutex_);
  const Result<uint64_t> id = limiter_.add(spec);
  if (!id.ok()) return id.status();
  auto seat = std::make_shared<Seat>();
  seat->id = *id;
  seats_[*id] = seat;
  distribute();  // there may be more copies now
  return seat;
}

void RateGate::remove(Seat& seat) {
  const std::lock_guard lock(mutex_);
  limiter_.remove(seat.id);
  seats_.erase(seat.id);
  distribute();
}

void RateGate::ask_locked(Seat& seat) {
  if (seat.closed || seat.granted) return;
  limiter_.ask(seat.id);
  distribute();
}

bool RateGate::ask(Seat& seat) {
  const std::lock_guard lock(mutex_);
  ask_locked(seat);
  return seat.granted && !seat.closed;
}

bool RateGate::acquire(Seat& seat) {
  std::unique_lock lock(mutex_);
  ask_locked(seat);
  seat.changed.wait(lock, [&] { return seat.granted || seat.closed; });
  if (!seat.closed) return true;
  if (std::exchange(seat.granted, false)) {
    limiter_.done(seat.id, false);
    distribute();
  }
  return false;
}

void RateGate::release(Seat& seat, bool executed, bool again) {
  const std::lock_guard lock(mutex_);
  seat.granted = false;
  limiter_.done(seat.id, executed);
  if (again && !seat.closed) limiter_.ask(seat.id);
  distribute();
}

void RateGate::rest(Seat& seat) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(seat.granted, false))
    limiter_.done(seat.id, false);
  else
    limiter_.withdraw(seat.id);
  distribute();
}

void RateGate::close(Seat& seat) {
  const std::lock_guard lock(mutex_);
  seat.closed = true;
  limiter_.withdraw(seat.id);
  seat.changed.notify_all();
  distribute();
}

void RateGate::distribute() {
  for (const uint64_t id : limiter_.grant()) {
    Seat& seat = *seats_.at(id);
    seat.granted = true;
    seat.changed.notify_all();
  }
}

std::vector<InstanceSpec> instance_specs(const inference::ModelConfig& config, bool limited) {
  std::vector<InstanceSpec> out;
  for (const auto& group : config.instance_group()) {
    // The host counts as device 0, as in Triton.
    std::vector<int> devices = {0};
    if (group.kind() == inference::ModelInstanceGroup::KIND_GPU && !group.gpus().empty())
      devices.assign(group.gpus().begin(), group.gpus().end());
    for (const int device : devices) {
      InstanceSpec spec;
      if (limited) {
        spec.priority = std::max(1U, group.rate_limiter().priority());
        for (const auto& resource : group.rate_limiter().resources())
          if (resource.count() > 0)
            spec.resources[{resource.global() ? InstanceSpec::kGlobal : device, resource.name()}] = resource.count();
      }
      out.insert(out.end(), static_cast<size_t>(std::max(1, group.count())), spec);
    }
  }
  if (out.empty()) out.emplace_back();
  return out;
}

Status InstanceThreads::set(const std::vector<InstanceSpec>& specs) {
  std::erase_if(leaving_, [](const std::unique_ptr<Instance>& one) {
    if (one->gone) one->thread.join();
    return one->gone.load();
  });
  std::vector<std::unique_ptr<Instance>> before = std::move(instances_), kept, fresh;
  instances_.clear();
  Status status;
  for (const InstanceSpec& spec : specs) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const auto& one) { return one->spec == spec; });
    if (same != before.end()) {
      kept.push_back(std::move(*same));
      before.erase(same);
      continue;
    }
    auto& instance = fresh.emplace_back(std::make_unique<Instance>());
    instance->spec = spec;
    if (spec.resources.empty()) continue;
    Result<std::shared_ptr<RateGate::Seat>> seat = gate_->add(spec);
    if (!seat.ok()) {
      status = seat.status();
      break;
    }
    instance->seat = *seat;
  }
  instances_ = std::move(kept);
  if (!status.ok()) {
    for (const auto& one : fresh)
      if (one->seat) gate_->remove(*one->seat);
    std::move(before.begin(), before.end(), std::back_inserter(instances_));
    return status;
  }
  for (auto& one : before) send_away(std::move(one));
  for (auto& one : fresh) {
    one->thread = std::thread([this, instance = one.get()] {
      work_(*instance);
      if (instance->seat) gate_->remove(*instance->seat);
      instance->gone = true;
    });
    instances_.push_back(std::move(one));
  }
  return Status();
}

bool InstanceThreads::limited() const {
  return std::any_of(instances_.begin(), instances_.end(), [](const auto& one) { return one->seat != nullptr; });
}

void InstanceThreads::send_away(std::unique_ptr<Instance> instance) {
  instance->leaving = true;
  if (instance->seat) gate_->close(*instance->seat);
  leaving_.push_back(std::move(instance));
}

void InstanceThreads::leave() {
  for (auto& one : std::exchange(instances_, {})) send_away(std::move(one));
}

void InstanceThreads::stop() {
  leave();
  for (const auto& one : leaving_) one->thread.join();
  leaving_.clear();
}

}  // namespace inazuma
