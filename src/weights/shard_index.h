#pragma once
// The index of a checkpoint that is split over several files: model.safetensors.index.json,
// pytorch_model.bin.index.json.

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace inazuma {

/// File name of a shard -> names of the tensors that the index says are in it.
using ShardIndex = std::map<std::string, std::vector<std::string>>;

/// Reads `weight_map`. Throws Error(malformed) for anything but an object of plain file names, for duplicate keys and
/// for an empty map. A plain name has no '/', '\', "..", control character, and is not empty: an index never reaches
/// outside its directory.
ShardIndex read_shard_index(std::string_view file_name, std::string_view text);

}  // namespace inazuma
