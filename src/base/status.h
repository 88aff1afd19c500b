#pragma once
// The one list of error kinds, a sentence with each, and how a function reports them.

#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace inazuma {

/// What went wrong, as far as a caller may act on it. Mapped once to HTTP and once to gRPC (frontends).
enum class StatusCode {
  ok,
  malformed,          ///< not the expected grammar: bad JSON, a corrupt file
  invalid,            ///< well-formed, but a value is wrong; the message names field, value and allowed range
  empty,              ///< nothing to do: an empty batch
  too_long,           ///< text exceeds the model's context
  tokenization,       ///< text cannot be tokenized
  too_large,          ///< body or batch over a limit; the message names limit, got and flag
  unauthenticated,    ///< key missing or wrong
  forbidden,          ///< key lacks the right, or the origin is not allowed
  not_found,          ///< unknown route, model, file
  wrong_task,         ///< the model has no such task
  unsupported,        ///< known but not built in
  overloaded,         ///< queue full
  unavailable,        ///< loading or draining
  deadline_exceeded,  ///< the request's time is over
  cancelled,          ///< the client went away
  out_of_memory,      ///< device or host memory exhausted
  internal,           ///< compute failed, or a defect of ours
};

/// Stable lower-case name, e.g. "too_long".
std::string_view name(StatusCode code);

/// A kind and one sentence: what, where, what to do. Cheap to move; default is ok.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }
  /// The same kind with `context` put before the sentence: "context: sentence".
  Status in(std::string_view context) const;

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

/// A Status travelling as an exception: used inside a room, where returning it through every level would hide the work.
/// Public functions of a room that read outside data (files, texts, requests) return Status or Result and never throw
/// it; `capture` is the bridge.
class Error : public std::exception {
 public:
  explicit Error(Status status) : status_(std::move(status)) {}
  Error(StatusCode code, std::string message) : status_(code, std::move(message)) {}
  const Status& status() const { return status_; }
  const char* what() const noexcept override { return status_.message().c_str(); }

 private:
  Status status_;
};

/// throw fail(StatusCode::invalid, "top_p is {}, must be in (0, 1]", p);
template <class... Args>
Error fail(StatusCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error(code, fmt::format(format, std::forward<Args>(args)...));
}

/// A value or the Status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Status status) : state_(std::move(status)) {}
  Result(const Error& error) : state_(error.status()) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }
  const Status& status() const {
    static const Status kOk;
    return ok() ? kOk : std::get<Status>(state_);
  }
  /// The value; throws Error(status) when there is none.
  T& value() & { return check(), std::get<T>(state_); }
  const T& value() const& { return check(), std::get<T>(state_); }
  T&& value() && { return check(), std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void check() const {
    if (!ok()) throw Error(std::get<Status>(state_));
  }
  std::variant<T, Status> state_;
};

/// The Status of the exception being handled: an Error keeps its own, std::bad_alloc is out_of_memory, others are
/// internal.
Status current_exception_status();

/// Runs `work` and turns what it throws into a Status: the boundary between a room's inside and its public functions.
template <class Work>
auto capture(Work&& work)
    -> std::conditional_t<std::is_void_v<decltype(work())>, Status,
                          Result<std::conditional_t<std::is_void_v<decltype(work())>, int, decltype(work())>>> {
  try {
    if constexpr (std::is_void_v<decltype(work())>) {
      work();
      return Status();
    } else {
      return work();
    }
  } catch (...) {
    return current_exception_status();
  }
}

/// A user's bytes made safe for one line of log or message: control characters and broken UTF-8 escaped, cut at `limit`
/// characters.
std::string quoted(std::string_view text, size_t limit = 64);
// Exact matches for strings, or argument-dependent lookup would prefer std::quoted.
inline std::string quoted(const std::string& text, size_t limit = 64) {
  return quoted(std::string_view(text), limit);
}
inline std::string quoted(std::string& text, size_t limit = 64) {
  return quoted(std::string_view(text), limit);
}
inline std::string quoted(const char* text, size_t limit = 64) {
  return quoted(std::string_view(text), limit);
}

}  // namespace inazuma
