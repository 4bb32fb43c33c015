#include <csignal>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/child_process.hpp"
#include "support/program.hpp"
#include "support/scoped_variable.hpp"
#include "workspace_test.hpp"

// Processes that have nothing but the host, a token and a configuration, as C++ fixtures do.
namespace dbcache::databricks {
namespace {

using boost::json::object;
using testing::AllOf;
using testing::Each;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int hour = 3600;

class WorkspaceProcessesTest : public test::WorkspaceTest {
 protected:
  /// Acquires, tells that it holds, and releases once it is told to.
  test::ChildProcess worker() {
    return test::ChildProcess([this] {
      go_.close_write();
      AcquireOptions options;
      options.policy = HandBackPolicy::hand_back;
      ClusterLease lease =
          SharedClusters(database()).acquire(config(), Workspace().lifecycle(), options);
      held_.write((lease.cluster_id() + "\n").data(), lease.cluster_id().size() + 1);
      go_.read_to_end();
      lease.release();
      return 0;
    });
  }

  /// The clusters that so many workers hold.
  std::multiset<std::string> held_by(int workers) const {
    std::multiset<std::string> ids;
    for (std::string id; std::ssize(ids) < workers;) {
      char byte = 0;
      if (!held_.get(byte)) break;
      if (byte == '\n') {
        ids.insert(std::exchange(id, ""));
      } else {
        id += byte;
      }
    }
    return ids;
  }

  void let_go() { go_.close_write(); }

  /// One cluster was made, and nothing of it is left.
  void expect_all_handed_back() {
    SharedClusters shared(database());
    EXPECT_THAT(shared.settle(Workspace().lifecycle().terminate).failed, IsEmpty());
    EXPECT_THAT(shared.owed(), IsEmpty());
    EXPECT_THAT(clusters(), SizeIs(1));
    test::poll_until([] { return clusters("TERMINATED").size() == 1; }, "the cluster's end");
  }

 private:
  test::ScopedVariable host_{"DATABRICKS_HOST", fake().host()};
  test::ScopedVariable token_{"DATABRICKS_TOKEN", fake().token()};
  test::Pipe held_;
  test::Pipe go_;
};

TEST_F(WorkspaceProcessesTest, EightShareOneClusterAndHandItBack) {
  std::vector<test::ChildProcess> workers;
  while (workers.size() < 8) workers.push_back(worker());
  const auto ids = held_by(8);
  EXPECT_THAT(ids, AllOf(SizeIs(8), Each(*ids.begin())));
  let_go();
  for (test::ChildProcess& each : workers) EXPECT_EQ(each.wait(), 0);
  expect_all_handed_back();
}

TEST_F(WorkspaceProcessesTest, TwoOfEightAreKilledAndTheOthersHandItBack) {
  set("start_seconds", hour);
  test::ChildProcess creator = worker();
  test::poll_until([] { return clusters("PENDING").size() == 1; }, "the cluster's start");
  std::vector<test::ChildProcess> workers;
  while (workers.size() < 7) workers.push_back(worker());
  creator.kill(SIGKILL);
  creator.wait();
  tell("/clock", object{{"advance_seconds", hour}});
  const auto ids = held_by(7);
  EXPECT_THAT(ids, AllOf(SizeIs(7), Each(*ids.begin())));
  workers.back().kill(SIGKILL);  // while it holds
  workers.pop_back();
  let_go();
  for (test::ChildProcess& each : workers) EXPECT_EQ(each.wait(), 0);
  expect_all_handed_back();
}

}  // namespace
}  // namespace dbcache::databricks
