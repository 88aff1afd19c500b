#pragma once
// The one line that the log has of every answered request, whatever the transport.

#include <chrono>
#include <string_view>

#include "serving/response.h"

namespace inazuma {

struct AccessLine {
  std::string_view id, method, route;
  int status = 0;
  size_t bytes_in = 0, bytes_out = 0;
  std::chrono::duration<double> took{};
  const Usage& usage;
  std::string_view client;
  bool routine = false;  ///< a probe or a scrape: logged as debug
};

void log_access(const AccessLine& line);

}  // namespace inazuma
