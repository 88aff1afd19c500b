#include "fuzz/weight_fuzzing.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const inazuma::fuzzing::WeightDirectory directory("model.safetensors");
  directory.load(data, size);
  return 0;
}
