// How large the WAL becomes, whoever writes, however long each of them lives.

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "store/sqlite/checkpointer.hpp"
#include "support/child_process.hpp"
#include "support/holder.hpp"
#include "support/raw_database.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache {
namespace {

using store::sqlite::Checkpointer;

/// A page with its header (https://www.sqlite.org/fileformat2.html#the_write_ahead_log).
constexpr std::uintmax_t frame = 4096 + 24;

/// The bound beside readers that come and go: what makes anyone wait for them, and a transaction.
constexpr std::uintmax_t bound = std::uintmax_t{24} << 20;
constexpr std::uintmax_t one_transaction = std::uintmax_t{4} << 20;
static_assert(Checkpointer::most * frame + one_transaction <= bound);

class WalBound : public ::testing::Test {
 protected:
  /// Nothing here depends on the disk.
  [[nodiscard]] Options options() const {
    return {.database = path_,
            .durability = Durability::relaxed,
            .busy_timeout = std::chrono::minutes{5}};
  }
  [[nodiscard]] std::uintmax_t wal_size() const {
    return std::filesystem::file_size(path_ + "-wal");
  }

  test::BareEnvironment environment_;
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
};

/// A process that has the database open, and does nothing, until the end.
class Idle {
 public:
  explicit Idle(const Options& options)
      : child_([&] {
          opened_.close_read();
          end_.close_write();
          CacheManager manager(options);
          manager.register_shared_cluster_creation("h", 1);
          static_cast<void>(manager.get_shared_cluster_info("h"));
          opened_.signal();
          end_.wait();
          return 0;
        }) {
    opened_.close_write();
    end_.close_read();
    if (!opened_.wait()) throw std::runtime_error("the idle process could not open the database");
  }

 private:
  test::Pipe opened_;
  test::Pipe end_;
  test::ChildProcess child_;
};

TEST_F(WalBound, HoldsWhileFourProcessesWriteAndOthersRead) {
  constexpr int writers = 4;
  constexpr int commits = 1500;
  const Idle idle(options());  // keeps the WAL there, whose size is then the largest that it was
  test::Pipe done;
  std::vector<test::ChildProcess> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      done.close_write();
      std::atomic<bool> end = false;
      std::thread waiting([&] {
        done.wait();
        end = true;
      });
      const CacheManager manager(options());
      std::size_t read = 0;
      do {
        read += manager.history({.limit = 200}).size();
      } while (!end);
      waiting.join();
      return read > 0 ? 0 : 1;
    });
  }
  std::vector<test::ChildProcess> children;
  for (int i = 0; i < writers; ++i) {
    children.emplace_back([&] {
      done.close_write();
      CacheManager manager(options());
      for (int n = 0; n < commits; ++n) manager.increment_shared_cluster_usage("h");
      return 0;
    });
  }

  for (auto& child : children) EXPECT_EQ(child.wait(), 0);
  done.close_write();
  for (auto& reader : readers) EXPECT_EQ(reader.wait(), 0);

  RecordProperty("wal_bytes", static_cast<int>(wal_size()));
  EXPECT_LT(wal_size(), bound);
  EXPECT_EQ(test::query_text(path_, "SELECT usage_count FROM shared_cluster_registry"),
            std::to_string(1 + writers * commits));
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(WalBound, HoldsWhereEveryProcessCommitsOnceAndGoes) {
  // As the command line does, while something has the database open, so that none of them is the
  // last, which would move the WAL on its way out.
  constexpr int processes = 250;
  const std::string note(400'000, 'x');  // some 100 pages, of which the bound has 6,000
  const Idle idle(options());

  for (int i = 0; i < processes; ++i) {
    test::ChildProcess child([&] {
      CacheManager(options()).cache_new_cluster("c-" + std::to_string(i), {{"notes", note}});
      return 0;
    });
    ASSERT_EQ(child.wait(), 0);
    ASSERT_LT(wal_size(), bound) << "after " << i;
  }

  ASSERT_GT(std::filesystem::file_size(path_), 2 * bound) << "it was not written often enough";
}

TEST_F(WalBound, IsCrossedBesideAReaderThatStaysAndHoldsAgainOnceThatIsGone) {
  const auto write_more = [](CacheManager& manager, int times) {
    for (int n = 0; n < times; ++n) manager.increment_shared_cluster_usage("h");
  };
  CacheManager manager(options());
  manager.register_shared_cluster_creation("h", 1);
  std::uintmax_t largest = 0;
  {
    test::Holder reader(path_, "BEGIN; SELECT count(*) FROM events");
    while (wal_size() < bound + (bound >> 2)) write_more(manager, 100);
    largest = wal_size();
    reader.release_and_wait();
  }

  // The next try is due after so many frames more.
  const std::uintmax_t next_try = Checkpointer::due_at * frame + one_transaction;
  write_more(manager, 5000);  // would be several times the bound

  EXPECT_LE(wal_size(), largest + next_try);
  EXPECT_EQ(test::unsoundness_of(path_), "");
}

TEST_F(WalBound, HoldsForWhoComesAfterAReaderThatStayed) {
  // Whoever commits next makes good what those before it could not, in however short a life.
  const Idle idle(options());
  const std::string note(400'000, 'x');
  int number = 0;
  const auto commit_in_a_process = [&] {
    test::ChildProcess child([&] {
      CacheManager(options()).cache_new_cluster("c-" + std::to_string(number), {{"notes", note}});
      return 0;
    });
    ++number;
    return child.wait();
  };
  std::uintmax_t largest = 0;
  {
    test::Holder reader(path_, "BEGIN; SELECT count(*) FROM events");
    while (wal_size() < bound + (bound >> 2)) ASSERT_EQ(commit_in_a_process(), 0);
    largest = wal_size();
    reader.release_and_wait();
  }

  for (int i = 0; i < 80; ++i) ASSERT_EQ(commit_in_a_process(), 0);  // more than the bound

  EXPECT_LE(wal_size(), largest + Checkpointer::due_at * frame + one_transaction);
}

}  // namespace
}  // namespace dbcache
