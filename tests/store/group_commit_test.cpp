// Many writes of one process in one transaction: each is as if it were alone.

#include <algorithm>
#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine_contract.hpp"
#include "foreign_writer.hpp"
#include "support/errors.hpp"
#include "support/fault_vfs.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::store {
namespace {

using test::FileAccess;
using test::FileCall;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

/// A write that a thread of its own does, and what came of it.
struct Write {
  WriteWork work;
  std::string error = "did not run";
  std::thread::id owner;
  std::thread::id ran_by;  ///< Who led, the last time.
};

class GroupCommit : public ::testing::Test {
 protected:
  GroupCommit() {
    write(*engine_, [](WriteSession& session) { put(session, "first"); });
    syncs_ = 0;
  }

  std::unique_ptr<Engine> open(std::chrono::milliseconds busy_timeout = std::chrono::minutes{5}) {
    Options options;
    options.database = path_;
    options.busy_timeout = busy_timeout;
    return open_engine(options,
                       [](WriteSession&, const rows::DocumentedRows&) { return AdoptionReport{}; });
  }

  static void put(WriteSession& session, const std::string& stream, std::string payload = "{}") {
    const AppendPoint point = session.log.begin_append({stream}, 1);
    EventRecord event = record(point.position, stream, point.ends.front().version + 1);
    event.payload = std::move(payload);
    session.log.append(event);
  }
  static std::int64_t version_of(WriteSession& session, const std::string& stream) {
    return session.log.begin_append({stream}, 1).ends.front().version;
  }
  static Write putting(const std::string& stream, const std::string& payload = "{}") {
    return {[=](WriteSession& session) {
              put(session, stream, payload);
              return Sync::as_configured;
            },
            {},
            {},
            {}};
  }

  /// The streams of the log, in its order.
  [[nodiscard]] std::vector<std::string> streams() const {
    return test::query_column(path_, "SELECT stream FROM events ORDER BY position");
  }

  /// Does all of the writes from threads that come while the database is locked, and are then let
  /// go at once. Whether each ran in the same transaction as all others is told by `together`.
  void run(std::vector<Write>& writes) {
    ForeignWriter foreign(path_);
    std::latch ready(std::ssize(writes));
    std::vector<std::thread> threads;
    for (Write& one : writes) {
      threads.emplace_back([&] {
        one.owner = std::this_thread::get_id();
        const WriteWork work = [&one](WriteSession& session) {
          one.ran_by = std::this_thread::get_id();
          return one.work(session);
        };
        ready.count_down();
        one.error = test::error_of([&] {
          engine_->write(std::nullopt, work);
          return 0;
        });
      });
    }
    ready.wait();
    // Threads that are slow to stand in the queue come too late: `until_together` tries again.
    for (int i = 0; i < 100; ++i) std::this_thread::yield();
    foreign.let_go();
    for (std::thread& thread : threads) thread.join();
  }

  /// Runs rounds of writes until one had them all in one transaction, as far as they got.
  template <class MakeWrites>
  std::vector<Write> until_together(MakeWrites make_writes) {
    for (int round = 0;; ++round) {
      std::vector<Write> writes = make_writes(std::to_string(round) + "-");
      const int before = syncs_;
      run(writes);
      last_syncs_ = syncs_ - before;
      const bool together = std::all_of(writes.begin(), writes.end(), [&](const Write& one) {
        return one.ran_by == writes.front().ran_by;
      });
      if (together || round == 200) {
        EXPECT_TRUE(together) << "the threads never came together";
        prefix_ = std::to_string(round) + "-";
        return writes;
      }
    }
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  std::atomic<int> syncs_ = 0;
  std::atomic<bool> failing_sync_ = false;
  std::atomic<bool> full_ = false;
  std::atomic<bool> broken_ = false;
  int last_syncs_ = 0;
  std::string prefix_;
  test::FaultVfs vfs_{[this](const FileAccess& access) {
    if (!access.on_wal()) return SQLITE_OK;
    if (access.call == FileCall::sync) {
      ++syncs_;
      if (failing_sync_) return SQLITE_IOERR_FSYNC;
    }
    if (access.call == FileCall::write && full_) return SQLITE_FULL;
    if (access.call == FileCall::write && broken_) return SQLITE_IOERR_WRITE;
    return SQLITE_OK;
  }};
  std::unique_ptr<Engine> engine_ = open();
};

constexpr std::size_t several = 8;

TEST_F(GroupCommit, ThoseWhoWaitedTogetherAreSyncedOnce) {
  const auto writes = until_together([](const std::string& prefix) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) made.push_back(putting(prefix + std::to_string(i)));
    return made;
  });

