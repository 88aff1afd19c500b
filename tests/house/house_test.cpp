// Who may include whom, how full a folder may be, and that nothing committed knows the machine it was written on.
#include "house/house.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace inazuma::test {

void PrintTo(const Complaint& complaint, std::ostream* out) {
  *out << complaint.where << ": " << complaint.what;
}

namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const fs::path kRoot = INAZUMA_SOURCE_DIR;

TEST(House, IncludesFollowTheArrows) {
  EXPECT_THAT(bad_includes(kRoot / "src"), IsEmpty());
}

TEST(House, EveryRoomIsInThePlan) {
  std::set<std::string> folders;
  for (const auto& entry : fs::directory_iterator(kRoot / "src"))
    if (entry.is_directory()) folders.insert(entry.path().filename().string());
  for (const auto& [room, below] : visible_rooms()) EXPECT_TRUE(folders.erase(room) == 1) << room << " is not there";
  EXPECT_THAT(folders, IsEmpty());
}

TEST(House, NoFolderIsCrowded) {
  EXPECT_THAT(crowded_folders(kRoot / "src", 15), IsEmpty());
}

TEST(House, NothingCommittedNamesAMachine) {
  const std::vector<std::string> files = tracked_files(kRoot);
  if (files.empty()) GTEST_SKIP() << "not a git checkout: there is no list of committed files";
  EXPECT_THAT(machine_paths(kRoot, files), IsEmpty());
}

// The rules themselves, shown trees that break them.
class BadHouse : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("inazuma_house_test." + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& name, const std::string& text) {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }
  fs::path root_;
};

TEST_F(BadHouse, UpwardAndSidewaysIncludesAreSeen) {
  write("base/status.h", "");
  write("text/tokenizer.h", "#include \"base/status.h\"\n");
  write("kernels/ops.h", "#include \"base/status.h\"\n");
  write("weights/weight_store.h", "  #  include \"kernels/ops.h\"\n");
  write("models/model.h", "// far\n#include \"kernels/ops.h\"\n#include <vector>\n#include \"text/tokenizer.h\"\n");
  write("serving/core.h", "#include \"text/tokenizer.h\"\n#include \"base/status.h\"\n#include \"kernels/ops.h\"\n");
  const auto complaints = bad_includes(root_);
  EXPECT_THAT(complaints, SizeIs(2));
  EXPECT_THAT(complaints, Contains(Field(&Complaint::where, "weights/weight_store.h:1")));
  EXPECT_THAT(complaints, Contains(testing::AllOf(Field(&Complaint::where, "models/model.h:4"),
                                                  Field(&Complaint::what, HasSubstr("models must not see text")))));
}

TEST_F(BadHouse, IncludesWithoutARoomOrAFileAreSeen) {
  write("base/a.h", "#include \"b.h\"\n#include \"base/missing.h\"\n#include \"base/made.h\"\n");
  write("attic/c.cpp", "");
  const auto complaints = bad_includes(root_, {"base/made.h"});
  EXPECT_THAT(complaints, SizeIs(3));
  EXPECT_THAT(complaints, Contains(Field(&Complaint::what, HasSubstr("does not begin with a room"))));
  EXPECT_THAT(complaints, Contains(Field(&Complaint::what, HasSubstr("does not exist"))));
  EXPECT_THAT(complaints, Contains(Field(&Complaint::where, "attic/c.cpp")));
}

TEST_F(BadHouse, CrowdsAreCountedPerFolder) {
  for (int i = 0; i < 16; ++i) write("kernels/cpu/f" + std::to_string(i), "");
  for (int i = 0; i < 15; ++i) write("kernels/f" + std::to_string(i), "");
  const auto complaints = crowded_folders(root_, 15);
  ASSERT_THAT(complaints, SizeIs(1));
  EXPECT_EQ(complaints[0].where, "kernels/cpu");
}

TEST_F(BadHouse, MachinePathsAreSeen) {
  const std::string bad = std::string("see '/wo") + "rk/notes' for more\n";
  write("a.md", "fine: https://example.org/framework/x, build/work/x\n" + bad);
  write("b.bin", std::string("\0", 1) + bad);
  const auto complaints = machine_paths(root_, {"a.md", "b.bin"});
  ASSERT_THAT(complaints, SizeIs(1));
  EXPECT_EQ(complaints[0].where, "a.md:2");
}

}  // namespace
}  // namespace inazuma::test
