#pragma once

namespace inazuma {

extern const char* const kVersion;  ///< "0.1.0"
extern const char* const kCommit;   ///< short hash of the commit that was configured, "" outside a checkout

}  // namespace inazuma