  EXPECT_EQ(last_syncs_, 1);
  for (std::size_t i = 0; i < several; ++i) {
    EXPECT_EQ(writes[i].error, "");
    EXPECT_THAT(streams(), Contains(prefix_ + std::to_string(i)).Times(1));
  }
}

TEST_F(GroupCommit, OneThatThrowsLeavesTheOthersAndIsToldItsOwnError) {
  const auto writes = until_together([](const std::string& prefix) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) {
      made.push_back(putting(prefix + std::to_string(i)));
      if (i % 2 == 0) continue;
      made.back().work = [prefix, i](WriteSession& session) -> Sync {
        put(session, prefix + std::to_string(i));
        throw InvalidArgument("not " + std::to_string(i));
      };
    }
    return made;
  });

  for (std::size_t i = 0; i < several; ++i) {
    const std::string number = std::to_string(i);
    EXPECT_EQ(writes[i].error, i % 2 == 0 ? "" : "InvalidArgument: not " + number);
    EXPECT_THAT(streams(), Contains(prefix_ + number).Times(i % 2 == 0 ? 1 : 0));
  }
}

TEST_F(GroupCommit, OneThatBreaksAConstraintLeavesTheOthers) {
  const auto writes = until_together([](const std::string& prefix) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) made.push_back(putting(prefix + std::to_string(i)));
    made[3].work = [prefix](WriteSession& session) {
      put(session, prefix + "3");
      session.log.append(record(1, "at a position that is taken", 1));
      return Sync::as_configured;
    };
    return made;
  });

  for (std::size_t i = 0; i < several; ++i) {
    EXPECT_THAT(writes[i].error, i == 3 ? StartsWith("CorruptDatabase: ") : StartsWith(""));
    EXPECT_EQ(writes[i].error.empty(), i != 3) << writes[i].error;
    EXPECT_THAT(streams(), Contains(prefix_ + std::to_string(i)).Times(i == 3 ? 0 : 1));
  }
}

TEST_F(GroupCommit, OneThatThrowsWhatIsNoErrorOfOursLeavesTheOthers) {
  const auto writes = until_together([](const std::string& prefix) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) made.push_back(putting(prefix + std::to_string(i)));
    made[0].work = [](WriteSession&) -> Sync { throw std::runtime_error("something else"); };
    return made;
  });

  EXPECT_EQ(writes[0].error, "std::exception: something else");
  for (std::size_t i = 1; i < several; ++i) EXPECT_EQ(writes[i].error, "");
}

TEST_F(GroupCommit, WhereSeveralThrowEachIsToldItsOwnError) {
  const auto writes = until_together([](const std::string&) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) {
      made.push_back(
          {[i](WriteSession&) -> Sync { throw NotFound(std::to_string(i)); }, {}, {}, {}});
    }
    return made;
  });

  for (std::size_t i = 0; i < several; ++i)
    EXPECT_EQ(writes[i].error, "NotFound: " + std::to_string(i));
  EXPECT_THAT(streams(), SizeIs(1));
}

TEST_F(GroupCommit, OneThatFillsTheDiskLeavesTheOthers) {
  // More than the page cache holds: SQLite spills it into the WAL in the middle of the write, and
  // then rolls back the whole transaction by itself.
  const std::string huge(8 << 20, 'x');
  for (std::size_t round = 0; round < 10; ++round) {
    const std::string prefix = std::to_string(round) + "-";
    std::vector<Write> writes;
    for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(prefix + std::to_string(i)));
    const std::size_t greedy = round % several;
    writes[greedy].work = [&](WriteSession& session) {
      full_ = true;
      struct Reset {
        std::atomic<bool>& full;
        ~Reset() { full = false; }
      } const reset{full_};
      put(session, prefix + "huge", '"' + huge + '"');
      return Sync::as_configured;
    };

    run(writes);

    for (std::size_t i = 0; i < several; ++i) {
      if (i == greedy) {
        EXPECT_THAT(writes[i].error, AllOf(StartsWith("StorageFailure: "), HasSubstr("space")));
      } else {
        EXPECT_EQ(writes[i].error, "") << "of " << i << " beside " << greedy;
      }
      EXPECT_THAT(streams(), Contains(prefix + std::to_string(i)).Times(i == greedy ? 0 : 1));
    }
  }
}

TEST_F(GroupCommit, AFailingSyncIsToldToEach) {
  failing_sync_ = true;
  std::vector<Write> writes;
  for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(std::to_string(i)));

  run(writes);

  for (const Write& one : writes) EXPECT_THAT(one.error, StartsWith("StorageFailure"));
  EXPECT_THAT(writes,
              Contains(::testing::Field(&Write::error, StartsWith("StorageFailure (unknown): "))));
  failing_sync_ = false;
  write(*engine_, [](WriteSession& session) { put(session, "after"); });
  EXPECT_THAT(streams(), Contains("after"));
}

