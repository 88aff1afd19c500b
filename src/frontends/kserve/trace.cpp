#include "frontends/kserve/trace.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "frontends/json.h"
#include "frontends/kserve/json_tensor.h"

namespace inazuma::kserve {

namespace {

int64_t number(const std::string& name, const std::string& text, int64_t low) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > UINT32_MAX)
    throw fail(StatusCode::invalid, "trace setting '{}' is {}, must be a whole number in [{}, {}]", name, quoted(text),
               low, UINT32_MAX);
  return value;
}

void check_levels(const std::vector<std::string>& levels, bool has_file) {
  for (const std::string& level : levels) {
    if (level == "OFF") {
      if (levels.size() > 1) throw fail(StatusCode::invalid, "trace_level OFF cannot be used with other levels");
    } else if (level != "TIMESTAMPS" && level != "TENSORS") {
      throw fail(StatusCode::invalid, "trace_level {} is not known, use OFF, TIMESTAMPS or TENSORS", quoted(level));
    } else if (!has_file) {
      throw fail(StatusCode::invalid,
                 "trace_level {} needs a trace file, and this server was started without one "
                 "(--trace-config triton,file=PATH)",
                 level);
    }
  }
}

void check(const std::string& name, const std::vector<std::string>& values, bool has_file) {
  if (name == "trace_level") return check_levels(values, has_file);
  if (values.size() > 1)
    throw fail(StatusCode::invalid, "trace setting '{}' takes one value, got {}", name, values.size());
  if (name != "trace_rate" && name != "trace_count" && name != "log_frequency")
    throw fail(StatusCode::invalid, "trace setting {} is not known", quoted(name));
  const int64_t low = name == "trace_count" ? -1 : name == "trace_rate" ? 1 : 0;
  if (!values.empty()) (void)number(name, values[0], low);
}

const TraceValues& defaults() {
  static const TraceValues values{{"trace_file", {""}},    {"trace_level", {"OFF"}}, {"trace_rate", {"1000"}},
                                  {"trace_count", {"-1"}}, {"log_frequency", {"0"}}, {"trace_mode", {"triton"}}};
  return values;
}

int64_t value_of(const TraceValues& values, const char* name) {
  return number(name, values.at(name).front(), -1);
}

bool has_level(const TraceValues& values, std::string_view level) {
  const auto& levels = values.at("trace_level");
  return std::find(levels.begin(), levels.end(), level) != levels.end();
}

std::string shape_text(const NamedTensor& tensor) {
  return fmt::format("{}", fmt::join(tensor.shape, ","));
}

template <class T>
std::string reals_text(std::string_view raw) {
  std::string out;
  for (size_t at = 0; at + sizeof(T) <= raw.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, raw.data() + at, sizeof value);
    char text[64];
    const auto end = std::to_chars(text, text + sizeof text, value).ptr;
    if (at > 0) out += ',';
    out.append(text, end);
  }
  return out;
}

// Elements with commas between, 4.0 as "4", strings in quotes; what has no form in text (16-bit floats) is left out.
std::string data_text(const NamedTensor& tensor) {
  if (tensor.type == DataType::fp32) return reals_text<float>(tensor.data.view());
  if (tensor.type == DataType::fp64) return reals_text<double>(tensor.data.view());
  if (tensor.type == DataType::fp16 || tensor.type == DataType::bf16) return "";
  std::string out;
  const Status status = capture([&] { out = write_json_elements(tensor); });
  return status.ok() ? out : "";
}

}  // namespace

// Kept by the traces on their way, which may end after the settings have changed.
class TraceFile {
 public:
  explicit TraceFile(std::string path) : path_(std::move(path)) {
    main_.open(path_, false);
    if (main_.file == nullptr)
      throw fail(StatusCode::unavailable, "the trace file {} cannot be written: {}", quoted(path_),
                 std::strerror(errno));
  }

  uint64_t next_id() { return ++ids_; }

