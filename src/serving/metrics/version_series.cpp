#include "serving/metrics/version_series.h"

#include <grpc_service.pb.h>
#include <model_config.pb.h>

#include <mutex>

namespace inazuma {

namespace {

// Triton's reasons, in the order of One::failures.
constexpr std::array<const char*, 4> kReasonNames = {"REJECTED", "CANCELED", "BACKEND", "OTHER"};

size_t failure_reason(StatusCode code) {
  switch (code) {
    case StatusCode::overloaded:
    case StatusCode::deadline_exceeded: return 0;
    case StatusCode::cancelled: return 1;
    case StatusCode::internal:
    case StatusCode::out_of_memory: return 2;
    default: return 3;
  }
}

double micros(Clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

bool cached(const CountedModel& model) {
  return model.tensors && model.tensors->config->response_cache().enable();
}

prometheus::Labels labels_of(const CountedModel& model) {
  prometheus::Labels out{{"model", model.id}, {"version", std::to_string(model.version)}};
  if (model.tensors)
    for (const auto& [tag, value] : model.tensors->config->metric_tags()) out["_" + tag] = value;
  return out;
}

// Milliseconds.
std::vector<double> first_response_buckets(const CountedModel& model) {
  const std::vector<double> own = configured_buckets(model, kFirstResponseHistogram);
  return own.empty() ? std::vector<double>{100, 500, 2000, 5000} : own;
}

std::string description_of(const CountedModel& model) {
  std::string out = cached(model) ? "cached" : "";
  if (model.tensors && model.tensors->decoupled)
    out += fmt::format(" decoupled {}", fmt::join(first_response_buckets(model), ","));
  for (const auto& [name, value] : labels_of(model)) out += fmt::format("\n{}={}", name, value);
  return out;
}

constexpr std::array<std::pair<const char*, const char*>, 5> kDurationNames = {{
    {"request", "inference request duration"},
    {"queue", "inference queuing duration"},
    {"compute_input", "compute input duration (tokenization)"},
    {"compute_infer", "compute inference duration"},
    {"compute_output", "compute output duration (making the answer)"},
}};

}  // namespace

VersionSeries::VersionSeries(prometheus::Registry& registry, const MetricsOptions& options) : options_(options) {
  for (const auto& [quantile, error] : options.quantiles) quantiles_.emplace_back(quantile, error);
  const auto counter = [&](const std::string& name, const std::string& help) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  };
  const auto summary = [&](const std::string& name, const std::string& help) {
    return &prometheus::BuildSummary().Name(name).Help(help).Register(registry);
  };
  const auto gauge = [&](const std::string& name, const std::string& help) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  };
  success_ = counter("nv_inference_request_success", "Number of successful inference requests, all batch sizes");
  failure_ = counter("nv_inference_request_failure", "Number of failed inference requests, all batch sizes");
  count_ = counter("nv_inference_count", "Number of inferences performed");
  executions_ = counter("nv_inference_exec_count", "Number of model executions performed");
  pending_ = gauge("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution");
  load_duration_ = gauge("nv_model_load_duration_secs", "Model load time in seconds");
  for (size_t i = 0; i < kDurations; ++i) {
    const auto& [name, what] = kDurationNames[i];
    if (options_.counters)
      durations_[i] =
          counter(fmt::format("nv_inference_{}_duration_us", name), fmt::format("Cumulative {} in microseconds", what));
    if (options_.summaries)
      summaries_[i] =
          summary(fmt::format("nv_inference_{}_summary_us", name), fmt::format("Summary of {} in microseconds", what));
  }
  if (options_.counters) {
    cache_[0] = counter("nv_cache_num_hits_per_model", "Number of cache hits per model");
    cache_[1] = counter("nv_cache_num_misses_per_model", "Number of cache misses per model");
    cache_[2] = counter("nv_cache_hit_duration_per_model", "Total cache hit duration per model, in microseconds");
    cache_[3] = counter("nv_cache_miss_duration_per_model", "Total cache miss duration per model, in microseconds");
  }
  if (options_.summaries) {
    cache_summaries_[0] =
        summary("nv_cache_hit_summary_per_model", "Summary of cache hit duration per model, in microseconds");
    cache_summaries_[1] =
        summary("nv_cache_miss_summary_per_model", "Summary of cache miss duration per model, in microseconds");
  }
  if (options_.histograms)
    first_response_ = &prometheus::BuildHistogram()
                           .Name(kFirstResponseHistogram)
                           .Help("Duration from request to first response in milliseconds")
                           .Register(registry);
}

