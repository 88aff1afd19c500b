#include <spdlog/spdlog.h>

#include <algorithm>

#include "weights/bytes.h"
#include "weights/weight_store.h"

namespace inazuma {
namespace {

/// '*' matches any run of characters, also none; everything else stands for itself.
bool matches(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0;
  size_t star = std::string_view::npos, resume = 0;  // where to continue when the text after the last '*' does not fit
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool computes(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

}  // namespace

WeightReader::WeightReader(std::shared_ptr<const WeightStore> store, bool dry_run)
    : store_(std::move(store)), dry_run_(dry_run), used_(store_->tensors().size(), false) {
  for (const StoredTensor& tensor : store_->tensors()) total_bytes_ += tensor.bytes;
}

void WeightReader::set_prefixes(std::initializer_list<std::string_view> prefixes) {
  prefixes_.assign(prefixes.begin(), prefixes.end());
  if (prefixes_.empty()) prefixes_.emplace_back();
}

void WeightReader::set_progress(LoadProgress progress) {
  progress_ = std::move(progress);
}

std::optional<size_t> WeightReader::resolve(std::string_view path) const {
  const auto tensors = store_->tensors();
  for (const std::string& prefix : prefixes_) {
    const std::string name = prefix + std::string(path);
    const auto it = std::lower_bound(tensors.begin(), tensors.end(), name,
                                     [](const StoredTensor& a, const std::string& b) { return a.name < b; });
    if (it != tensors.end() && it->name == name) return static_cast<size_t>(it - tensors.begin());
  }
  return std::nullopt;
}

bool WeightReader::has(std::string_view path) const {
  return resolve(path).has_value();
}

std::vector<int64_t> WeightReader::shape_of(std::string_view path) const {
  const auto index = resolve(path);
  return index ? store_->tensors()[*index].shape : std::vector<int64_t>();
}

void WeightReader::mark_used(size_t index) {
  if (used_[index]) return;
  used_[index] = true;
  if (dry_run_) return;
  done_bytes_ += store_->tensors()[index].bytes;
  if (progress_) progress_(done_bytes_, total_bytes_);
}

Tensor WeightReader::require(std::string_view path, const Shape& expected,
                             std::initializer_list<std::string_view> aliases) {
  std::optional<size_t> found = resolve(path);
  for (std::string_view alias : aliases) {
    const auto index = resolve(alias);
    if (!found) {
      found = index;
    } else if (index && index != found) {
      mark_used(*index);  // another name of the same tensor: ties are stored under every name they have
    }
  }
  if (!found) {
    report_.missing.push_back(printable(prefixes_.front() + std::string(path)) + " " + to_string(expected));
    return {};
  }
  mark_used(*found);
  const StoredTensor& stored = store_->tensors()[*found];
  if (!std::ranges::equal(stored.shape, expected.extents())) {
    report_.misshapen.push_back(fmt::format("{}: expected {}, file has {}", printable(stored.name), to_string(expected),
                                            format_extents(stored.shape)));
    return {};
  }
  if (!computes(stored.dtype)) {
    report_.misshapen.push_back(fmt::format("{}: expected float32, float16 or bfloat16, file has {}",
                                            printable(stored.name), name(stored.dtype)));
    return {};
  }
  if (dry_run_) return Tensor(static_cast<const void*>(nullptr), stored.dtype, expected);
  return store_->find(stored.name);
}

void WeightReader::ignore(std::initializer_list<std::string_view> patterns) {
  ignored_.insert(ignored_.end(), patterns.begin(), patterns.end());
}

bool WeightReader::is_ignored(std::string_view stored_name) const {
  for (const std::string& pattern : ignored_) {
    if (matches(pattern, stored_name)) return true;
    for (const std::string& prefix : prefixes_)
      if (stored_name.starts_with(prefix) && matches(pattern, stored_name.substr(prefix.size()))) return true;
  }
  return false;
}

Status WeightReader::finish() {
  report_.unused.clear();
  const auto tensors = store_->tensors();
  for (size_t i = 0; i < tensors.size(); ++i)
    if (!used_[i] && !is_ignored(tensors[i].name)) report_.unused.push_back(printable(tensors[i].name));
  if (progress_ && !dry_run_ && done_bytes_ < total_bytes_) progress_(done_bytes_ = total_bytes_, total_bytes_);
  if (report_.missing.empty() && report_.misshapen.empty()) return {};
  std::string message = "the weights do not fit the configuration";
  if (!report_.missing.empty()) message += fmt::format("; missing: {}", fmt::join(report_.missing, ", "));
  if (!report_.misshapen.empty()) message += fmt::format("; misshapen: {}", fmt::join(report_.misshapen, ", "));
  return Status(StatusCode::invalid, message);
}

}  // namespace inazuma
