#include "serving/metrics/peer_series.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <algorithm>
#include <array>
#include <limits>

#include "serving/metrics/series_table.h"

namespace inazuma {

namespace {

using prometheus::Counter;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;

// Tokens.
const std::vector<double>& length_buckets() {
  static const std::vector<double> buckets = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
  return buckets;
}
// Seconds between two tokens: finer than a request's.
const std::vector<double>& token_buckets() {
  static const std::vector<double> buckets = {0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05,
                                              0.075,  0.1,   0.15,  0.2,   0.3,  0.5,  1,    2};
  return buckets;
}

// The words of text-embeddings-inference for what went wrong, in the order of kErrors.
constexpr std::array<const char*, 5> kErrors = {"validation", "model_type", "overloaded", "dropped", "inference"};
size_t error_of(StatusCode code) {
  switch (code) {
    case StatusCode::wrong_task: return 1;
    case StatusCode::overloaded: return 2;
    case StatusCode::cancelled:
    case StatusCode::deadline_exceeded: return 3;
    case StatusCode::internal:
    case StatusCode::out_of_memory:
    case StatusCode::unavailable: return 4;
    default: return 0;
  }
}

}  // namespace

/// Families under one prefix, and what a model has of them, looked up once a request.
template <class One>
class SeriesBook {
 public:
  SeriesBook(prometheus::Registry& registry, std::string prefix, std::vector<double> durations, const char* label)
      : registry_(registry), prefix_(std::move(prefix)), durations_(std::move(durations)), label_(label) {}

  template <class Use>
  void with(const std::string& model, Use&& use) {
    models_.with(
        model, [&] { return One(*this, model); }, use);
  }

  Counter& counter(const std::string& model, const char* name, const char* help, Labels labels = {}) {
    labels[label_] = model;
    return prometheus::BuildCounter().Name(prefix_ + name).Help(help).Register(registry_).Add(labels);
  }
  Gauge& gauge(const std::string& model, const char* name, const char* help) {
    return prometheus::BuildGauge().Name(prefix_ + name).Help(help).Register(registry_).Add({{label_, model}});
  }
  Histogram& duration(const std::string& model, const char* name, const char* help, Labels labels = {}) {
    return histogram(model, name, help, durations_, std::move(labels));
  }
  Histogram& histogram(const std::string& model, const char* name, const char* help, const std::vector<double>& buckets,
                       Labels labels = {}) {
    labels[label_] = model;
    return prometheus::BuildHistogram().Name(prefix_ + name).Help(help).Register(registry_).Add(labels, buckets);
  }

 private:
  prometheus::Registry& registry_;
  std::string prefix_;
  std::vector<double> durations_;
  const char* label_;
  SeriesTable<std::string, One> models_;
};

namespace {

template <class One>
std::array<Counter*, kErrors.size()> error_counters(SeriesBook<One>& book, const std::string& model) {
  std::array<Counter*, kErrors.size()> out{};
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = &book.counter(model, "request_failure", "Requests that failed, by cause", {{"err", kErrors[i]}});
  return out;
}

}  // namespace

// text-embeddings-inference. ------------------------------------------------------------------------------------------

struct PeerSeries::Embedding {
  struct One {
    using Pair = std::array<Counter*, 2>;  // single, batch
    One(SeriesBook<One>& book, const std::string& model)
        : requests(by_method(book, model, "request_count", "Requests by what they hold: one text or several")),
          successes(by_method(book, model, "request_success", "Requests that were answered")),
          failures(error_counters(book, model)),
          total(book.duration(model, "request_duration", "Seconds from reading a request to its answer")),
          tokenization(book.duration(model, "request_tokenization_duration", "Seconds in the tokenizer")),
          queue(book.duration(model, "request_queue_duration", "Seconds of waiting for the engine")),
          inference(book.duration(model, "request_inference_duration", "Seconds in the engine")),
          length(book.histogram(model, "request_input_length", "Tokens of a request", length_buckets())),
          waiting(book.gauge(model, "queue_size", "Rows waiting for the engine")) {}
    static Pair by_method(SeriesBook<One>& book, const std::string& model, const char* name, const char* help) {
      return {&book.counter(model, name, help, {{"method", "single"}}),
              &book.counter(model, name, help, {{"method", "batch"}})};
    }

    Pair requests, successes;
    std::array<Counter*, kErrors.size()> failures;
    Histogram &total, &tokenization, &queue, &inference, &length;
    Gauge& waiting;
  };

  void count(const std::string& model, const Status& status, const Usage& usage, int items) {
    book.with(model, [&](One& one) {
      const size_t method = items > 1 ? 1 : 0;
      one.requests[method]->Increment();
      if (!status.ok()) return one.failures[error_of(status.code())]->Increment();
      one.successes[method]->Increment();
      one.total.Observe(seconds(usage.total));
      one.tokenization.Observe(seconds(usage.tokenization));
      one.queue.Observe(seconds(usage.queue));
      one.inference.Observe(seconds(usage.inference));
      one.length.Observe(usage.prompt_tokens);
    });
  }

