// Whatever workers do, and whenever they die: the rules of leases hold after every step, and no
// cluster that was created is forgotten. DBCACHE_TEST_SEED plays another game than the usual one.

#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "fake_workspace.hpp"
#include "lease_audit.hpp"
#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using namespace std::chrono_literals;
using rows::Holder;
using rows::PendingTermination;
using rows::Share;
using test::FakeWorkspace;
using test::LeaseAudit;
using test::LeaseWorld;
using Next = AcquireStep::Next;

constexpr int steps_of_leases = 2'500;
constexpr std::uint64_t games = 5;
constexpr std::uint64_t usual_seed = 20'260'115;

std::uint64_t seed() {
  const char* const given = std::getenv("DBCACHE_TEST_SEED");
  return given == nullptr ? usual_seed : std::strtoull(given, nullptr, 10);
}

/// A worker, and what it is at.
struct Worker {
  enum class At { creating, holding, checking, terminating, in_a_run };
  At at = At::creating;
  Acquire command;
  Holder holder;
  std::int64_t number = 0;  ///< Of the creation, lease, check, termination or place in the run.
  std::string cluster_id;
  std::optional<PendingTermination> pending;
  bool must_report = false;  ///< Its creation was ended by force: it is not killed before it notes.
};

class Game : public LeaseWorld {
 public:
  explicit Game(std::uint64_t of) : random_(of) {}

  void play() {
    for (int count = 1; count <= steps_of_leases; ++count) {
      now += std::chrono::microseconds(below(60'000'000));
      if (one_in(60)) now += 40min;
      said_ = "";
      try {
        step();
      } catch (const Busy&) {
      } catch (const NotFound&) {
      } catch (const InvalidArgument&) {
      }
      audit_.check();
      if (testing::Test::HasFailure()) {
        FAIL() << "after step " << count << ": " << said_;
      }
    }
    finish();
  }

 private:
  // ---- Chance

  std::size_t below(std::size_t count) { return random_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return *(choices.begin() + below(choices.size()));
  }
  std::string any_hash() { return one_of<std::string>({"a", "b", "c"}); }
  std::string any_cluster() {
    if (workspace_.created.empty() || one_in(6)) return one_of<std::string>({"d-1", "d-2"});
    if (const auto all_pending = tables.pending_terminations(); !all_pending.empty() && one_in(3)) {
      return all_pending[below(all_pending.size())].cluster_id.value_or("d-1");
    }
    if (const auto entries = tables.entries(); !entries.empty() && one_in(2)) {
      return entries[below(entries.size())].cluster_id.value_or("d-1");
    }
    auto found = workspace_.created.begin();
    std::advance(found, below(workspace_.created.size()));
    return *found;
  }

  // ---- Steps

  void step() {
    const std::size_t which = below(100);
    if (workers_.size() < 3 || (which < 30 && workers_.size() < 12)) return begin();
    if (which < 75) return go_on(below(workers_.size()));
    if (which < 85) return die(below(workers_.size()));
    if (which < 95) return documented();
    if (!workspace_.running.empty()) {
      said_ = "a cluster terminates itself";
      auto found = workspace_.running.begin();
      std::advance(found, below(workspace_.running.size()));
      workspace_.running.erase(found);
    }
  }

  void begin() {
    Worker worker;
    if (one_in(8)) {
      said_ = "join a run";
      worker.at = Worker::At::in_a_run;
      worker.holder = someone();
      worker.number = commit(JoinRun{"nightly", "worker", std::nullopt, worker.holder}).second;
    } else if (one_in(4)) {
      said_ = "claim";
      const auto [pending, termination] = claim();
      if (!pending) return;
      worker.at = Worker::At::terminating;
      worker.holder = last_terminator;
      worker.number = termination;
      worker.pending = pending;
    } else {
      worker.command = acquirer(any_hash());
      worker.command.policy = one_of({HandBackPolicy::keep, HandBackPolicy::hand_back});
      worker.command.checks = one_in(2);
      if (one_in(3)) worker.command.run = "nightly";
      if (one_in(10)) {
        worker.command.fixed_cluster = any_cluster();
        worker.command.config_hash = "cluster-id-" + *worker.command.fixed_cluster;
      }
      worker.holder = worker.command.holder;
      if (!take_a_step(worker)) return;
    }
    workers_.push_back(std::move(worker));
  }

  /// False where it has to wait: it gives up.
  bool take_a_step(Worker& worker) {
    const Step step = acquire(worker.command);
    said_ =
        fmt::format("acquire {}: next {}", worker.command.config_hash, static_cast<int>(step.next));
    worker.number = step.number;
    worker.cluster_id = step.cluster_id.value_or("");
    worker.command.checked.reset();
    switch (step.next) {
      case Next::granted:
        worker.at = Worker::At::holding;
        break;
      case Next::create:
        worker.at = Worker::At::creating;
        worker.command.new_token = step.idempotency_token;
        EXPECT_FALSE(terminated_.contains(worker.cluster_id))
            << worker.cluster_id << " is no more" << audit_.story(worker.cluster_id);
        EXPECT_FALSE(terminated_.contains(step.idempotency_token)) << step.idempotency_token;
        break;
      case Next::check:
        worker.at = Worker::At::checking;
        break;
      default:
        return false;
    }
    return expect_growing(worker);
  }

