// A fork beside a thread that has committed, and is just telling other processes.

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"
#include "system/fork_gate.hpp"

namespace dbcache {
namespace {

/// While this lives, a thread that opens the file waits (F_SETLEASE of fcntl(2)).
class HeldUp {
 public:
  explicit HeldUp(const std::string& path) : file_(::open(path.c_str(), O_RDWR | O_CLOEXEC)) {
    // The signal of a broken lease is one that does nothing.
    holds_ = ::fcntl(file_, F_SETSIG, SIGURG) == 0 && ::fcntl(file_, F_SETLEASE, F_WRLCK) == 0;
  }
  ~HeldUp() { ::close(file_); }
  HeldUp(const HeldUp&) = delete;
  HeldUp& operator=(const HeldUp&) = delete;

  [[nodiscard]] bool holds() const { return holds_; }
  void wait_for_one_who_opens() const {
    while (::fcntl(file_, F_GETLEASE) == F_WRLCK) std::this_thread::yield();
  }
  void let_go() const { ::fcntl(file_, F_SETLEASE, F_UNLCK); }

 private:
  int file_;
  bool holds_ = false;
};

TEST(ForkSignal, AChildStartsThoughAThreadOfItsParentIsJustTellingOfACommit) {
  const test::BareEnvironment environment;
  const test::TemporaryDirectory directory;
  const std::string path = directory.database();
  CacheManager({.database = path}).register_shared_cluster_creation("h", 1);
  const HeldUp signal(path + "-signal");
  if (!signal.holds()) GTEST_SKIP() << "the file system has no leases";
  system::ForkGate::instance().set_patience(std::chrono::milliseconds{0});

  CacheManager manager({.database = path});
  std::thread committing([&] { manager.increment_shared_cluster_usage("h"); });
  signal.wait_for_one_who_opens();
  test::Pipe started;
  const test::ChildProcess child([&] {
    started.signal();
    return 0;
  });

  pollfd waiting{started.read_end(), POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 20'000), 1) << "the child hangs";
  signal.let_go();
  committing.join();
  system::ForkGate::instance().set_patience(std::chrono::seconds{5});
  EXPECT_EQ(manager.get_shared_cluster_info("h")->usage_count, 2);
}

}  // namespace
}  // namespace dbcache
