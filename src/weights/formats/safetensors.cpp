#include "weights/formats/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "base/json_file.h"
#include "base/status.h"
#include "weights/bytes.h"

namespace inazuma {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;

struct ElementType {
  std::string_view name;
  unsigned bits;
  std::optional<DType> dtype;  ///< none: part of the format, but not of this program
};

constexpr std::array<ElementType, 22> kElementTypes{{
    {"F32", 32, DType::f32},          {"F16", 16, DType::f16},      {"BF16", 16, DType::bf16},
    {"F64", 64, DType::f64},          {"I64", 64, DType::i64},      {"I32", 32, DType::i32},
    {"I16", 16, DType::i16},          {"I8", 8, DType::i8},         {"U8", 8, DType::u8},
    {"BOOL", 8, DType::boolean},      {"U16", 16, std::nullopt},    {"U32", 32, std::nullopt},
    {"U64", 64, std::nullopt},        {"C64", 64, std::nullopt},    {"F8_E5M2", 8, std::nullopt},
    {"F8_E4M3", 8, std::nullopt},     {"F8_E8M0", 8, std::nullopt}, {"F8_E5M2FNUZ", 8, std::nullopt},
    {"F8_E4M3FNUZ", 8, std::nullopt}, {"F6_E2M3", 6, std::nullopt}, {"F6_E3M2", 6, std::nullopt},
    {"F4", 4, std::nullopt},
}};

/// One entry of the header, as written.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

/// Receives the header's JSON as events. Working on events rather than on a finished object is what makes duplicate
/// names visible and keeps a 100 MB header from becoming a tree of values.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string_view file) : file_(file) {}
  std::vector<Entry> entries;

