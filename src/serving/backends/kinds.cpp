// The list of back ends, and what is said about those that live elsewhere.

#include <model_config.pb.h>

#include "serving/fastertransformer/program.h"

namespace inazuma {

namespace {

const std::vector<BackendKind>& kinds() {
  static const std::vector<BackendKind> kKinds{identity_backend(), text_backend(), fastertransformer_backend(),
                                               ensemble_backend()};
  return kKinds;
}

// What to do instead, for people who bring a repository built for other back ends.
std::string_view instead_of(std::string_view backend) {
  if (backend == "pytorch")
    return "TorchScript modules hold code, not a model this server knows; point it at the Hugging Face directory the "
           "module was traced from (config.json, weights, tokenizer): backend \"inazuma\"";
  if (backend == "tensorrt")
    return "TensorRT plans run on one GPU model and version only; point this server at the Hugging Face directory the "
           "plan was built from: backend \"inazuma\"";
  if (backend == "onnxruntime" || backend == "openvino" || backend == "tensorflow")
    return "point this server at the Hugging Face directory the file was exported from: backend \"inazuma\"";
  if (backend == "python")
    return "there is no Python at run time here; tokenization and decoding are inside: serve the Hugging Face "
           "directory with backend \"inazuma\"";
  return "";
}

}  // namespace

std::string ProgramContext::parameter(const std::string& key) const {
  const auto found = model->config->parameters().find(key);
  return found == model->config->parameters().end() ? "" : found->second.string_value();
}

Result<const BackendKind*> find_backend_kind(std::string_view backend, std::string_view platform) {
  const std::string_view wanted = platform == "ensemble" ? platform : backend;
  std::string names;
  for (const BackendKind& kind : kinds()) {
    if (kind.name == wanted) return &kind;
    if (kind.name != "ensemble") names += (names.empty() ? "" : ", ") + quoted(kind.name);
  }
  const std::string_view instead = instead_of(wanted);
  return Status(StatusCode::unsupported,
                fmt::format("backend {}{} is not built in (there are {}){}{}", quoted(wanted),
                            platform.empty() ? "" : fmt::format(" (platform {})", quoted(platform)), names,
                            instead.empty() ? "" : "; ", instead));
}

}  // namespace inazuma
