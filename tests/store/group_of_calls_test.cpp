// Calls of many threads that are committed together: each is answered as if it were alone.

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "foreign_writer.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store {
namespace {

using test::FileAccess;
using test::FileCall;
using ::testing::Each;
using ::testing::SizeIs;
using ::testing::StartsWith;

class GroupOfCalls : public ::testing::Test {
 protected:
  template <class Call>
  static std::vector<std::string> errors_of_threads(int threads, Call call) {
    std::vector<std::string> errors(static_cast<std::size_t>(threads));
    std::vector<std::thread> running;
    for (int i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        errors[static_cast<std::size_t>(i)] = test::error_of([&] {
          call(i);
          return 0;
        });
      });
    }
    for (std::thread& thread : running) thread.join();
    return errors;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::atomic<int> syncs_ = 0;
  test::FaultVfs vfs_{[this](const FileAccess& access) {
    if (access.on_wal() && access.call == FileCall::sync) ++syncs_;
    return SQLITE_OK;
  }};
};

TEST_F(GroupOfCalls, SixteenThreadsNeedFewerSyncsThanTheyWrite) {
  constexpr int threads = 16;
  constexpr int increments = 50;
  CacheManager manager({.database = path_});
  manager.register_shared_cluster_creation("h", 1);
  syncs_ = 0;

  EXPECT_THAT(errors_of_threads(threads,
                                [&](int) {
                                  for (int i = 0; i < increments; ++i) {
                                    manager.increment_shared_cluster_usage("h");
                                  }
                                }),
              Each(""));

  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 1 + threads * increments);
  EXPECT_LT(syncs_, threads * increments);
  RecordProperty("syncs", syncs_);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(GroupOfCalls, EachThreadIsToldACountThatNoOtherWas) {
  constexpr int threads = 8;
  constexpr int increments = 50;
  CacheManager manager({.database = path_});
  manager.register_shared_cluster_creation("h", 1);
  std::vector<std::vector<std::int64_t>> told(threads);

  EXPECT_THAT(errors_of_threads(threads,
                                [&](int i) {
                                  for (int n = 0; n < increments; ++n) {
                                    told[static_cast<std::size_t>(i)].push_back(
                                        manager.increment_shared_cluster_usage("h"));
                                  }
                                }),
              Each(""));

  std::map<std::int64_t, int> all;
  for (const auto& counts : told) {
    EXPECT_TRUE(std::is_sorted(counts.begin(), counts.end()));
    for (const std::int64_t count : counts) ++all[count];
  }
  EXPECT_THAT(all, SizeIs(threads * increments));
}

TEST_F(GroupOfCalls, ARowThatDbcacheNeverWritesFailsOnlyTheCallsThatReadIt) {
  constexpr int threads = 8;
  constexpr int increments = 40;
  CacheManager manager({.database = path_});
  for (int i = 0; i < threads; ++i) {
    manager.register_shared_cluster_creation("h-" + std::to_string(i), 1);
  }
  test::run_sql(path_,
                "UPDATE shared_cluster_registry SET status = 'flying' WHERE config_hash = 'h-3'");

  const auto errors = errors_of_threads(threads, [&](int i) {
    for (int n = 0; n < increments; ++n) {
      manager.increment_shared_cluster_usage("h-" + std::to_string(i));
    }
  });

  for (int i = 0; i < threads; ++i) {
    const std::string hash = "h-" + std::to_string(i);
    if (i == 3) {
      EXPECT_THAT(errors[3], StartsWith("CorruptDatabase: "));
    } else {
      EXPECT_EQ(errors[static_cast<std::size_t>(i)], "");
      EXPECT_EQ(manager.get_shared_cluster_info(hash)->usage_count, 1 + increments);
    }
  }
}

thread_local Timestamp present_of_this_thread;

TEST_F(GroupOfCalls, EachWriteHasThePresentOfItsOwnCall) {
  constexpr int threads = 8;
  constexpr int increments = 20;
  const Timestamp start = parse_timestamp("2026-01-15T10:30:00");
  present_of_this_thread = start;
  CacheManager manager({.database = path_, .clock = [] { return present_of_this_thread; }});
  for (int i = 0; i < threads; ++i) {
    manager.register_shared_cluster_creation("h-" + std::to_string(i), 1);
  }

  EXPECT_THAT(
      errors_of_threads(threads,
                        [&](int i) {
                          for (int n = 0; n < increments; ++n) {
                            present_of_this_thread =
                                start + std::chrono::hours{i} + std::chrono::seconds{n};
                            manager.increment_shared_cluster_usage("h-" + std::to_string(i));
                          }
                        }),
      Each(""));

  for (int i = 0; i < threads; ++i) {
    int n = 0;
    for (const RecordedEvent& event :
         manager.history({.subject = "h-" + std::to_string(i), .types = {"UsageIncremented"}})) {
      EXPECT_EQ(event.recorded_at, start + std::chrono::hours{i} + std::chrono::seconds{n++});
    }
    EXPECT_EQ(n, increments);
  }
}

TEST_F(GroupOfCalls, OptimizingAmongWritersDisturbsNobody) {
  constexpr int threads = 6;
  constexpr int increments = 40;
  CacheManager manager({.database = path_});
  manager.register_shared_cluster_creation("h", 1);

  EXPECT_THAT(errors_of_threads(threads,
                                [&](int i) {
                                  for (int n = 0; n < increments; ++n) {
                                    if (i == 0 && n % 4 == 0) manager.optimize_database();
                                    if (i == 1 && n % 8 == 0) {
                                      manager.optimize_database(Vacuum::yes);
                                    }
                                    manager.increment_shared_cluster_usage("h");
                                  }
                                }),
              Each(""));

  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 1 + threads * increments);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(GroupOfCalls, AfterAProcessThatHeldTheLockDiedAllAreCommitted) {
  CacheManager manager({.database = path_, .busy_timeout = std::chrono::minutes{5}});
  manager.register_shared_cluster_creation("h", 1);
  test::Pipe locked;
  test::ChildProcess holder([&] {
    const ForeignWriter foreign(path_);
    locked.signal();
    for (;;) ::pause();
    return 0;
  });
  ASSERT_TRUE(locked.wait());
  std::thread end([&] { holder.kill(SIGKILL); });

  EXPECT_THAT(errors_of_threads(8, [&](int) { manager.increment_shared_cluster_usage("h"); }),
              Each(""));

  end.join();
  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 9);
}

}  // namespace
}  // namespace dbcache::store