VersionSeries::One& VersionSeries::add(const CountedModel& model) {
  const Key key{model.id, model.version};
  if (const auto found = series_.find(key); found != series_.end()) return found->second;
  const prometheus::Labels labels = labels_of(model);
  One one{.described = description_of(model),
          .success = &success_->Add(labels),
          .count = &count_->Add(labels),
          .executions = &executions_->Add(labels),
          .pending = &pending_->Add(labels),
          .load_duration = &load_duration_->Add(labels)};
  for (size_t i = 0; i < kReasons; ++i) {
    prometheus::Labels with_reason = labels;
    with_reason["reason"] = kReasonNames[i];
    one.failures[i] = &failure_->Add(with_reason);
  }
  for (size_t i = 0; i < kDurations; ++i) {
    if (durations_[i] != nullptr) one.durations[i] = &durations_[i]->Add(labels);
    // The whole duration of a model with a cache would mix hits and computed answers.
    if (summaries_[i] != nullptr && (i != 0 || !cached(model)))
      one.summaries[i] = &summaries_[i]->Add(labels, quantiles_);
  }
  if (cached(model)) {
    for (size_t i = 0; i < kCache; ++i)
      if (cache_[i] != nullptr) one.cache[i] = &cache_[i]->Add(labels);
    for (size_t i = 0; i < one.cache_summaries.size(); ++i)
      if (cache_summaries_[i] != nullptr) one.cache_summaries[i] = &cache_summaries_[i]->Add(labels, quantiles_);
  }
  if (first_response_ != nullptr && model.tensors && model.tensors->decoupled)
    one.first_response = &first_response_->Add(labels, first_response_buckets(model));
  return series_.emplace(key, std::move(one)).first->second;
}

void VersionSeries::remove(One& one) {
  const auto drop = [](auto* family, auto* metric) {
    if (metric != nullptr) family->Remove(metric);
  };
  drop(success_, one.success);
  drop(count_, one.count);
  followed_.erase(one.executions);
  drop(executions_, one.executions);
  drop(pending_, one.pending);
  drop(load_duration_, one.load_duration);
  for (prometheus::Counter* counter : one.failures) drop(failure_, counter);
  for (size_t i = 0; i < kDurations; ++i) drop(durations_[i], one.durations[i]), drop(summaries_[i], one.summaries[i]);
  for (size_t i = 0; i < kCache; ++i) followed_.erase(one.cache[i]), drop(cache_[i], one.cache[i]);
  for (size_t i = 0; i < one.cache_summaries.size(); ++i) drop(cache_summaries_[i], one.cache_summaries[i]);
  drop(first_response_, one.first_response);
}

// Calls `use` with the series while they cannot go.
template <class Use>
void VersionSeries::with(const CountedModel& model, Use&& use) {
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = series_.find({model.id, model.version}); found != series_.end()) return use(found->second);
  }
  const std::unique_lock lock(mutex_);
  use(add(model));
}

void VersionSeries::count(const CountedModel& model, const Status& status, const Usage& usage, int items) {
  if (!status.ok()) {
    if (!usage.refused) with(model, [&](One& one) { one.failures[failure_reason(status.code())]->Increment(); });
    return;
  }
  const std::array<double, kDurations> took = {
      micros(usage.total), micros(usage.queue), micros(usage.tokenization), micros(usage.inference),
      std::max(0.0, micros(usage.total - usage.queue - usage.tokenization - usage.inference - usage.validation))};
  with(model, [&](One& one) {
    const bool hit = items == 0;  // answered from the cache: nothing was computed
    one.success->Increment();
    one.count->Increment(items);
    for (size_t i = 0; i < kDurations; ++i) {
      if (one.durations[i] != nullptr) one.durations[i]->Increment(took[i]);
      if (one.summaries[i] != nullptr && !hit) one.summaries[i]->Observe(took[i]);
    }
    if (prometheus::Summary* summary = one.cache_summaries[hit ? 0 : 1]) summary->Observe(micros(usage.cache));
  });
}

void VersionSeries::first_response(const CountedModel& model, Clock::duration took) {
  if (!options_.histograms) return;
  with(model, [&](One& one) {
    if (one.first_response != nullptr)
      one.first_response->Observe(std::chrono::duration<double, std::milli>(took).count());
  });
}

// Adds what a count kept elsewhere grew by since it was last read. A reload begins again at 0.
void VersionSeries::follow(prometheus::Counter* counter, double now) {
  if (counter == nullptr) return;
  double& last = followed_[counter];
  counter->Increment(now >= last ? now - last : now);
  last = now;
}

void VersionSeries::write(const RepositorySnapshot& snapshot) {
  const std::unique_lock lock(mutex_);
  for (auto entry = series_.begin(); entry != series_.end();) {
    const ServedModel* model = snapshot.find(entry->first.first);
    const ServedVersion* version = model == nullptr ? nullptr : model->find(entry->first.second);
    const bool stays = version != nullptr && version->backend &&
                       description_of(CountedModel::of(*version->backend, version->number)) == entry->second.described;
    if (!stays) remove(entry->second);
    entry = stays ? std::next(entry) : series_.erase(entry);
  }
  for (const ServedModel& model : snapshot.models)
    for (const ServedVersion& version : model.versions) {
      if (!version.backend) continue;
      One& one = add(CountedModel::of(*version.backend, version.number));
      const EngineStats stats = version.backend->stats();
      one.pending->Set(stats.waiting);
      one.load_duration->Set(version.backend->info().load_seconds);
      inference::ModelStatistics statistics;
      version.backend->write_statistics(statistics);
      follow(one.executions, version.backend->info().text ? static_cast<double>(stats.steps_total)
                                                          : static_cast<double>(statistics.execution_count()));
      const auto& cache = statistics.inference_stats();
      constexpr double kMicro = 1e-3;
      follow(one.cache[0], static_cast<double>(cache.cache_hit().count()));
      follow(one.cache[1], static_cast<double>(cache.cache_miss().count()));
      follow(one.cache[2], static_cast<double>(cache.cache_hit().ns()) * kMicro);
      follow(one.cache[3], static_cast<double>(cache.cache_miss().ns()) * kMicro);
    }
}

}  // namespace inazuma
