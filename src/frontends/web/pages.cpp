#include "frontends/web/pages.h"

namespace inazuma {

std::optional<HttpResponse> page_response(std::string_view path) {
  for (const Page& page : pages()) {
    if (page.path != path) continue;
    return HttpResponse{.status = 200,
                        .content_type = std::string(page.content_type),
                        .body = std::string(page.body),
                        .headers = {{"content-security-policy",
                                     "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
                                    {"x-content-type-options", "nosniff"},
                                    {"referrer-policy", "no-referrer"},
                                    {"cache-control", "no-cache"}}};
  }
  return std::nullopt;
}

}  // namespace inazuma
