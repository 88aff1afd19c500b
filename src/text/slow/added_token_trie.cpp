#include "text/slow/added_token_trie.h"

#include <algorithm>
#include <optional>

namespace inazuma {

void AddedTokenTrie::add(std::u32string_view word) {
  if (word.empty()) return;
  int32_t node = 0;
  for (char32_t point : word) {
    int32_t next = step(node, point);
    if (next == kNone) {
      next = static_cast<int32_t>(nodes_.size());
      nodes_[static_cast<size_t>(node)].next.emplace_back(point, next);
      nodes_.emplace_back();
    }
    node = next;
  }
  nodes_[static_cast<size_t>(node)].terminal = true;
}

int32_t AddedTokenTrie::step(int32_t node, char32_t point) const {
  for (const auto& [label, next] : nodes_[static_cast<size_t>(node)].next) {
    if (label == point) return next;
  }
  return kNone;
}

/// A match that began at `start` is complete before `current`. Earlier partial matches and the match itself may still
/// grow: the longest found this way wins. Mirrors the original's bookkeeping, where `start` moves while the states are
/// walked.
std::pair<size_t, size_t> AddedTokenTrie::look_ahead(std::u32string_view text, const std::vector<State>& states,
                                                     size_t start, size_t current, size_t& skip) const {
  size_t end = current;
  for (const State& state : states) {
    if (state.start > start) break;
    size_t ahead = state.start < start ? current + 1 : current;  // earlier states have already consumed text[current]
    end = ahead;
    int32_t node = state.node;
    if (nodes_[static_cast<size_t>(node)].terminal) {
      start = state.start;
      skip = ahead;
    }
    while (ahead < text.size()) {
      node = step(node, text[ahead]);
      if (node == kNone) break;
      ++ahead;
      if (nodes_[static_cast<size_t>(node)].terminal) {
        start = state.start;
        end = ahead;
        skip = ahead;
      }
    }
  }
  return {start, end};
}

std::vector<size_t> AddedTokenTrie::cut(std::u32string_view text) const {
  std::vector<State> states;  // partial matches, in order of start
  std::vector<size_t> cuts = {0};
  size_t skip = 0;
  for (size_t current = 0; current < text.size(); ++current) {
    if (current < skip) continue;
    std::vector<State> kept;
    bool matched = false;
    for (State& state : states) {
      if (nodes_[static_cast<size_t>(state.node)].terminal) {
        auto [start, end] = look_ahead(text, states, state.start, current, skip);
        cuts.push_back(start);
        cuts.push_back(end);
        matched = true;
        break;
      }
      int32_t next = step(state.node, text[current]);
      if (next == kNone) continue;
      state.node = next;
      kept.push_back(state);
    }
    states = matched ? std::vector<State>() : std::move(kept);
    int32_t first = current >= skip ? step(0, text[current]) : kNone;
    if (first != kNone) states.push_back({current, first});
  }
  for (const State& state : states) {
    if (!nodes_[static_cast<size_t>(state.node)].terminal) continue;
    cuts.push_back(state.start);
    cuts.push_back(text.size());
    break;
  }
  cuts.push_back(text.size());
  std::vector<size_t> increasing = {0};
  for (size_t at : cuts) {
    if (at > increasing.back()) increasing.push_back(at);
  }
  return increasing;
}

}  // namespace inazuma
