#pragma once
// The safetensors format: https://github.com/huggingface/safetensors (README, "Format").

#include <string_view>

#include "weights/weight_file.h"

namespace inazuma {

/// Reads and validates a whole file. Throws Error: malformed (message: file, tensor, the rule that is broken),
/// unsupported for element types that the program has no use for. Checks what the reference reader (safetensors 0.8)
/// checks, and besides two rules of the format's text that it lets pass: no duplicate names, and '{' as the header's
/// first byte.
FileTensors read_safetensors(std::string_view file_name, std::string_view bytes);

}  // namespace inazuma
