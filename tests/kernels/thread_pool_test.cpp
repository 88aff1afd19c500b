#include "base/thread_pool.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <memory>
#include <vector>

namespace inazuma {
namespace {

TEST(ThreadPool, EveryTaskRunsOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 2000; ++round) {
      const int64_t tasks = round % 40;
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      std::atomic<int> strangers{0};
      pool.run(tasks, [&](int64_t task, int thread) {
        ++runs[static_cast<size_t>(task)];
        if (thread < 0 || thread >= threads) ++strangers;
      });
      for (const auto& count : runs) ASSERT_EQ(count.load(), 1);
      ASSERT_EQ(strangers.load(), 0);
    }
  }
}

TEST(ThreadPool, WhatTasksWroteIsSeenAfterwards) {
  ThreadPool pool(4);
  std::vector<int64_t> squares(1000);
  for (int round = 1; round < 300; ++round) {
    pool.run(1000, [&](int64_t task, int) { squares[static_cast<size_t>(task)] = task * task * round; });
    for (int64_t i = 0; i < 1000; ++i) ASSERT_EQ(squares[static_cast<size_t>(i)], i * i * round);
  }
}

TEST(ThreadPool, OneThreadIdsAreNotSharedAtATime) {
  ThreadPool pool(3);
  std::vector<std::atomic<int>> inside(3);
  std::atomic<int> clashes{0};
  for (int round = 0; round < 500; ++round)
    pool.run(50, [&](int64_t, int thread) {
      if (++inside[static_cast<size_t>(thread)] != 1) ++clashes;
      --inside[static_cast<size_t>(thread)];
    });
  EXPECT_EQ(clashes.load(), 0);
}

TEST(ThreadPool, WakesAfterSleeping) {
  ThreadPool pool(3);
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // longer than workers look for news
    std::atomic<int> runs{0};
    pool.run(30, [&](int64_t, int) { ++runs; });
    ASSERT_EQ(runs.load(), 30);
  }
}

TEST(ThreadPool, SeveralPoolsWorkSideBySide) {
  std::vector<std::thread> owners;
  std::atomic<int64_t> total{0};
  for (int owner = 0; owner < 4; ++owner)
    owners.emplace_back([&] {
      ThreadPool pool(3);
      for (int round = 0; round < 300; ++round) pool.run(10, [&](int64_t task, int) { total += task; });
    });
  for (std::thread& owner : owners) owner.join();
  EXPECT_EQ(total.load(), 4 * 300 * 45);
}

TEST(ThreadPool, AnIdlePoolUsesNoProcessor) {
  ThreadPool pool(4);
  pool.run(100, [](int64_t, int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const auto used = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto micro = [](const timeval& t) { return static_cast<int64_t>(t.tv_sec) * 1000000 + t.tv_usec; };
    return micro(usage.ru_utime) + micro(usage.ru_stime);
  };
  const int64_t before = used();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(used() - before, 5000) << "microseconds of processor time in 300 ms";
}

TEST(ThreadPool, ComesAndGoes) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(3);
    if (i % 2 == 0) pool.run(5, [](int64_t, int) {});
  }
  EXPECT_GE(usable_cores(), 1);
}

}  // namespace
}  // namespace inazuma