  bool null() override { return scalar("null"); }
  bool boolean(bool) override { return scalar("a boolean"); }
  bool number_integer(number_integer_t value) override { return scalar(fmt::format("{}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(text); }
  bool binary(binary_t&) override { return scalar("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::numbers || skipping()) return scalar(fmt::format("{}", value));
    (field_ == Field::shape ? entries.back().shape : entries.back().offsets).push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::metadata) return true;
    if (place_ == Place::entry && field_ == Field::dtype) {
      entries.back().dtype = value;
      entries.back().has_dtype = true;
      return true;
    }
    return scalar("a string");
  }

  bool start_object(std::size_t) override {
    if (skipping()) return ++skipped_, true;
    if (place_ == Place::outside) return place_ = Place::top, true;
    if (place_ == Place::tensor_or_metadata) {
      place_ = in_metadata_ ? Place::metadata : Place::entry;
      keys_.clear();
      return true;
    }
    throw wrong("an object");
  }

  bool key(string_t& key) override {
    if (skipped_ > 0) return true;
    if (place_ == Place::top) {
      if (!names_.insert(key).second)
        throw fail(StatusCode::malformed, "{}: header names tensor {} twice (duplicate key)", file_,
                   inazuma::quoted(key));
      in_metadata_ = key == "__metadata__";
      if (!in_metadata_) entries.push_back(Entry{.name = key});
      place_ = Place::tensor_or_metadata;
      field_ = Field::none;
      return true;
    }
    if (!keys_.insert(key).second)
      throw fail(StatusCode::malformed, "{}: {} has the duplicate key {}", file_, where(), inazuma::quoted(key));
    if (place_ == Place::metadata) return true;
    field_ = key == "dtype"          ? Field::dtype
             : key == "shape"        ? Field::shape
             : key == "data_offsets" ? Field::offsets
                                     : Field::other;
    return true;
  }

  bool end_object() override {
    if (skipped_ > 0) return --skipped_, true;
    if (place_ == Place::top) return place_ = Place::outside, true;
    if (place_ == Place::entry) check_entry();
    place_ = Place::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (skipping()) return ++skipped_, true;
    if (place_ == Place::entry && (field_ == Field::shape || field_ == Field::offsets)) {
      (field_ == Field::shape ? entries.back().has_shape : entries.back().has_offsets) = true;
      place_ = Place::numbers;
      return true;
    }
    throw wrong("an array");
  }

  bool end_array() override {
    if (skipped_ > 0) return --skipped_, true;
    place_ = Place::entry;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    throw fail(StatusCode::malformed, "{}: header is not valid JSON at byte {} of it: {}", file_, position,
               json_complaint(error.what()));
  }

 private:
  enum class Place { outside, top, tensor_or_metadata, metadata, entry, numbers };
  enum class Field { none, dtype, shape, offsets, other };

  /// Inside the value of a key the format does not know: the reference reader lets such keys pass.
  bool skipping() const { return skipped_ > 0 || (place_ == Place::entry && field_ == Field::other); }

  bool scalar(std::string_view what) {
    if (skipping()) return true;
    throw wrong(what);
  }

  std::string where() const {
    if (in_metadata_) return "__metadata__";
    return entries.empty() ? "header" : fmt::format("tensor {}", inazuma::quoted(entries.back().name));
  }

  Error wrong(std::string_view got) const {
    std::string_view expected = "the header must be one JSON object";
    if (place_ == Place::tensor_or_metadata)
      expected =
          in_metadata_ ? "it must be an object of strings" : "it must be an object with dtype, shape and data_offsets";
    if (place_ == Place::metadata) expected = "its values must be strings";
    if (place_ == Place::entry && field_ == Field::dtype) expected = "dtype must be a string";
    if (field_ == Field::shape) expected = "shape must be a list of unsigned integers";
    if (field_ == Field::offsets) expected = "data_offsets must be a list of two unsigned integers";
    return fail(StatusCode::malformed, "{}: {}: {}, found {}", file_, where(), expected, got);
  }

  void check_entry() const {
    const Entry& entry = entries.back();
    const char* absent = !entry.has_dtype     ? "dtype"
                         : !entry.has_shape   ? "shape"
                         : !entry.has_offsets ? "data_offsets"
                                              : nullptr;
    if (absent != nullptr) throw fail(StatusCode::malformed, "{}: {} has no {}", file_, where(), absent);
    if (entry.offsets.size() != 2)
      throw fail(StatusCode::malformed,
                 "{}: {}: data_offsets must be a list of two unsigned integers, found {} of them", file_, where(),
                 entry.offsets.size());
  }

  std::string_view file_;
  Place place_ = Place::outside;
  Field field_ = Field::none;
  bool in_metadata_ = false;
  size_t skipped_ = 0;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> keys_;
};

std::string_view header_of(std::string_view file, std::string_view bytes) {
  if (bytes.size() < 8)
    throw fail(StatusCode::malformed, "{}: header too small: the file has {} bytes, the header length alone takes 8",
               file, bytes.size());
  const auto length = load_little_endian<uint64_t>(bytes, 0);
  if (length > kMaxHeader)
    throw fail(StatusCode::malformed, "{}: header too large: its length is given as {} bytes, at most {} are allowed",
               file, length, kMaxHeader);
  if (length > bytes.size() - 8)
    throw fail(StatusCode::malformed,
               "{}: invalid header length: {} bytes of header in a file of {} bytes; the file may be cut short", file,
               length, bytes.size());
  const std::string_view header = bytes.substr(8, length);
  if (!valid_utf8(header)) throw fail(StatusCode::malformed, "{}: header is not valid UTF-8", file);
  // The JSON parser would take a NUL for the end of its input and not look at what follows.
  if (header.find('\0') != std::string_view::npos)
    throw fail(StatusCode::malformed, "{}: header is not valid JSON: it holds a NUL byte", file);
  if (header.empty() || header.front() != '{')
    throw fail(StatusCode::malformed, "{}: header does not begin with '{{'", file);
  return header;
}

const ElementType& element_type(std::string_view file, const Entry& entry) {
  for (const ElementType& type : kElementTypes)
    if (type.name == entry.dtype) return type;
  throw fail(StatusCode::malformed, "{}: tensor {}: unknown dtype {}", file, inazuma::quoted(entry.name),
             inazuma::quoted(entry.dtype));
}

/// Bytes that dtype and shape ask for.
uint64_t bytes_of(std::string_view file, const Entry& entry, const ElementType& type) {
  std::optional<uint64_t> elements = 1;
  for (uint64_t extent : entry.shape) elements = elements ? checked_multiply(*elements, extent) : std::nullopt;
  const auto bits = elements ? checked_multiply(*elements, type.bits) : std::nullopt;
  if (!bits)
    throw fail(StatusCode::malformed, "{}: tensor {}: the size of shape [{}] overflows 64 bits", file,
               inazuma::quoted(entry.name), fmt::join(entry.shape, ", "));
  if (*bits % 8 != 0)
    throw fail(StatusCode::malformed, "{}: tensor {}: {} elements of {} do not fill whole bytes", file,
               inazuma::quoted(entry.name), *elements, type.name);
  return *bits / 8;
}

FileTensor to_tensor(std::string_view file, Entry& entry, const ElementType& type, std::string_view data) {
  if (!type.dtype)
    throw fail(StatusCode::unsupported,
               "{}: tensor {} has dtype {}, which is not supported: save the model as F32, F16 or BF16", file,
               inazuma::quoted(entry.name), type.name);
  FileTensor tensor{.name = std::move(entry.name), .dtype = *type.dtype};
  for (uint64_t extent : entry.shape) {
    // Only next to a zero extent can one be this large: the product of the others fits.
    if (extent > static_cast<uint64_t>(INT64_MAX))
      throw fail(StatusCode::malformed, "{}: tensor {}: the extent {} is too large", file, inazuma::quoted(tensor.name),
                 extent);
    tensor.shape.push_back(static_cast<int64_t>(extent));
  }
  tensor.bytes = entry.offsets[1] - entry.offsets[0];
  if (tensor.bytes > 0) tensor.data = data.data() + entry.offsets[0];
  return tensor;
}

/// Entries sorted by offset must tile `size` bytes of data without hole or overlap.
void check_tiling(std::string_view file, const std::vector<Entry>& entries, uint64_t size) {
  uint64_t expected = 0;
  for (const Entry& entry : entries) {
    const uint64_t begin = entry.offsets[0], end = entry.offsets[1];
    if (end < begin)
      throw fail(StatusCode::malformed, "{}: tensor {}: data_offsets [{}, {}] end before they begin", file,
                 inazuma::quoted(entry.name), begin, end);
    if (begin != expected)
      throw fail(StatusCode::malformed,
                 "{}: tensor {}: data_offsets begin at {}, but the tensor before ends at {} ({})", file,
                 inazuma::quoted(entry.name), begin, expected, begin > expected ? "hole" : "overlap");
    expected = end;
  }
  if (expected > size)
    throw fail(StatusCode::malformed,
               "{}: tensor {} ends at byte {} of the data, but the file holds only {}: it is cut short", file,
               inazuma::quoted(entries.back().name), expected, size);
  if (expected < size)
    throw fail(StatusCode::malformed, "{}: {} bytes follow the last tensor; the data must end with it", file,
               size - expected);
}

}  // namespace

FileTensors read_safetensors(std::string_view file_name, std::string_view bytes) {
  const std::string file = printable(file_name);
  const std::string_view header = header_of(file, bytes);
  HeaderReader reader(file);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);

  std::vector<Entry> entries = std::move(reader.entries);
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.offsets != b.offsets ? a.offsets < b.offsets : a.name < b.name;
  });
  std::vector<const ElementType*> types;
  types.reserve(entries.size());
  for (const Entry& entry : entries) types.push_back(&element_type(file, entry));
  const std::string_view data = bytes.substr(8 + header.size());
  check_tiling(file, entries, data.size());
  FileTensors out{.format = "safetensors", .tensors = {}};
  for (size_t i = 0; i < entries.size(); ++i) {
    const uint64_t wanted = bytes_of(file, entries[i], *types[i]);
    const uint64_t got = entries[i].offsets[1] - entries[i].offsets[0];
    if (wanted != got)
      throw fail(StatusCode::malformed, "{}: tensor {}: {} of shape [{}] takes {} bytes, data_offsets span {}", file,
                 inazuma::quoted(entries[i].name), types[i]->name, fmt::join(entries[i].shape, ", "), wanted, got);
    out.tensors.push_back(to_tensor(file, entries[i], *types[i], data));
  }
  return out;
}

}  // namespace inazuma
