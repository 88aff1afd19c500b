#include "frontends/kserve/grpc/methods.h"

#include <grpc_service.pb.h>
#include <model_config.pb.h>

#include "base/version.h"
#include "frontends/errors.h"
#include "frontends/kserve/grpc/infer.h"

namespace inazuma::kserve {

namespace {

using namespace ::inference;
using Call = std::shared_ptr<GrpcCall>;

void check(const Status& status) {
  if (!status.ok()) throw Error(status);
}

void no_repository_name(const std::string& name) {
  if (!name.empty()) throw fail(StatusCode::unsupported, "'repository_name' specification is not supported");
}

// A method that answers at once: message in, message out; what is thrown is the call's status.
template <class In, class Out>
GrpcUnary at_once(Service& service, void (*work)(Service&, const In&, Out&)) {
  return [&service, work](const Call& call, const std::string& bytes) {
    In in;
    if (!in.ParseFromString(bytes))
      throw fail(StatusCode::invalid, "the message is no {}", In::descriptor()->full_name());
    Out out;
    work(service, in, out);
    call->write(out.SerializeAsString());
    call->finish({});
  };
}

// The same for work that blocks: on a thread of the service.
template <class In, class Out>
GrpcUnary in_background(Service& service, Status (*work)(Service&, const In&)) {
  return [&service, work](const Call& call, const std::string& bytes) {
    auto in = std::make_shared<In>();
    if (!in->ParseFromString(bytes))
      throw fail(StatusCode::invalid, "the message is no {}", In::descriptor()->full_name());
    service.background.run([&service, work, call, in] {
      const Status status = capture([&] { check(work(service, *in)); });
      call->post([call, status] {
        if (status.ok()) call->write(Out().SerializeAsString());
        call->finish(grpc_status(status));
      });
    });
  };
}

std::shared_ptr<const TensorModel> model_of(Service& service, const std::string& name, const std::string& version) {
  return service.core.tensor_backend(name, parse_version(version)).value()->tensor_model();
}

void server_live(Service& service, const ServerLiveRequest&, ServerLiveResponse& out) {
  out.set_live(service.core.live());
}
void server_ready(Service& service, const ServerReadyRequest&, ServerReadyResponse& out) {
  out.set_ready(service.core.ready());
}
void model_ready(Service& service, const ModelReadyRequest& in, ModelReadyResponse& out) {
  out.set_ready(service.core.model_ready(in.name(), parse_version(in.version())));
}

void server_metadata(Service& service, const ServerMetadataRequest&, ServerMetadataResponse& out) {
  out.set_name(service.options.server_name);
  out.set_version(kVersion);
  for (const std::string& name : extensions()) out.add_extensions(name);
}

void model_metadata(Service& service, const ModelMetadataRequest& in, ModelMetadataResponse& out) {
  const std::shared_ptr<const TensorModel> model = model_of(service, in.name(), in.version());
  out.set_name(model->name);
  out.set_platform(model->platform);
  if (in.version().empty())
    for (const int64_t version : service.core.ready_versions(in.name())) out.add_versions(std::to_string(version));
  else
    out.add_versions(in.version());
  const auto describe = [&](const TensorSpec& spec, ModelMetadataResponse::TensorMetadata* tensor) {
    tensor->set_name(spec.name);
    tensor->set_datatype(std::string(wire_name(spec.type)));
    for (const int64_t dim : model->shown_shape(spec)) tensor->add_shape(dim);
  };
  for (const TensorSpec& spec : model->inputs) describe(spec, out.add_inputs());
  for (const TensorSpec& spec : model->outputs) describe(spec, out.add_outputs());
}

void model_config(Service& service, const ModelConfigRequest& in, ModelConfigResponse& out) {
  *out.mutable_config() = *model_of(service, in.name(), in.version())->config;
}

void model_statistics(Service& service, const ModelStatisticsRequest& in, ModelStatisticsResponse& out) {
  std::vector<ModelStatistics> rows = service.core.statistics(in.name(), parse_version(in.version())).value();
  for (ModelStatistics& one : rows) *out.add_model_stats() = std::move(one);
}

void repository_index(Service& service, const RepositoryIndexRequest& in, RepositoryIndexResponse& out) {
  no_repository_name(in.repository_name());
  for (IndexEntry& entry : service.core.index(in.ready())) {
    auto* row = out.add_models();
    row->set_name(std::move(entry.name));
    row->set_version(std::move(entry.version));
    row->set_state(std::move(entry.state));
    row->set_reason(std::move(entry.reason));
  }
}

Status load_model(Service& service, const RepositoryModelLoadRequest& in) {
  no_repository_name(in.repository_name());
  LoadOverrides overrides;
  for (const auto& [name, value] : in.parameters()) {
    if (name == "config") {
      if (value.parameter_choice_case() != ModelRepositoryParameter::kStringParam)
        throw fail(StatusCode::invalid, "load parameter 'config' must be a string_param");
      overrides.config = value.string_param();
    } else if (name.starts_with("file:")) {
      if (value.parameter_choice_case() != ModelRepositoryParameter::kBytesParam)
        throw fail(StatusCode::invalid, "load parameter {} must be a bytes_param", quoted(name));
      overrides.files[name.substr(5)] = value.bytes_param();
    } else {
      throw fail(StatusCode::invalid, "unrecognized load parameter {}", quoted(name));
    }
  }
  return service.core.load(in.model_name(), overrides);
}

Status unload_model(Service& service, const RepositoryModelUnloadRequest& in) {
  no_repository_name(in.repository_name());
  bool dependents = false;
  if (const auto value = in.parameters().find("unload_dependents"); value != in.parameters().end()) {
    if (value->second.parameter_choice_case() != ModelRepositoryParameter::kBoolParam)
      throw fail(StatusCode::invalid, "parameter 'unload_dependents' must be a bool_param");
    dependents = value->second.bool_param();
  }
  return service.core.unload(in.model_name(), dependents);
}

void memory_status(Service& service, const SystemSharedMemoryStatusRequest& in, SystemSharedMemoryStatusResponse& out) {
  const std::vector<RegionStatus> regions = service.memory.status(in.name()).value();
  for (const RegionStatus& region : regions) {
    auto& row = (*out.mutable_regions())[region.name];
    row.set_name(region.name);
    row.set_key(region.key);
    row.set_offset(region.offset);
    row.set_byte_size(region.byte_size);
  }
}
void memory_register(Service& service, const SystemSharedMemoryRegisterRequest& in,
                     SystemSharedMemoryRegisterResponse&) {
  check(service.memory.add(in.name(), in.key(), in.offset(), in.byte_size()));
}
void memory_unregister(Service& service, const SystemSharedMemoryUnregisterRequest& in,
                       SystemSharedMemoryUnregisterResponse&) {
  check(service.memory.remove(in.name()));
}

void cuda_status(Service&, const CudaSharedMemoryStatusRequest& in, CudaSharedMemoryStatusResponse&) {
  if (!in.name().empty())
    throw fail(StatusCode::not_found, "Unable to find cuda shared memory region: '{}'", in.name());
}
void cuda_register(Service&, const CudaSharedMemoryRegisterRequest&, CudaSharedMemoryRegisterResponse&) {
  throw fail(StatusCode::unsupported, "CUDA shared memory is not offered; use system shared memory");
}
void cuda_unregister(Service&, const CudaSharedMemoryUnregisterRequest&, CudaSharedMemoryUnregisterResponse&) {}

void trace_setting(Service& service, const TraceSettingRequest& in, TraceSettingResponse& out) {
  if (!in.model_name().empty() && !service.core.model_ready(in.model_name(), -1))
    throw fail(StatusCode::invalid, "Model '{}' is not ready: it has no trace settings", in.model_name());
  TraceValues changes;
  for (const auto& [name, value] : in.settings()) changes[name] = {value.value().begin(), value.value().end()};
  check(service.tracer.update(in.model_name(), changes));
  for (const auto& [name, values] : service.tracer.get(in.model_name()))
    for (const std::string& value : values) (*out.mutable_settings())[name].add_value(value);
}

void log_settings(Service& service, const LogSettingsRequest& in, LogSettingsResponse& out) {
  std::map<std::string, LogValue> changes;
  for (const auto& [name, value] : in.settings()) {
    switch (value.parameter_choice_case()) {
      case LogSettingsRequest::SettingValue::kBoolParam: changes[name] = value.bool_param(); break;
      case LogSettingsRequest::SettingValue::kUint32Param: changes[name] = uint32_t{value.uint32_param()}; break;
      case LogSettingsRequest::SettingValue::kStringParam: changes[name] = value.string_param(); break;
      default: throw fail(StatusCode::invalid, "log setting {} has no value", quoted(name));
    }
  }
  check(service.log_settings.update(changes));
  for (const auto& [name, value] : service.log_settings.get()) {
    auto& row = (*out.mutable_settings())[name];
    if (const bool* flag = std::get_if<bool>(&value))
      row.set_bool_param(*flag);
    else if (const uint32_t* number = std::get_if<uint32_t>(&value))
      row.set_uint32_param(*number);
    else
      row.set_string_param(std::get<std::string>(value));
  }
}

}  // namespace

std::vector<GrpcMethod> grpc_methods(Service& s) {
  std::vector<GrpcMethod> methods;
  const auto add = [&](const char* name, const char* group, std::variant<GrpcUnary, GrpcStream> handler,
                       bool open = false) {
    methods.push_back({.path = fmt::format("/inference.GRPCInferenceService/{}", name),
                       .handler = std::move(handler),
                       .open = open,
                       .group = group});
  };
  add("ServerLive", "health", at_once(s, server_live), true);
  add("ServerReady", "health", at_once(s, server_ready), true);
  add("ModelReady", "health", at_once(s, model_ready), true);
  add("ServerMetadata", "metadata", at_once(s, server_metadata));
  add("ModelMetadata", "metadata", at_once(s, model_metadata));
  add("ModelInfer", "inference",
      GrpcUnary([&s](const Call& call, const std::string& message) { model_infer(s, call, message); }));
  add("ModelStreamInfer", "inference", GrpcStream([&s](const Call& call) { return model_stream_infer(s, call); }));
  add("ModelConfig", "model-config", at_once(s, model_config));
  add("ModelStatistics", "statistics", at_once(s, model_statistics));
  add("RepositoryIndex", "model-repository", at_once(s, repository_index));
  add("RepositoryModelLoad", "model-repository",
      in_background<RepositoryModelLoadRequest, RepositoryModelLoadResponse>(s, load_model));
  add("RepositoryModelUnload", "model-repository",
      in_background<RepositoryModelUnloadRequest, RepositoryModelUnloadResponse>(s, unload_model));
  add("SystemSharedMemoryStatus", "shared-memory", at_once(s, memory_status));
  add("SystemSharedMemoryRegister", "shared-memory", at_once(s, memory_register));
  add("SystemSharedMemoryUnregister", "shared-memory", at_once(s, memory_unregister));
  add("CudaSharedMemoryStatus", "shared-memory", at_once(s, cuda_status));
  add("CudaSharedMemoryRegister", "shared-memory", at_once(s, cuda_register));
  add("CudaSharedMemoryUnregister", "shared-memory", at_once(s, cuda_unregister));
  add("TraceSetting", "trace", at_once(s, trace_setting));
  add("LogSettings", "logging", at_once(s, log_settings));
  return methods;
}

}  // namespace inazuma::kserve
