#pragma once
// gzip and deflate (zlib format) of bodies.

#include <string>
#include <string_view>

#include "base/status.h"

namespace inazuma {

enum class Coding { identity, gzip, deflate };
constexpr size_t kCompressFrom = 1024;  ///< bytes: shorter bodies are sent as they are

/// unsupported for other codings ("br").
Result<Coding> parse_coding(std::string_view content_encoding);
/// The best coding that an Accept-Encoding header takes; identity when it takes none of ours.
Coding accepted_coding(std::string_view accept_encoding);
/// `level`: 1 to 9, or -1 for zlib's default.
std::string compress(std::string_view data, Coding coding, int level = -1);
/// too_large as soon as the output passes `limit` (never after inflating it all); malformed for corrupt or truncated
/// data.
Result<std::string> decompress(std::string_view data, Coding coding, size_t limit);

}  // namespace inazuma
