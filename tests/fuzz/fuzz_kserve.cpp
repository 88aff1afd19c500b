// Any bytes as a KServe body or message: parsed, or refused as the client's error; what was parsed is whole.
//
// Input: one byte that chooses the reader (its high bits: where the JSON ends), then the body.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "frontends/errors.h"
#include "frontends/kserve/grpc/convert.h"
#include "frontends/kserve/http/generate.h"
#include "frontends/kserve/http/infer.h"

namespace {

using namespace inazuma;

void require(bool holds, const char* what, const std::string& detail = "") {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s: %s\n", what, detail.c_str());
  std::abort();
}

const TensorModel& model() {
  static const TensorModel made = [] {
    TensorModel out;
    out.name = "m";
    out.max_batch_size = 4;
    out.inputs = {{"text_input", DataType::bytes, {1}, false, false, {}},
                  {"X", DataType::fp32, {-1, 2}, true, false, {}}};
    out.outputs = out.inputs;
    return out;
  }();
  return made;
}

// Data that came as JSON or typed contents must fit its shape; binary parts are the back end's to check.
void check(const TensorInference& inference) {
  for (const NamedTensor& tensor : inference.inputs) {
    require(tensor.type != DataType::invalid, "a datatype");
    require(element_count(tensor.shape).ok(), "a shape that can be counted", tensor.name);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Status status = capture([&] {
    switch (data[0] % 4) {
      case 0:
        return check(kserve::parse_inference(std::make_shared<const std::string>(body), std::nullopt, model(), 1 << 20)
                         .inference);
      case 1:
        return check(kserve::parse_inference(std::make_shared<const std::string>(body),
                                             body.size() * (data[0] >> 2) / 63, model(), 1 << 20)
                         .inference);
      case 2: return check(kserve::parse_generate(body, model(), 1 << 20));
      default: {
        auto message = std::make_shared<inference::ModelInferRequest>();
        if (message->ParseFromString(body)) check(kserve::parse_inference(message).inference);
      }
    }
  });
  if (status.ok()) return 0;
  const int code = http_status(status.code(), Dialect::kserve);
  require(code >= 400 && (code < 500 || code == 501), "a bad body is the client's error", status.message());
  require(!status.message().empty() && status.message().size() < 4000, "one sentence", status.message());
  return 0;
}
