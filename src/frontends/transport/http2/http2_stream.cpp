#include "frontends/transport/http2/http2_stream.h"

namespace inazuma {

namespace {

constexpr size_t kFull = 1 << 20;       // unsent bytes after which a receiver is told when they have left
constexpr size_t kHeaderOverhead = 32;  // RFC 9113, 6.5.2

// nghttp2 copies names and values before the call that takes them returns.
std::vector<nghttp2_nv> fields_of(const Headers& headers) {
  std::vector<nghttp2_nv> out;
  out.reserve(headers.size());
  for (const auto& [name, value] : headers)
    out.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                   reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                   NGHTTP2_NV_FLAG_NONE});
  return out;
}

}  // namespace

Http2Session::Stream::Stream(std::shared_ptr<Http2Session> session, int32_t id)
    : session_(std::move(session)), executor_(session_->wire_.get_executor()), client_(session_->client_), id_(id) {}

void Http2Session::Stream::submit(int status, const Headers& fields, bool body) {
  begun_ = true;
  Headers all{{":status", std::to_string(status)}};
  all.insert(all.end(), fields.begin(), fields.end());
  const std::vector<nghttp2_nv> nv = fields_of(all);
  nghttp2_data_provider provider{};
  provider.source.ptr = this;
  provider.read_callback = source;
  nghttp2_submit_response(session_->session_, id_, nv.data(), nv.size(), body ? &provider : nullptr);
  session_->wake();
}

void Http2Session::Stream::respond(int status, Headers fields) {
  if (!session_ || begun_) return;
  ended_ = true;
  submit(status, fields, false);
}

void Http2Session::Stream::begin(int status, Headers fields) {
  if (session_ && !begun_) submit(status, fields, true);
}

void Http2Session::Stream::write(std::string bytes) {
  if (!session_ || !begun_ || ended_ || bytes.empty()) return;
  unsent_ += bytes.size();
  waiting_.push_back(std::move(bytes));
  if (unsent_ >= kFull && !was_full) {
    was_full = true;
    ++session_->full_streams_;
  }
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
  }
  session_->wake();
}

void Http2Session::Stream::end(Headers trailers) {
  if (!session_ || !begun_ || ended_) return;
  ended_ = true;
  trailers_ = std::move(trailers);
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
  }
  session_->wake();
}

void Http2Session::Stream::consumed(size_t bytes) {
  if (!session_ || bytes == 0) return;
  nghttp2_session_consume_stream(session_->session_, id_, bytes);
  session_->wake();
}

void Http2Session::Stream::post(std::function<void()> task) {
  boost::asio::post(executor_, std::move(task));
}

ssize_t Http2Session::Stream::source(nghttp2_session* session, int32_t id, uint8_t*, size_t length, uint32_t* flags,
                                     nghttp2_data_source* source, void*) {
  Stream& s = *static_cast<Stream*>(source->ptr);
  if (s.unsent_ == 0 && !s.ended_) {
    s.deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  const size_t now = std::min(length, s.unsent_);
  if (now > 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (s.ended_ && now == s.unsent_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!s.trailers_.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const std::vector<nghttp2_nv> nv = fields_of(s.trailers_);
      if (nghttp2_submit_trailer(session, id, nv.data(), nv.size()) != 0) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
  }
  return static_cast<ssize_t>(now);
}

void Http2Session::Stream::take(size_t length, std::string& out) {
  unsent_ -= length;
  while (length > 0) {
    const std::string& first = waiting_.front();
    const size_t part = std::min(length, first.size() - taken_);
    out.append(first, taken_, part);
    taken_ += part;
    length -= part;
    if (taken_ == first.size()) {
      waiting_.pop_front();
      taken_ = 0;
    }
  }
}

void Http2Session::Stream::add_header(std::string_view name, std::string_view value, size_t limit) {
  header_bytes_ += name.size() + value.size() + kHeaderOverhead;
  if (header_bytes_ > limit) headers_cut_ = true;
  if (!headers_cut_) headers.emplace_back(name, value);
}

void Http2Session::Stream::client_sent(std::string_view bytes) {
  if (receiver && !ended_) return receiver->on_data(bytes);
  consumed(bytes.size());  // answered already: let the rest pass
}

void Http2Session::Stream::client_ended() {
  if (receiver && !ended_) receiver->on_end();
}

void Http2Session::Stream::drained() {
  if (!was_full || !session_) return;
  was_full = false;
  --session_->full_streams_;
  if (receiver) receiver->on_drained();
}

void Http2Session::Stream::closed() {
  const bool answered = ended_ && unsent_ == 0;
  if (was_full && session_) --session_->full_streams_;
  session_.reset();
  waiting_.clear();
  if (const std::shared_ptr<Http2Receiver> last = std::move(receiver)) last->on_close(answered);
}

}  // namespace inazuma