  SeriesBook<One> book;
};

// text-generation-inference. ------------------------------------------------------------------------------------------

struct PeerSeries::Generation {
  struct One {
    One(SeriesBook<One>& book, const std::string& model)
        : requests(book.counter(model, "request_count", "Requests")),
          successes(book.counter(model, "request_success", "Requests that were answered")),
          failures(error_counters(book, model)),
          total(book.duration(model, "request_duration", "Seconds from reading a request to its answer")),
          validation(book.duration(model, "request_validation_duration", "Seconds of checking and in the tokenizer")),
          queue(book.duration(model, "request_queue_duration", "Seconds of waiting for the engine")),
          inference(book.duration(model, "request_inference_duration", "Seconds in the engine")),
          per_token(book.histogram(model, "request_mean_time_per_token_duration", "Seconds in the engine a token",
                                   token_buckets())),
          input(book.histogram(model, "request_input_length", "Tokens of a request's prompts", length_buckets())),
          generated(book.histogram(model, "request_generated_tokens", "Tokens made for a request", length_buckets())),
          most(book.histogram(model, "request_max_new_tokens", "Tokens that a request allows", length_buckets())),
          prefill(book.duration(model, "batch_inference_duration", "Seconds of prompts, and between two tokens",
                                {{"method", "prefill"}})),
          decode(book.duration(model, "batch_inference_duration", "Seconds of prompts, and between two tokens",
                               {{"method", "decode"}})),
          waiting(book.gauge(model, "queue_size", "Rows waiting for the engine")),
          running(book.gauge(model, "batch_current_size", "Rows being worked on")) {}

    Counter &requests, &successes;
    std::array<Counter*, kErrors.size()> failures;
    Histogram &total, &validation, &queue, &inference, &per_token, &input, &generated, &most, &prefill, &decode;
    Gauge &waiting, &running;
  };

  void count(const std::string& model, const Status& status, const Usage& usage) {
    book.with(model, [&](One& one) {
      one.requests.Increment();
      if (!status.ok()) return one.failures[error_of(status.code())]->Increment();
      one.successes.Increment();
      one.total.Observe(seconds(usage.total));
      one.validation.Observe(seconds(usage.validation + usage.tokenization));
      one.queue.Observe(seconds(usage.queue));
      one.inference.Observe(seconds(usage.inference));
      one.input.Observe(usage.prompt_tokens);
      one.generated.Observe(usage.generated_tokens);
      one.most.Observe(usage.max_new_tokens);
      one.prefill.Observe(seconds(usage.prefill));
      if (usage.generated_tokens > 0) one.per_token.Observe(seconds(usage.inference) / usage.generated_tokens);
      if (usage.token_gap > Clock::duration::zero()) one.decode.Observe(seconds(usage.token_gap));
    });
  }

  SeriesBook<One> book;
};

// vLLM. ---------------------------------------------------------------------------------------------------------------

struct PeerSeries::Vllm {
  static constexpr std::array<const char*, 3> kReasons = {"stop", "length", "abort"};

  struct One {
    One(SeriesBook<One>& book, const std::string& model)
        : prompt(book.counter(model, "prompt_tokens_total", "Tokens of prompts")),
          generated(book.counter(model, "generation_tokens_total", "Tokens made")),
          first(
              book.duration(model, "time_to_first_token_seconds", "Seconds from reading a request to its first token")),
          gap(book.histogram(model, "inter_token_latency_seconds",
                             "Seconds between two tokens: a request's mean, once for each of its rows",
                             token_buckets())),
          total(book.duration(model, "e2e_request_latency_seconds", "Seconds from reading a request to its answer")),
          queue(book.duration(model, "request_queue_time_seconds", "Seconds of waiting for the engine")),
          prefill(book.duration(model, "request_prefill_time_seconds", "Seconds from admission to the first token")),
          decode(book.duration(model, "request_decode_time_seconds", "Seconds from the first token to the last")),
          running(book.gauge(model, "num_requests_running", "Rows being worked on")),
          waiting(book.gauge(model, "num_requests_waiting", "Rows waiting for the engine")),
          cache(book.gauge(model, "kv_cache_usage_perc", "Share of the key-value pool in use, 1 = all")) {
      for (size_t i = 0; i < ended.size(); ++i)
        ended[i] = &book.counter(model, "request_success_total", "Rows that ended, by why",
                                 {{"finished_reason", kReasons[i]}});
    }

    Counter &prompt, &generated;
    std::array<Counter*, kReasons.size()> ended{};
    Histogram &first, &gap, &total, &queue, &prefill, &decode;
    Gauge &running, &waiting, &cache;
  };

