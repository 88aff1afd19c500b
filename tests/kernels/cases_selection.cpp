#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/cases.h"

namespace inazuma::testing {

namespace {

struct SelectionCase {
  std::string name;
  int64_t vocab;
  std::vector<SelectionRow> rows;
  std::vector<int32_t> bans;
  float spread = 2.0f;
  int64_t best = 0;     ///< alternatives asked for
  bool whole = false;   ///< logits are small whole numbers: full of ties
  std::string special;  ///< "nan", "inf", "nothing"
};

constexpr int64_t kCapacity = 50;

Case make_case(SelectionCase c) {
  Random random(std::hash<std::string>{}(c.name));
  const auto rows = static_cast<int64_t>(c.rows.size());
  Array logits = normal(random, rows, c.vocab, {.slack = 3, .offset = 1}, c.spread);
  std::vector<int32_t> history;
  for (int64_t i = 0; i < (rows + 1) * kCapacity; ++i) history.push_back(random.below(c.vocab + 2));
  for (int64_t r = 0; r < rows; ++r) {
    c.rows[static_cast<size_t>(r)].slot = static_cast<int32_t>(rows - r);
    for (int64_t v = 0; v < c.vocab; ++v) {
      float& x = logits.at(r, v);
      if (c.whole) x = std::floor(x);
      if (c.special == "nan" && v % 3 == 0) x = std::nanf("");
      if (c.special == "inf" && v % 5 == 1) x = v % 2 == 0 ? HUGE_VALF : -HUGE_VALF;
      if (c.special == "nothing") x = v % 2 == 0 ? std::nanf("") : -HUGE_VALF;
    }
  }
  Case out;
  out.name = fmt::format("select_tokens {} ({}x{})", c.name, rows, c.vocab);
  out.bytes = 4.0 * static_cast<double>(rows * c.vocab);
  out.prepare = [=](Home& home) {
    SelectionArgs args;
    Array per_row = full(blank(1, rows));
    per_row.shape = Shape{rows};
    const Placed tokens = home.place(ints(std::vector<int32_t>(c.rows.size()))), logprobs = home.place(per_row);
    const Placed past = home.place(ints(history, rows + 1)), scores = home.place(full(logits));
    const Placed ids = home.place(ints(std::vector<int32_t>(static_cast<size_t>(rows * c.best)), rows));
    const Placed best = home.place(full(blank(rows, c.best)));
    args.logits = scores.view;
    args.rows = home.bytes(c.rows.data(), c.rows.size(), sizeof(SelectionRow));
    if (!c.bans.empty()) args.bans = home.place(ints(c.bans)).view;
    args.history = past.view;
    args.tokens = tokens.view;
    args.logprobs = logprobs.view;
    if (c.best > 0) args.top_ids = ids.view;
    if (c.best > 0) args.top_logprobs = best.view;
    return Ready{[=, &home] { home.ops().select_tokens(args); },
                 [=, &home] {
                   return std::vector<Produced>{{"tokens", home.read(tokens)},
                                                {"logprobs", home.read(logprobs)},
                                                {"history", home.read(past)},
                                                {"top_ids", home.read(ids)},
                                                {"top_logprobs", home.read(best)}};
                 }};
  };
  // Ids are exact. A log-probability is a difference of exact floats and the log of a sum: 1024/4 additions and the
  // error of exp, whose argument is rounded once.
  out.tolerance = [spread = c.spread](size_t o, size_t, double oracle) {
    const bool ids = o == 0 || o == 2 || o == 3;
    return ids ? 0.0 : kEps * (256 + 16 + 40.0 * spread + 2 * std::abs(oracle));
  };
  out.rounded = [](size_t, size_t, double) { return 0.0; };
  return out;
}

std::vector<SelectionRow> several(int count, SelectionRow row) {
  std::vector<SelectionRow> rows;
  for (int i = 0; i < count; ++i) {
    row.length = 5 + i;
    row.generated = 2 + i;
    row.seed = static_cast<uint64_t>(i) * 0x100000001ull;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

std::vector<Case> selection_cases() {
  std::vector<Case> cases;
  const auto add = [&](SelectionCase c) { cases.push_back(make_case(std::move(c))); };
  for (int64_t vocab : {1, 2, 7, 16, 17, 1000, 32000}) {
    const auto suffix = fmt::format(" of {}", vocab);
    const int64_t best = std::min<int64_t>(vocab, 5);
    add({"greedy" + suffix, vocab, several(2, {}), {}, 2.0f, best});
    add({"greedy ties" + suffix, vocab, several(2, {}), {}, 1.0f, best, true});
    add({"draw" + suffix, vocab, several(4, {.sample = 1})});
    add({"top-k 3" + suffix, vocab, several(4, {.sample = 1, .top_k = 3}), {}, 2.0f, best});
    add({"top-k ties" + suffix, vocab, several(4, {.sample = 1, .top_k = 5}), {}, 1.0f, best, true});
    add({"top-p" + suffix, vocab, several(4, {.sample = 1, .top_p = 0.8f}), {}, 3.0f, best});
    add({"min-p" + suffix, vocab, several(4, {.sample = 1, .min_p = 0.1f}), {}, 3.0f, best});
    add({"typical" + suffix, vocab, several(4, {.sample = 1, .typical_p = 0.7f}), {}, 3.0f, best});
    add({"everything" + suffix,
         vocab,
         several(4, {.sample = 1,
                     .top_k = 50,
                     .temperature = 0.7f,
                     .top_p = 0.95f,
                     .min_p = 0.01f,
                     .typical_p = 0.9f,
                     .repetition_penalty = 1.3f,
                     .frequency_penalty = 0.1f,
                     .presence_penalty = 0.2f}),
         {},
         3.0f,
         best});
  }
  // More ids with one score, or with almost one, than a list of candidates holds.
  add({"top-p ties of 32000", 32000, several(4, {.sample = 1, .top_p = 0.6f}), {}, 1.0f, 5, true});
  add({"typical ties of 32000", 32000, several(4, {.sample = 1, .typical_p = 0.6f}), {}, 1.0f, 5, true});
  add({"flat top-k", 20000, several(2, {.sample = 1, .top_k = 9000}), {}, 1e-3f, 5});
  add({"flat top-p", 20000, several(2, {.sample = 1, .top_p = 0.3f}), {}, 1e-3f, 5});
  add({"best of many", 5000, several(2, {}), {}, 2.0f, 1500});
  add({"best of many ties", 5000, several(2, {.sample = 1, .top_p = 0.9f}), {}, 1.0f, 1500, true});
  add({"top-k beyond the vocabulary", 20, several(3, {.sample = 1, .top_k = 100})});
  add({"top-p 0 keeps one", 50, several(3, {.sample = 1, .top_p = 0.0f}), {}, 1.0f, 4, true});
  add({"hot", 500, several(5, {.sample = 1, .temperature = 20.0f})});
  add({"cold", 500, several(5, {.sample = 1, .temperature = 0.01f})});
  add({"repetition", 60, several(3, {.repetition_penalty = 2.5f}), {}, 2.0f, 10});
  add({"frequency and presence", 12, several(6, {.frequency_penalty = 0.5f, .presence_penalty = 0.25f}), {}, 2.0f, 12});
  add({"negative penalties", 12, several(3, {.frequency_penalty = -0.5f, .presence_penalty = -0.25f}), {}, 2.0f, 12});
  add({"eos held back", 4, several(3, {.min_new_tokens = 4, .eos_count = 3, .eos = {0, 1, 99}}), {}, 2.0f, 4});
  add({"bans", 9, several(3, {.ban_begin = 1, .ban_end = 6}), {8, 0, 3, 2, -4, 300, 8}, 2.0f, 9});
  add({"all banned", 3, several(2, {.ban_begin = 0, .ban_end = 3}), {0, 1, 2}});
  const SelectionRow beam{.log_softmax_first = 1};
  for (int64_t vocab : {1, 2, 17, 1000, 32000}) {
    const auto suffix = fmt::format(" of {}", vocab);
    add({"beam" + suffix, vocab, several(3, beam), {}, 2.0f, std::min<int64_t>(vocab, 16)});
    add({"beam ties" + suffix, vocab, several(3, beam), {}, 1.0f, std::min<int64_t>(vocab, 16), true});
  }
  add({"beam with penalties",
       60,
       several(3, {.min_new_tokens = 9,
                   .eos_count = 2,
                   .eos = {3, 4},
                   .ban_begin = 0,
                   .ban_end = 4,
                   .repetition_penalty = 1.7f,
                   .frequency_penalty = 0.3f,
                   .presence_penalty = 0.1f,
                   .log_softmax_first = 1}),
       {7, 8, 9, 59},
       2.0f,
       60});
  add({"tempered without a draw", 60, several(3, {.temperature = 0.6f, .repetition_penalty = 1.7f}), {}, 2.0f, 10});
  for (const char* special : {"nan", "inf", "nothing"})
    add({fmt::format("beam {}", special), 41, several(3, beam), {}, 2.0f, 6, false, special});
  for (int32_t sample : {0, 1})
    for (const char* special : {"nan", "inf", "nothing"})
      add({fmt::format("{} sample {}", special, sample),
           41,
           several(3,
                   {.sample = sample, .top_k = sample * 10, .temperature = 0.5f, .top_p = sample == 1 ? 0.9f : 1.0f}),
           {},
           2.0f,
           6,
           false,
           special});
  return cases;
}

}  // namespace inazuma::testing
