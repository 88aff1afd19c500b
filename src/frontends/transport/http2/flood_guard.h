#pragma once
// How many cheap frames a client may send before its connection is ended: each costs it little and the server
// something.

#include <algorithm>
#include <chrono>

namespace inazuma {

/// `burst` at once, `rate` a second on average.
class TokenBucket {
 public:
  using Time = std::chrono::steady_clock::time_point;
  TokenBucket(double burst, double rate) : burst_(burst), rate_(rate), tokens_(burst) {}

  /// False when there is none left at `now`; times must not go backwards.
  bool take(Time now) {
    if (last_ != Time{})
      tokens_ = std::min(burst_, tokens_ + std::chrono::duration<double>(now - last_).count() * rate_);
    last_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

  /// What this side did entitles the client to more.
  void give(double tokens) { tokens_ = std::min(burst_, tokens_ + tokens); }

 private:
  double burst_, rate_, tokens_;
  Time last_{};
};

/// Pings between which this side sent no data, as gRPC's servers judge them: too close together is a strike, a few
/// strikes end the connection ("too_many_pings"). Sending data forgives.
class PingGuard {
 public:
  using Time = TokenBucket::Time;
  PingGuard(std::chrono::milliseconds interval, int strikes) : interval_(interval), allowed_(strikes) {}

  void data_sent() {
    last_ = Time{};
    strikes_ = 0;
  }
  /// False: one too many.
  bool ping(Time now) {
    if (last_ != Time{} && now - last_ < interval_) ++strikes_;
    last_ = now;
    return allowed_ == 0 || strikes_ <= allowed_;
  }

 private:
  std::chrono::milliseconds interval_;
  int allowed_;
  int strikes_ = 0;
  Time last_{};
};

struct FloodGuard {
  /// A client may open the windows again, its stream's and the connection's, for each frame that it gets.
  static constexpr double kWindowsForAFrame = 4;
  FloodGuard(std::chrono::milliseconds ping_interval, int ping_strikes) : pings(ping_interval, ping_strikes) {}

  TokenBucket settings{32, 1};
  TokenBucket priorities{1000, 100};
  TokenBucket empty_data{1000, 100};       ///< DATA without bytes that does not end its stream
  TokenBucket invalid{100, 10};            ///< frames that broke a rule of their stream
  TokenBucket small_windows{20000, 5000};  ///< WINDOW_UPDATE frames
  PingGuard pings;
};

}  // namespace inazuma