  void count(const std::string& model, const Status& status, const Usage& usage) {
    book.with(model, [&](One& one) {
      if (status.code() == StatusCode::cancelled) one.ended[2]->Increment();
      if (!status.ok()) return;
      one.ended[0]->Increment(usage.stopped_rows);
      one.ended[1]->Increment(usage.full_rows);
      one.prompt.Increment(usage.prompt_tokens);
      one.generated.Increment(usage.generated_tokens);
      one.first.Observe(seconds(usage.validation + usage.tokenization + usage.queue + usage.prefill));
      for (int row = 0; row < usage.stopped_rows + usage.full_rows; ++row)
        if (usage.token_gap > Clock::duration::zero()) one.gap.Observe(seconds(usage.token_gap));
      one.total.Observe(seconds(usage.total));
      one.queue.Observe(seconds(usage.queue));
      one.prefill.Observe(seconds(usage.prefill));
      one.decode.Observe(seconds(usage.inference - std::min(usage.inference, usage.prefill)));
    });
  }

  SeriesBook<One> book;
};

// Together. -----------------------------------------------------------------------------------------------------------

PeerSeries::PeerSeries(prometheus::Registry& registry, const MetricsOptions& options) {
  if (options.tei) embedding_.reset(new Embedding{{registry, "te_", options.buckets, "model"}});
  if (options.tgi) generation_.reset(new Generation{{registry, "tgi_", options.buckets, "model"}});
  if (options.vllm) vllm_.reset(new Vllm{{registry, "vllm:", options.buckets, "model_name"}});
}
PeerSeries::~PeerSeries() = default;

void PeerSeries::count(const std::string& model, const Status& status, const Usage& usage, int items) {
  if (!usage.text) return;
  if (usage.generation) {
    if (generation_) generation_->count(model, status, usage);
    if (vllm_) vllm_->count(model, status, usage);
  } else if (embedding_) {
    embedding_->count(model, status, usage, items);
  }
}

void PeerSeries::write(const RepositorySnapshot& snapshot) {
  if (!embedding_ && !generation_ && !vllm_) return;
  for (const ServedModel& model : snapshot.models) {
    const ServedVersion* version = model.current();
    if (version == nullptr || !version->backend || !version->backend->info().text) continue;
    const EngineStats stats = version->backend->stats();
    if (!version->backend->info().model.has_decoder) {
      if (embedding_) embedding_->book.with(model.id, [&](Embedding::One& one) { one.waiting.Set(stats.waiting); });
      continue;
    }
    if (generation_)
      generation_->book.with(model.id, [&](Generation::One& one) {
        one.waiting.Set(stats.waiting);
        one.running.Set(stats.running);
      });
    if (vllm_)
      vllm_->book.with(model.id, [&](Vllm::One& one) {
        one.waiting.Set(stats.waiting);
        one.running.Set(stats.running);
        one.cache.Set(stats.kv_blocks_total == 0 ? 0
                                                 : static_cast<double>(stats.kv_blocks_used) / stats.kv_blocks_total);
      });
  }
}

std::vector<prometheus::MetricFamily> PeerSeries::steps(const RepositorySnapshot& snapshot) const {
  constexpr auto rows = &EngineStats::step_rows, tokens = &EngineStats::step_tokens;
  std::vector<prometheus::MetricFamily> out;
  if (embedding_) {
    out.push_back(step_sizes("te_batch_next_size", "Rows of a step", "model", snapshot, rows));
    out.push_back(step_sizes("te_batch_next_tokens", "Tokens of a step", "model", snapshot, tokens));
  }
  if (generation_) out.push_back(step_sizes("tgi_batch_next_size", "Rows of a step", "model", snapshot, rows));
  if (vllm_)
    out.push_back(step_sizes("vllm:iteration_tokens_total", "Tokens of a step", "model_name", snapshot, tokens));
  return out;
}

prometheus::MetricFamily step_sizes(const std::string& name, const std::string& help, const std::string& label,
                                    const RepositorySnapshot& snapshot, SizeCounts EngineStats::*sizes) {
  prometheus::MetricFamily out{name, help, prometheus::MetricType::Histogram, {}};
  for (const ServedModel& model : snapshot.models) {
    const ServedVersion* version = model.current();
    if (version == nullptr || !version->backend || !version->backend->info().text) continue;
    const SizeCounts counts = version->backend->stats().*sizes;
    prometheus::ClientMetric member;
    member.label.push_back({label, model.id});
    for (size_t i = 0; i < counts.up_to.size(); ++i) {
      member.histogram.sample_count += static_cast<uint64_t>(counts.up_to[i]);
      const bool last = i + 1 == counts.up_to.size();
      member.histogram.bucket.push_back({member.histogram.sample_count, last ? std::numeric_limits<double>::infinity()
                                                                             : static_cast<double>(int64_t{1} << i)});
    }
    member.histogram.sample_sum = static_cast<double>(counts.sum);
    out.metric.push_back(std::move(member));
  }
  return out;
}

}  // namespace inazuma
