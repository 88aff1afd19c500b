#include "frontends/kserve/grpc/infer.h"

#include <deque>

#include "frontends/errors.h"
#include "frontends/kserve/grpc/convert.h"

namespace inazuma::kserve {

namespace {

using inference::ModelInferRequest;
using inference::ModelInferResponse;
using inference::ModelStreamInferResponse;

constexpr size_t kMostWaiting = 1024;  // requests of one stream that are not answered yet: then it is not read on
constexpr const char* kFinal = "triton_final_response";

std::shared_ptr<const ModelInferRequest> read(const std::string& message) {
  auto request = std::make_shared<ModelInferRequest>();
  if (!request->ParseFromString(message))
    throw fail(StatusCode::invalid, "the message is no inference.ModelInferRequest");
  return request;
}

// Null for most requests: those that are not traced. `read`: since when the message was awaited.
std::shared_ptr<RequestTrace> begin_trace(Service& service, const std::string& model, Clock::time_point read) {
  const std::shared_ptr<RequestTrace> trace = service.tracer.begin(model);
  stamp(trace, "GRPC_WAITREAD_START", read);
  stamp(trace, "GRPC_WAITREAD_END");
  return trace;
}

Request make_request(const std::shared_ptr<GrpcCall>& call, const std::string& model, TensorInference inference,
                     std::shared_ptr<RequestTrace> trace) {
  Request request;
  request.trace = std::move(trace);
  request.id = call->request().id;
  request.model = model;
  request.work = std::move(inference);
  request.arrival = Clock::now();
  request.deadline = call->request().deadline;
  request.cancelled = call->cancelled();
  return request;
}

std::function<void(std::function<void()>)> poster(const std::shared_ptr<GrpcCall>& call) {
  return [call](std::function<void()> task) { call->post(std::move(task)); };
}

GrpcInference prepare(Service& service, const std::shared_ptr<GrpcCall>& call,
                      std::shared_ptr<const ModelInferRequest> message) {
  GrpcInference parsed = parse_inference(std::move(message));
  read_shared_inputs(service.memory, parsed.inference, parsed.shared_inputs);
  forward_headers(service.grpc_forward, call->request().metadata, parsed.inference.parameters);
  return parsed;
}

// A stream of requests of any models. Answers of models that give one each leave in the order of their requests, those
// of decoupled models as they come. Everything happens on the connection's thread.
class InferStream : public std::enable_shared_from_this<InferStream> {
 public:
  InferStream(Service& service, std::shared_ptr<GrpcCall> call) : service_(service), call_(std::move(call)) {
    fails_whole_ = find_header(call_->request().metadata, "triton_grpc_error") == "true";
  }

  void message(const std::string& bytes) {
    std::shared_ptr<const ModelInferRequest> message;
    auto one = std::make_shared<One>();
    const Status status = capture([&] {
      message = read(bytes);
      one->id = message->id();
      start(message, one);
    });
    if (!status.ok()) refuse(one, status);
    waiting_since_ = Clock::now();
  }

  void end() {
    ended_ = true;
    finish_when_done();
  }

 private:
  // One request of the stream.
  struct One {
    std::string id, model, version;
    std::vector<RequestedOutput> requested;
    bool decoupled = false;
    bool empty_final = false;
    bool over = false;              // nothing more will come of it
    std::deque<std::string> ready;  // answers that wait for their turn
    std::shared_ptr<RequestTrace> trace;
  };

  void start(const std::shared_ptr<const ModelInferRequest>& message, const std::shared_ptr<One>& one) {
    const auto backend =
        service_.core.tensor_backend(message->model_name(), parse_version(message->model_version())).value();
    const std::shared_ptr<const TensorModel> model = backend->tensor_model();
    one->trace = begin_trace(service_, message->model_name(), waiting_since_);
    GrpcInference parsed = prepare(service_, call_, message);
    one->model = model->name;
    one->version = message->model_version();
    one->requested = parsed.inference.outputs;
    one->decoupled = model->decoupled;
    one->empty_final = parsed.empty_final;
    open_.push_back(one);
    pace();
    service_.core.submit(
        make_request(call_, message->model_name(), std::move(parsed.inference), one->trace),
        {poster(call_), [self = shared_from_this(), one](Event event) { self->heard(one, std::move(event)); }});
  }

  void heard(const std::shared_ptr<One>& one, Event event) {
    if (one->over || failed_) return;
    if (const auto* more = std::get_if<TensorEvent>(&event)) return answer(one, more->result, false);
    const auto* response = std::get_if<Response>(&event);
    if (response == nullptr) return;
    call_->usage = response->usage;
    one->over = true;
    if (!response->status.ok()) {
      fail_one(one, response->status, true);
    } else {
      const auto& last = std::get<TensorResult>(response->outcome);
      if (!last.empty)
        answer(one, last, true);
      else if (one->empty_final)
        say(one, final_alone(*one));
    }
    advance();
  }

