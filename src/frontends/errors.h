#pragma once
// Statuses as HTTP and gRPC say them, once for every dialect (docs/TASK_API.md has the table).

#include "base/status.h"
#include "frontends/grpc/call.h"
#include "frontends/http.h"

namespace inazuma {

/// Dialects differ in the shape of the body and in a few codes.
enum class Dialect { task, tgi, tei, kserve };

int http_status(StatusCode code, Dialect dialect);
/// {"error": sentence, "error_type": kind} (kserve: the sentence alone); 429 and 503 carry Retry-After, every error
/// says whether a retry makes sense.
HttpResponse error_response(const Status& status, Dialect dialect);
/// The kind's name in the body: "validation", "Validation", "overloaded", ...
std::string_view error_type(StatusCode code, Dialect dialect);

/// As Triton maps its codes; our finer kinds fall on the nearest.
GrpcCode grpc_code(StatusCode code);
GrpcStatus grpc_status(const Status& status);

}  // namespace inazuma
