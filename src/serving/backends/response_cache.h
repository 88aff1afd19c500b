#pragma once
// Answers kept for requests that are alike in everything that may change an answer.

#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "serving/config/tensor_model.h"

namespace inazuma {

/// Least recently used goes first. Thread-safe; shared by the models of a server that enable it.
class ResponseCache {
 public:
  explicit ResponseCache(size_t bytes) : limit_(bytes) {}

  /// SHA-256 over model, version, every input's name, datatype, shape and bytes, the outputs asked for and the custom
  /// parameters. (The reference hashes names and bytes only and can mix up [2,3] with [3,2].)
  static std::string key(const TensorModel& model, const TensorInference& inference);

  std::optional<TensorResult> find(const std::string& key);
  /// Answers larger than the whole cache are not kept.
  void insert(const std::string& key, const TensorResult& result);
  size_t bytes() const;

 private:
  struct Entry {
    std::string key;
    TensorResult result;
    size_t bytes = 0;
  };
  mutable std::mutex mutex_;
  size_t limit_;
  size_t used_ = 0;
  std::list<Entry> entries_;  ///< newest first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
};

}  // namespace inazuma
