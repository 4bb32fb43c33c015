#include <cerrno>

#include <gmock/gmock.h>
#include <sys/syscall.h>

#include "lease_test.hpp"
#include "support/refused_call.hpp"

// System calls that a container refuses: an older runtime with EPERM, a sandbox with ENOSYS.
namespace dbcache::cli {
namespace {

using ::testing::HasSubstr;

struct Refused {
  std::string name;
  unsigned number;
  unsigned error;

  friend std::ostream& operator<<(std::ostream& out, const Refused& refused) {
    return out << refused.name;
  }
};

std::vector<Refused> with_both_errors(std::initializer_list<std::pair<const char*, long>> calls) {
  std::vector<Refused> all;
  for (const auto& [name, number] : calls) {
    for (const auto& [word, error] : {std::pair("Eperm", EPERM), std::pair("Enosys", ENOSYS)}) {
      all.push_back(
          {std::string(name) + word, static_cast<unsigned>(number), static_cast<unsigned>(error)});
    }
  }
  return all;
}

/// Too new for the headers of some systems.
constexpr long faccessat2 = 439;

class RefusedCall : public LeaseTest, public ::testing::WithParamInterface<Refused> {
 protected:
  /// Runs the line where the call is refused: its exit code, and what it printed.
  static std::string refused(const std::string& line) {
    return test::in_child([&] {
      test::refuse_call(GetParam().number, GetParam().error);
      const Result result = shell(line);
      return std::to_string(result.code) + "\n" + result.out + result.err;
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Calls, RefusedCall,
                         ::testing::ValuesIn(with_both_errors({{"CloseRange", SYS_close_range},
                                                               {"PidfdOpen", SYS_pidfd_open},
                                                               {"MemfdCreate", SYS_memfd_create},
                                                               {"InotifyInit", SYS_inotify_init1},
                                                               {"Statx", SYS_statx},
                                                               {"Getrandom", SYS_getrandom},
                                                               {"Fallocate", SYS_fallocate},
                                                               {"Faccessat2", faccessat2}})),
                         [](const auto& parameter) { return parameter.param.name; });

TEST_P(RefusedCall, ARunCreatesWaitsAndTerminatesAllTheSame) {
  EXPECT_EQ(refused("\"$dbcache\" run --config cluster.json --hand-back "
                    "--create 'cat >config.txt; echo cluster-1' "
                    "--terminate 'echo $DBCACHE_CLUSTER_ID >terminated.txt' -- "
                    "sh -c 'echo $DATABRICKS_CLUSTER_ID; exit 3'"),
            "3\ncluster-1\n");

  EXPECT_THAT(test::read_bytes("config.txt"), HasSubstr("test-cluster"));
  EXPECT_EQ(test::read_bytes("terminated.txt"), "cluster-1\n");
  EXPECT_EQ(leases(), no_leases);
  EXPECT_EQ(owed(), nothing_owed);
}

TEST_P(RefusedCall, AGuardHoldsForItsProcessAndKeepsNoDescriptorOpen) {
  // The guard ends with `sleep`, whose end is waited for; until then the caller's lock is free.
  const std::string printed = refused(
      "sleep 60 & owner=$!; exec 9>lock; flock -n 9; "
      "lease=$(\"$dbcache\" acquire --config cluster.json --create 'echo cluster-1' --hand-back "
      "--terminate 'cat; echo $DBCACHE_CLUSTER_ID >terminated.txt' --while-pid $owner); "
      "exec 9>&-; flock -n lock echo free; \"$dbcache\" leases | grep -c 'Alive: Yes'; "
      "kill $owner; "
      "until [ -s terminated.txt ]; do sleep 0.02; done; "
      "until \"$dbcache\" owed | grep -q None; do sleep 0.02; done");

  EXPECT_EQ(printed, "0\nfree\n1\n");
  EXPECT_EQ(leases(), no_leases);
}

TEST_P(RefusedCall, AProcessThatHasEndedIsNoOwner) {
  EXPECT_THAT(refused("true & ended=$!; wait; \"$dbcache\" acquire --config cluster.json "
                      "--create 'echo cluster-1' --while-pid $ended"),
              HasSubstr("there is no such process"));

  EXPECT_FALSE(database_exists());
}

/// Calls without which no command can be run.
class NeededCall : public RefusedCall {};

INSTANTIATE_TEST_SUITE_P(Calls, NeededCall,
                         ::testing::ValuesIn(with_both_errors({{"Eventfd", SYS_eventfd2},
                                                               {"Signalfd", SYS_signalfd4}})),
                         [](const auto& parameter) { return parameter.param.name; });

TEST_P(NeededCall, IsMissedBeforeAnythingIsBegun) {
  EXPECT_THAT(refused("\"$dbcache\" run --config cluster.json --hand-back "
                      "--create 'echo cluster-1' --terminate true -- true"),
              ::testing::StartsWith("125\n"));

  EXPECT_FALSE(database_exists());
}

}  // namespace
}  // namespace dbcache::cli
