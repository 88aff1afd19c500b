#pragma once
// gRPC server reflection, v1 and v1alpha: which services there are, and the files that describe them.

#include <string>
#include <vector>

#include "frontends/grpc/call.h"

namespace inazuma {

/// `paths` of the methods that are served ("/package.Service/Method"); reflection lists itself too.
std::vector<GrpcMethod> grpc_reflection_methods(std::vector<std::string> paths);

}  // namespace inazuma
