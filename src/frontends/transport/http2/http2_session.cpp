#include "frontends/transport/http2/http2_session.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <cstring>

#include "base/log.h"
#include "frontends/transport/http2/http2_stream.h"

namespace inazuma {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kReadBlock = 64 << 10;
constexpr size_t kWriteBlock = 256 << 10;  // collected before it goes to the socket
constexpr size_t kDataFrame = 64 << 10;    // largest DATA frame sent, where the client allows it
constexpr size_t kLowMark = 64 << 10;      // of a stream's unsent bytes: its writer may go on
constexpr std::chrono::seconds kLinger{1};
constexpr std::chrono::seconds kDrainNotice{1};    // between "no more streams soon" and "no more streams"
constexpr std::chrono::seconds kLongestSleep{10};  // of the timer: bounds how late a stuck write is seen
constexpr uint64_t kResetBurst = 1000,
                   kResetRate = 200;  // streams that clients may open and reset at once, and a second
constexpr uint8_t kDrainPing[8] = {'d', 'r', 'a', 'i', 'n', 'i', 'n', 'g'};
constexpr uint8_t kKeepalivePing[8] = {'a', 'r', 'e', ' ', 'y', 'o', 'u', '?'};

}  // namespace

// nghttp2's callbacks. An exception must not cross its C frames: it ends the connection instead.
struct Http2Session::Callbacks {
  template <class Work>
  static int guarded(Work&& work) {
    const Status status = capture([&] { work(); });
    if (status.ok()) return 0;
    log::error("an HTTP/2 connection failed", {{"error", status.message()}});
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
  static bool is_request(const nghttp2_frame* frame) {
    return frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  }

  static ssize_t send(nghttp2_session*, const uint8_t* data, size_t length, int, void* user) {
    Http2Session& s = self(user);
    if (s.outgoing_.size() >= kWriteBlock) return NGHTTP2_ERR_WOULDBLOCK;
    if (guarded([&] { s.outgoing_.append(reinterpret_cast<const char*>(data), length); }) != 0)
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    return static_cast<ssize_t>(length);
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t length,
                       nghttp2_data_source* source, void* user) {
    Http2Session& s = self(user);
    if (s.outgoing_.size() >= kWriteBlock) return NGHTTP2_ERR_WOULDBLOCK;
    constexpr size_t kFrameHead = 9;
    return guarded([&] {
      s.outgoing_.append(reinterpret_cast<const char*>(head), kFrameHead);
      static_cast<Stream*>(source->ptr)->take(length, s.outgoing_);
      s.floods_.pings.data_sent();
    });
  }

  static ssize_t frame_size(nghttp2_session*, uint8_t, int32_t, int32_t session_window, int32_t stream_window,
                            uint32_t max_frame, void*) {
    const int64_t size =
        std::min({int64_t{session_window}, int64_t{stream_window}, int64_t{max_frame}, int64_t{kDataFrame}});
    return static_cast<ssize_t>(std::max<int64_t>(size, 1));
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    if (!is_request(frame)) return 0;
    Http2Session& s = self(user);
    return guarded([&] {
      const int32_t id = frame->hd.stream_id;
      s.streams_[id] = std::make_shared<Stream>(s.shared_from_this(), id);
      s.host_.busy(1);
    });
  }

  static int header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
    if (!is_request(frame)) return 0;  // a client's trailers mean nothing to us
    Http2Session& s = self(user);
    return guarded([&] {
      if (const auto stream = s.find(frame->hd.stream_id))
        stream->add_header({reinterpret_cast<const char*>(name), name_size},
                           {reinterpret_cast<const char*>(value), value_size}, s.host_.options().max_header_list);
    });
  }

