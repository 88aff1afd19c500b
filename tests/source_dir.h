#pragma once
// Where test data lies: the checkout that the program was built from, or $INAZUMA_SOURCE_DIR on another machine.

#include <cstdlib>
#include <filesystem>

namespace inazuma {

inline std::filesystem::path source_dir() {
  const char* given = std::getenv("INAZUMA_SOURCE_DIR");
  return given != nullptr ? given : INAZUMA_SOURCE_DIR;
}

}  // namespace inazuma
