// Any tokenizer.json, any text: reading it explains itself with the place, and what was read encodes and decodes.
//
// Input: text, then a zero byte, then the JSON.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/json_file.h"
#include "text/pipeline/pipeline_tokenizer.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void check(const inazuma::Encoding& encoding) {
  const size_t size = encoding.size();
  require(encoding.offsets.size() == size && encoding.type_ids.size() == size && encoding.special.size() == size &&
              encoding.word.size() == size && encoding.sequence.size() == size,
          "equal lengths");
  for (const inazuma::TextSpan& span : encoding.offsets)
    require(span.start >= 0 && span.start <= span.end, "spans are intervals");
}

void use(const inazuma::Tokenizer& tokenizer, std::string_view text) {
  for (const int32_t limit : {0, 5}) {
    const auto encoding = tokenizer.encode(text, {.max_length = limit});
    if (!encoding) continue;
    check(*encoding);
    require(limit == 0 || encoding->size() <= static_cast<size_t>(limit), "max_length");
    for (const bool skip : {false, true}) (void)tokenizer.decode(encoding->ids, skip);
    if (limit == 0) check(tokenizer.build(*encoding, &*encoding));
  }
  if (const auto pair = tokenizer.encode_pair(text, "a b", {.max_length = 7})) check(*pair);
  for (int32_t id = -1; id < 8; ++id) (void)tokenizer.token(id);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  if (zero == std::string_view::npos) return 0;
  const inazuma::Status status = inazuma::capture([&] {
    const nlohmann::json pipeline = inazuma::parse_python_json(input.substr(zero + 1), "tokenizer.json");
    const inazuma::PipelineTokenizer tokenizer(pipeline, {});
    use(tokenizer, input.substr(0, zero));
  });
  require(status.ok() || (status.code() != inazuma::StatusCode::internal && !status.message().empty()),
          status.message().c_str());
  return 0;
}
