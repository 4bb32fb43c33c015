#include <array>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <filesystem>

#include <sys/stat.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "lease_scene.hpp"
#include "support/files.hpp"

// A program that has closed descriptors 0 to 2, as daemons do: what it or another library prints
// must not land in a file or a connection of ours.
namespace dbcache {
namespace {

using ::testing::IsEmpty;

constexpr std::string_view line = "a line for the terminal\n";

/// Writes as a program does that believes in its stdout. Says which descriptors led somewhere.
std::string print_everywhere() {
  std::string taken;
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    static_cast<void>(!::write(descriptor, line.data(), line.size()));
    struct stat status {};
    const bool is_open = ::fstat(descriptor, &status) == 0;
    if (is_open && !S_ISCHR(status.st_mode)) taken += std::to_string(descriptor);
  }
  return taken;
}

void close_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(descriptor);
}

class ClosedDescriptors : public test::LeaseScene {
 protected:
  /// Writes, reads, leases and waits for commits, and prints in between.
  static std::string use(const Options& options) {
    std::string printed;
    CacheManager manager(options);
    printed += print_everywhere();
    manager.cache_new_cluster("c");
    printed += print_everywhere();
    SharedClusters clusters(manager);
    const auto joined = clusters.join_run("r");
    printed += print_everywhere();
    ClusterLifecycle lifecycle;
    lifecycle.create = [&](const ClusterConfig&, Creation&) {
      printed += print_everywhere();
      return std::string("c-1");
    };
    ClusterLease lease = clusters.acquire(config(), lifecycle);
    printed += print_everywhere();
    static_cast<void>(manager.wait_for_events(1));
    lease.release();
    printed += print_everywhere();
    return printed + (manager.verify().ok() ? "sound" : "broken");
  }

  /// What `body` says, in a process of its own.
  template <class Body>
  static std::string elsewhere(Body body) {
    return test::in_child([&] {
      ::signal(SIGPIPE, SIG_IGN);
      return std::string(body());
    });
  }

  void expect_no_line_in_files() const {
    EXPECT_THAT(test::files_holding(database_.directory(), line), IsEmpty());
  }
};

TEST_F(ClosedDescriptors, BeforeTheLibraryIsUsedTakeNothingThatIsPrinted) {
  EXPECT_EQ(elsewhere([&] {
              close_standard_descriptors();
              return use(options());
            }),
            "sound");

  expect_no_line_in_files();
}

TEST_F(ClosedDescriptors, OneByOneTakeNothingThatIsPrinted) {
  for (const int closed : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    EXPECT_EQ(elsewhere([&] {
                // The others are open, and lead nowhere.
                const int null = ::open("/dev/null", O_RDONLY);
                for (int other = 0; other <= STDERR_FILENO; ++other) ::dup2(null, other);
                if (null > STDERR_FILENO) ::close(null);
                ::close(closed);
                return use(options());
              }),
              "sound")
        << closed;
  }

  expect_no_line_in_files();
}

TEST_F(ClosedDescriptors, AfterTheLibraryWasUsedTakeNothingThatIsPrinted) {
  EXPECT_EQ(elsewhere([&] {
              CacheManager manager(options());
              manager.cache_new_cluster("before");
              close_standard_descriptors();
              // What the manager opens from now on, and what others do.
              SharedClusters clusters(manager);
              const auto joined = clusters.join_run("r");
              std::string printed = print_everywhere();
              manager.cache_new_cluster("after");
              printed += print_everywhere();
              return printed + use(options());
            }),
            "sound");

  expect_no_line_in_files();
}

TEST_F(ClosedDescriptors, InAForkedChildTakeNothingThatIsPrinted) {
  EXPECT_EQ(elsewhere([&] {
              CacheManager manager(options());
              manager.cache_new_cluster("before");
              return test::in_child([&] {
                // As daemon(3) does, before it opens others in their place.
                close_standard_descriptors();
                manager.cache_new_cluster("after");
                return print_everywhere() + use(options());
              });
            }),
            "sound");

  expect_no_line_in_files();
}

TEST_F(ClosedDescriptors, ThatAProgramOpensItselfAreItsOwn) {
  const std::string log = (database_.directory() / "log.txt").string();

  EXPECT_EQ(elsewhere([&] {
              close_standard_descriptors();
              CacheManager manager(options());
              manager.cache_new_cluster("c");
              const int file = ::open(log.c_str(), O_WRONLY | O_CREAT, 0600);
              ::dup2(file, STDOUT_FILENO);
              manager.cache_new_cluster("d");
              static_cast<void>(!::write(STDOUT_FILENO, line.data(), line.size()));
              return std::string(manager.verify().ok() ? "sound" : "broken");
            }),
            "sound");

  EXPECT_EQ(test::read_bytes(log), line);
}

}  // namespace
}  // namespace dbcache
