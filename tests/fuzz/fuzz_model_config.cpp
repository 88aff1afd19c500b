// config.pbtxt from anybody: read, completed, checked, shown, and read back from what was shown.

#include <cstdlib>

#include "serving/config/complete.h"
#include "serving/config/config_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inazuma;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_config_json(text);
  Result<inference::ModelConfig> config = parse_config_text(text, "config.pbtxt");
  if (!config.ok()) return 0;
  fill_defaults(*config, 1);
  (void)validate(*config, config->name(), 1);
  if (!parse_config_json(to_json(*config)).ok()) std::abort();
  return 0;
}
