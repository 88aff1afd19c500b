#include "text/aligned/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/status.h"

namespace inazuma {

namespace {

// A match that backtracks more than this is an attack or a mistake; the common patterns need next to none.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 * 1024;

std::string error_text(int code) {
  PCRE2_UCHAR text[256] = {};
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Pattern::Program {
  template <auto release>
  struct Release {
    template <class T>
    void operator()(T* object) const {
      release(object);
    }
  };
  using MatchData = std::unique_ptr<pcre2_match_data, Release<pcre2_match_data_free>>;

  std::unique_ptr<pcre2_code, Release<pcre2_code_free>> code;
  std::unique_ptr<pcre2_match_context, Release<pcre2_match_context_free>> context;
  std::string expression;
};

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(std::string_view expression, std::string_view place) {
  const std::string translated = translate_regex(expression, place);
  auto program = std::make_shared<Program>();
  program->expression = expression;
  int error = 0;
  PCRE2_SIZE offset = 0;
  program->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                    nullptr));
  if (!program->code) {
    throw fail(StatusCode::malformed, "{}: {} is not a regular expression that can be compiled: {} (at {} of {})",
               place, quoted(expression, 200), error_text(error), offset, quoted(translated, 300));
  }
  pcre2_jit_compile(program->code.get(), PCRE2_JIT_COMPLETE);  // without it the interpreter gives the same answers
  program->context.reset(pcre2_match_context_create(nullptr));
  if (!program->context) throw std::bad_alloc();
  pcre2_set_match_limit(program->context.get(), kMatchLimit);
  pcre2_set_heap_limit(program->context.get(), kHeapLimitKib);
  Pattern pattern;
  pattern.program_ = std::move(program);
  return pattern;
}

std::optional<Pattern::Found> Pattern::search(std::string_view text, size_t from) const {
  if (!program_) {
    const size_t at = text.find(literal_, from);
    if (at == std::string_view::npos) return std::nullopt;
    return Found{at, at + literal_.size()};
  }
  thread_local const Program::MatchData data(pcre2_match_data_create(1, nullptr));
  const auto match = [&](uint32_t options) {
    return pcre2_match(program_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, data.get(), program_->context.get());
  };
  int result = match(0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    throw fail(StatusCode::tokenization, "the pattern {} gave up on a text of {} bytes: {}",
               quoted(program_->expression, 120), text.size(), error_text(result));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
  // \K inside a lookahead can put the start behind the end.
  return Found{std::min(ends[0], ends[1]), ends[1]};
}

std::vector<Stretch> Pattern::find(std::string_view text) const {
  std::vector<Stretch> stretches;
  if (text.empty()) return stretches;
  size_t covered = 0;
  std::optional<size_t> last_end;
  for (size_t from = 0; from <= text.size();) {
    const auto found = search(text, from);
    if (!found) break;
    if (found->begin == found->end && last_end == found->end) {
      size_t next = from;
      if (from < text.size()) next_point(text, next);
      from = std::max(next, from + 1);
      continue;
    }
    if (covered < found->begin) stretches.push_back({covered, found->begin, false});
    stretches.push_back({found->begin, found->end, true});
    covered = from = found->end;
    last_end = found->end;
  }
  if (covered < text.size()) stretches.push_back({covered, text.size(), false});
  return stretches;
}

}  // namespace inazuma
