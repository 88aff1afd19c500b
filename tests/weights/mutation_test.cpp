// Valid files with bytes changed, cut, repeated or inserted: loading ends with tensors or with an error, never
// otherwise. Run under the sanitizers this is where reads outside the mapping would show.

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "weights/files.h"

namespace inazuma::testing {
namespace {

struct Change {
  int kind = 0;
  size_t at = 0, length = 0;
  uint8_t value = 0;
};

std::string changed(std::string bytes, const std::vector<Change>& changes) {
  for (const Change& change : changes) {
    if (bytes.empty()) break;
    const size_t at = change.at % bytes.size();
    const size_t length = std::min(change.length, bytes.size() - at);
    switch (change.kind) {
      case 0: bytes[at] = static_cast<char>(change.value); break;
      case 1: bytes[at] = static_cast<char>(bytes[at] ^ (1 << (change.value % 8))); break;
      case 2: bytes.erase(at, length); break;
      case 3: bytes.insert(at, bytes.substr(at, length)); break;
      case 4: bytes.replace(at, length, length, change.value % 2 == 0 ? '\xff' : '\0'); break;
      default: bytes.resize(at); break;
    }
  }
  return bytes;
}

rc::Gen<Change> any_change(size_t size) {
  // Headers, pickles and directories sit at the ends; payload bytes in between break nothing.
  const auto place =
      rc::gen::oneOf(rc::gen::inRange<size_t>(0, std::min<size_t>(size, 1500)), rc::gen::inRange<size_t>(0, size),
                     rc::gen::inRange<size_t>(size - std::min<size_t>(size, 1500), size));
  return rc::gen::apply(
      [](int kind, size_t at, size_t length, uint8_t value) {
        return Change{kind, at, length, value};
      },
      rc::gen::weightedElement<int>({{6, 0}, {6, 1}, {2, 2}, {2, 3}, {3, 4}, {1, 5}}), place,
      rc::gen::inRange<size_t>(1, 12), rc::gen::arbitrary<uint8_t>());
}

class Mutation : public ::testing::TestWithParam<const char*> {};

TEST_P(Mutation, NeverDoesMoreThanFail) {
  const std::string relative = GetParam();
  const std::string file = relative.substr(relative.find('/') + 1);
  const std::string valid = read_bytes(data_directory() / relative);
  const ScratchDirectory scratch;
  size_t refused = 0, accepted = 0;
  const auto property = [&] {
    const auto changes =
        *rc::gen::container<std::vector<Change>>(*rc::gen::inRange<size_t>(1, 4), any_change(valid.size()));
    scratch.write(file, changed(valid, changes));
    const Status status = read_all(scratch.path());
    ++(status.ok() ? accepted : refused);
    RC_ASSERT(status.code() != StatusCode::internal);
    RC_ASSERT(status.ok() || status.message().find(file) != std::string::npos);
  };
  rc::detail::TestParams parameters;
  parameters.seed = 20240607;
  parameters.maxSuccess = 3000;
  parameters.disableShrinking = true;  // a failing file is small enough as it is
  rc::detail::TestMetadata metadata;
  metadata.id = relative;
  const auto result = rc::detail::checkTestable(property, metadata, parameters);
  EXPECT_TRUE(result.template is<rc::detail::SuccessResult>())
      << (rc::detail::printResultMessage(result, std::cerr), relative);
  EXPECT_GT(refused, 300u) << "the changes hit nothing that matters";
  RecordProperty("accepted", static_cast<int>(accepted));
}

INSTANTIATE_TEST_SUITE_P(Files, Mutation,
                         ::testing::Values("safetensors/model.safetensors", "safetensors_unaligned/model.safetensors",
                                           "bin_zip_views/pytorch_model.bin", "bin_zip_mixed/pytorch_model.bin",
                                           "bin_legacy_views/pytorch_model.bin", "bin_legacy_mixed/pytorch_model.bin",
                                           "bin_legacy_python2/pytorch_model.bin"));

}  // namespace
}  // namespace inazuma::testing
