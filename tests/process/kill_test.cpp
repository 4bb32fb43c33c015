#include <map>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

/// A mutation of worker `worker` that has returned.
struct Acknowledged {
  int worker;
  int cached;              ///< The number of the cluster that was cached; -1 where none was.
  std::int64_t increment;  ///< The count that an increment returned; 0 where there was none.
};

std::string hash_of(int worker) { return "h-" + std::to_string(worker); }
std::string cluster_of(int worker, int number) {
  return "c-" + std::to_string(worker) + "-" + std::to_string(number);
}

/// Changes the database without end, and tells of each change once its call has returned.
int work(const Options& options, int worker, const test::Pipe& told) {
  std::optional<CacheManager> manager(options);
  manager->register_shared_cluster_creation(hash_of(worker), ::getpid());
  for (int step = 0;; ++step) {
    if (step % 4 == 3) {
      manager->cache_new_cluster(cluster_of(worker, step), {{"note", std::string(300, 'x')}});
      told.put(Acknowledged{worker, step, 0});
    } else {
      told.put(Acknowledged{worker, -1, manager->increment_shared_cluster_usage(hash_of(worker))});
    }
    if (step % 16 == 8) manager->optimize_database();
    if (step % 16 == 12) manager.emplace(options);
  }
}

class Kill : public ::testing::Test {
 protected:
  static constexpr int workers = 3;
  static constexpr int kills_of_one_database = 25;

  /// Starts workers, kills all of them once `patience` of their changes are acknowledged, and
  /// returns every change that was.
  static std::vector<Acknowledged> kill_after(int changes, const Options& options,
                                              int first_worker) {
    test::Pipe told;
    std::vector<test::ChildProcess> children;
    for (int i = 0; i < workers; ++i) {
      children.emplace_back([&, i] {
        told.close_read();
        return work(options, first_worker + i, told);
      });
    }
    told.close_write();
    std::vector<Acknowledged> acknowledged;
    Acknowledged one{};
    while (changes-- > 0 && told.get(one)) acknowledged.push_back(one);
    for (const auto& child : children) child.kill(SIGKILL);
    while (told.get(one)) acknowledged.push_back(one);
    for (auto& child : children) EXPECT_EQ(child.wait(), -SIGKILL);
    return acknowledged;
  }

  /// The acknowledged changes that the log does not have.
  static std::vector<std::string> lost(const std::vector<Acknowledged>& acknowledged,
                                       const Options& options) {
    const CacheManager manager(options);
    std::set<std::string> in_log;
    for (const RecordedEvent& event : manager.history()) {
      in_log.insert(event.stream + " " + event.type + " " + std::to_string(event.version));
    }
    std::vector<std::string> lost;
    for (const Acknowledged& one : acknowledged) {
      // An entry's count and its version are the same here: it begins with both at 1.
      const std::string event =
          one.increment > 0 ? "registry-" + hash_of(one.worker) + " UsageIncremented " +
                                  std::to_string(one.increment)
                            : "cluster-" + cluster_of(one.worker, one.cached) + " ClusterCached 1";
      if (!in_log.contains(event)) lost.push_back(event);
    }
    return lost;
  }

  test::BareEnvironment environment_;
};

TEST_F(Kill, OfWritersAtRandomMomentsLosesNothingAcknowledged) {
  const int kills = test::over_postgres() ? test::rounds(10, 50) : test::rounds(50, 200);
  std::mt19937 random(20260115);  // the same moments in every run, as far as the machine allows
  std::uniform_int_distribution<int> moment(0, 40);
  std::size_t total = 0;
  std::optional<test::TestDatabase> database;
  for (int round = 0; round < kills; ++round) {
    if (round % kills_of_one_database == 0) database.emplace();
    const Options options =
        database->options({.durability = round % 4 == 0 ? Durability::full : Durability::relaxed});

    const auto acknowledged = kill_after(moment(random), options, round * workers);

    ASSERT_EQ(test::unsoundness_of(options), "") << "after kill " << round;
    ASSERT_THAT(lost(acknowledged, options), ::testing::IsEmpty()) << "after kill " << round;
    total += acknowledged.size();
  }
  RecordProperty("kills", kills);
  RecordProperty("acknowledged", static_cast<int>(total));
  EXPECT_GT(total, static_cast<std::size_t>(kills));
}

}  // namespace
}  // namespace dbcache
