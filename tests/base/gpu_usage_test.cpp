#include "base/gpu_usage.h"

#include <gmock/gmock.h>

namespace inazuma {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

TEST(GpuUsage, AsTheLibraryTells) {
  const std::vector<GpuUsage> gpus = GpuUsageReader(INAZUMA_NVML_STUB).read();
  ASSERT_THAT(gpus, SizeIs(2));
  EXPECT_EQ(gpus[0].uuid, "GPU-0");
  EXPECT_EQ(gpus[0].utilization, 0.75);
  EXPECT_EQ(gpus[0].memory_total, 1000);
  EXPECT_EQ(gpus[0].memory_used, 450) << "without what the driver keeps for itself";
  EXPECT_EQ(gpus[0].power, 123);
  EXPECT_EQ(gpus[0].energy, 5.5);
  EXPECT_EQ(gpus[0].power_limit, std::nullopt) << "a function that this driver has not";
  EXPECT_EQ(gpus[1].uuid, "GPU-1");
  EXPECT_EQ(gpus[1].memory_used, 600) << "of a driver that does not tell its own apart";
  EXPECT_EQ(gpus[1].power, std::nullopt) << "a GPU that does not know";
}

TEST(GpuUsage, NothingWithoutTheLibrary) {
  EXPECT_THAT(GpuUsageReader("/nowhere/libnvidia-ml.so.1").read(), IsEmpty());
  EXPECT_THAT(GpuUsageReader("libdl.so.2").read(), IsEmpty()) << "a library of another kind";
}

}  // namespace
}  // namespace inazuma
