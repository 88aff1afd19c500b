#include "text/bpe/merges.h"

#include <algorithm>

namespace inazuma {

namespace {

constexpr uint32_t kNone = UINT32_MAX;

uint64_t pair_key(uint32_t left, uint32_t right) {
  return static_cast<uint64_t>(left) << 32 | right;
}

/// The finaliser of MurmurHash3: spreads neighbouring ids over the table.
uint64_t mix(uint64_t key) {
  key ^= key >> 33;
  key *= 0xff51afd7ed558ccdULL;
  key ^= key >> 33;
  key *= 0xc4ceb9fe1a85ec53ULL;
  return key ^ key >> 33;
}

}  // namespace

size_t MergeTable::place(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = mix(key) & mask;
  while (slots_[at].key != key && slots_[at].key != kFree) at = (at + 1) & mask;
  return at;
}

void MergeTable::grow() {
  std::vector<Slot> old(slots_.empty() ? 64 : slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key != kFree) slots_[place(slot.key)] = slot;
  }
}

void MergeTable::add(uint32_t left, uint32_t right, Merge merge) {
  if (count_ * 2 >= slots_.size()) grow();
  const uint64_t key = pair_key(left, right);
  Slot& slot = slots_[place(key)];
  if (slot.key == kFree) ++count_;
  slot = {key, merge};
}

const Merge* MergeTable::find(uint32_t left, uint32_t right) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[place(pair_key(left, right))];
  return slot.key == kFree ? nullptr : &slot.merge;
}

void Merger::consider(const std::vector<BpeSymbol>& word, uint32_t left, std::vector<Candidate>& queue) const {
  if (left == kNone || links_[left].next == kNone) return;
  const Merge* merge = table_->find(word[left].symbol, word[links_[left].next].symbol);
  if (merge != nullptr) queue.push_back({merge->rank, left});
}

/// Joins `left` with its right neighbour unless the candidate is out of date; the new neighbours become fresh
/// candidates.
void Merger::apply(std::vector<BpeSymbol>& word, Candidate candidate) {
  const uint32_t left = candidate.left;
  const uint32_t right = links_[left].next;
  if (right == kNone || word[left].symbol == kNone) return;
  const Merge* merge = table_->find(word[left].symbol, word[right].symbol);
  if (merge == nullptr || merge->rank != candidate.rank) return;
  word[left].symbol = merge->result;
  word[left].end = word[right].end;
  word[right].symbol = kNone;
  const uint32_t next = links_[right].next;
  links_[left].next = next;
  links_[right].next = kNone;
  if (next != kNone) links_[next].previous = left;
  consider(word, links_[left].previous, fresh_);
  consider(word, left, fresh_);
}

namespace {

/// Heap order: the lowest rank on top, leftmost on ties.
constexpr auto kLater = [](const auto& a, const auto& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
};

}  // namespace

Merger::Candidate Merger::pop() {
  std::pop_heap(queue_.begin(), queue_.end(), kLater);
  const Candidate top = queue_.back();
  queue_.pop_back();
  return top;
}

void Merger::push_fresh() {
  for (const Candidate& candidate : fresh_) {
    queue_.push_back(candidate);
    std::push_heap(queue_.begin(), queue_.end(), kLater);
  }
  fresh_.clear();
}

void Merger::run(std::vector<BpeSymbol>& word) {
  if (word.size() < 2) return;
  const auto count = static_cast<uint32_t>(word.size());
  links_.resize(count);
  for (uint32_t i = 0; i < count; ++i) links_[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  queue_.clear();
  fresh_.clear();
  for (uint32_t i = 0; i + 1 < count; ++i) consider(word, i, queue_);
  std::make_heap(queue_.begin(), queue_.end(), kLater);
  uint32_t rank = 0;
  while (!queue_.empty() || !fresh_.empty()) {
    // Under whole_rank, pairs born from this rank wait until no occurrence of it is left.
    if (order_ == MergeOrder::lowest_pair || queue_.empty() || queue_.front().rank != rank) push_fresh();
    const Candidate top = pop();
    rank = top.rank;
    apply(word, top);
  }
  std::erase_if(word, [](const BpeSymbol& symbol) { return symbol.symbol == kNone; });
}

}  // namespace inazuma