TEST_F(GroupCommit, AFailingSyncDoesNotHideWhatAWriteThrewByItself) {
  std::vector<Write> writes;
  for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(std::to_string(i)));
  writes[2].work = [](WriteSession&) -> Sync { throw NotFound("there is none"); };
  // The failure comes with the first commit; from then on no transaction begins.
  const auto made = until_together([&](const std::string& prefix) {
    failing_sync_ = false;
    write(*engine_, [&](WriteSession& session) { put(session, prefix + "mended"); });
    failing_sync_ = true;
    return writes;
  });
  failing_sync_ = false;

  for (std::size_t i = 0; i < several; ++i) {
    EXPECT_THAT(made[i].error, StartsWith(i == 2 ? "NotFound: " : "StorageFailure (unknown): "));
  }
}

TEST_F(GroupCommit, AFailingCommitIsToldToEachAndNothingIsWritten) {
  const auto before = streams();
  full_ = true;
  std::vector<Write> writes;
  for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(std::to_string(i)));

  run(writes);
  full_ = false;

  for (const Write& one : writes) {
    EXPECT_THAT(one.error, AllOf(StartsWith("StorageFailure: "), HasSubstr("space")));
  }
  EXPECT_EQ(streams(), before);
  write(*engine_, [](WriteSession& session) { put(session, "after"); });
  EXPECT_THAT(streams(), Contains("after"));
}

TEST_F(GroupCommit, EachSeesWhatThoseBeforeItWrote) {
  std::atomic<int> wrong = 0;
  const auto writes = until_together([&](const std::string& prefix) {
    std::vector<Write> made;
    for (std::size_t i = 0; i < several; ++i) {
      made.push_back({[&wrong, prefix](WriteSession& session) {
                        // All append to one stream, whose versions must have no gap.
                        const auto end = version_of(session, prefix + "all");
                        put(session, prefix + "all");
                        if (version_of(session, prefix + "all") != end + 1) ++wrong;
                        return Sync::as_configured;
                      },
                      {},
                      {},
                      {}});
    }
    return made;
  });

  EXPECT_EQ(wrong, 0);
  EXPECT_THAT(streams(), Contains(prefix_ + "all").Times(static_cast<int>(several)));
  EXPECT_EQ(test::query_text(path_,
                             "SELECT max(version) FROM events WHERE stream = '" + prefix_ + "all'"),
            std::to_string(several));
}

TEST_F(GroupCommit, ThreadsPastTheirDeadlineAreBusyAndWriteNothing) {
  engine_ = open(std::chrono::milliseconds{50});
  ForeignWriter foreign(path_);
  std::vector<Write> writes;
  for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(std::to_string(i)));
  std::vector<std::thread> threads;

  for (Write& one : writes) {
    threads.emplace_back([&] {
      one.error = test::error_of([&] {
        engine_->write(std::nullopt, one.work);
        return 0;
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
  foreign.let_go();

  for (const Write& one : writes) EXPECT_THAT(one.error, StartsWith("Busy: "));
  write(*engine_, [](WriteSession& session) { put(session, "after"); });
  EXPECT_THAT(streams(), ::testing::ElementsAre("first", "after"));
}

TEST_F(GroupCommit, OneThatMeetsADiskErrorLeavesTheOthers) {
  // SQLite rolls back all of a transaction where writing fails, as it does where the disk is full.
  const std::string huge(8 << 20, 'x');
  for (std::size_t greedy = 0; greedy < several; ++greedy) {
    const std::string prefix = std::to_string(greedy) + "-";
    std::vector<Write> writes;
    for (std::size_t i = 0; i < several; ++i) writes.push_back(putting(prefix + std::to_string(i)));
    writes[greedy].work = [&](WriteSession& session) {
      broken_ = true;
      struct Reset {
        std::atomic<bool>& broken;
        ~Reset() { broken = false; }
      } const reset{broken_};
      put(session, prefix + "huge", '"' + huge + '"');
      return Sync::as_configured;
    };

    run(writes);

    for (std::size_t i = 0; i < several; ++i) {
      EXPECT_THAT(writes[i].error, StartsWith(i == greedy ? "StorageFailure: reading or" : ""));
      EXPECT_EQ(writes[i].error.empty(), i != greedy) << writes[i].error;
      EXPECT_THAT(streams(), Contains(prefix + std::to_string(i)).Times(i == greedy ? 0 : 1));
    }
  }
}

}  // namespace
}  // namespace dbcache::store
