#pragma once
// Up to six extents, inline: shapes are passed by value on the hot path and must not allocate.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace inazuma {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> extents) : Shape(std::span<const int64_t>(extents.begin(), extents.size())) {}
  /// Throws Error(unsupported) for more than kMaxRank extents and Error(invalid) for a negative one.
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int axis) const { return extents_[static_cast<size_t>(axis)]; }
  int64_t back() const { return rank_ == 0 ? 1 : extents_[static_cast<size_t>(rank_ - 1)]; }
  int64_t elements() const;
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const;

 private:
  std::array<int64_t, kMaxRank> extents_{};
  int rank_ = 0;
};

/// "[40, 768]"
std::string to_string(const Shape& shape);

}  // namespace inazuma
