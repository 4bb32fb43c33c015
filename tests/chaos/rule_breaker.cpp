#include <stdexcept>
#include <string>

#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "chaos/journal.hpp"
#include "chaos/worker.hpp"
#include "chaos/workspace.hpp"

// What workers must not do, each in a loop beside workers who behave, so that it is sure to meet
// them.
namespace dbcache::chaos {
namespace {

using std::chrono::milliseconds;

/// Creates clusters of the configurations without asking who else does.
void create_beside_creators(const WorkerSettings& settings, Workspace& workspace) {
  for (int i = 1; !told_to_end(milliseconds{0}); ++i) {
    const std::string token = "beside-" + std::to_string(i);
    workspace.create(token, config_hash(configuration(1 + i % settings.configurations)),
                     milliseconds{30});
    workspace.remove_created_with(token, milliseconds{0});
  }
}

/// Terminates what others are terminating.
void terminate_beside_terminators(SharedClusters& clusters, Workspace& workspace) {
  while (!told_to_end(milliseconds{1})) {
    for (const OwedTermination& owed : clusters.owed()) {
      if (owed.terminator && owed.cluster_id) workspace.remove(*owed.cluster_id, milliseconds{10});
    }
  }
}

/// Terminates what it holds, and perhaps others with it.
void terminate_under_lease(const WorkerSettings& settings, SharedClusters& clusters,
                           Workspace& workspace) {
  const Journal journal(settings.places.journal_of("worker-" + std::to_string(settings.number)));
  for (int i = 1; !told_to_end(milliseconds{20}); ++i) {
    const ClusterConfig config = configuration(1 + i % settings.configurations);
    const ClusterLifecycle lifecycle{.create = [&](const ClusterConfig& wanted,
                                                   Creation& creation) {
      return workspace.create(creation.idempotency_token(), config_hash(wanted), milliseconds{5});
    }};
    ClusterLease lease;
    try {
      lease = clusters.acquire(config, lifecycle);
    } catch (const Error&) {
      continue;  // the others bear what this does to them, and so does this
    }
    journal.write({{"what", "acquired"},
                   {"config_hash", lease.config_hash()},
                   {"cluster_id", lease.cluster_id()},
                   {"lease", lease.fencing_token()},
                   {"created_here", lease.created_here()}});
    workspace.remove(lease.cluster_id(), milliseconds{1});
    told_to_end(milliseconds{20});
    journal.write({{"what", "releasing"}, {"lease", lease.fencing_token()}});
  }
}

/// Creates clusters and tells nobody.
void leak(Workspace& workspace) {
  for (int i = 1; !told_to_end(milliseconds{100}); ++i) {
    workspace.create("leak-" + std::to_string(i), "a configuration of nobody's", milliseconds{5});
  }
}

}  // namespace

void break_rule(const WorkerSettings& settings) {
  Workspace workspace(settings.places.workspace(), settings.number);
  SharedClusters clusters(
      Options{.database = settings.places.database, .schema = settings.places.schema});
  if (settings.breaks == break_two_creators) {
    create_beside_creators(settings, workspace);
  } else if (settings.breaks == break_two_terminations) {
    terminate_beside_terminators(clusters, workspace);
  } else if (settings.breaks == break_terminate_under_lease) {
    terminate_under_lease(settings, clusters, workspace);
  } else if (settings.breaks == break_leak) {
    leak(workspace);
  } else {
    throw std::invalid_argument("no such rule to break: " + settings.breaks);
  }
}

}  // namespace dbcache::chaos
