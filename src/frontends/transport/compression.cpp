#include "frontends/transport/compression.h"

#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace inazuma {

namespace {

constexpr int kWindowBits = 15;
constexpr int kGzip = 16;  // added to the window bits: gzip instead of zlib framing

int window(Coding coding) {
  return coding == Coding::gzip ? kWindowBits + kGzip : kWindowBits;
}

// "gzip;q=0.5" -> 0.5; 1 without a weight; 0 for what cannot be read.
double weight_of(std::string_view parameters) {
  const size_t q = parameters.find("q=");
  if (q == std::string_view::npos) return 1;
  return std::strtod(std::string(parameters.substr(q + 2)).c_str(), nullptr);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

}  // namespace

Result<Coding> parse_coding(std::string_view name) {
  const std::string known = lower(name);
  if (known.empty() || known == "identity") return Coding::identity;
  if (known == "gzip" || known == "x-gzip") return Coding::gzip;
  if (known == "deflate") return Coding::deflate;
  return Status(StatusCode::unsupported,
                fmt::format("content-encoding {} is not known, use gzip, deflate or none", quoted(name)));
}

Coding accepted_coding(std::string_view header) {
  std::optional<double> gzip, deflate;
  double others = 0;  // what "*" gives to codings that are not named
  while (!header.empty()) {
    const size_t comma = header.find(',');
    std::string_view item = header.substr(0, comma);
    header = comma == std::string_view::npos ? "" : header.substr(comma + 1);
    const size_t begin = item.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    item.remove_prefix(begin);
    const size_t end = std::min(item.find_first_of(" \t;"), item.size());
    const std::string name = lower(item.substr(0, end));
    const double weight = weight_of(item.substr(end));
    if (name == "gzip" || name == "x-gzip")
      gzip = weight;
    else if (name == "deflate")
      deflate = weight;
    else if (name == "*")
      others = weight;
  }
  const double g = gzip.value_or(others), d = deflate.value_or(others);
  if (g <= 0 && d <= 0) return Coding::identity;
  return d > g ? Coding::deflate : Coding::gzip;
}

std::string compress(std::string_view data, Coding coding, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, window(coding), 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw fail(StatusCode::out_of_memory, "no memory to compress the answer");
  std::string out(deflateBound(&stream, data.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw fail(StatusCode::internal, "compressing the answer failed ({})", result);
  return out;
}

Result<std::string> decompress(std::string_view data, Coding coding, size_t limit) {
  z_stream stream{};
  if (inflateInit2(&stream, window(coding)) != Z_OK)
    return Status(StatusCode::out_of_memory, "no memory to inflate the body");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  std::string out;
  char block[16384];
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block);
    stream.avail_out = sizeof block;
    result = inflate(&stream, Z_NO_FLUSH);
    out.append(block, sizeof block - stream.avail_out);
    if (out.size() > limit) {
      inflateEnd(&stream);
      return Status(StatusCode::too_large, fmt::format("the inflated body exceeds {} bytes (--max-body-size)", limit));
    }
    if (result == Z_OK && stream.avail_in == 0 && stream.avail_out != 0) break;  // ended inside the stream
  }
  const bool rest = stream.avail_in > 0;
  inflateEnd(&stream);
  if (result == Z_STREAM_END && rest) return Status(StatusCode::malformed, "bytes follow the compressed body");
  if (result != Z_STREAM_END) return Status(StatusCode::malformed, "the compressed body is corrupt or cut short");
  return out;
}

}  // namespace inazuma
