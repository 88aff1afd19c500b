#include "frontends/kserve/json_tensor.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace inazuma::kserve {

namespace {

constexpr std::string_view kNotFinite[] = {"NaN", "-Infinity", "Infinity"};

// The literals outside strings, put into quotes; nullopt when there are none.
std::optional<std::string> quote_literals(std::string_view body) {
  if (body.find("NaN") == std::string_view::npos && body.find("Infinity") == std::string_view::npos)
    return std::nullopt;
  std::string out;
  bool changed = false;
  for (size_t i = 0; i < body.size();) {
    if (body[i] == '"') {  // a string, whole
      const size_t begin = i++;
      while (i < body.size() && body[i] != '"') i += body[i] == '\\' ? 2 : 1;
      i = std::min(i + 1, body.size());
      out.append(body.substr(begin, i - begin));
      continue;
    }
    bool literal = false;
    for (const std::string_view word : kNotFinite) {
      if (!body.substr(i).starts_with(word)) continue;
      out.append(1, '"').append(word).append(1, '"');
      i += word.size();
      literal = changed = true;
      break;
    }
    if (!literal) out += body[i++];
  }
  if (!changed) return std::nullopt;
  return out;
}

std::string readable(std::string_view body) {
  return quote_literals(body).value_or(std::string());
}

template <class T>
void append_raw(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// One flat reading of nested arrays into raw bytes.
class Reader {
 public:
  Reader(DataType type, int64_t count, const std::string& input, size_t limit)
      : type_(type), count_(count), input_(input), limit_(limit) {
    const size_t size = element_size(type);
    // Not on the shape's word alone: it is as large as a client likes.
    raw_.reserve(std::min<size_t>(size * static_cast<size_t>(std::min<int64_t>(count, 1 << 20)), limit));
  }

  std::string read(Json data, bool single) {
    if (data.is_array())
      array(data);
    else if (single)
      ++seen_, leaf(data);
    else
      throw fail(StatusCode::invalid, "input '{}': 'data' must be an array, is {}", input_, shown(data));
    if (seen_ != count_)
      throw fail(StatusCode::invalid, "input '{}' has {} elements in 'data', its shape has {}", input_, seen_, count_);
    return std::move(raw_);
  }

 private:
  void array(const simdjson::dom::array& items) {
    for (const Json item : items) {
      if (item.is_array()) {
        array(item);
        continue;
      }
      if (++seen_ > count_)
        throw fail(StatusCode::invalid, "input '{}' has more elements in 'data' than the {} of its shape", input_,
                   count_);
      leaf(item);
      if (raw_.size() > limit_)
        throw fail(StatusCode::invalid, "input '{}' has more than {} bytes of data (--http-max-input-size)", input_,
                   limit_);
    }
  }

  [[noreturn]] void wrong(Json value, std::string_view expected) const {
    throw fail(StatusCode::invalid, "input '{}', element {}: {} is not {} ({})", input_, seen_ - 1, shown(value),
               expected, wire_name(type_));
  }

  template <class T>
  void integer(Json value) {
    if constexpr (std::is_unsigned_v<T>) {
      uint64_t number = 0;
      if (value.get_uint64().get(number) || number > std::numeric_limits<T>::max())
        wrong(value, fmt::format("a whole number in [0, {}]", std::numeric_limits<T>::max()));
      append_raw(raw_, static_cast<T>(number));
    } else {
      int64_t number = 0;
      if (value.get_int64().get(number) || number < std::numeric_limits<T>::min() ||
          number > std::numeric_limits<T>::max())
        wrong(value,
              fmt::format("a whole number in [{}, {}]", std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
      append_raw(raw_, static_cast<T>(number));
    }
  }

  double real(Json value) const {
    double number = 0;
    if (!value.get_double().get(number)) return number;
    std::string_view word;
    if (!value.get_string().get(word)) {
      if (word == "NaN") return std::numeric_limits<double>::quiet_NaN();
      if (word == "Infinity") return std::numeric_limits<double>::infinity();
      if (word == "-Infinity") return -std::numeric_limits<double>::infinity();
    }
    wrong(value, "a number");
  }

  void leaf(Json value) {
    switch (type_) {
      case DataType::boolean: {
        bool flag = false;
        if (value.get_bool().get(flag)) wrong(value, "true or false");
        raw_ += flag ? '\1' : '\0';
        return;
      }
      case DataType::uint8: return integer<uint8_t>(value);
      case DataType::uint16: return integer<uint16_t>(value);
      case DataType::uint32: return integer<uint32_t>(value);
      case DataType::uint64: return integer<uint64_t>(value);
      case DataType::int8: return integer<int8_t>(value);
      case DataType::int16: return integer<int16_t>(value);
      case DataType::int32: return integer<int32_t>(value);
      case DataType::int64: return integer<int64_t>(value);
      case DataType::fp32: return append_raw(raw_, static_cast<float>(real(value)));
      case DataType::fp64: return append_raw(raw_, real(value));
      case DataType::bytes: {
        std::string_view text;
        if (value.get_string().get(text)) wrong(value, "a string");
        return append_bytes_element(raw_, text);
      }
      case DataType::fp16:
      case DataType::bf16:
      case DataType::invalid: break;
    }
    throw fail(StatusCode::invalid, "input '{}': {} data cannot be sent as JSON, send it in binary", input_,
               wire_name(type_));
  }

  DataType type_;
  int64_t count_;
  const std::string& input_;
  size_t limit_;
  std::string raw_;
  int64_t seen_ = 0;
};

template <class T>
void write_number(std::string& out, T value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  out.append(digits, end);
}

// The shortest text that reads back; a whole number keeps a point, so that clients see a float.
void write_real(std::string& out, double value) {
  if (std::isnan(value)) return void(out += "NaN");
  if (std::isinf(value)) return void(out += value < 0 ? "-Infinity" : "Infinity");
  const size_t begin = out.size();
  write_number(out, value);
  if (out.find_first_of(".e", begin) == std::string::npos) out += ".0";
}

template <class T, class Write>
void write_each(std::string& out, std::string_view raw, Write&& write) {
  for (size_t i = 0; i + sizeof(T) <= raw.size(); i += sizeof(T)) {
    if (i > 0) out += ',';
    T value;
    std::memcpy(&value, raw.data() + i, sizeof value);
    write(out, value);
  }
}

template <class T>
void write_integers(std::string& out, std::string_view raw) {
  write_each<T>(out, raw, [](std::string& to, T value) { write_number(to, static_cast<int64_t>(value)); });
}

}  // namespace

// The literals are looked for only when there is something like them: a body without is read as it came.
TensorDocument::TensorDocument(std::string_view body)
    : document_([&]() -> std::string {
        std::string quoted_body = readable(body);
        return quoted_body.empty() ? std::string(body) : std::move(quoted_body);
      }()) {}

std::string read_json_data(Json data, DataType type, int64_t count, const std::string& input, size_t limit,
                           bool single) {
  return Reader(type, count, input, limit).read(data, single);
}

std::string write_json_elements(const NamedTensor& tensor) {
  std::string out;
  const std::string_view raw = tensor.data.view();
  switch (tensor.type) {
    case DataType::boolean:
      write_each<uint8_t>(out, raw, [](std::string& to, uint8_t value) { to += value != 0 ? "true" : "false"; });
      break;
    case DataType::uint8: write_integers<uint8_t>(out, raw); break;
    case DataType::uint16: write_integers<uint16_t>(out, raw); break;
    case DataType::uint32: write_integers<uint32_t>(out, raw); break;
    case DataType::uint64:
      write_each<uint64_t>(out, raw, [](std::string& to, uint64_t value) { write_number(to, value); });
      break;
    case DataType::int8: write_integers<int8_t>(out, raw); break;
    case DataType::int16: write_integers<int16_t>(out, raw); break;
    case DataType::int32: write_integers<int32_t>(out, raw); break;
    case DataType::int64: write_integers<int64_t>(out, raw); break;
    case DataType::fp32:
      write_each<float>(out, raw, [](std::string& to, float value) { write_real(to, value); });
      break;
    case DataType::fp64:
      write_each<double>(out, raw, [](std::string& to, double value) { write_real(to, value); });
      break;
    case DataType::bytes: {
      JsonWriter json;
      const std::vector<std::string_view> elements = split_bytes(raw, element_count(tensor.shape).value()).value();
      for (const std::string_view element : elements) json.text(element);
      out = std::move(json).take();
      break;
    }
    case DataType::fp16:
    case DataType::bf16:
    case DataType::invalid:
      throw fail(StatusCode::invalid,
                 "output '{}': {} data cannot be written as JSON, ask for it in binary (binary_data: true)",
                 tensor.name, wire_name(tensor.type));
  }
  return out;
}

std::string write_json_data(const NamedTensor& tensor) {
  std::string out = write_json_elements(tensor);
  out.insert(out.begin(), '[');
  out += ']';
  return out;
}

void write_members(JsonWriter& json, const ParameterMap& parameters) {
  for (const auto& [name, value] : parameters) {
    json.key(name);
    std::visit(
        [&](const auto& typed) {
          using T = std::decay_t<decltype(typed)>;
          if constexpr (std::is_same_v<T, bool>)
            json.boolean(typed);
          else if constexpr (std::is_same_v<T, std::string>)
            json.text(typed);
          else
            json.number(typed);
        },
        value);
  }
}

}  // namespace inazuma::kserve
