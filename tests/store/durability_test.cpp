#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/fault_vfs.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

/// Watches how often the WAL is forced to disk while a manager works.
class DurabilityTest : public ::testing::Test {
 protected:
  /// How many syncs of the WAL `call` makes before it returns.
  template <class Call>
  int syncs_of(Durability durability, Call call) {
    CacheManager manager({.database = directory_.database(), .durability = durability});
    manager.register_shared_cluster_creation("h", 1);
    manager.cache_new_cluster("c");
    syncs_ = 0;
    last_ = test::FileCall::open;
    call(manager);
    last_at_return_ = last_;
    return syncs_;
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::atomic<int> syncs_ = 0;
  /// The last access to the WAL that changes what a power loss would leave of it.
  std::atomic<test::FileCall> last_ = test::FileCall::open;
  test::FileCall last_at_return_ = test::FileCall::open;
  test::FaultVfs vfs_{[this](const test::FileAccess& access) {
    if (!access.on_wal()) return SQLITE_OK;
    if (access.call == test::FileCall::sync) ++syncs_;
    if (access.call == test::FileCall::sync || access.call == test::FileCall::write) {
      last_ = access.call;
    }
    return SQLITE_OK;
  }};
};

TEST_F(DurabilityTest, FullSyncsEveryChangeAfterItsLastWrite) {
  EXPECT_GE(syncs_of(Durability::full, [](CacheManager& m) { m.update_cluster_access("c"); }), 1);
  EXPECT_EQ(last_at_return_, test::FileCall::sync);
  EXPECT_GE(
      syncs_of(Durability::full, [](CacheManager& m) { m.increment_shared_cluster_usage("h"); }),
      1);
  EXPECT_EQ(last_at_return_, test::FileCall::sync);
}

TEST_F(DurabilityTest, RelaxedSyncsACreation) {
  EXPECT_EQ(syncs_of(Durability::relaxed,
                     [](CacheManager& m) { m.register_shared_cluster_creation("new", 1); }),
            1);
  EXPECT_EQ(last_at_return_, test::FileCall::sync);
}

TEST_F(DurabilityTest, RelaxedSyncsAChangeOfStatus) {
  EXPECT_EQ(syncs_of(Durability::relaxed,
                     [](CacheManager& m) {
                       m.update_shared_cluster_status("h", RegistryStatus::ready,
                                                      {.cluster_id = "c"});
                     }),
            1);
  EXPECT_EQ(last_at_return_, test::FileCall::sync);
}

TEST_F(DurabilityTest, RelaxedDoesNotSyncAnAccess) {
  EXPECT_EQ(syncs_of(Durability::relaxed, [](CacheManager& m) { m.update_cluster_access("c"); }),
            0);
  EXPECT_EQ(last_at_return_, test::FileCall::write);
}

TEST_F(DurabilityTest, RelaxedDoesNotSyncAUse) {
  EXPECT_EQ(
      syncs_of(Durability::relaxed, [](CacheManager& m) { m.increment_shared_cluster_usage("h"); }),
      0);
}

TEST_F(DurabilityTest, RelaxedDoesNotSyncARegistrationThatOnlyJoins) {
  EXPECT_EQ(syncs_of(Durability::relaxed,
                     [](CacheManager& m) { m.register_shared_cluster_creation("h", 1); }),
            0);
}

TEST_F(DurabilityTest, ReadingSyncsNothing) {
  EXPECT_EQ(
      syncs_of(Durability::full, [](CacheManager& m) { static_cast<void>(m.get_all_clusters()); }),
      0);
}

}  // namespace
}  // namespace dbcache
