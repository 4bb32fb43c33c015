// A process that moves a log is killed, after each transaction and at writes and syncs; the next
// one goes on where it was.

#include <csignal>

#include <gmock/gmock.h>

#include "store/move_contract.hpp"
#include "support/child_process.hpp"
#include "support/fault_vfs.hpp"
#include "support/rounds.hpp"
#include "support/soundness.hpp"

namespace dbcache::store {
namespace {

using ::testing::AnyOf;

class KilledMove : public MoveContract {
 protected:
  const int apart = test::rounds_apart(2);

  /// The status of a process that was killed after so many transactions, if there were as many.
  [[nodiscard]] int move_killed_after(int transactions) const {
    test::ChildProcess child([&] {
      Store source(from_);
      Store target(to_);
      int left = transactions;
      coordination::move(source, target, {}, {.page = 5, .committed = [&left] {
                                                if (--left == 0) ::raise(SIGKILL);
                                              }});
      return 0;
    });
    return child.wait();
  }

  /// Whether nobody can change one of the two where the other can be changed.
  [[nodiscard]] bool one_is_closed() const {
    const auto events = CacheManager(to_).get_database_info().events;
    return closed(from_) || closed(to_) || events == 0;
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, KilledMove, engine_pairs(), pair_name);

TEST_P(KilledMove, AfterEveryTransactionAnotherProcessGoesOn) {
  int status = -SIGKILL;
  int kills = 0;
  for (int last = 1; status == -SIGKILL; last += apart, begin_anew()) {
    fill(from_);
    const auto before = contents_of(from_);

    status = move_killed_after(last);
    if (status == -SIGKILL) ++kills;

    ASSERT_THAT(status, AnyOf(0, -SIGKILL)) << "after " << last;
    ASSERT_TRUE(one_is_closed()) << "after " << last;
    move(from_, to_);
    ASSERT_EQ(contents_of(to_), before) << "after " << last;
    ASSERT_EQ(closed(to_), std::nullopt) << "after " << last;
    ASSERT_NE(closed(from_), std::nullopt) << "after " << last;
  }
  EXPECT_GT(kills, 6 / apart);
}

TEST_P(KilledMove, IsNotTakenForEndedByWhoCallsTheSourceSomethingElse) {
  int status = -SIGKILL;
  for (int last = 1; status == -SIGKILL; last += apart, begin_anew()) {
    fill(from_);
    const auto before = contents_of(from_);
    status = move_killed_after(last);

    Options same = from_;
    if (same.database.starts_with("postgresql://")) same.database += "&application_name=another";
    const std::string error = test::error_of([&] {
      move(same, to_);
      return 0;
    });
    if (error.empty()) {
      ASSERT_EQ(closed(to_), std::nullopt) << "after " << last;
    }

    move(from_, to_);
    ASSERT_EQ(contents_of(to_), before) << "after " << last;
    ASSERT_EQ(closed(to_), std::nullopt) << "after " << last;
  }
}

TEST_P(KilledMove, AfterEveryTransactionItCanBeCancelledUnlessItsLogIsGone) {
  int status = -SIGKILL;
  int cancelled = 0;
  for (int last = 1; status == -SIGKILL; last += apart, begin_anew()) {
    fill(from_);

    status = move_killed_after(last);

    const std::string error = test::error_of([&] { return dbcache::cancel_move(from_) ? 1 : 0; });
    if (error.empty()) ++cancelled;
    ASSERT_EQ(closed(from_).has_value(), !error.empty()) << "after " << last;
    ASSERT_TRUE(one_is_closed()) << "after " << last;
  }
  EXPECT_GT(cancelled, 4 / apart);
}

TEST(KilledMoveOfSqlite, EveryWriteAndSyncMayBeTheLast) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string original = directory.database();
  fill({.database = original});
  CacheManager({.database = original}).optimize_database();
  const auto before = contents_of({.database = original});

  int status = -SIGKILL;
  for (int last = 0; status == -SIGKILL; last += test::rounds_apart(5)) {
    const test::TemporaryDirectory place;
    const std::string from = (place.path() / "from.db").string();
    const std::string to = (place.path() / "to.db").string();
    std::filesystem::copy_file(original, from);

    test::ChildProcess child([&] {
      int left = last;
      const test::FaultVfs vfs([&left](const test::FileAccess& access) {
        const bool counts =
            access.call == test::FileCall::write || access.call == test::FileCall::sync;
        if (counts && left-- == 0) ::raise(SIGKILL);
        return SQLITE_OK;
      });
      Store source({.database = from});
      Store target({.database = to});
      coordination::move(source, target, {}, {.page = 20, .committed = {}});
      return 0;
    });
    status = child.wait();

    ASSERT_THAT(status, AnyOf(0, -SIGKILL)) << "at access " << last;
    // Whoever goes on need not wait for the disk.
    move_log({.database = from, .durability = Durability::relaxed},
             {.database = to, .durability = Durability::relaxed});
    ASSERT_EQ(contents_of({.database = to}), before) << "at access " << last;
    ASSERT_EQ(contents_of({.database = from}), before) << "at access " << last;
    ASSERT_EQ(test::unsoundness_of(to), "") << "at access " << last;
  }
}

}  // namespace
}  // namespace dbcache::store
