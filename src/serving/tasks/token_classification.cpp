// Entities: transformers' TokenClassificationPipeline, and the compact spans of the older Japanese NER services.

#include <algorithm>

#include "serving/tasks/task.h"
#include "text/spans.h"
#include "text/unicode.h"

namespace inazuma {

namespace {

// One token that belongs to the text, with its probabilities.
struct PreEntity {
  std::string token;
  std::vector<float> scores;
  TextSpan span;
  int index = 0;
  bool subword = false;
};

struct Labelled {
  std::string label;
  float score = 0;
  TextSpan span;
  int index = 0;
  std::string token;
};

size_t argmax(const std::vector<float>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

std::vector<float> probabilities(const Rows& rows, size_t i) {
  const auto begin = rows.values.begin() + static_cast<ptrdiff_t>(i) * rows.width;
  std::vector<float> out(begin, begin + rows.width);
  softmax(out);
  return out;
}

class Aggregator {
 public:
  Aggregator(const TaskContext& context, const TokenClassification& work, const std::string& text)
      : context_(context), work_(work), text_(text), points_(decode_utf8(text)) {}

  std::vector<Entity> entities(const Encoding& encoding, const Rows& rows) const {
    const std::vector<PreEntity> tokens = gather(encoding, rows);
    std::vector<Entity> out;
    if (work_.aggregation == Aggregation::none) {
      for (const PreEntity& token : tokens) {
        const size_t best = argmax(token.scores);
        out.push_back({context_.model.labels[best], token.scores[best], token.token, token.span, token.index});
      }
    } else {
      out = group(work_.aggregation == Aggregation::simple ? label_tokens(tokens) : label_words(tokens));
    }
    std::erase_if(out, [&](const Entity& e) {
      return std::find(work_.ignore_labels.begin(), work_.ignore_labels.end(), e.label) != work_.ignore_labels.end();
    });
    return out;
  }

  std::string text_of(TextSpan span) const { return substring(text_, span); }

 private:
  std::vector<PreEntity> gather(const Encoding& encoding, const Rows& rows) const {
    std::vector<PreEntity> out;
    int previous_word = -1;
    for (size_t i = 0; i < encoding.size(); ++i) {
      if (encoding.special[i]) continue;
      PreEntity token{context_.tokenizer.token(encoding.ids[i]).value_or(""), probabilities(rows, i),
                      encoding.offsets[i], static_cast<int>(i), false};
      token.subword = is_subword(token, encoding.word[i] == previous_word);
      if (context_.tokenizer.special_tokens().unk == encoding.ids[i]) {
        token.token = text_of(token.span);
        token.subword = false;
      }
      previous_word = encoding.word[i];
      out.push_back(std::move(token));
    }
    return out;
  }

  // The pipeline's rule for fast tokenizers; slow ones, which it refuses to aggregate by words, know their words here.
  bool is_subword(const PreEntity& token, bool same_word) const {
    if (!context_.tokenizer.is_fast()) return same_word;
    if (!context_.tokenizer.continuing_prefix().empty())
      return count_points(token.token) != static_cast<size_t>(token.span.end - token.span.start);
    if (token.span.start == 0) return false;
    const auto blank = [&](int32_t at) {
      return at < static_cast<int32_t>(points_.size()) && points_[static_cast<size_t>(at)] == U' ';
    };
    return !blank(token.span.start - 1) && !blank(token.span.start);
  }

  std::vector<Labelled> label_tokens(const std::vector<PreEntity>& tokens) const {
    std::vector<Labelled> out;
    for (const PreEntity& token : tokens) {
      const size_t best = argmax(token.scores);
      out.push_back({context_.model.labels[best], token.scores[best], token.span, token.index, token.token});
    }
    return out;
  }

  std::vector<Labelled> label_words(const std::vector<PreEntity>& tokens) const {
    std::vector<Labelled> out;
    for (size_t begin = 0; begin < tokens.size();) {
      size_t end = begin + 1;
      while (end < tokens.size() && tokens[end].subword) ++end;
      out.push_back(label_word(std::span(tokens).subspan(begin, end - begin)));
      begin = end;
    }
    return out;
  }

  Labelled label_word(std::span<const PreEntity> word) const {
    std::vector<float> scores = word.front().scores;
    if (work_.aggregation == Aggregation::max) {
      const auto peak = [](const PreEntity& token) {
        return *std::max_element(token.scores.begin(), token.scores.end());
      };
      scores = std::max_element(word.begin(), word.end(), [&](const auto& a, const auto& b) {
                 return peak(a) < peak(b);
               })->scores;
    } else if (work_.aggregation == Aggregation::average) {
      for (size_t label = 0; label < scores.size(); ++label) {
        float sum = 0;
        for (const PreEntity& token : word) sum += token.scores[label];
        scores[label] = sum / static_cast<float>(word.size());
      }
    }
    const size_t best = argmax(scores);
    return {context_.model.labels[best],
            scores[best],
            {word.front().span.start, word.back().span.end},
            word.front().index,
            word.front().token};
  }

  // B- starts a group, I- (and any label without a prefix) continues one of its own type.
  std::vector<Entity> group(const std::vector<Labelled>& labelled) const {
    const auto begins = [](const std::string& label) { return label.starts_with("B-"); };
    const auto type = [](const std::string& label) {
      return label.starts_with("B-") || label.starts_with("I-") ? label.substr(2) : label;
    };
    std::vector<Entity> out;
    for (size_t begin = 0; begin < labelled.size();) {
      size_t end = begin + 1;
      while (end < labelled.size() && type(labelled[end].label) == type(labelled[end - 1].label) &&
             !begins(labelled[end].label))
        ++end;
      float sum = 0;
      for (size_t i = begin; i < end; ++i) sum += labelled[i].score;
      const std::string& label = labelled[begin].label;
      const size_t dash = label.find('-');
      const TextSpan span{labelled[begin].span.start, labelled[end - 1].span.end};
      out.push_back({dash == std::string::npos ? label : label.substr(dash + 1), sum / static_cast<float>(end - begin),
                     text_of(span), span, labelled[begin].index});
      begin = end;
    }
    return out;
  }

  const TaskContext& context_;
  const TokenClassification& work_;
  const std::string& text_;
  std::u32string points_;
};

// Labels at the first sub-token of each word, BIO over words; no word is split by an entity.
std::vector<Entity> spans(const TaskContext& context, const std::string& text, const Encoding& encoding,
                          const Rows& rows) {
  const std::vector<TokenWord> words = words_of(encoding);
  std::vector<std::string> tags;
  for (const TokenWord& word : words) tags.push_back(context.model.labels[argmax(probabilities(rows, word.begin))]);
  std::vector<Entity> out;
  for (const TagSpan& found : spans_of_tags(tags)) {
    const TextSpan span{words[found.first].span.start, words[found.last].span.end};
    out.push_back({found.type, 0, substring(text, span), span, 0});
  }
  return out;
}

// Entities of overlapping windows: of those that overlap keep the longer, then the more certain.
std::vector<Entity> merge_windows(std::vector<Entity> entities) {
  std::stable_sort(entities.begin(), entities.end(),
                   [](const Entity& a, const Entity& b) { return a.span.start < b.span.start; });
  std::vector<Entity> out;
  for (Entity& entity : entities) {
    if (out.empty() || entity.span.start >= out.back().span.end) {
      out.push_back(std::move(entity));
      continue;
    }
    const int length = entity.span.end - entity.span.start;
    const int kept = out.back().span.end - out.back().span.start;
    if (length > kept || (length == kept && entity.score > out.back().score)) out.back() = std::move(entity);
  }
  return out;
}

}  // namespace

PreparedTask prepare(const TokenClassification& work, const TaskContext& context) {
  if (work.inputs.empty()) throw fail(StatusCode::empty, "inputs is empty; give at least one text");
  if (work.stride && *work.stride < 0)
    throw fail(StatusCode::invalid, "stride is {}, must be at least 0", *work.stride);
  PreparedTask out;
  auto encodings = std::make_shared<std::vector<std::vector<Encoding>>>();  // [input][window]
  for (const std::string& text : work.inputs) {
    out.characters += code_points(text);
    std::vector<Encoding>& parts = encodings->emplace_back();
    if (work.stride && context.max_length > 0) {
      const Encoding whole = context.tokenizer.encode(text, {.add_special_tokens = false}).value();
      for (const Encoding& window :
           windows(whole, context.max_length - context.tokenizer.added_tokens(false), *work.stride))
        parts.push_back(context.tokenizer.build(window, nullptr));
    } else {
      parts.push_back(encode_within(context, text, {.truncate = true}));
    }
    for (const Encoding& part : parts) {
      out.rows.push_back(to_row(part));
      out.rows.back().rows = SequenceRequest::Wanted::all;
    }
  }
  out.finish = [work, context, encodings](std::vector<RowOutput> outputs) -> Outcome {
    TokenClassificationResult result;
    size_t row = 0;
    for (size_t input = 0; input < work.inputs.size(); ++input) {
      const Aggregator aggregator(context, work, work.inputs[input]);
      const std::vector<Encoding>& parts = (*encodings)[input];
      std::vector<Entity> entities;
      for (const Encoding& part : parts) {
        const Rows& rows = outputs[row++].rows;
        std::vector<Entity> found =
            work.spans ? spans(context, work.inputs[input], part, rows) : aggregator.entities(part, rows);
        std::move(found.begin(), found.end(), std::back_inserter(entities));
      }
      result.entities.push_back(parts.size() > 1 ? merge_windows(std::move(entities)) : std::move(entities));
    }
    return result;
  };
  return out;
}

}  // namespace inazuma