  static int frame_received(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    return guarded([&] {
      if (!s.guard_frame(*frame)) return;
      if (frame->hd.type == NGHTTP2_SETTINGS) s.greeted_ = true;
      if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        if (std::memcmp(frame->ping.opaque_data, kDrainPing, sizeof kDrainPing) == 0) s.finish_drain();
        s.ping_sent_ = {};
      }
      if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return;
      const auto stream = s.find(frame->hd.stream_id);
      if (!stream) return;
      if (is_request(frame)) s.open_stream(stream);
      if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) stream->client_ended();
    });
  }

  static int data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void* user) {
    Http2Session& s = self(user);
    return guarded([&] {
      // The connection's window is for all streams: only a stream's own may be held back by its reader.
      nghttp2_session_consume_connection(session, size);
      if (const auto stream = s.find(id)) stream->client_sent({reinterpret_cast<const char*>(bytes), size});
    });
  }

  static int frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    if (frame->hd.type == NGHTTP2_HEADERS) s.floods_.pings.data_sent();
    if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA)
      s.floods_.small_windows.give(FloodGuard::kWindowsForAFrame);
    // Behind the notice, not before it, as the queues would have it.
    if (frame->hd.type == NGHTTP2_GOAWAY && s.drain_began_ != Clock::time_point{} && !s.drain_finished_)
      nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, kDrainPing);
    const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                      (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    // Answered before the client said everything: the rest is not wanted (RFC 9113, 8.1).
    if (ends && nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
  }

  static int stream_closed(nghttp2_session*, int32_t id, uint32_t, void* user) {
    Http2Session& s = self(user);
    return guarded([&] {
      const auto found = s.streams_.find(id);
      if (found == s.streams_.end()) return;
      const std::shared_ptr<Stream> stream = found->second;
      s.streams_.erase(found);
      stream->closed();
      s.host_.busy(-1);
    });
  }

  static int invalid_frame(nghttp2_session*, const nghttp2_frame* frame, int code, void* user) {
    Http2Session& s = self(user);
    log::debug("an HTTP/2 frame broke a rule",
               {{"client", s.client_}, {"type", static_cast<int>(frame->hd.type)}, {"error", nghttp2_strerror(code)}});
    if (!s.floods_.invalid.take(Clock::now())) s.calm_down("too_many_errors");
    return 0;
  }

  static nghttp2_session* make(Http2Session& s) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    nghttp2_session* session = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_send_callback(callbacks, send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_size);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, invalid_frame);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_server_fallback_rfc7540_priorities(option, 0);
    nghttp2_option_set_max_outbound_ack(option, 100);
    nghttp2_option_set_max_settings(option, 32);
    nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetRate);
    const int result = nghttp2_session_server_new2(&session, callbacks, &s, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (result != 0) throw std::bad_alloc();
    return session;
  }
};

Http2Session::Http2Session(asio::ip::tcp::socket socket, Http2Host& host)
    : wire_(std::move(socket), host.tls()),
      timer_(wire_.get_executor()),
      host_(host),
      floods_(host.options().min_ping_interval, host.options().max_ping_strikes) {
  error_code error;
  const auto remote = wire_.socket().remote_endpoint(error);
  client_ = error ? "unknown" : fmt::format("{}:{}", remote.address().to_string(), remote.port());
}

Http2Session::~Http2Session() {
  nghttp2_session_del(session_);
}

void Http2Session::run() {
  host_.joined(shared_from_this());
  asio::dispatch(wire_.get_executor(), [self = shared_from_this()] {
    self->arm_timer();
    self->wire_.async_handshake([self](error_code error) {
      if (self->closed_) return;
      if (!error) return self->start();
      log::debug("a TLS handshake failed", {{"client", self->client_}, {"error", error.message()}});
      self->close();
    });
  });
}

void Http2Session::start() {
  const Http2Options& options = host_.options();
  session_ = Callbacks::make(*this);
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_streams},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<uint32_t>(options.max_header_list)}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(options.connection_window));
  incoming_.resize(kReadBlock);
  if (host_.stopping()) begin_drain();
  read();  // this side's SETTINGS wait for the client's first words: they may turn out to be HTTP/1.1
}

void Http2Session::read() {
  // A client that sends and does not read is not read either.
  if (reading_ || closed_ || ending_ || lingering_ || outgoing_.size() >= kWriteBlock) return;
  reading_ = true;
  wire_.async_read_some(asio::buffer(incoming_), [self = shared_from_this()](error_code error, size_t bytes) {
    self->reading_ = false;
    if (self->closed_) return;
    if (!self->lingering_) return self->on_read(error, bytes);
    if (self->said_end_) self->discard();
  });
}

