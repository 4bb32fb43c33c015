// The first process that holds something makes the file of locks. Here it is stopped midway.

#include <poll.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "store/engine.hpp"
#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"
#include "system/process.hpp"

namespace dbcache {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class LocksMaker : public ::testing::Test {
 protected:
  LocksMaker()
      : maker_([this] {
          const int file = store::sqlite::open_side_file(path_, "-locks");
          if (!store::sqlite::set_ofd_lock(file, F_WRLCK, 0)) return 1;
          making_.signal();
          for (;;) ::pause();
        }) {
    if (!making_.wait()) throw std::runtime_error("the other process has not begun");
    maker_.kill(SIGSTOP);
  }

  /// What `call` returns in a process of its own.
  template <class Call>
  static std::string within_a_minute(Call call) {
    test::Pipe answer;
    const test::ChildProcess child([&] {
      const std::string text = call();
      answer.write(text.c_str(), text.size() + 1);
      return 0;
    });
    pollfd waiting{answer.read_end(), POLLIN, 0};
    if (::poll(&waiting, 1, 60'000) != 1) return "it waits without an end";
    std::string text;
    for (char byte = 0; answer.get(byte) && byte != '\0';) text += byte;
    return text;
  }

  [[nodiscard]] std::string acquire() const {
    return test::error_of([&] {
      CacheManager manager({.database = path_, .busy_timeout = std::chrono::milliseconds{50}});
      ClusterLifecycle lifecycle;
      lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("c-1"); };
      SharedClusters(manager).acquire({{"cluster_name", "a"}}, lifecycle).release();
      return 0;
    });
  }

  test::BareEnvironment environment_;
  test::ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  test::TemporaryDirectory directory_;
  std::string path_ = directory_.database();
  test::Pipe making_;
  test::ChildProcess maker_;
};

TEST_F(LocksMaker, StoppedMidwayTheFirstLeaseIsBusyPastItsTimeout) {
  EXPECT_THAT(within_a_minute([&] { return acquire(); }),
              AllOf(StartsWith("Busy: "), HasSubstr(path_ + "-locks"), HasSubstr("0.05 s"),
                    HasSubstr("continue or end")));
}

TEST_F(LocksMaker, KilledMidwayTheFirstLeaseIsTaken) {
  maker_.kill(SIGKILL);
  maker_.wait();

  EXPECT_EQ(within_a_minute([&] { return acquire(); }), "");
}

TEST_F(LocksMaker, StoppedMidwayOthersAreJudgedByTheirProcesses) {
  rows::Holder holder;
  holder.lock_file = "the id of the file before";
  holder.process = system::identify_process(::getpid());
  holder.host = system::host_name();

  EXPECT_EQ(within_a_minute([&]() -> std::string {
              const auto engine = store::open_engine(
                  {.database = path_}, [](store::WriteSession&, const rows::DocumentedRows&) {
                    return AdoptionReport{};
                  });
              auto verdict = rows::Liveness::Verdict::unknown;
              engine->write(std::nullopt, [&](store::WriteSession& session) {
                verdict = session.liveness.probe(holder);
                return store::Sync::as_configured;
              });
              return verdict == rows::Liveness::Verdict::alive ? "alive" : "not alive";
            }),
            "alive");
}

}  // namespace
}  // namespace dbcache