  /// `entries`: objects, comma between. `frequency`: traces to a numbered file; 0: all into the one.
  void append(const std::string& entries, uint64_t frequency) {
    const std::lock_guard lock(mutex_);
    if (frequency == 0) return main_.append(entries);
    if (part_.file == nullptr) part_.open(fmt::format("{}.{}", path_, parts_++), true);
    part_.append(entries);
    if (part_.traces >= frequency) part_.close();
  }

 private:
  struct Output {
    std::FILE* file = nullptr;
    uint64_t traces = 0;

    ~Output() { close(); }
    void open(const std::string& path, bool report) {
      file = std::fopen(path.c_str(), "wb");
      traces = 0;
      if (file != nullptr) std::fputs("[]", file), std::fflush(file);
      if (file == nullptr && report) log::error("a trace is lost", {{"file", path}, {"reason", std::strerror(errno)}});
    }
    // Over the closing bracket, and a new one: the file is whole whenever somebody reads it.
    void append(const std::string& entries) {
      if (file == nullptr) return;
      std::fseek(file, -1, SEEK_END);
      if (traces++ > 0) std::fputc(',', file);
      std::fwrite(entries.data(), 1, entries.size(), file);
      std::fputc(']', file);
      if (std::fflush(file) != 0) log::error("a trace is lost", {{"reason", std::strerror(errno)}});
    }
    void close() {
      if (file != nullptr) std::fclose(file);
      file = nullptr;
    }
  };

  std::string path_;
  std::atomic<uint64_t> ids_ = 0;
  std::mutex mutex_;
  Output main_, part_;
  uint64_t parts_ = 0;
};

struct TracedThings {
  bool timestamps = false, tensors = false;
  uint64_t frequency = 0;  ///< traces to a file; 0 = all into one
};

namespace {

class Trace : public RequestTrace {
 public:
  Trace(std::shared_ptr<TraceFile> file, TracedThings what, uint64_t parent)
      : file_(std::move(file)), what_(what), id_(file_->next_id()), parent_(parent) {}
  ~Trace() override {
    if (!entries_.empty()) file_->append(entries_, what_.frequency);
  }

  void begin(std::string_view model, int64_t version, std::string_view request_id) override {
    JsonWriter json = entry();
    json.key("model_name").text(model).key("model_version").number(version);
    if (!request_id.empty()) json.key("request_id").text(request_id);
    if (parent_ != 0) json.key("parent_id").number_u64(parent_);
    add(std::move(json));
  }
  void stamp(std::string_view name, Clock::time_point at) override {
    // Only whoever asked hears a response.
    if (!what_.timestamps || (parent_ != 0 && name == "INFER_RESPONSE_COMPLETE")) return;
    JsonWriter json = entry();
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count();
    json.key("timestamps").begin_array().begin_object().key("name").text(name).key("ns").number(ns);
    json.end_object().end_array();
    add(std::move(json));
  }
  bool tensors() const override { return what_.tensors; }
  void tensor(std::string_view activity, const NamedTensor& tensor) override {
    if (!what_.tensors) return;
    JsonWriter json = entry();
    json.key("activity").text(activity).key("tensor").begin_object();
    json.key("name").text(tensor.name).key("data").text(data_text(tensor));
    json.key("shape").text(shape_text(tensor)).key("dtype").text(wire_name(tensor.type)).end_object();
    add(std::move(json));
  }
  std::shared_ptr<RequestTrace> child() override { return std::make_shared<Trace>(file_, what_, id_); }

 private:
  JsonWriter entry() const {
    JsonWriter json;
    json.begin_object().key("id").number_u64(id_);
    return json;
  }
  void add(JsonWriter json) {
    json.end_object();
    const std::lock_guard lock(mutex_);
    if (!entries_.empty()) entries_ += ',';
    entries_ += std::move(json).take();
  }

  std::shared_ptr<TraceFile> file_;
  TracedThings what_;
  uint64_t id_, parent_;
  std::mutex mutex_;
  std::string entries_;
};

}  // namespace

// Immutable; the counts that it points to are not.
struct Tracer::Rules {
  struct Rule {
    TracedThings what;
    int64_t rate = 1;
    Count requests, left;
  };
  Rule global;
  std::map<std::string, Rule> models;
};

