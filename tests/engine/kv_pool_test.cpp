#include "engine/kv_pool.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace inazuma {
namespace {

TEST(KvPool, LaysOneTensorPerLayerWithoutOverlap) {
  const auto ops = make_reference_ops();
  KvPool pool(*ops, {.layers = 3, .blocks = 5, .heads = 2, .block_tokens = 4, .head_dim = 8});
  ASSERT_EQ(pool.view().keys.size(), 3u);
  std::set<float*> begins;
  for (int layer = 0; layer < 3; ++layer)
    for (const Tensor& half :
         {pool.view().keys[static_cast<size_t>(layer)], pool.view().values[static_cast<size_t>(layer)]}) {
      EXPECT_EQ(half.shape(), (Shape{5, 2, 4, 8}));
      begins.insert(half.as<float>());
    }
  EXPECT_EQ(begins.size(), 6u);
  EXPECT_EQ(pool.view().values[0].as<float>() - pool.view().keys[0].as<float>(), 5 * 2 * 4 * 8);
  EXPECT_EQ(pool.free(), 5);
}

TEST(KvPool, SharedBlocksReturnWithTheLastHolder) {
  const auto ops = make_reference_ops();
  KvPool pool(*ops, {1, 4, 1, 2, 2});
  std::vector<int32_t> first;
  pool.allocate(3, first);
  std::vector<int32_t> second(first.begin(), first.begin() + 2);
  pool.retain(second);
  pool.release(first);
  EXPECT_TRUE(first.empty());
  EXPECT_EQ(pool.used(), 2);
  pool.release(second);
  EXPECT_EQ(pool.used(), 0);
}

TEST(KvPool, RefusesMoreThanIsFreeAndTakesNothing) {
  const auto ops = make_reference_ops();
  KvPool pool(*ops, {1, 4, 1, 2, 2});
  std::vector<int32_t> table;
  EXPECT_THROW(pool.allocate(5, table), Error);
  EXPECT_EQ(pool.free(), 4);
  EXPECT_TRUE(table.empty());
  pool.allocate(1, table);
  std::vector<int32_t> copy = table;
  pool.release(table);
  EXPECT_THROW(pool.release(copy), Error);
}

TEST(KvPool, SlotsFollowTheTable) {
  const auto ops = make_reference_ops();
  KvPool pool(*ops, {1, 8, 1, 4, 2});
  const std::vector<int32_t> table = {6, 1};
  EXPECT_EQ(pool.slot(table, 0), 24);
  EXPECT_EQ(pool.slot(table, 3), 27);
  EXPECT_EQ(pool.slot(table, 5), 5);
  EXPECT_EQ(blocks_for(0, 4), 0);
  EXPECT_EQ(blocks_for(4, 4), 1);
  EXPECT_EQ(blocks_for(5, 4), 2);
}

RC_GTEST_PROP(KvPoolProperty, NoBlockHasTwoOwnersAndNoneIsLost, ()) {
  const auto ops = make_reference_ops();
  const int blocks = *rc::gen::inRange(1, 20);
  KvPool pool(*ops, {1, blocks, 1, 2, 2});
  std::vector<std::vector<int32_t>> tables(5);
  for (int i = 0; i < 60; ++i) {
    auto& table = tables[*rc::gen::inRange<size_t>(0, tables.size())];
    if (*rc::gen::inRange(0, 3) == 0) {
      pool.release(table);
    } else {
      pool.allocate(*rc::gen::inRange(0, pool.free() + 1), table);
    }
    std::set<int32_t> owned;
    size_t total = 0;
    for (const auto& other : tables) {
      owned.insert(other.begin(), other.end());
      total += other.size();
    }
    RC_ASSERT(owned.size() == total);
    RC_ASSERT(pool.used() == static_cast<int>(total));
  }
  for (auto& table : tables) pool.release(table);
  RC_ASSERT(pool.free() == blocks);
}

}  // namespace
}  // namespace inazuma
