#pragma once
// Static files of web/, compiled into the program: nothing is fetched from anywhere.

#include <optional>
#include <span>
#include <string_view>

#include "frontends/http.h"

namespace inazuma {

struct Page {
  std::string_view path;  ///< "/index.html"
  std::string_view content_type;
  std::string_view body;
};

/// Every embedded file.
std::span<const Page> pages();
/// The file with the headers a page of ours needs (content security policy, no sniffing); nullopt for an unknown path.
std::optional<HttpResponse> page_response(std::string_view path);

}  // namespace inazuma
