// Who lives and who wakes, on every engine. Nothing waits but poll(2), for what has to come.

#include <chrono>
#include <poll.h>
#include <thread>

#include <fmt/format.h>

#include "engine_contract.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"

namespace dbcache::store {
namespace {

using rows::Holder;
using rows::Liveness;
using Verdict = Liveness::Verdict;

constexpr int long_enough = 60'000;  // milliseconds: for what has to come

bool wakes(const Wakeup& wakeup, int timeout = long_enough) {
  pollfd waiting{wakeup.descriptor(), POLLIN, 0};
  return ::poll(&waiting, 1, timeout) == 1 && (waiting.revents & POLLIN) != 0;
}

bool is_awake(const Wakeup& wakeup) { return wakes(wakeup, 0); }

/// What a transaction is told of a holder.
Verdict probe(Engine& engine, const Holder& holder) {
  Verdict verdict = Verdict::unknown;
  write(engine, [&](WriteSession& session) { verdict = session.liveness.probe(holder); });
  return verdict;
}

/// The ids of the leases and of the participants that a sweep reads.
std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> swept_ids(Engine& engine) {
  std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>> ids;
  engine.read(std::nullopt, [&](const ReadSession& session) {
    ids = {};
    const rows::TableReader::Page all{rows::TableReader::from_the_first, 100};
    for (const rows::Lease& row : session.tables.leases_after(all)) ids.first.push_back(row.id);
    for (const rows::Participant& row : session.tables.participants_after(all)) {
      ids.second.push_back(row.id);
    }
  });
  return ids;
}

class EngineLiveness : public EngineContract {
 protected:
  /// What is told of a holder whose lock is gone while its process goes on, in the end.
  Verdict probe_in_the_end(Engine& engine, const Holder& holder) {
    if (!place_->locks_tell_all()) {
      EXPECT_EQ(probe(engine, holder), Verdict::alive);  // it may only have lost its session
      // Nobody waits until a server has freed a lock: the suspicion may begin later.
      do {
        place_->end_grace();
      } while (probe(engine, holder) == Verdict::alive);
    }
    return probe(engine, holder);
  }

  /// The holder that a child tells the place of.
  Holder holder_of(const test::ChildProcess& child, const test::Pipe& told) {
    Holder holder = engine_->take_lock()->holder();
    holder.process = system::identify_process(child.pid());
    if (!told.get(holder.lock)) throw std::runtime_error("the child holds nothing");
    return holder;
  }
  /// Whether a holder is found dead, as it has to be: a server hears of it a moment later.
  static bool dies(Engine& engine, const Holder& holder) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(long_enough);
    while (probe(engine, holder) != Verdict::dead) {
      if (std::chrono::steady_clock::now() > until) return false;
      std::this_thread::yield();
    }
    return true;
  }

  std::unique_ptr<Engine> engine_ = open();
  std::unique_ptr<Engine> other_ = open();

