// config.ini of a FasterTransformer folder from anybody: its family, its configuration, and the files it would need.

#include "fuzz/weight_fuzzing.h"
#include "weights/converted/fastertransformer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using inazuma::fuzzing::WeightDirectory;
  static const WeightDirectory directory("config.ini");
  directory.put(data, size);
  WeightDirectory::attempt([] { (void)inazuma::converted_family(directory.path()); });
  WeightDirectory::attempt([] { (void)inazuma::converted_config(directory.path()); });
  WeightDirectory::attempt([] { (void)inazuma::open_converted(directory.path()); });
  return 0;
}
