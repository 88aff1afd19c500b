#pragma once
// A listening socket and the threads that serve what it accepts; shared by both transports.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
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

/// Each thread has a loop of its own, and accepted sockets are dealt out to them in turn: all that a connection does
/// runs on one thread, one handler at a time, and no thread wakes another for it.
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
  struct Loop {
    boost::asio::io_context io{1};
    // The thread stays until stop(): work may still post its end to a connection that has closed, as the last of them.
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> stay = boost::asio::make_work_guard(io);
    std::thread thread;
  };
  static void work(Loop& loop);
  void accept();
  void accept_waiting();
  void serve(boost::asio::ip::tcp::socket socket);
  boost::asio::io_context& next_loop();

  ListenOptions options_;
  Accepted accepted_;
  std::vector<std::unique_ptr<Loop>> loops_;
  size_t next_ = 0;
  boost::asio::ip::tcp::acceptor acceptor_;  // on the first loop: accepting and closing meet there
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