  static void put(Engine& engine, const std::string& cluster_id) {
    put_into(engine, "cluster-" + cluster_id);
  }
  static void put_into(Engine& engine, const std::string& stream) {
    write(engine, [&](WriteSession& session) {
      session.log.append(record(session.log.begin_append({stream}, 1).position, stream, 1));
    });
    // Others are told behind the commit: an answer from the server comes after that.
    static_cast<void>(engine.now());
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineLiveness, engines(), engine_name);

// ---- Who lives

TEST_P(EngineLiveness, AHolderIsAliveForOthersAndForItself) {
  const auto lock = engine_->take_lock();
  EXPECT_EQ(probe(*engine_, lock->holder()), Verdict::alive);
  EXPECT_EQ(probe(*other_, lock->holder()), Verdict::alive);
  EXPECT_EQ(test::in_child(
                [&] { return probe(*open(), lock->holder()) == Verdict::alive ? "alive" : "not"; }),
            "alive");
}

TEST_P(EngineLiveness, ASweepReadsAllWhoMayBeDead) {
  const auto lives = engine_->take_lock();
  const auto lives_elsewhere = other_->take_lock();
  auto lock = engine_->take_lock();
  const Holder died = lock->holder();
  lock.reset();
  EXPECT_EQ(probe_in_the_end(*engine_, died), Verdict::dead);  // the lock is let go of
  Holder with_deadline = lives->holder();
  with_deadline.until = parse_timestamp("2026-01-15T10:30:00");
  Holder of_another_log = lives->holder();
  of_another_log.lock_file = "0123456789abcdef0123456789abcdef";
  Holder tells_nothing;
  Holder told_lies = died;  // its label looks like the beginning of a holder that lives
  told_lies.label = fmt::format(R"("lock_file":"{}","lock":{},)", lives->holder().lock_file,
                                lives->holder().lock);
  const std::vector<Holder> holders{lives->holder(),
                                    lives_elsewhere->holder(),
                                    died,
                                    with_deadline,
                                    of_another_log,
                                    tells_nothing,
                                    told_lies};
  write(*engine_, [&](WriteSession& session) {
    std::int64_t id = 0;
    for (const Holder& holder : holders) {
      rows::Lease lease;
      lease.id = ++id;
      lease.config_hash = "h";
      lease.cluster_id = "c";
      lease.holder = holder;
      session.tables.put(lease);
      rows::Participant participant;
      participant.id = id;
      participant.run = "nightly";
      participant.holder = holder;
      session.tables.put(participant);
    }
  });

  std::vector<std::int64_t> expected{3, 4, 5, 6, 7};
  // Beside a file each holder is asked for; a server knows who lives.
  if (place_->locks_tell_all()) expected.insert(expected.begin(), {1, 2});
  EXPECT_THAT(swept_ids(*engine_), ::testing::Pair(expected, expected));
  EXPECT_THAT(swept_ids(*other_), ::testing::Pair(expected, expected));
}

TEST_P(EngineLiveness, AHolderTellsItsProcess) {
  const auto lock = engine_->take_lock();
  EXPECT_EQ(lock->holder().process.pid, ::getpid());
  EXPECT_FALSE(lock->holder().host.empty());
  EXPECT_EQ(lock->holder().until, std::nullopt);
}

TEST_P(EngineLiveness, AHolderIsDeadOnceItLetGo) {
  auto lock = engine_->take_lock();
  const Holder holder = lock->holder();
  lock.reset();
  EXPECT_EQ(probe_in_the_end(*engine_, holder), Verdict::dead);
  EXPECT_EQ(probe(*other_, holder), Verdict::dead);
}

TEST_P(EngineLiveness, HoldersAreToldApart) {
  auto first = engine_->take_lock();
  const auto second = engine_->take_lock();
  const Holder gone = first->holder();
  EXPECT_FALSE(gone == second->holder());
  first.reset();
  EXPECT_EQ(probe_in_the_end(*engine_, gone), Verdict::dead);
  EXPECT_EQ(probe(*engine_, second->holder()), Verdict::alive);
}

TEST_P(EngineLiveness, AHolderLivesOnWhenItIsDoneWithWhatItDid) {
  const auto lock = engine_->take_lock();
  lock->done();
  EXPECT_EQ(probe(*other_, lock->holder()), Verdict::alive);
}

TEST_P(EngineLiveness, AHolderIsDeadOnceItsProcessWasKilled) {
  test::Pipe told;
  test::ChildProcess child([&] {
    const auto lock = open()->take_lock();
    told.put(lock->holder().lock);
    ::pause();
    return 0;
  });
  const Holder holder = holder_of(child, told);
  EXPECT_EQ(probe(*engine_, holder), Verdict::alive);
  child.kill(SIGKILL);
  child.wait();
  EXPECT_TRUE(dies(*engine_, holder));
}

TEST_P(EngineLiveness, WhoInheritedTheDescriptorKeepsAHolderAliveThatWasKilled) {
  test::Pipe told;
  test::Pipe end;
  test::ChildProcess child([&] {
    const auto lock = open()->take_lock();
    // A program, as `dbcache run` starts one: it has the descriptors that are not closed for it.
    const int inherited = ::dup(lock->descriptor());
    const int input = ::dup(end.read_end());
    end.close_write();
    const std::string line = "cat </proc/self/fd/" + std::to_string(input);
    if (inherited < 0 || ::system(("(" + line + ") >/dev/null &").c_str()) != 0) return 1;
    told.put(lock->holder().lock);
    ::pause();
    return 0;
  });
  const Holder holder = holder_of(child, told);
  child.kill(SIGKILL);
  child.wait();
  EXPECT_EQ(probe(*engine_, holder), Verdict::alive);
  end.close_write();  // the program's input ends, and with it the program
  EXPECT_TRUE(dies(*engine_, holder));
}

TEST_P(EngineLiveness, AHolderIsNothingInAForkedChildAndTheChildsEndDoesNotFreeIt) {
  auto lock = engine_->take_lock();
  EXPECT_EQ(test::in_child([&] {
              const bool has_none = lock->descriptor() < 0;
              lock->done();
              lock.reset();
              return has_none ? "nothing" : "something";
            }),
            "nothing");
  EXPECT_EQ(probe(*engine_, lock->holder()), Verdict::alive);
}

TEST_P(EngineLiveness, AForkedChildThatOutlivesTheHolderDoesNotKeepItAlive) {
  test::Pipe begun;
  test::Pipe go_on;
  auto lock = engine_->take_lock();
  const Holder holder = lock->holder();
  test::ChildProcess child([&] {
    begun.signal();  // fork(2) returned here, and with it what is done in a child
    go_on.close_write();
    go_on.wait();
    return 0;
  });
  ASSERT_TRUE(begun.wait());
  lock.reset();
  EXPECT_EQ(probe_in_the_end(*engine_, holder), Verdict::dead);
  go_on.close_write();
  EXPECT_EQ(child.wait(), 0);
}

TEST_P(EngineLiveness, AHolderWithoutALockIsJudgedByItsProcess) {
  Holder holder = engine_->take_lock()->holder();
  holder.lock_file.clear();
  holder.lock = 0;
  EXPECT_EQ(probe(*engine_, holder), Verdict::alive);
  holder.process.start_time = *holder.process.start_time + 1;  // its pid was given to another
  EXPECT_EQ(probe(*engine_, holder), Verdict::dead);
}

TEST_P(EngineLiveness, AProcessOfAnotherBootIsDeadUnlessItMayBeOfAnotherMachine) {
  Holder holder = engine_->take_lock()->holder();
  holder.lock_file.clear();
  holder.process.boot_id = "another one";
  EXPECT_EQ(probe(*engine_, holder), place_->locks_tell_all() ? Verdict::dead : Verdict::unknown);
}

TEST_P(EngineLiveness, AProcessOfAnotherNamespaceOrOfNoneCannotBeJudged) {
  Holder holder = engine_->take_lock()->holder();
  holder.lock_file.clear();
  holder.process.pid_namespace = "pid:[1]";
  EXPECT_EQ(probe(*engine_, holder), Verdict::unknown);
  holder.process = {4711, std::nullopt, "", ""};
  EXPECT_EQ(probe(*engine_, holder), Verdict::unknown);
}

TEST_P(EngineLiveness, AHolderOfAnotherFileOfLocksIsJudgedByItsProcess) {
  Holder holder = engine_->take_lock()->holder();
  holder.lock_file = std::string(32, '0');
  EXPECT_EQ(probe(*engine_, holder), Verdict::alive);
  holder.process.start_time = *holder.process.start_time + 1;
  EXPECT_EQ(probe(*engine_, holder), Verdict::dead);
}

// ---- Who wakes

TEST_P(EngineLiveness, AWatchOfAHolderWakesWhenItsProcessWasKilled) {
  test::Pipe told;
  test::ChildProcess child([&] {
    const auto lock = open()->take_lock();
    told.put(lock->holder().lock);
    ::pause();
    return 0;
  });
  const auto watch = engine_->watch_holder(holder_of(child, told));
  ASSERT_GE(watch->descriptor(), 0);
  EXPECT_FALSE(is_awake(*watch));
  child.kill(SIGKILL);
  EXPECT_TRUE(wakes(*watch));
}

/// Where a lock tells what its holder is doing; elsewhere only commits do.
class EngineOfLocks : public EngineLiveness {};

INSTANTIATE_TEST_SUITE_P(Engines, EngineOfLocks, engines_whose_locks_tell_all(), engine_name);

TEST_P(EngineOfLocks, AWatchOfAHolderWakesWhenItIsDone) {
  const auto lock = engine_->take_lock();
  const auto watch = other_->watch_holder(lock->holder());
  ASSERT_GE(watch->descriptor(), 0);
  EXPECT_FALSE(is_awake(*watch));
  lock->done();
  EXPECT_TRUE(wakes(*watch));
}

TEST_P(EngineOfLocks, AWatchOfAHolderWakesWhenItLetsGo) {
  auto lock = engine_->take_lock();
  const auto watch = other_->watch_holder(lock->holder());
  lock.reset();
  EXPECT_TRUE(wakes(*watch));
}

TEST_P(EngineOfLocks, AWatchOfOneThatIsDoneAlreadyWakesAtOnce) {
  const auto lock = engine_->take_lock();
  lock->done();
  EXPECT_TRUE(wakes(*other_->watch_holder(lock->holder())));
}

TEST_P(EngineOfLocks, EveryWatchOfAHolderWakes) {
  const auto lock = engine_->take_lock();
  const auto first = engine_->watch_holder(lock->holder());
  const auto second = other_->watch_holder(lock->holder());
  lock->done();
  EXPECT_TRUE(wakes(*first));
  EXPECT_TRUE(wakes(*second));
}

TEST_P(EngineOfLocks, AWatchThatIsGivenUpHarmsNobody) {
  const auto lock = engine_->take_lock();
  static_cast<void>(other_->watch_holder(lock->holder()));
  EXPECT_EQ(probe(*other_, lock->holder()), Verdict::alive);
  const auto watch = other_->watch_holder(lock->holder());
  lock->done();
  EXPECT_TRUE(wakes(*watch));
}

TEST_P(EngineLiveness, WhoHasNoLockCannotBeWatched) {
  EXPECT_LT(engine_->watch_holder(Holder{})->descriptor(), 0);
}

TEST_P(EngineLiveness, AWatchOfCommitsWakesAfterOneThatChangedSomething) {
  put(*engine_, "c-1");
  const auto watch = other_->watch_commits(std::nullopt);
  ASSERT_GE(watch->descriptor(), 0);
  EXPECT_FALSE(is_awake(*watch));
  put(*engine_, "c-2");
  EXPECT_TRUE(wakes(*watch));
}

TEST_P(EngineLiveness, WhatWakesIsThereToBeSeen) {
  put(*engine_, "c-1");
  const auto watch = other_->watch_commits(std::nullopt);
  test::ChildProcess child([&] {
    put(*open(), "c-2");
    return 0;
  });
  EXPECT_TRUE(wakes(*watch));
  std::int64_t last = 0;
  other_->read(std::nullopt,
               [&](const ReadSession& session) { last = session.log.last_position(); });
  EXPECT_EQ(last, 2);
  EXPECT_EQ(child.wait(), 0);
}

TEST_P(EngineLiveness, AWatchOfCommitsWakesAgainOnceItWasCleared) {
  put(*engine_, "c-1");
  const auto watch = other_->watch_commits(std::nullopt);
  put(*engine_, "c-2");
  ASSERT_TRUE(wakes(*watch));
  watch->clear();
  EXPECT_FALSE(is_awake(*watch));
  put(*engine_, "c-3");
  EXPECT_TRUE(wakes(*watch));
}

TEST_P(EngineLiveness, AWatchOfCommitsSleepsOnAfterOneThatChangedNothing) {
  put(*engine_, "c-1");
  const auto watch = other_->watch_commits(std::nullopt);
  write(*engine_, [](WriteSession&) {});
  engine_->read(std::nullopt, [](const ReadSession&) {});
  EXPECT_FALSE(is_awake(*watch));  // the signal is given before the call returns
}

TEST_P(EngineLiveness, AWatchOfCommitsSleepsOnAfterOneThatWasRolledBack) {
  put(*engine_, "c-1");
  const auto watch = other_->watch_commits(std::nullopt);
  EXPECT_THROW(write(*engine_,
                     [](WriteSession& session) {
                       session.log.append(record(2, "cluster-c-2", 1));
                       throw std::runtime_error("no");
                     }),
               std::runtime_error);
  EXPECT_FALSE(is_awake(*watch));
}

TEST_P(EngineLiveness, AWatchOfAConfigurationWakesAfterCommitsToIt) {
  put(*engine_, "c-1");
  const auto one = other_->watch_commits("one");
  const auto two = other_->watch_commits("two");
  put_into(*engine_, "registry-two");
  EXPECT_TRUE(wakes(*two));
  // The other would have been woken before it.
  if (place_->tells_configurations_apart()) {
    EXPECT_FALSE(is_awake(*one));
  }
}

TEST_P(EngineLiveness, ToWatchCommitsOfNoDatabaseMakesNone) {
  EXPECT_LT(engine_->watch_commits(std::nullopt)->descriptor(), 0);
  EXPECT_TRUE(place_->is_untouched());
}

// ---- The file of locks, replaced

class ReplacedLockFile : public ::testing::Test {
 protected:
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::unique_ptr<Engine> engine_ =
      open_engine({.database = path_},
                  [](WriteSession&, const rows::DocumentedRows&) { return AdoptionReport{}; });
};

TEST_F(ReplacedLockFile, HoldersInItAreJudgedByTheirProcesses) {
  const auto lock = engine_->take_lock();
  std::filesystem::remove(path_ + "-locks");
  EXPECT_EQ(probe(*engine_, lock->holder()), Verdict::alive);  // this process lives
  const auto after = engine_->take_lock();
  EXPECT_NE(after->holder().lock_file, lock->holder().lock_file);
  Holder dead = lock->holder();
  dead.process.start_time = *dead.process.start_time + 1;
  EXPECT_EQ(probe(*engine_, dead), Verdict::dead);
  EXPECT_EQ(probe(*engine_, after->holder()), Verdict::alive);
}

TEST_F(ReplacedLockFile, HoldersInItCannotBeWatched) {
  const auto lock = engine_->take_lock();
  std::filesystem::remove(path_ + "-locks");
  EXPECT_LT(engine_->watch_holder(lock->holder())->descriptor(), 0);
}

}  // namespace
}  // namespace dbcache::store
