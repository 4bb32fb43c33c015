#include <csignal>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/fault_vfs.hpp"
#include "support/python_database.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using ::testing::Le;

/// What a process does until it is killed; each finished step is acknowledged.
struct Scenario {
  std::string name;
  std::function<void(const std::string& path)> prepare;
  std::function<void(CacheManager& manager, const std::function<void()>& acknowledge)> run;
  /// How many acknowledged steps the database shows.
  std::function<int(CacheManager& manager)> count;

  friend std::ostream& operator<<(std::ostream& out, const Scenario& scenario) {
    return out << scenario.name;
  }
};

/// Kills a process at its first write or sync, then at a later one, and so on until it gets
/// through.
class CrashPoint : public ::testing::TestWithParam<Scenario> {
 protected:
  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
};

int count_of_uses(CacheManager& manager) {
  const auto entry = manager.get_shared_cluster_info("h");
  return entry ? static_cast<int>(entry->usage_count) : 0;
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, CrashPoint,
    ::testing::Values(
        Scenario{"WhileTheDatabaseIsMade", [](const std::string&) {},
                 [](CacheManager& manager, const std::function<void()>& acknowledge) {
                   manager.register_shared_cluster_creation("h", 1);
                   acknowledge();
                   manager.increment_shared_cluster_usage("h");
                   acknowledge();
                 },
                 count_of_uses},
        Scenario{"WhileTheWalIsMovedIntoTheDatabase",
                 [](const std::string& path) {
                   CacheManager({.database = path}).register_shared_cluster_creation("h", 1);
                 },
                 [](CacheManager& manager, const std::function<void()>& acknowledge) {
                   acknowledge();  // of the registration
                   manager.increment_shared_cluster_usage("h");
                   acknowledge();
                   manager.optimize_database();
                   manager.increment_shared_cluster_usage("h");
                   acknowledge();
                   manager.optimize_database(Vacuum::yes);
                 },
                 count_of_uses},
        Scenario{"WhileTheTablesAreReplayed",
                 [](const std::string& path) {
                   CacheManager manager({.database = path});
                   manager.register_shared_cluster_creation("h", 1);
                   for (int i = 0; i < 30; ++i) manager.cache_new_cluster(std::to_string(i));
                 },
                 [](CacheManager& manager, const std::function<void()>& acknowledge) {
                   acknowledge();
                   manager.replay();
                   manager.increment_shared_cluster_usage("h");
                   acknowledge();
                 },
                 count_of_uses},
        Scenario{"WhileRowsAreAdopted",
                 [](const std::string& path) { test::make_python_database(path, "delete"); },
                 [](CacheManager& manager, const std::function<void()>& acknowledge) {
                   static_cast<void>(manager.get_all_clusters());
                   for (int row = 0; row < 4; ++row) acknowledge();
                 },
                 [](CacheManager& manager) {
                   return static_cast<int>(
                       manager.history({.types = {"ClusterImported", "EntryImported"}}).size());
                 }}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(CrashPoint, EveryWriteAndSyncMayBeTheLast) {
  const Scenario& scenario = GetParam();
  int status = -SIGKILL;
  for (int last = 0; status == -SIGKILL; last += test::rounds_apart(3)) {
    const std::string path = (directory_.path() / (std::to_string(last) + ".db")).string();
    scenario.prepare(path);
    test::Pipe acknowledged;

    test::ChildProcess child([&] {
      int left = last;
      const test::FaultVfs vfs([&left](const test::FileAccess& access) {
        const bool counts =
            access.call == test::FileCall::write || access.call == test::FileCall::sync;
        if (counts && left-- == 0) ::raise(SIGKILL);
        return SQLITE_OK;
      });
      CacheManager manager({.database = path});
      scenario.run(manager, [&] { acknowledged.signal(); });
      return 0;
    });
    acknowledged.close_write();
    status = child.wait();

    ASSERT_THAT(status, ::testing::AnyOf(0, -SIGKILL)) << "at access " << last;
    const int steps = static_cast<int>(acknowledged.read_to_end().size());
    CacheManager manager({.database = path});
    ASSERT_THAT(steps, Le(scenario.count(manager))) << "at access " << last;
    ASSERT_EQ(test::unsoundness_of(path), "") << "at access " << last;
  }
}

}  // namespace
}  // namespace dbcache
