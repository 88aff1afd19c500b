#pragma once
// inference.GRPCInferenceService: rows for the table of gRPC methods.

#include <vector>

#include "frontends/grpc/call.h"
#include "frontends/kserve/service.h"

namespace inazuma::kserve {

/// `service` must outlive every call that the methods answer.
std::vector<GrpcMethod> grpc_methods(Service& service);

}  // namespace inazuma::kserve
