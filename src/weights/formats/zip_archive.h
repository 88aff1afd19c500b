#pragma once
// Just enough of ZIP (PKWARE APPNOTE 6.3) to find the stored entries of a mapped archive, ZIP64 included.

#include <map>
#include <string_view>

namespace inazuma {

/// Entry name -> its bytes within the archive.
using ZipEntries = std::map<std::string_view, std::string_view>;

struct ZipArchive {
  std::string_view first_name;  ///< of the entry listed first
  ZipEntries entries;
};

/// Sizes and places come from the central directory; local headers may carry zeros instead (streamed archives). Throws
/// Error: malformed (no directory, an entry outside the file, a name twice), unsupported (compressed, encrypted or
/// multi-disk). Checksums are not verified: reading every byte would cost what the mapping saves.
ZipArchive read_zip(std::string_view file, std::string_view bytes);

}  // namespace inazuma