Tracer::Tracer(const TraceValues& start) {
  global_.own = defaults();
  const auto file = start.find("trace_file");
  const bool has_file = file != start.end() && !file->second.empty() && !file->second.front().empty();
  for (const auto& [name, values] : start) {
    if (name != "trace_file" && name != "trace_mode") check(name, values, has_file);
    if (!values.empty()) global_.own[name] = values;
  }
  if (has_file) file_ = std::make_shared<TraceFile>(file->second.front());
  global_.requests = std::make_shared<std::atomic<int64_t>>(0);
  global_.left = std::make_shared<std::atomic<int64_t>>(value_of(global_.own, "trace_count"));
  make_rules();
}

Tracer::~Tracer() = default;

Status Tracer::update(const std::string& model, const TraceValues& changes) {
  return capture([&] {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, values] : changes) {
      if (name == "trace_file")
        throw fail(StatusCode::unsupported, "trace file location can not be updated through network protocol");
      check(name, values, file_ != nullptr);
    }
    Scope& scope = model.empty() ? global_ : models_[model];
    for (const auto& [name, values] : changes) {
      if (!values.empty())
        scope.own[name] = values;
      else if (model.empty())
        scope.own[name] = defaults().at(name);
      else
        scope.own.erase(name);
    }
    scope.requests = std::make_shared<std::atomic<int64_t>>(0);
    if (changes.contains("trace_count"))
      scope.left = scope.own.contains("trace_count")
                       ? std::make_shared<std::atomic<int64_t>>(value_of(scope.own, "trace_count"))
                       : nullptr;
    if (!model.empty() && scope.own.empty()) models_.erase(model);
    make_rules();
  });
}

// Null: of a model without values of its own.
TraceValues Tracer::values_of(const Scope* scope) const {
  TraceValues out = global_.own;
  if (scope != nullptr)
    for (const auto& [name, values] : scope->own) out[name] = values;
  const Count& left = scope != nullptr && scope->left ? scope->left : global_.left;
  out["trace_count"] = {std::to_string(left->load())};
  return out;
}

TraceValues Tracer::get(const std::string& model) const {
  const std::lock_guard lock(mutex_);
  const auto scope = models_.find(model);
  return values_of(scope == models_.end() ? nullptr : &scope->second);
}

void Tracer::make_rules() {
  // A count stands where it was set: a model without one of its own uses up the global one.
  const auto rule = [&](const Scope& scope) {
    const TraceValues values = values_of(&scope);
    return Rules::Rule{.what = {.timestamps = has_level(values, "TIMESTAMPS"),
                                .tensors = has_level(values, "TENSORS"),
                                .frequency = static_cast<uint64_t>(value_of(values, "log_frequency"))},
                       .rate = value_of(values, "trace_rate"),
                       .requests = scope.requests,
                       .left = scope.left ? scope.left : global_.left};
  };
  const auto traces = [](const Rules::Rule& one) { return one.what.timestamps || one.what.tensors; };
  auto rules = std::make_shared<Rules>();
  rules->global = rule(global_);
  bool any = traces(rules->global);
  for (const auto& [model, scope] : models_) any |= traces(rules->models[model] = rule(scope));
  rules_.set(std::move(rules));
  any_ = any;
}

std::shared_ptr<RequestTrace> Tracer::begin(const std::string& model) {
  if (!any_.load(std::memory_order_relaxed)) return nullptr;
  const std::shared_ptr<const Rules> rules = rules_.get();
  const auto own = rules->models.find(model);
  const Rules::Rule& rule = own == rules->models.end() ? rules->global : own->second;
  if (!rule.what.timestamps && !rule.what.tensors) return nullptr;
  int64_t left = rule.left->load();
  if (left == 0 || ++*rule.requests % rule.rate != 0) return nullptr;
  while (left > 0 && !rule.left->compare_exchange_weak(left, left - 1)) {
  }
  return left == 0 ? nullptr : std::make_shared<Trace>(file_, rule.what, 0);
}

}  // namespace inazuma::kserve
