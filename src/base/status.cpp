#include "base/status.h"

#include <new>

namespace inazuma {

std::string_view name(StatusCode code) {
  switch (code) {
    case StatusCode::ok: return "ok";
    case StatusCode::malformed: return "malformed";
    case StatusCode::invalid: return "invalid";
    case StatusCode::empty: return "empty";
    case StatusCode::too_long: return "too_long";
    case StatusCode::tokenization: return "tokenization";
    case StatusCode::too_large: return "too_large";
    case StatusCode::unauthenticated: return "unauthenticated";
    case StatusCode::forbidden: return "forbidden";
    case StatusCode::not_found: return "not_found";
    case StatusCode::wrong_task: return "wrong_task";
    case StatusCode::unsupported: return "unsupported";
    case StatusCode::overloaded: return "overloaded";
    case StatusCode::unavailable: return "unavailable";
    case StatusCode::deadline_exceeded: return "deadline_exceeded";
    case StatusCode::cancelled: return "cancelled";
    case StatusCode::out_of_memory: return "out_of_memory";
    case StatusCode::internal: return "internal";
  }
  return "internal";
}

Status Status::in(std::string_view context) const {
  if (ok()) return *this;
  return Status(code_, fmt::format("{}: {}", context, message_));
}

Status current_exception_status() {
  try {
    throw;
  } catch (const Error& error) {
    return error.status();
  } catch (const std::bad_alloc&) {
    return Status(StatusCode::out_of_memory, "not enough memory");
  } catch (const std::exception& error) {
    return Status(StatusCode::internal, error.what());
  } catch (...) {
    return Status(StatusCode::internal, "unknown failure");
  }
}

namespace {

// Length of the well-formed UTF-8 sequence at the start of `text`, 0 if there is none (Unicode 15, table 3-7).
size_t sequence_length(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    if (first == 0xED && byte(1) > 0x9F) return 0;
    return tail(1) && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && byte(1) < 0x90) return 0;
    if (first == 0xF4 && byte(1) > 0x8F) return 0;
    return tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string quoted(std::string_view text, size_t limit) {
  std::string out = "'";
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++characters) {
    if (characters == limit) {
      out += "…";
      break;
    }
    const size_t length = sequence_length(text.substr(i));
    const auto first = static_cast<unsigned char>(text[i]);
    const bool c1 = length == 2 && first == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (length == 0 || first < 0x20 || first == 0x7F) {
      out += fmt::format("\\x{:02x}", first);
      ++i;
    } else if (c1) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(text[i + 1]));
      i += 2;
    } else {
      out.append(text.substr(i, length));
      i += length;
    }
  }
  return out + "'";
}

}  // namespace inazuma
