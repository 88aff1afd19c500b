#pragma once
// A listening socket and the threads that serve what it accepts; shared by both transports.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"

namespace inazuma {

struct ListenOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  ///< 0 = any free one
  int threads = 2;
  std::string flag = "--port";  ///< named in messages
};

/// Each accepted socket has a strand of its own.
class Listener {
 public:
  using Accepted = std::function<void(boost::asio::ip::tcp::socket)>;
  Listener(ListenOptions options, Accepted accepted);
  ~Listener();  ///< stop()

  /// unavailable: port in use; forbidden: no permission; invalid: not an address.
  Status start();
  uint16_t port() const;  ///< the one bound
  /// Closes the listening socket after taking what already waits in it; then runs `closed`.
  void stop_accepting(std::function<void()> closed);
  /// Ends the threads; false when they were not running.
  bool stop();

 private:
  void work();
  void accept();
  void accept_waiting();
  void serve(boost::asio::ip::tcp::socket socket);

  ListenOptions options_;
  Accepted accepted_;
  boost::asio::io_context io_;
  // Threads stay until stop(): work may still post its end to a connection that has closed, as the last of them.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> stay_;
  boost::asio::ip::tcp::acceptor acceptor_;  // on a strand of its own: accepting and closing meet there
  std::vector<std::thread> threads_;
};

/// The connections of a server, and how many of them owe an answer.
template <class Session>
class Connections {
 public:
  void joined(const std::shared_ptr<Session>& session) {
    const std::lock_guard lock(mutex_);
    sessions_.insert(session);
  }
  void left(const std::shared_ptr<Session>& session) {
    const std::lock_guard lock(mutex_);
    sessions_.erase(session);
    changed_.notify_all();
  }
  void busy(int delta) {
    const std::lock_guard lock(mutex_);
    busy_ += delta;
    changed_.notify_all();
  }
  /// No connection will join any more: each is told by `tell`.
  template <class Tell>
  void close_door(Tell&& tell) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (const auto& session : sessions_) tell(*session);
    changed_.notify_all();
  }
  /// Waits until the door is closed and everyone has gone; true when no answer is owed at the end.
  bool wait_idle(std::chrono::steady_clock::time_point until) {
    std::unique_lock lock(mutex_);
    // Not only answers under way: a request may lie unread in a connection that is still open.
    changed_.wait_until(lock, until, [&] { return closed_ && sessions_.empty(); });
    return busy_ == 0;
  }
  /// Lets all go, each told by `tell` first.
  template <class Tell>
  void clear(Tell&& tell) {
    std::set<std::shared_ptr<Session>> last;
    {
      const std::lock_guard lock(mutex_);
      last.swap(sessions_);
    }
    for (const auto& session : last) tell(*session);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::shared_ptr<Session>> sessions_;
  int busy_ = 0;
  bool closed_ = false;
};

}  // namespace inazuma
