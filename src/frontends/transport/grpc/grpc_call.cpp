#include "frontends/transport/grpc/grpc_call.h"

#include "frontends/errors.h"
#include "frontends/transport/access_log.h"

namespace inazuma {

namespace {

constexpr const char* kAccepted = "identity, deflate, gzip";
constexpr size_t kMostUnsent = 4 << 20;  // of answers, after which a client that streams requests is not read on
constexpr size_t kMostMessageText = 4096;  // of grpc-message: clients bound their header lists

Headers status_fields(const GrpcStatus& status) {
  Headers out{{"grpc-status", std::to_string(static_cast<int>(status.code))}};
  if (!status.message.empty())
    out.emplace_back("grpc-message", encode_grpc_message(std::string_view(status.message).substr(0, kMostMessageText)));
  return out;
}

Coding wanted_coding(const Headers& metadata) {
  const auto accepted = find_header(metadata, "grpc-accept-encoding");
  return accepted ? accepted_coding(*accepted) : Coding::identity;
}

}  // namespace

GrpcStatus GrpcStreamCall::read_headers(Headers& headers, int& http_status) {
  std::string method;
  for (auto& [name, value] : headers) {
    if (name == ":path")
      request_.path = value.substr(0, value.find('?'));
    else if (name == ":method")
      method = value;
    else if (!name.starts_with(':'))
      request_.metadata.emplace_back(std::move(name), std::move(value));
  }
  request_.client = stream_->client();
  request_.id = request_id(find_header(request_.metadata, "x-request-id"));
  if (method != "POST") return http_status = 405, GrpcStatus{GrpcCode::internal, "gRPC calls are POST"};
  if (!is_grpc_content_type(find_header(request_.metadata, "content-type").value_or("")))
    return http_status = 415, GrpcStatus{GrpcCode::internal, "the content type must be application/grpc"};
  if (stream_->headers_cut())
    return {GrpcCode::resource_exhausted,
            fmt::format("the call's metadata exceeds {} bytes", host_.options().http2.max_header_list)};
  method_ = host_.find(request_.path);
  if (method_ == nullptr)
    return {GrpcCode::unimplemented,
            fmt::format("no method {}; server reflection lists them", quoted(request_.path, 256))};
  if (GrpcStatus refused = host_.admit(*method_, request_.metadata); refused.code != GrpcCode::ok) return refused;
  std::optional<Coding> coding;
  if (const auto encoding = find_header(request_.metadata, "grpc-encoding")) {
    const Result<Coding> known = parse_coding(*encoding);
    if (!known.ok())
      return {GrpcCode::unimplemented,
              fmt::format("grpc-encoding {} is not known, use one of {}", quoted(*encoding), kAccepted)};
    coding = *known;
  }
  reader_.emplace(coding, host_.options().max_message);
  if (host_.options().compression_level > 0) answer_coding_ = wanted_coding(request_.metadata);
  if (const auto timeout = find_header(request_.metadata, "grpc-timeout")) {
    const auto parsed = parse_grpc_timeout(*timeout);
    if (!parsed)
      return {GrpcCode::invalid_argument,
              fmt::format("grpc-timeout {} is not up to 8 digits and one of H M S m u n", quoted(*timeout))};
    request_.deadline = request_.arrival + *parsed;
  }
  return {};
}

void GrpcStreamCall::open(Headers headers) {
  int http_status = 200;
  GrpcStatus status = read_headers(headers, http_status);
  if (http_status != 200) {
    ended_ = true;
    stream_->respond(http_status, {{"content-type", "application/grpc"}});
    return account(GrpcCode::internal);
  }
  if (status.code != GrpcCode::ok) return finish(std::move(status));
  if (request_.deadline != Clock::time_point::max()) {
    deadline_.emplace(stream_->executor(), request_.deadline);
    deadline_->async_wait([self = weak_from_this()](boost::system::error_code error) {
      const auto call = self.lock();
      if (error || !call || call->ended_ || call->gone_) return;
      call->abort({GrpcCode::deadline_exceeded, "the call's deadline has passed"});
    });
  }
  if (const auto* stream = std::get_if<GrpcStream>(&method_->handler)) {
    const Status started = capture([&] { listener_ = (*stream)(shared_from_this()); });
    if (!started.ok()) finish(grpc_status(started));
  }
}

void GrpcStreamCall::on_data(std::string_view bytes) {
  bytes_in_ += bytes.size();
  owed_ += bytes.size();
  if (ended_ || !reader_) return give_credit();
  GrpcStatus status;
  const Status fed =
      capture([&] { status = reader_->feed(bytes, [this](std::string one) { message(std::move(one)); }); });
  if (!fed.ok()) status = grpc_status(fed);
  if (status.code != GrpcCode::ok) abort(std::move(status));
  give_credit();
}

void GrpcStreamCall::message(std::string bytes) {
  if (ended_) return;
  if (std::holds_alternative<GrpcStream>(method_->handler)) return listener_.message(std::move(bytes));
  if (only_) return finish({GrpcCode::internal, "a unary call has more than one message"});
  only_ = std::move(bytes);
}

void GrpcStreamCall::on_end() {
  if (ended_ || !reader_) return;
  if (reader_->inside()) return abort({GrpcCode::internal, "the call ends inside a message"});
  const Status handled = capture([&] {
    if (std::holds_alternative<GrpcStream>(method_->handler)) return listener_.end();
    if (!only_) return finish({GrpcCode::internal, "a unary call has no message"});
    std::string message = std::move(*only_);
    std::get<GrpcUnary>(method_->handler)(shared_from_this(), std::move(message));
  });
  if (!handled.ok()) abort(grpc_status(handled));
}

// The call ends by no wish of its front end, which must hear of it.
void GrpcStreamCall::abort(GrpcStatus status) {
  if (ended_ || gone_) return;
  cancelled_->store(true);
  if (listener_.gone) (void)capture([&] { listener_.gone(); });
  finish(std::move(status));
}

// What the reader has taken may be sent again, unless it, or the client's own reading, is behind.
void GrpcStreamCall::give_credit() {
  if (!ended_ && (paused_ || stream_->unsent() > kMostUnsent)) return;
  stream_->consumed(std::exchange(owed_, 0));
}

void GrpcStreamCall::pause(bool paused) {
  paused_ = paused;
  give_credit();
}

void GrpcStreamCall::on_drained() {
  give_credit();
}

void GrpcStreamCall::begin() {
  if (begun_) return;
  begun_ = true;
  Headers headers{{"content-type", "application/grpc"}, {"grpc-accept-encoding", kAccepted}};
  if (answer_coding_ != Coding::identity)
    headers.emplace_back("grpc-encoding", answer_coding_ == Coding::gzip ? "gzip" : "deflate");
  stream_->begin(200, std::move(headers));
}

void GrpcStreamCall::write(std::string message) {
  if (ended_ || gone_) return;
  if (message.size() > INT_MAX)
    return finish({GrpcCode::resource_exhausted,
                   fmt::format("the answer has {} bytes, a message holds at most {}", message.size(), INT_MAX)});
  begin();
  const bool compressed = answer_coding_ != Coding::identity && message.size() >= kCompressFrom;
  if (compressed) message = compress(message, answer_coding_, host_.options().compression_level);
  bytes_out_ += message.size() + kGrpcPrefix;
  stream_->write(grpc_prefix(message.size(), compressed));
  stream_->write(std::move(message));
}

void GrpcStreamCall::finish(GrpcStatus status) {
  if (ended_ || gone_) return;
  ended_ = true;
  if (deadline_) deadline_->cancel();
  Headers fields = status_fields(status);
  if (begun_) {
    stream_->end(std::move(fields));
  } else {
    Headers all{{"content-type", "application/grpc"}, {"grpc-accept-encoding", kAccepted}};
    all.insert(all.end(), fields.begin(), fields.end());
    stream_->respond(200, std::move(all));
  }
  give_credit();
  account(status.code);
}

void GrpcStreamCall::on_close(bool answered) {
  gone_ = true;
  if (deadline_) deadline_->cancel();
  if (!answered) cancelled_->store(true);
  if (!ended_) {
    account(GrpcCode::cancelled);
    if (listener_.gone) (void)capture([&] { listener_.gone(); });
  }
  listener_ = {};  // what it holds may hold this call
}

void GrpcStreamCall::account(GrpcCode code) {
  const std::chrono::duration<double> took = Clock::now() - request_.arrival;
  const std::string route = method_ == nullptr ? "unknown" : method_->path;
  host_.metrics().count_http(route, "GRPC", static_cast<int>(code), took);
  if (!host_.options().access_log) return;
  const bool routine = method_ != nullptr && method_->open;
  log_access({.id = request_.id,
              .method = "GRPC",
              .route = route,
              .status = static_cast<int>(code),
              .bytes_in = bytes_in_,
              .bytes_out = bytes_out_,
              .took = took,
              .usage = usage,
              .client = request_.client,
              .routine = routine});
}

}  // namespace inazuma
