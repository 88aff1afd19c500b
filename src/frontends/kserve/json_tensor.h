#pragma once
// Tensor data and parameters as JSON (KServe v2, "Tensor Data" and "Parameters").

#include <string>
#include <string_view>

#include "frontends/json.h"
#include "serving/tensors/inference.h"

namespace inazuma::kserve {

/// A body that may hold the literals NaN, Infinity and -Infinity, as the reference and Python's json module write and
/// read them. malformed as JsonDocument says; numbers that are not finite are strings of that name inside the document.
class TensorDocument {
 public:
  explicit TensorDocument(std::string_view body);
  Json root() const { return document_.root(); }

 private:
  JsonDocument document_;
};

/// The leaves of nested arrays, in order, as the raw form of `type`. `limit` bounds the raw bytes
/// (--http-max-input-size). invalid: no array, a leaf that is not of the type or not in its range, a type that JSON
/// cannot carry (FP16, BF16), and a number of leaves other than `count`. `single`: one value without an array is taken
/// too.
std::string read_json_data(Json data, DataType type, int64_t count, const std::string& input, size_t limit,
                           bool single = false);

/// The elements as one flat array ("[1,2,3]"). invalid: FP16 and BF16, and bytes that are no elements of the type.
std::string write_json_data(const NamedTensor& tensor);
/// The same elements one by one, comma between; for replies that unwrap single ones.
std::string write_json_elements(const NamedTensor& tensor);

/// Parameters as members of the object that is open in `json`.
void write_members(JsonWriter& json, const ParameterMap& parameters);

}  // namespace inazuma::kserve
