#pragma once
// ModelInfer and ModelStreamInfer.

#include "frontends/grpc/call.h"
#include "frontends/kserve/service.h"

namespace inazuma::kserve {

void model_infer(Service& service, const std::shared_ptr<GrpcCall>& call, const std::string& message);
GrpcReader model_stream_infer(Service& service, const std::shared_ptr<GrpcCall>& call);

}  // namespace inazuma::kserve
