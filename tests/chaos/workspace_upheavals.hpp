#pragma once

#include "chaos/crowd.hpp"
#include "workspace/fake_workspace.hpp"

namespace dbcache::chaos {

/// What befalls a workspace while workers use it: it is killed and started again, is late and
/// loses answers, and its clusters end or do not start.
class WorkspaceUpheavals {
 public:
  explicit WorkspaceUpheavals(test::FakeWorkspace& fake) : fake_(fake) {}

  /// Lets the crowd work, with an upheaval every now and then.
  void befall(Crowd& crowd, std::chrono::milliseconds duration);

  /// From now on the workspace does all that it is asked for, at once.
  void end();

 private:
  void kill(Crowd& crowd);
  void change_settings(Crowd& crowd);
  void add_fault(Crowd& crowd);
  void fail_starts(Crowd& crowd);
  void end_a_cluster(Crowd& crowd);

  test::FakeWorkspace& fake_;
};

}  // namespace dbcache::chaos
