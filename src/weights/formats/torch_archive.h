#pragma once
// What torch.save writes for a state dictionary: the zip form (torch >= 1.6) and the older stream of pickles.

#include <string_view>

#include "weights/weight_file.h"

namespace inazuma {

/// Reads and validates a whole file, executing nothing: see formats/pickle.h. Takes the tensors and parameters that are
/// direct values of the saved dictionary; other values are passed over. Throws Error: malformed (corrupt), unsupported
/// (TorchScript, tar, compressed, big-endian, whole modules, sparse, quantised or complex tensors, no tensor at the
/// top).
FileTensors read_torch_archive(std::string_view file_name, std::string_view bytes);

}  // namespace inazuma