  void answer(const std::shared_ptr<One>& one, const TensorResult& result, bool final) {
    ModelStreamInferResponse out;
    const Status status = capture([&] {
      *out.mutable_infer_response() =
          format_message(one->id, result, answer_outputs(service_, one->requested, true, result));
    });
    if (!status.ok()) return fail_one(one, status, final);
    (*out.mutable_infer_response()->mutable_parameters())[kFinal].set_bool_param(final);
    say(one, out.SerializeAsString());
  }

  // Says the version that was asked for, as the reference does.
  static std::string final_alone(const One& one) {
    ModelStreamInferResponse out;
    ModelInferResponse& response = *out.mutable_infer_response();
    response.set_id(one.id);
    response.set_model_name(one.model);
    response.set_model_version(one.version);
    (*response.mutable_parameters())[kFinal].set_bool_param(true);
    return out.SerializeAsString();
  }

  // A request that never reached its model: the id is all that is said of it.
  void refuse(const std::shared_ptr<One>& one, const Status& status) {
    ModelStreamInferResponse out;
    out.set_error_message(status.message());
    out.mutable_infer_response()->set_id(one->id);
    one->over = true;
    if (std::find(open_.begin(), open_.end(), one) == open_.end()) open_.push_back(one);
    say(one, out.SerializeAsString());
    advance();
  }

  void fail_one(const std::shared_ptr<One>& one, const Status& status, bool final) {
    if (fails_whole_) {
      failed_ = true;
      call_->cancelled()->store(true);
      return call_->finish(grpc_status(status));
    }
    ModelStreamInferResponse out;
    out.set_error_message(status.message());
    ModelInferResponse& response = *out.mutable_infer_response();
    response.set_id(one->id);
    response.set_model_name(one->model);
    response.set_model_version(one->version);
    (*response.mutable_parameters())[kFinal].set_bool_param(final);
    say(one, out.SerializeAsString());
  }

  void write(const One& one, std::string bytes) {
    stamp(one.trace, "GRPC_SEND_START");
    call_->write(std::move(bytes));
    stamp(one.trace, "GRPC_SEND_END");
  }

  void say(const std::shared_ptr<One>& one, std::string bytes) {
    if (one->decoupled)
      write(*one, std::move(bytes));
    else
      one->ready.push_back(std::move(bytes));
  }

  // Writes what is first in order, and lets go of requests that are over.
  void advance() {
    if (failed_) return;
    bool blocked = false;  // by an earlier request whose answer is not there yet
    for (auto at = open_.begin(); at != open_.end();) {
      One& one = **at;
      if (!one.decoupled && !blocked)
        for (; !one.ready.empty(); one.ready.pop_front()) write(one, std::move(one.ready.front()));
      blocked = blocked || (!one.decoupled && !one.over);
      at = one.over && one.ready.empty() ? open_.erase(at) : at + 1;
    }
    pace();
    finish_when_done();
  }

  void pace() { call_->pause(open_.size() >= kMostWaiting); }

  void finish_when_done() {
    if (ended_ && open_.empty() && !failed_) call_->finish({});
  }

  Service& service_;
  std::shared_ptr<GrpcCall> call_;
  std::deque<std::shared_ptr<One>> open_;           // in the order of their requests
  Clock::time_point waiting_since_ = Clock::now();  // for the next message
  bool ended_ = false;
  bool failed_ = false;
  bool fails_whole_ = false;
};

}  // namespace

void model_infer(Service& service, const std::shared_ptr<GrpcCall>& call, const std::string& message) {
  const std::shared_ptr<const ModelInferRequest> request = read(message);
  const auto backend =
      service.core.tensor_backend(request->model_name(), parse_version(request->model_version())).value();
  if (backend->tensor_model()->decoupled)
    throw fail(StatusCode::unsupported, "ModelInfer RPC doesn't support models with decoupled transaction policy");
  const std::shared_ptr<RequestTrace> trace = begin_trace(service, request->model_name(), call->request().arrival);
  GrpcInference parsed = prepare(service, call, request);
  auto format = [&service, id = parsed.inference.id, requested = parsed.inference.outputs](const TensorResult& result) {
    return format_message(id, result, answer_outputs(service, requested, true, result)).SerializeAsString();
  };
  service.core.submit(make_request(call, request->model_name(), std::move(parsed.inference), trace),
                      {poster(call), [call, trace, format = std::move(format)](Event event) {
                         const auto* response = std::get_if<Response>(&event);
                         if (response == nullptr) return;
                         call->usage = response->usage;
                         std::string bytes;
                         Status status = response->status;
                         if (status.ok())
                           status = capture([&] { bytes = format(std::get<TensorResult>(response->outcome)); });
                         stamp(trace, "GRPC_SEND_START");
                         if (status.ok()) call->write(std::move(bytes));
                         call->finish(grpc_status(status));
                         stamp(trace, "GRPC_SEND_END");
                       }});
}

GrpcReader model_stream_infer(Service& service, const std::shared_ptr<GrpcCall>& call) {
  auto stream = std::make_shared<InferStream>(service, call);
  return {.message = [stream](const std::string& message) { stream->message(message); },
          .end = [stream] { stream->end(); },
          .gone = {}};
}

}  // namespace inazuma::kserve
