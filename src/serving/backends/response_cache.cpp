#include "serving/backends/response_cache.h"

#include <openssl/evp.h>

#include <algorithm>

namespace inazuma {

namespace {

// Every piece behind its length, so that no two different requests give the same stream of bytes.
class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1)
      throw Error(StatusCode::internal, "SHA-256 is not available");
  }
  Digest& add(std::string_view piece) {
    number(piece.size());
    update(piece.data(), piece.size());
    return *this;
  }
  Digest& number(uint64_t value) {
    update(&value, sizeof value);
    return *this;
  }
  std::string take() {
    std::string out(32, '\0');
    unsigned int length = 0;
    if (EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(out.data()), &length) != 1)
      throw Error(StatusCode::internal, "SHA-256 failed");
    return out;
  }

 private:
  void update(const void* data, size_t size) {
    if (EVP_DigestUpdate(context_.get(), data, size) != 1) throw Error(StatusCode::internal, "SHA-256 failed");
  }
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
};

size_t cost(const std::string& key, const TensorResult& result) {
  constexpr size_t kNode = 256;  // list, map and strings, about
  size_t bytes = kNode + key.size();
  for (const NamedTensor& tensor : result.outputs)
    bytes += kNode + tensor.name.size() + tensor.shape.size() * sizeof(int64_t) + tensor.data.size();
  return bytes;
}

}  // namespace

std::string ResponseCache::key(const TensorModel& model, const TensorInference& inference) {
  Digest digest;
  digest.add(model.name).number(static_cast<uint64_t>(model.version));
  std::vector<const NamedTensor*> inputs;
  for (const NamedTensor& tensor : inference.inputs) inputs.push_back(&tensor);
  std::sort(inputs.begin(), inputs.end(), [](const NamedTensor* a, const NamedTensor* b) { return a->name < b->name; });
  digest.number(inputs.size());
  for (const NamedTensor* tensor : inputs) {
    digest.add(tensor->name).number(static_cast<uint64_t>(tensor->type)).number(tensor->shape.size());
    for (const int64_t dim : tensor->shape) digest.number(static_cast<uint64_t>(dim));
    digest.add(tensor->data.view());
  }
  std::vector<std::string_view> outputs;
  for (const RequestedOutput& output : inference.outputs) outputs.push_back(output.name);
  std::sort(outputs.begin(), outputs.end());
  digest.number(outputs.size());
  for (const std::string_view name : outputs) digest.add(name);
  digest.number(inference.parameters.size());
  for (const auto& [name, value] : inference.parameters) {
    digest.add(name).number(value.index());
    if (const auto* text = std::get_if<std::string>(&value))
      digest.add(*text);
    else if (const auto* flag = std::get_if<bool>(&value))
      digest.number(*flag ? 1 : 0);
    else if (const auto* whole = std::get_if<int64_t>(&value))
      digest.number(static_cast<uint64_t>(*whole));
    else
      digest.add(std::string_view(reinterpret_cast<const char*>(&std::get<double>(value)), sizeof(double)));
  }
  return digest.take();
}

std::optional<TensorResult> ResponseCache::find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->result;
}

void ResponseCache::insert(const std::string& key, const TensorResult& result) {
  // Outputs may lie in a request's own bytes: the cache keeps copies, not requests.
  TensorResult copy = result;
  for (NamedTensor& tensor : copy.outputs) tensor.data = std::string(tensor.data.view());
  const size_t bytes = cost(key, copy);
  const std::lock_guard lock(mutex_);
  if (bytes > limit_ || by_key_.contains(key)) return;
  while (used_ + bytes > limit_) {
    used_ -= entries_.back().bytes;
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  entries_.push_front({key, std::move(copy), bytes});
  by_key_[key] = entries_.begin();
  used_ += bytes;
}

size_t ResponseCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return used_;
}

}  // namespace inazuma