void Http2Session::on_read(error_code error, size_t bytes) {
  if (error) return close();
  last_read_ = Clock::now();
  inside_ = true;
  const ssize_t taken = nghttp2_session_mem_recv(session_, incoming_.data(), bytes);
  inside_ = false;
  if (taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) return speak_http1();
  if (taken < 0) {
    log::debug("an HTTP/2 connection is ended",
               {{"client", client_}, {"error", nghttp2_strerror(static_cast<int>(taken))}});
    const bool flooded = taken == NGHTTP2_ERR_FLOODED;
    nghttp2_session_terminate_session(session_, flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_INTERNAL_ERROR);
    ending_ = true;
  }
  flush();
  read();
}

void Http2Session::wake() {
  if (inside_ || wake_posted_ || closed_) return;
  wake_posted_ = true;
  asio::post(wire_.get_executor(), [self = shared_from_this()] {
    self->wake_posted_ = false;
    self->flush();
    self->read();
  });
}

void Http2Session::flush() {
  if (writing_ || closed_ || lingering_ || session_ == nullptr) return;
  inside_ = true;
  const int result = nghttp2_session_send(session_);
  inside_ = false;
  if (result != 0) {
    log::debug("an HTTP/2 connection cannot be written", {{"client", client_}, {"error", nghttp2_strerror(result)}});
    ending_ = true;
  }
  if (nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) ending_ = true;
  if (outgoing_.empty()) {
    if (ending_) linger();
    return;
  }
  writing_ = true;
  leaving_.swap(outgoing_);
  write_began_ = Clock::now();
  asio::async_write(wire_, asio::buffer(leaving_),
                    [self = shared_from_this()](error_code error, size_t) { self->on_written(error); });
}

void Http2Session::on_written(error_code error) {
  writing_ = false;
  write_began_ = {};
  leaving_.clear();
  if (closed_) return;
  if (error) return close();
  if (full_streams_ > 0) tell_drained();
  flush();
  read();
}

void Http2Session::tell_drained() {
  // Copied first: what a receiver does may end streams.
  std::vector<std::shared_ptr<Stream>> drained;
  for (const auto& [id, stream] : streams_)
    if (stream->was_full && stream->unsent() <= kLowMark) drained.push_back(stream);
  for (const auto& stream : drained) stream->drained();
}

// Somebody's browser or a mixed-up port: says so in words that their side can show.
void Http2Session::speak_http1() {
  constexpr std::string_view kWords = "This port speaks gRPC (HTTP/2); HTTP/1.1 is answered on the HTTP port.\n";
  outgoing_ = fmt::format(
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      kWords.size(), kWords);
  end_when_written();
}

void Http2Session::end_when_written() {
  ending_ = true;
  if (writing_) return;
  writing_ = true;
  leaving_.swap(outgoing_);
  write_began_ = Clock::now();
  asio::async_write(wire_, asio::buffer(leaving_), [self = shared_from_this()](error_code, size_t) {
    self->writing_ = false;
    if (!self->closed_) self->linger();
  });
}

// Closing with unread bytes resets the connection, and a reset can destroy the farewell on its way.
void Http2Session::linger() {
  if (lingering_ || closed_) return;
  lingering_ = true;
  timer_.expires_after(kLinger);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->close();
  });
  wire_.cancel();  // the read under way, if any
  wire_.async_end([self = shared_from_this()](error_code) {
    if (self->closed_) return;
    error_code ignored;
    self->wire_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    self->said_end_ = true;
    if (!self->reading_) self->discard();  // else when the cancelled read has told: two at once are not allowed
  });
}

void Http2Session::discard() {
  incoming_.resize(kReadBlock);
  wire_.tcp().async_read_some(asio::buffer(incoming_), [self = shared_from_this()](error_code error, size_t) {
    if (error || self->closed_) return self->close();
    self->discard();
  });
}

void Http2Session::close() {
  if (closed_) return;
  closed_ = true;
  timer_.cancel();
  error_code ignored;
  wire_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  wire_.close();
  auto streams = std::move(streams_);
  streams_.clear();
  for (const auto& [id, stream] : streams) {
    stream->closed();
    host_.busy(-1);
  }
  host_.left(shared_from_this());
}

void Http2Session::drain() {
  asio::post(wire_.get_executor(), [self = shared_from_this()] {
    if (self->closed_ || self->session_ == nullptr) return;  // before the handshake: start() will do it
    self->begin_drain();
    self->flush();
  });
}

