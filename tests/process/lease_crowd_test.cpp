#include <array>
#include <atomic>
#include <cstdio>
#include <functional>
#include <new>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/child_process.hpp"
#include "support/process_barrier.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

// Many processes that want the same cluster at the same moment.
namespace dbcache {
namespace {

using ::testing::Each;

int rounds_of_a_crowd() {
  return test::over_postgres() ? test::rounds(2, 200) : test::rounds(20, 200);
}

constexpr unsigned most_processes = 32;

/// What the processes of a round tell, in memory that all of them share.
struct Round {
  std::atomic<int> creates;
  std::atomic<int> checks;
  std::atomic<int> terminates;
  std::atomic<int> last;     ///< Releases that were told to be the last.
  std::atomic<int> errors;   ///< Processes that threw.
  std::atomic<int> alive;    ///< The number of the cluster that runs; 0: none does.
  std::atomic<int> created;  ///< How many clusters were ever created.
  std::array<std::atomic<std::int64_t>, most_processes> tokens;  ///< By process.
  std::array<std::atomic<int>, most_processes> clusters;         ///< That each was granted.
};

/// A Round in memory that is shared with children forked later.
class SharedRound {
 public:
  SharedRound() {
    void* memory =
        ::mmap(nullptr, sizeof(Round), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("mmap failed");
    round_ = new (memory) Round{};
  }
  ~SharedRound() { ::munmap(round_, sizeof(Round)); }
  SharedRound(const SharedRound&) = delete;
  SharedRound& operator=(const SharedRound&) = delete;

  Round& operator*() const { return *round_; }
  Round* operator->() const { return round_; }

  /// Forgets all but which cluster runs.
  void begin() const {
    for (auto* count :
         {&round_->creates, &round_->checks, &round_->terminates, &round_->last, &round_->errors}) {
      *count = 0;
    }
    for (auto& token : round_->tokens) token = 0;
    for (auto& cluster : round_->clusters) cluster = 0;
  }

 private:
  Round* round_ = nullptr;
};

class LeaseCrowd : public ::testing::Test {
 protected:
  [[nodiscard]] Options options() const {
    return database_.options({.durability = Durability::relaxed});
  }

  static ClusterConfig config() {
    return {{"cluster_name", "crowd"}, {"host", "https://crowd.example"}};
  }

  [[nodiscard]] ClusterLifecycle lifecycle() const {
    return {.create =
                [this](const ClusterConfig&, Creation& creation) {
                  ++round_->creates;
                  const int number = ++round_->created;
                  round_->alive = number;
                  const std::string id = "c-" + std::to_string(number);
                  creation.started(id);
                  return id;
                },
            .terminate =
                [this](const Termination& termination) {
                  ++round_->terminates;
                  if (number_of(termination.owed.cluster_id.value()) == round_->alive) {
                    round_->alive = 0;
                  }
                }};
  }

  static int number_of(const std::string& cluster_id) { return std::stoi(cluster_id.substr(2)); }

  /// Runs the body, and counts an error instead of throwing, so that nobody waits for this process.
  void attempt(const std::function<void()>& body) const {
    try {
      body();
    } catch (const std::exception& error) {
      ++round_->errors;
      std::fprintf(stderr, "a process of the crowd threw: %s\n", error.what());
    }
  }

  void note(unsigned process, const ClusterLease& lease) const {
    round_->tokens.at(process) = lease.fencing_token();
    round_->clusters.at(process) = number_of(lease.cluster_id());
  }

