#pragma once
// KServe v2 over HTTP: rows for the router's table.

#include <memory>
#include <vector>

#include "frontends/kserve/service.h"
#include "frontends/router.h"

namespace inazuma::kserve {

/// `service` must outlive every exchange that the routes answer.
std::vector<Route> http_routes(Service& service);

}  // namespace inazuma::kserve
