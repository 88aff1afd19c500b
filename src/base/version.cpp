#include "base/version.h"

namespace inazuma {

const char* const kVersion = INAZUMA_VERSION;
const char* const kCommit = INAZUMA_COMMIT;

}  // namespace inazuma
