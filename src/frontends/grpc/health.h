#pragma once
// grpc.health.v1: readiness, as load balancers ask for it.

#include <vector>

#include "frontends/grpc/call.h"
#include "serving/core.h"

namespace inazuma {

/// Check and Watch. The service named is "" (the server), or a model.
std::vector<GrpcMethod> grpc_health_methods(Core& core);

}  // namespace inazuma
