// The post-processors of tokenizer.json: special tokens around texts, and trimmed offsets.
#include <algorithm>

#include "text/pipeline/parts.h"
#include "text/slow_base.h"

namespace inazuma {

namespace {

void set_type(Encoding& encoding, int32_t type_id) {
  encoding.type_ids.assign(encoding.size(), type_id);
}
void set_sequence(Encoding& encoding, int32_t sequence) {
  encoding.sequence.assign(encoding.size(), sequence);
}

/// Takes the spaces that belong to a token's text out of its span, except the one that add_prefix_space put there.
void trim_offsets(ProcessedText& text, bool add_prefix_space) {
  for (size_t i = 0; i < text.spaces.size(); ++i) {
    TextSpan& span = text.encoding.offsets[i];
    int32_t leading = text.spaces[i].leading;
    const int32_t trailing = text.spaces[i].trailing;
    const bool first = i == 0 || span.start == 0;
    if (first && add_prefix_space && leading == 1) leading = 0;
    if (leading > 0) span.start = std::min(span.start + leading, span.end);
    if (trailing > 0 && span.end >= trailing) span.end = std::max(span.end - trailing, span.start);
  }
}

struct SpecialToken {
  std::string text;
  int32_t id = 0;
};

/// ["[SEP]", 102]
SpecialToken read_special(const JsonField& field) {
  if (field.size() != 2) field.malformed("must be [token, id]");
  return {field.item(0).text(), static_cast<int32_t>(field.item(1).integer(0, INT32_MAX - 1))};
}

/// `before` text `after`, the added ones of type `type_id`.
void surround(ProcessedText& text, const SpecialToken* before, const SpecialToken& after, int32_t type_id,
              int32_t sequence) {
  ProcessedText out;
  if (before != nullptr) append_special(out.encoding, before->id, type_id);
  const std::vector<int32_t> types = text.encoding.type_ids;
  const size_t begin = out.encoding.size();
  append_text(out.encoding, text.encoding, type_id, sequence);
  std::copy(types.begin(), types.end(), out.encoding.type_ids.begin() + static_cast<ptrdiff_t>(begin));
  append_special(out.encoding, after.id, type_id);
  if (!text.spaces.empty()) {
    out.spaces.resize(begin);
    out.spaces.insert(out.spaces.end(), text.spaces.begin(), text.spaces.end());
    out.spaces.resize(out.encoding.size());
  }
  text = std::move(out);
}

class BertProcessing : public PostProcessor {
 public:
  explicit BertProcessing(const JsonField& field)
      : sep_(read_special(field.at("sep"))), cls_(read_special(field.at("cls"))) {}
  int32_t added_tokens(bool pair) const override { return pair ? 3 : 2; }
  void process(std::vector<ProcessedText>& texts, bool add_special_tokens, bool) const override {
    if (!add_special_tokens) return;
    for (size_t i = 0; i < texts.size(); ++i) {
      surround(texts[i], i == 0 ? &cls_ : nullptr, sep_, i == 0 ? 0 : 1, static_cast<int32_t>(i));
    }
  }

 private:
  SpecialToken sep_, cls_;
};

class RobertaProcessing : public PostProcessor {
 public:
  explicit RobertaProcessing(const JsonField& field)
      : sep_(read_special(field.at("sep"))),
        cls_(read_special(field.at("cls"))),
        trim_(field.at("trim_offsets").flag()),
        add_prefix_space_(field.at("add_prefix_space").flag()) {}
  int32_t added_tokens(bool pair) const override { return pair ? 4 : 2; }
  bool trims_offsets() const override { return trim_; }
  void process(std::vector<ProcessedText>& texts, bool add_special_tokens, bool trim) const override {
    for (size_t i = 0; i < texts.size(); ++i) {
      if (trim_ && trim) trim_offsets(texts[i], add_prefix_space_);
      set_type(texts[i].encoding, 0);
      if (add_special_tokens) surround(texts[i], i == 0 ? &cls_ : &sep_, sep_, 0, static_cast<int32_t>(i));
    }
  }

 private:
  SpecialToken sep_, cls_;
  bool trim_, add_prefix_space_;
};

class ByteLevelProcessing : public PostProcessor {
 public:
  explicit ByteLevelProcessing(const JsonField& field)
      : trim_(field.at("trim_offsets").flag()), add_prefix_space_(field.at("add_prefix_space").flag()) {
    field.flag_or("use_regex", true);
  }
  int32_t added_tokens(bool) const override { return 0; }
  bool trims_offsets() const override { return trim_; }
  void process(std::vector<ProcessedText>& texts, bool, bool trim) const override {
    for (size_t i = 0; i < texts.size(); ++i) {
      if (trim_ && trim) trim_offsets(texts[i], add_prefix_space_);
      set_sequence(texts[i].encoding, static_cast<int32_t>(i));
    }
  }

