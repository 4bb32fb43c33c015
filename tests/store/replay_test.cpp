// Replay and verify over a log of several pages, which are worked on beside the one who reads.

#include <atomic>
#include <thread>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "store/chain.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"
#include "text/hex.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// 2,500 events, in pages of 1,000: all of the stream registry-a, but 1,200, the only one of
/// registry-odd.
class LongLog : public ::testing::Test {
 protected:
  LongLog() {
    manager_.register_shared_cluster_creation("a", 1);
    while (events_ < 1199) use();
    manager_.register_shared_cluster_creation("odd", 1);
    ++events_;
    while (events_ < 2500) use();
    test::drop_triggers(path_);
  }

  void use() {
    manager_.increment_shared_cluster_usage("a");
    ++events_;
  }

  void alter(std::int64_t position) const {
    test::run_sql(path_,
                  fmt::format("UPDATE events SET metadata = '{{}}' WHERE position = {}", position));
  }

  /// Makes the event 1,200 one of a type that nobody knows, with the hash that fits it.
  void make_the_odd_one_unreadable() const {
    SQLite::Database database = test::open_raw(path_);
    database.exec("UPDATE events SET type = 'Unheard' WHERE position = 1200");
    SQLite::Statement event(database,
                            "SELECT position, stream, version, type, payload, metadata, "
                            "recorded_at, command_id FROM events WHERE position = 1200");
    ASSERT_TRUE(event.executeStep());
    const store::EventRecord record{event.getColumn(0).getInt64(),
                                    event.getColumn(1).getString(),
                                    event.getColumn(2).getInt64(),
                                    event.getColumn(3).getString(),
                                    event.getColumn(4).getString(),
                                    event.getColumn(5).getString(),
                                    event.getColumn(6).getInt64(),
                                    event.getColumn(7).getString(),
                                    ""};
    event.reset();
    database.exec(fmt::format("UPDATE events SET hash = x'{}' WHERE position = 1200",
                              text::to_hex(store::chain_hash(record, ""))));
  }

  [[nodiscard]] std::string replay_error(ProgressCallback on_progress = {}) {
    try {
      manager_.replay({.mode = ReplayMode::check, .on_progress = std::move(on_progress)});
    } catch (const CorruptDatabase& error) {
      return error.what();
    }
    return "none";
  }

  static auto altered_at(std::int64_t position, std::int64_t version_before) {
    return fmt::format(
        "the log cannot be replayed: at position {} of the stream registry-a, its hash does not "
        "match its content and version {} before it: one of the two was altered or replaced; "
        "`dbcache verify` "
        "lists what is wrong",
        position, version_before);
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  CacheManager manager_{{.database = path_, .durability = Durability::relaxed}};
  std::int64_t events_ = 1;
};

TEST_F(LongLog, IsReadToItsEnd) {
  const ReplayReport report = manager_.replay({.mode = ReplayMode::check});
  EXPECT_EQ(report.events, 2500);
  EXPECT_THAT(report.differences, IsEmpty());
  EXPECT_EQ(manager_.verify().head.events, 2500);
}

TEST_F(LongLog, IsRebuiltFrom) {
  test::run_sql(path_, "UPDATE shared_cluster_registry SET usage_count = 9");
  EXPECT_EQ(manager_.replay().differences.size(), 2U);
  EXPECT_EQ(manager_.get_shared_cluster_info("a")->usage_count, 2499);
  EXPECT_EQ(manager_.get_shared_cluster_info("odd")->usage_count, 1);
}

TEST_F(LongLog, TellsItsProgressPageByPage) {
  std::vector<std::int64_t> done;
  const auto note = [&](const LogProgress& progress) { done.push_back(progress.events_done); };
  EXPECT_TRUE(manager_.verify({.on_progress = note}).ok());
  manager_.replay({.on_progress = note});
  EXPECT_THAT(done, ElementsAre(1000, 2000, 2500, 1000, 2000, 2500));
}

TEST_F(LongLog, AlteredInTheFirstPageIsNotReplayed) {
  alter(7);
  EXPECT_EQ(replay_error(), altered_at(7, 6));
}

TEST_F(LongLog, AlteredInTheMiddleIsNotReplayed) {
  alter(1700);
  EXPECT_EQ(replay_error(), altered_at(1700, 1698));
}

TEST_F(LongLog, AlteredInTheLastPageIsNotReplayed) {
  alter(2450);
  EXPECT_EQ(replay_error(), altered_at(2450, 2448));
}

TEST_F(LongLog, AlteredIsNamedByVerify) {
  alter(1700);
  EXPECT_THAT(manager_.verify().problems,
              ElementsAre(AllOf(Field("position", &LogProblem::position, 1700),
                                Field("stream", &LogProblem::stream, "registry-a"),
                                Field("version", &LogProblem::version, 1699))));
}

TEST_F(LongLog, AlteredAfterAnUnreadableEventIsRefusedForTheEvent) {
  make_the_odd_one_unreadable();
  alter(1201);
  EXPECT_THAT(replay_error(), HasSubstr("Unheard"));
}

TEST_F(LongLog, AlteredBeforeAnUnreadableEventIsRefusedForTheAlteration) {
  make_the_odd_one_unreadable();
  alter(1199);
  EXPECT_EQ(replay_error(), altered_at(1199, 1198));
}

TEST_F(LongLog, AlteredInAPageIsRefusedForThatRatherThanForWhatACallbackThrowsAfterIt) {
  alter(7);
  EXPECT_EQ(replay_error([](const LogProgress&) { throw InvalidArgument("later"); }),
            altered_at(7, 6));
}

TEST_F(LongLog, IsLeftAsItIsByAnExceptionOfTheCallback) {
  test::run_sql(path_, "UPDATE shared_cluster_registry SET usage_count = 9");
  EXPECT_THROW(manager_.replay({.on_progress =
                                    [](const LogProgress& progress) {
                                      if (progress.events_done > 1000) throw InvalidArgument("no");
                                    }}),
               InvalidArgument);
  EXPECT_EQ(manager_.get_shared_cluster_info("a")->usage_count, 9);
}

TEST_F(LongLog, IsReplayedWhileAWriterGoesOn) {
  std::atomic<std::int64_t> written = 0;
  std::jthread writer([&](const std::stop_token& stop) {
    CacheManager other({.database = path_, .durability = Durability::relaxed});
    while (!stop.stop_requested()) {
      other.increment_shared_cluster_usage("a");
      written += 1;
      written.notify_one();
    }
  });
  written.wait(0);
  for (int round = 0; round < 5; ++round) {
    EXPECT_THAT(manager_.replay({.mode = ReplayMode::check}).differences, IsEmpty());
    EXPECT_THAT(manager_.replay().differences, IsEmpty());
  }
  writer.request_stop();
  writer.join();
  EXPECT_EQ(manager_.get_shared_cluster_info("a")->usage_count, 2499 + written);
  EXPECT_TRUE(manager_.verify().ok());
}

}  // namespace
}  // namespace dbcache
