#pragma once
// Element types. A run-time value everywhere but next to the loop that reads the elements.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/status.h"

namespace inazuma {

enum class DType : uint8_t { f32, f16, bf16, f64, i64, i32, i16, i8, u8, boolean };

size_t size_of(DType dtype);         ///< bytes of one element
std::string_view name(DType dtype);  ///< "float32", "float16", "bfloat16", "int32", ...
/// Accepts the names of `name` and their short forms (fp32, f32, fp16, half, bf16, ...).
Result<DType> parse_dtype(std::string_view text);

/// IEEE binary16 and bfloat16 as storage; arithmetic is done in float. Conversion rounds to nearest, ties to even.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(BFloat16 value) {
  const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
float to_float(Half value);
Half to_half(float value);
BFloat16 to_bfloat16(float value);

}  // namespace inazuma