// First "no more streams, soon", with a ping behind it: what the client opened before it heard is still answered (RFC
// 9113, 6.8).
void Http2Session::begin_drain() {
  if (drain_began_ != Clock::time_point{}) return;
  drain_began_ = Clock::now();
  nghttp2_submit_shutdown_notice(session_);
  arm_timer();
}

void Http2Session::finish_drain() {
  if (drain_finished_ || drain_began_ == Clock::time_point{}) return;
  drain_finished_ = true;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
}

void Http2Session::calm_down(const char* reason) {
  log::warn("a client floods its connection, which is ended", {{"client", client_}, {"reason", reason}});
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_ENHANCE_YOUR_CALM, reinterpret_cast<const uint8_t*>(reason), std::strlen(reason));
  ending_ = true;
}

bool Http2Session::guard_frame(const nghttp2_frame& frame) {
  if (ending_) return false;
  const Clock::time_point now = Clock::now();
  const bool ack = (frame.hd.flags & NGHTTP2_FLAG_ACK) != 0;
  switch (frame.hd.type) {
    case NGHTTP2_SETTINGS:
      if (!ack && !floods_.settings.take(now)) return calm_down("too_many_settings"), false;
      break;
    case NGHTTP2_PING:
      if (!ack && !floods_.pings.ping(now)) return calm_down("too_many_pings"), false;
      break;
    case NGHTTP2_PRIORITY:
      if (!floods_.priorities.take(now)) return calm_down("too_many_priorities"), false;
      break;
    case NGHTTP2_WINDOW_UPDATE:
      if (!floods_.small_windows.take(now)) return calm_down("too_many_window_updates"), false;
      break;
    case NGHTTP2_DATA:
      if (frame.hd.length == 0 && (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 && !floods_.empty_data.take(now))
        return calm_down("too_many_empty_frames"), false;
      break;
    default: break;
  }
  return true;
}

void Http2Session::open_stream(const std::shared_ptr<Stream>& stream) {
  stream->receiver = host_.open(stream, std::move(stream->headers));
}

std::shared_ptr<Http2Session::Stream> Http2Session::find(int32_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

void Http2Session::arm_timer() {
  if (closed_ || lingering_) return;
  const Http2Options& o = host_.options();
  Clock::time_point next = Clock::now() + std::min<Clock::duration>(kLongestSleep, o.write_timeout / 2);
  if (!greeted_) next = std::min(next, accepted_ + o.preface_timeout);
  next = std::min(next,
                  ping_sent_ != Clock::time_point{} ? ping_sent_ + o.keepalive_timeout : last_read_ + o.keepalive_time);
  const bool draining = drain_began_ != Clock::time_point{};
  if (o.max_age.count() > 0 && !draining) next = std::min(next, accepted_ + o.max_age);
  if (o.max_age.count() > 0 && o.max_age_grace.count() > 0 && draining)
    next = std::min(next, accepted_ + o.max_age + o.max_age_grace);
  if (draining && !drain_finished_) next = std::min(next, drain_began_ + kDrainNotice);
  timer_.expires_at(std::max(next, Clock::now() + std::chrono::milliseconds(10)));
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error && !self->closed_ && !self->lingering_) self->on_timer();
  });
}

void Http2Session::on_timer() {
  const Http2Options& o = host_.options();
  const Clock::time_point now = Clock::now(), never{};
  if (!greeted_ && now >= accepted_ + o.preface_timeout) return close();
  if (write_began_ != never && now >= write_began_ + o.write_timeout) return close();
  if (ping_sent_ != never && now >= ping_sent_ + o.keepalive_timeout) return close();
  if (session_ != nullptr) {
    if (ping_sent_ == never && now >= last_read_ + o.keepalive_time) {
      if (o.keepalive_without_calls || !streams_.empty()) {
        ping_sent_ = now;
        nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing);
      } else {
        last_read_ = now;  // nobody waits for anything: look again after as long
      }
    }
    if (o.max_age.count() > 0 && now >= accepted_ + o.max_age) {
      if (drain_began_ == never)
        begin_drain();
      else if (o.max_age_grace.count() > 0 && now >= accepted_ + o.max_age + o.max_age_grace)
        return close();
    }
    if (drain_began_ != never && now >= drain_began_ + kDrainNotice) finish_drain();
    flush();
  }
  arm_timer();
}

}  // namespace inazuma
