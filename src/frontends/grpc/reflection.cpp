#include "frontends/grpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <reflection_v1.pb.h>
#include <reflection_v1alpha.pb.h>

#include <set>

namespace inazuma {

namespace {

namespace pb = google::protobuf;

// A file and all it imports, each once, imports first.
void collect(const pb::FileDescriptor* file, std::set<const pb::FileDescriptor*>& seen, std::vector<std::string>& out) {
  if (!seen.insert(file).second) return;
  for (int i = 0; i < file->dependency_count(); ++i) collect(file->dependency(i), seen, out);
  pb::FileDescriptorProto proto;
  file->CopyTo(&proto);
  out.push_back(proto.SerializeAsString());
}

// Both versions of the protocol have the same messages in packages of their own.
template <class Request, class Response>
class Reflection {
 public:
  explicit Reflection(std::shared_ptr<const std::set<std::string>> services) : services_(std::move(services)) {}

  std::string answer(const Request& request) const {
    Response response;
    response.set_valid_host(request.host());
    *response.mutable_original_request() = request;
    const pb::DescriptorPool* pool = pb::DescriptorPool::generated_pool();
    switch (request.message_request_case()) {
      case Request::kListServices:
        for (const std::string& name : *services_)
          response.mutable_list_services_response()->add_service()->set_name(name);
        break;
      case Request::kFileByFilename:
        give(response, pool->FindFileByName(request.file_by_filename()), request.file_by_filename());
        break;
      case Request::kFileContainingSymbol:
        give(response, pool->FindFileContainingSymbol(request.file_containing_symbol()),
             request.file_containing_symbol());
        break;
      case Request::kFileContainingExtension:
        refuse(response, GrpcCode::not_found, "there are no extensions here");
        break;
      case Request::kAllExtensionNumbersOfType:
        if (pool->FindMessageTypeByName(request.all_extension_numbers_of_type()) == nullptr)
          refuse(response, GrpcCode::not_found,
                 fmt::format("no message type {}", quoted(request.all_extension_numbers_of_type())));
        else
          response.mutable_all_extension_numbers_response()->set_base_type_name(
              request.all_extension_numbers_of_type());
        break;
      case Request::MESSAGE_REQUEST_NOT_SET:
        refuse(response, GrpcCode::invalid_argument, "the request asks for nothing");
        break;
    }
    return response.SerializeAsString();
  }

 private:
  static void refuse(Response& response, GrpcCode code, std::string text) {
    response.mutable_error_response()->set_error_code(static_cast<int>(code));
    response.mutable_error_response()->set_error_message(std::move(text));
  }
  static void give(Response& response, const pb::FileDescriptor* file, const std::string& asked) {
    if (file == nullptr)
      return refuse(response, GrpcCode::not_found, fmt::format("nothing here is called {}", quoted(asked)));
    std::set<const pb::FileDescriptor*> seen;
    std::vector<std::string> files;
    collect(file, seen, files);
    // The file asked for comes first: some clients look no further.
    response.mutable_file_descriptor_response()->add_file_descriptor_proto(std::move(files.back()));
    files.pop_back();
    for (std::string& one : files)
      response.mutable_file_descriptor_response()->add_file_descriptor_proto(std::move(one));
  }

  std::shared_ptr<const std::set<std::string>> services_;
};

template <class Request, class Response>
GrpcStream stream(std::shared_ptr<const std::set<std::string>> services) {
  return [reflection = Reflection<Request, Response>(std::move(services))](const std::shared_ptr<GrpcCall>& call) {
    return GrpcReader{
        .message =
            [call, reflection](const std::string& message) {
              Request request;
              if (!request.ParseFromString(message))
                return call->finish({GrpcCode::invalid_argument, "the message is no ServerReflectionRequest"});
              call->write(reflection.answer(request));
            },
        .end = [call] { call->finish({}); },
        .gone = {}};
  };
}

}  // namespace

std::vector<GrpcMethod> grpc_reflection_methods(std::vector<std::string> paths) {
  namespace v1 = grpc::reflection::v1;
  namespace v1alpha = grpc::reflection::v1alpha;
  const std::string path_v1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                    path_v1alpha = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  paths.push_back(path_v1);
  paths.push_back(path_v1alpha);
  auto services = std::make_shared<std::set<std::string>>();
  for (const std::string& path : paths) services->insert(path.substr(1, path.rfind('/') - 1));
  return {{.path = path_v1, .handler = stream<v1::ServerReflectionRequest, v1::ServerReflectionResponse>(services)},
          {.path = path_v1alpha,
           .handler = stream<v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>(services)}};
}

}  // namespace inazuma