 private:
  bool trim_, add_prefix_space_;
};

/// One step of a template: a text, or the ids of a special token.
struct TemplateStep {
  bool second = false;
  std::vector<int32_t> ids;
  bool special = false;
  int32_t type_id = 0;
};

class TemplateProcessing : public PostProcessor {
 public:
  explicit TemplateProcessing(const JsonField& field) {
    const auto special = field.find("special_tokens");
    single_ = read_steps(field.at("single"), special, false);
    pair_ = read_steps(field.at("pair"), special, true);
  }
  int32_t added_tokens(bool pair) const override {
    size_t count = 0;
    for (const TemplateStep& step : pair ? pair_ : single_) count += step.ids.size();
    return static_cast<int32_t>(count);
  }
  bool rearranges() const override { return true; }
  void process(std::vector<ProcessedText>& texts, bool add_special_tokens, bool) const override {
    std::vector<ProcessedText> out;
    for (const TemplateStep& step : texts.size() > 1 ? pair_ : single_) {
      if (!step.special) {
        out.push_back(texts[step.second ? 1 : 0]);
        set_type(out.back().encoding, step.type_id);
        set_sequence(out.back().encoding, step.second ? 1 : 0);
      } else if (add_special_tokens) {
        ProcessedText& added = out.emplace_back();
        for (int32_t id : step.ids) append_special(added.encoding, id, step.type_id);
        added.spaces.resize(step.ids.size());
      }
    }
    texts = std::move(out);
  }

 private:
  static std::vector<TemplateStep> read_steps(const JsonField& list, const std::optional<JsonField>& special,
                                              bool pair) {
    std::vector<TemplateStep> steps;
    for (size_t i = 0; i < list.size(); ++i) steps.push_back(read_step(list.item(i), special, pair));
    return steps;
  }

  static TemplateStep read_step(const JsonField& step, const std::optional<JsonField>& special, bool pair) {
    TemplateStep out;
    if (auto text = step.find("Sequence")) {
      const std::string name = text->at("id").text();
      if (name != "A" && name != "B") text->at("id").malformed("must be A or B");
      out.second = name == "B";
      if (out.second && !pair) text->at("id").malformed("must be A: a single text has no second one");
      out.type_id = static_cast<int32_t>(text->at("type_id").integer(0, INT32_MAX));
      return out;
    }
    const JsonField token = step.at("SpecialToken");
    const std::string name = token.at("id").text();
    const auto known = special ? special->find(name) : std::nullopt;
    if (!known) token.at("id").malformed(fmt::format("{} is not among special_tokens", quoted(name)));
    const JsonField ids = known->at("ids");
    if (known->at("tokens").size() != ids.size()) known->malformed("has different numbers of ids and tokens");
    for (size_t i = 0; i < ids.size(); ++i) {
      out.ids.push_back(static_cast<int32_t>(ids.item(i).integer(0, INT32_MAX - 1)));
    }
    out.special = true;
    out.type_id = static_cast<int32_t>(token.at("type_id").integer(0, INT32_MAX));
    return out;
  }

  std::vector<TemplateStep> single_, pair_;
};

class PostProcessorSequence : public PostProcessor {
 public:
  PostProcessorSequence(std::vector<std::unique_ptr<PostProcessor>> parts, const JsonField& field)
      : parts_(std::move(parts)) {
    for (size_t i = 0; i + 1 < parts_.size(); ++i) {
      // Behind a template there may be any number of texts, which only ByteLevel (it adds nothing) can take.
      const PostProcessor& next = *parts_[i + 1];
      const bool takes_any = !next.rearranges() && next.added_tokens(false) == 0;
      rearranges_ = rearranges_ || parts_[i]->rearranges();
      if (rearranges_ && !takes_any) {
        throw fail(StatusCode::unsupported, "{}[{}] cannot come behind a TemplateProcessing", field.place(), i + 1);
      }
    }
    rearranges_ = std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->rearranges(); });
  }
  int32_t added_tokens(bool pair) const override {
    int32_t count = 0;
    for (const auto& part : parts_) count += part->added_tokens(pair);
    return count;
  }
  bool rearranges() const override { return rearranges_; }
  bool trims_offsets() const override {
    return std::any_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->trims_offsets(); });
  }
  void process(std::vector<ProcessedText>& texts, bool add_special_tokens, bool trim) const override {
    for (const auto& part : parts_) part->process(texts, add_special_tokens, trim);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> parts_;
  bool rearranges_ = false;
};

}  // namespace

std::unique_ptr<PostProcessor> read_post_processor(const JsonField& field, int depth) {
  const std::string type = field.at("type").text();
  if (type == "BertProcessing") return std::make_unique<BertProcessing>(field);
  if (type == "RobertaProcessing") return std::make_unique<RobertaProcessing>(field);
  if (type == "ByteLevel") return std::make_unique<ByteLevelProcessing>(field);
  if (type == "TemplateProcessing") return std::make_unique<TemplateProcessing>(field);
  if (type == "Sequence") {
    const JsonField parts = field.at("processors");
    return std::make_unique<PostProcessorSequence>(read_sequence(parts, depth, read_post_processor), parts);
  }
  field.unknown_type(type, "BertProcessing, RobertaProcessing, ByteLevel, TemplateProcessing, Sequence");
}

}  // namespace inazuma