  /// In `processes` processes, for each round: all acquire at once with `lifecycle`, all hold, all
  /// release. Here, `judge` is called after each round, and `prepare` before.
  template <class Prepare, class Judge>
  void play(unsigned processes, int rounds, const ClusterLifecycle& lifecycle,
            const AcquireOptions& how, Prepare prepare, Judge judge) {
    const test::ProcessBarrier begins(processes + 1);
    const test::ProcessBarrier held(processes);
    const test::ProcessBarrier ends(processes + 1);
    std::vector<test::ChildProcess> children;
    for (unsigned process = 0; process < processes; ++process) {
      children.emplace_back([&, process] {
        SharedClusters clusters(options());
        for (int round = 0; round < rounds; ++round) {
          ClusterLease lease;
          begins.wait();
          attempt([&] { lease = clusters.acquire(config(), lifecycle, how); });
          if (lease) note(process, lease);
          held.wait();
          attempt([&] { round_->last += lease.release().was_last ? 1 : 0; });
          ends.wait();
        }
        return 0;
      });
    }
    for (int round = 0; round < rounds; ++round) {
      round_.begin();
      prepare(round);
      begins.wait();
      ends.wait();
      SCOPED_TRACE("round " + std::to_string(round));
      judge(round);
    }
    std::vector<int> statuses;
    for (auto& child : children) statuses.push_back(child.wait());
    EXPECT_THAT(statuses, Each(0));
    EXPECT_EQ(test::unsoundness_of(database_.options()), "");
  }

  /// That each process was granted this cluster, and each by a lease of its own.
  void expect_all_hold(unsigned processes, int cluster) const {
    std::set<std::int64_t> tokens;
    for (unsigned process = 0; process < processes; ++process) {
      tokens.insert(round_->tokens.at(process));
      EXPECT_EQ(round_->clusters.at(process), cluster) << "process " << process;
    }
    EXPECT_EQ(tokens.size(), processes);
    EXPECT_FALSE(tokens.contains(0));
    EXPECT_EQ(round_->errors, 0);
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  SharedRound round_;
};

TEST_F(LeaseCrowd, OfThirtyTwoAtOnceOneCreatesAndAllReleaseWhatIsKept) {
  play(
      32, rounds_of_a_crowd(), lifecycle(), {}, [](int) {},
      [&](int round) {
        expect_all_hold(32, round + 1);
        EXPECT_EQ(round_->creates, 1);
        EXPECT_EQ(round_->terminates, 0);
        EXPECT_EQ(round_->last, 1);
        CacheManager manager(options());
        const auto entry = manager.get_shared_cluster_info(config_hash(config()));
        ASSERT_TRUE(entry);
        EXPECT_EQ(entry->usage_count, 0);
        EXPECT_EQ(entry->status, RegistryStatus::ready);
        EXPECT_EQ(entry->cluster_id, "c-" + std::to_string(round + 1));

        manager.clear_cluster_cache();  // so that the next round begins with nothing
        SharedClusters(manager).settle(lifecycle().terminate);
        EXPECT_EQ(round_->terminates, 1);
      });
}

TEST_F(LeaseCrowd, OfThirtyTwoAtOnceOneHandsTheClusterBack) {
  play(
      32, rounds_of_a_crowd(), lifecycle(), {.policy = HandBackPolicy::hand_back}, [](int) {},
      [&](int round) {
        expect_all_hold(32, round + 1);
        EXPECT_EQ(round_->creates, 1);
        EXPECT_EQ(round_->terminates, 1);
        EXPECT_EQ(round_->last, 1);
        EXPECT_EQ(round_->alive, 0);
        EXPECT_FALSE(
            CacheManager(options()).get_shared_cluster_info(config_hash(config())).has_value());
        EXPECT_THAT(SharedClusters(options()).owed(), ::testing::IsEmpty());
      });
}

TEST_F(LeaseCrowd, AKeptClusterThatDiedBetweenRunsIsReplacedAndGivenToNobody) {
  constexpr unsigned processes = 8;
  ClusterLifecycle with_check = lifecycle();
  with_check.check = [&](const std::string& cluster_id) {
    ++round_->checks;
    return round_->alive == number_of(cluster_id);
  };
  const auto dies_before = [](int round) { return round % 2 == 1; };
  int expected = 0;
  play(
      processes, 20, with_check, {},
      [&](int round) {
        if (dies_before(round)) round_->alive = 0;
        if (round == 0 || dies_before(round)) ++expected;
      },
      [&](int round) {
        expect_all_hold(processes, expected);
        EXPECT_EQ(round_->creates, round == 0 || dies_before(round) ? 1 : 0);
        EXPECT_EQ(round_->checks, round == 0 ? 0 : 1);
        EXPECT_EQ(round_->terminates, 0);
      });
}

}  // namespace
}  // namespace dbcache
