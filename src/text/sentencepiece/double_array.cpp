#include "text/sentencepiece/double_array.h"

#include <algorithm>

namespace inazuma {

namespace {

constexpr uint32_t kBlock = 256;  // children of a node stay inside one block
constexpr uint32_t kOpenBlocks = 16;

}  // namespace

/// Places nodes depth first. Free units of the last blocks form a ring; older blocks are closed, which bounds the
/// search for a place and costs little space.
class DoubleArrayBuilder {
 public:
  using Keys = std::vector<std::pair<std::string_view, int32_t>>;

  explicit DoubleArrayBuilder(DoubleArray& out) : units_(out.units_) {}

  void build(const Keys& keys) {
    add_block();
    take(DoubleArray::kRoot, DoubleArray::kRoot);
    struct Range {
      uint32_t node;
      size_t begin, end, depth;
    };
    std::vector<Range> pending = {{DoubleArray::kRoot, 0, keys.size(), 0}};
    std::vector<Range> children;
    while (!pending.empty()) {
      Range range = pending.back();
      pending.pop_back();
      if (keys[range.begin].first.size() == range.depth) {  // sorted: the key that ends here comes first
        units_[range.node].value = keys[range.begin].second;
        ++range.begin;
      }
      children.clear();
      labels_.clear();
      for (size_t i = range.begin; i < range.end; ++i) {
        const auto label = static_cast<unsigned char>(keys[i].first[range.depth]);
        if (labels_.empty() || labels_.back() != label) {
          labels_.push_back(label);
          children.push_back({0, i, i, range.depth + 1});
        }
        children.back().end = i + 1;
      }
      if (labels_.empty()) continue;
      const uint32_t base = find_base();
      units_[range.node].base = base;
      for (size_t i = 0; i < children.size(); ++i) {
        children[i].node = base ^ labels_[i];
        take(children[i].node, range.node);
      }
      pending.insert(pending.end(), children.rbegin(), children.rend());
    }
    units_.shrink_to_fit();
  }

 private:
  static constexpr uint32_t kFree = UINT32_MAX;

  struct Links {
    uint32_t next = 0, previous = 0;
    bool listed = false;
  };

  bool is_free(uint32_t unit) const { return units_[unit].parent == kFree; }

  void add_block() {
    const auto begin = static_cast<uint32_t>(units_.size());
    units_.resize(begin + kBlock);
    links_.resize(begin + kBlock);
    for (uint32_t unit = begin; unit < begin + kBlock; ++unit) link(unit);
    if (begin < kOpenBlocks * kBlock) return;
    const uint32_t closed = begin - kOpenBlocks * kBlock;
    for (uint32_t unit = closed; unit < closed + kBlock; ++unit) {
      if (links_[unit].listed) unlink(unit);
    }
  }

  void link(uint32_t unit) {
    links_[unit].listed = true;
    if (count_++ == 0) {
      first_ = links_[unit].next = links_[unit].previous = unit;
      return;
    }
    const uint32_t last = links_[first_].previous;
    links_[unit].previous = last;
    links_[unit].next = first_;
    links_[last].next = unit;
    links_[first_].previous = unit;
  }

  void unlink(uint32_t unit) {
    links_[unit].listed = false;
    --count_;
    links_[links_[unit].previous].next = links_[unit].next;
    links_[links_[unit].next].previous = links_[unit].previous;
    if (first_ == unit) first_ = links_[unit].next;
  }

  void take(uint32_t unit, uint32_t parent) {
    units_[unit].parent = parent;
    if (links_[unit].listed) unlink(unit);
  }

  uint32_t find_base() {
    uint32_t unit = first_;
    for (uint32_t i = 0; i < count_; ++i, unit = links_[unit].next) {
      const uint32_t base = unit ^ labels_.front();
      if (std::all_of(labels_.begin(), labels_.end(), [&](unsigned char label) { return is_free(base ^ label); })) {
        return base;
      }
    }
    const auto begin = static_cast<uint32_t>(units_.size());
    add_block();
    return begin;
  }

  std::vector<DoubleArray::Unit>& units_;
  std::vector<Links> links_;
  std::vector<unsigned char> labels_;
  uint32_t first_ = 0;
  uint32_t count_ = 0;
};

DoubleArray::DoubleArray(std::vector<std::pair<std::string_view, int32_t>> keys) {
  if (keys.empty()) return;
  std::sort(keys.begin(), keys.end());
  DoubleArrayBuilder(*this).build(keys);
}

int32_t DoubleArray::find(std::string_view key) const {
  if (empty()) return kNone;
  uint32_t node = kRoot;
  for (char byte : key) {
    if (!step(node, static_cast<unsigned char>(byte))) return kNone;
  }
  return value(node);
}

size_t DoubleArray::longest_prefix(std::string_view text) const {
  if (empty()) return 0;
  size_t longest = 0;
  uint32_t node = kRoot;
  for (size_t i = 0; i < text.size() && step(node, static_cast<unsigned char>(text[i])); ++i) {
    if (value(node) != kNone) longest = i + 1;
  }
  return longest;
}

}  // namespace inazuma