  bool expect_growing(const Worker& worker) {
    std::int64_t& highest = highest_[worker.command.config_hash];
    EXPECT_GT(worker.number, highest);
    highest = worker.number;
    return true;
  }

  void go_on(std::size_t which) {
    Worker& worker = workers_[which];
    switch (worker.at) {
      case Worker::At::creating:
        if (create(worker)) return;
        break;
      case Worker::At::checking:
        if (check_cluster(worker)) return;
        break;
      case Worker::At::holding:
        if (hold(worker)) return;
        break;
      case Worker::At::terminating:
        said_ = "terminate " + worker.pending->subject;
        if (one_in(4)) {
          commit(FinishTermination{worker.pending->subject, {worker.number}, "403"});
        } else {
          terminate(*worker.pending);
          commit(FinishTermination{worker.pending->subject, {worker.number}, std::nullopt});
        }
        break;
      case Worker::At::in_a_run:
        said_ = "leave the run";
        commit(LeaveRun{{worker.number}});
        break;
    }
    workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(which));
  }

  /// True where the worker stays.
  bool create(Worker& worker) {
    const std::string& hash = worker.command.config_hash;
    if (!worker.must_report && one_in(5)) {
      said_ = "fail to create " + hash;
      commit(FailCreation{hash, {worker.number}, "no quota"});
      return false;
    }
    const std::string id = one_in(10) ? workspace_.create(worker.command.new_token + "-again")
                                      : workspace_.create(worker.command.new_token);
    // From here on the worker knows of a cluster that the log does not.
    worker.must_report = true;
    said_ = fmt::format("create {}: {}", hash, id);
    const FailCreation busy{hash, {worker.number}, "busy", id, worker.command.new_token};
    if (one_in(10)) {
      said_ += ", which cannot be told in time";
      commit(busy);
      return false;
    }
    try {
      if (one_in(2)) {
        const bool stale = commit(RecordStarted{hash, {worker.number}, id}).first.result.stale;
        worker.must_report = false;
        return !stale;
      }
      const bool stale = commit(ready(worker.command, worker.number, id)).first.result.stale;
      if (stale) return false;
    } catch (const Busy&) {
      // It is being terminated, which is as good.
      commit(busy);
      return false;
    }
    worker.must_report = false;
    worker.at = Worker::At::holding;
    worker.number = newest_lease();
    worker.cluster_id = id;
    return expect_growing(worker);
  }

  bool check_cluster(Worker& worker) {
    const bool runs = workspace_.running.contains(worker.cluster_id) ||
                      !workspace_.created.contains(worker.cluster_id);
    const CheckAnswer answer = one_in(8) ? CheckAnswer::failed
                               : runs    ? CheckAnswer::alive
                                         : CheckAnswer::dead;
    said_ = fmt::format("check {}: {}", worker.cluster_id, static_cast<int>(answer));
    commit(AnswerCheck{
        worker.command.config_hash, {worker.number}, worker.cluster_id, answer, std::nullopt});
    if (answer == CheckAnswer::failed) return false;
    if (answer == CheckAnswer::dead) workspace_.end(worker.cluster_id);
    if (answer == CheckAnswer::alive) worker.command.checked = worker.cluster_id;
    return take_a_step(worker);
  }

  bool hold(Worker& worker) {
    if (one_in(8)) {
      said_ = "believe dead " + worker.cluster_id;
      commit(BelieveDead{{worker.number}});
    } else if (one_in(8) && tables.lease(worker.number)) {
      said_ = "hold by a deadline";
      commit(RenewLease{{worker.number}, now + 20min, true});
    } else if (one_in(3) && tables.lease(worker.number)) {
      said_ = "use " + worker.cluster_id;
      commit(NoteUse{{worker.number}, "a test"});
      return true;
    } else {
      said_ = "release " + worker.cluster_id;
      commit(EndLease{{worker.number}});
    }
    return false;
  }

  void die(std::size_t which) {
    if (workers_[which].must_report) return;
    said_ = "a worker dies";
    kill(workers_[which].holder);
    if (workers_[which].at == Worker::At::creating && one_in(2)) {
      // Or is taken for dead, and goes on.
      workers_[which].must_report = true;
      if (one_in(2)) tidy();
      return;
    }
    workers_.erase(workers_.begin() + static_cast<std::ptrdiff_t>(which));
    if (one_in(2)) tidy();
  }

  void documented() {
    const std::string hash = any_hash();
    const auto held = one_in(4) ? HeldClusters::remove : HeldClusters::leave;
    const std::size_t which = below(10);
    said_ = fmt::format("documented {} {}", which, hash);
    if (held == HeldClusters::remove && (which == 3 || which == 4)) {
      for (Worker& worker : workers_) {
        worker.must_report = worker.must_report || worker.at == Worker::At::creating;
      }
    }
    switch (which) {
      case 0:
        commit(IncrementUsage{hash});
        break;
      case 1:
        commit(DecrementUsage{hash});
        break;
      case 2:
        commit(CleanUpExpired{held});
        break;
      case 3:
        commit(CleanUpEntry{hash, held});
        break;
      case 4:
        if (one_in(3)) commit(ClearRegistry{held});
        break;
      case 5:
        if (one_in(3)) commit(ClearClusters{held});
        break;
      case 6:
        remove(any_cluster());
        break;
      case 7:
        commit(RegisterCreation{hash, {4711, 1, "boot", "pid:[1]"}});
        break;
      case 8:
        cache(any_cluster());
        break;
      case 9:
        mark(hash);
        break;
    }
  }

  void remove(const std::string& id) {
    workspace_.end(id);  // as the documented call has it: it was terminated
    if (commit(RemoveTerminated{id}).first.result) terminated_.insert(id);
  }
  void cache(const std::string& id) {
    CacheCluster command;
    command.input.cluster_id = id;
    command.default_expiry = 1h;
    commit(command);
  }
  void mark(const std::string& hash) {
    ChangeStatus command{hash, {}, {}};
    command.status =
        one_of({RegistryStatus::creating, RegistryStatus::ready, RegistryStatus::failed});
    if (one_in(2)) command.details.cluster_id = any_cluster();
    commit(command);
  }

  void terminate(const PendingTermination& pending) {
    EXPECT_FALSE(pending.cluster_id && is_cluster_held(*pending.cluster_id, present()))
        << pending.subject;
    workspace_.terminate(pending);
    terminated_.insert(pending.subject);
  }

  // ---- The end

  /// Everyone is killed but those who just had a cluster from the workspace, who tell of it first.
  void finish() {
    said_ = "the end";
    while (!workers_.empty()) {
      Worker& worker = workers_.back();
      if (worker.must_report) {
        create(worker);
      }
      kill(worker.holder);
      workers_.pop_back();
    }
    now += 21min;  // past the last lease that holds by a deadline
    tidy();
    settle();
    EXPECT_THAT(tables.leases(), testing::IsEmpty());
    EXPECT_THAT(tables.participants(), testing::IsEmpty());
    for (const Share& share : tables.shares()) {
      const auto entry = tables.entry(share.config_hash);
      EXPECT_FALSE(share.creation) << share.config_hash;
      EXPECT_FALSE(share.created && share.policy == HandBackPolicy::hand_back &&
                   usage_of(*entry, tables).documented == 0)
          << share.config_hash << " is not handed back";
    }
    now += 2h;  // past the expiry of what is kept
    tidy();
    settle();
    audit_.check();
    std::set<std::string_view> types;
    for (const Event& event : log) types.insert(type_of(event));
    EXPECT_GE(types.size(),
              22u);  // of 24: imported rows are none here, and chance may leave one out
    for (const Share& share : tables.shares()) EXPECT_FALSE(share.created) << share.config_hash;
    for (const std::string& id : workspace_.open) {
      EXPECT_TRUE(audit_.was_taken(id))
          << id << " was created, and is forgotten" << audit_.story(id);
    }
  }

  void settle() {
    ClaimTermination command;
    command.every_host = true;
    for (;;) {
      command.holder = someone();
      const auto [decision, first] = commit(command);
      if (!decision.result) break;
      terminate(*decision.result);
      commit(FinishTermination{decision.result->subject, {first}, std::nullopt});
    }
    EXPECT_THAT(tables.pending_terminations(), testing::IsEmpty());
  }

  std::mt19937_64 random_;
  FakeWorkspace workspace_;
  LeaseAudit audit_{*this};
  std::vector<Worker> workers_;
  std::set<std::string>
      terminated_;  ///< Subjects of pending terminations that were settled, and what was removed.
  std::map<std::string, std::int64_t> highest_;
  std::string said_;
};

class RandomLeases : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RandomLeases, KeepTheRulesAndForgetNoCluster) {
  const std::uint64_t played = seed() + GetParam();
  std::cout << "seed " << seed() << " and " << GetParam() << " (DBCACHE_TEST_SEED plays another)\n";
  Game(played).play();
}

INSTANTIATE_TEST_SUITE_P(Games, RandomLeases, testing::Range<std::uint64_t>(0, games));

}  // namespace
}  // namespace dbcache::commands
