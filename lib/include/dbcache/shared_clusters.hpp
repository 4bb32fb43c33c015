#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/cache_manager.hpp>
#include <dbcache/cluster.hpp>
#include <dbcache/export.hpp>
#include <dbcache/lease.hpp>
#include <dbcache/options.hpp>

namespace dbcache {

/// A creation under way, for the `create` that carries it out. Lives as long as that call.
class DBCACHE_EXPORT Creation {
 public:
  class Impl;
  explicit Creation(Impl& impl) noexcept : impl_(impl) {}
  Creation(const Creation&) = delete;
  Creation& operator=(const Creation&) = delete;

  [[nodiscard]] const std::string& config_hash() const noexcept;

  /// At most 64 characters, recorded before `create` is called, and the same over retries and
  /// takeovers until a cluster is ready or the debt is settled. Give it to Databricks as
  /// `idempotency_token`: asked again with the same one, it answers with the same cluster
  /// (https://docs.databricks.com/api/workspace/clusters/create). Tag the cluster with it too.
  [[nodiscard]] const std::string& idempotency_token() const noexcept;

  /// The position of this creation in the log; grows with each takeover.
  [[nodiscard]] std::int64_t fencing_token() const noexcept;

  /// The cluster that an earlier creator had started when it died: wait for that very one. If
  /// another is returned, this one is owed.
  [[nodiscard]] const std::optional<std::string>& started_cluster_id() const noexcept;

  /// Records the cluster while it still starts, so that it is found whatever happens to this
  /// process. Throws LeaseLost when another creator took over: stop then, the cluster will be
  /// handed back.
  void started(std::string_view cluster_id);

  /// When the acquire times out. A `create` that can should end by then, by throwing Timeout.
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const noexcept;

  /// Whether the acquire was cancelled. A `create` that can should end then, by throwing Cancelled.
  [[nodiscard]] std::stop_token stop_token() const noexcept;

  /// As ClusterLease::lock_descriptor: a program that inherits it keeps this creation alive.
  [[nodiscard]] int lock_descriptor() const noexcept;

 private:
  Impl& impl_;
};

/// A termination to be carried out.
struct Termination {
  OwedTermination owed;
  /// As ClusterLease::lock_descriptor: a program that inherits it keeps others from terminating the
  /// same cluster beside it.
  int lock_descriptor = -1;
};

/// What the caller knows how to do with clusters. The functions are called on the thread that calls
/// acquire or release, with no connection held, so they may use the library themselves; they may
/// take minutes, and tell of failure by throwing. Copies are kept for as long as a lease lives.
struct ClusterLifecycle {
  /// Starts a cluster and returns its id once it can be used. Called by one process at a time for a
  /// configuration, at most once by an acquire.
  std::function<std::string(const ClusterConfig&, Creation&)> create;

  /// Whether a cluster that nobody holds now still runs. Called before it is joined, by one
  /// process, while the others wait. What it throws fails that acquire alone.
  std::function<bool(const std::string& cluster_id)> check{};

  /// Terminates a cluster, or whatever a creation with this token left. Must do no harm where there
  /// is nothing left to terminate: it is called at least once, once if nobody dies meanwhile.
  std::function<void(const Termination&)> terminate{};
};

/// What those do who wait for a creator whose `create` throws.
enum class OnCreateFailure {
  try_again,  ///< Each becomes the creator in turn, until one succeeds.
  fail,       ///< They throw CreationFailed with the creator's message.
};

/// For whom an acquire waits.
struct WaitProgress {
  enum class For { creator, checker };
  For waits_for = For::creator;
  HolderInfo holder;
  Timestamp since{};                   ///< When that one began.
  std::chrono::milliseconds waited{};  ///< By this call so far.
};

struct AcquireOptions {
  /// Until a lease is granted, `create` included as far as it can be (Creation::deadline).
  std::chrono::milliseconds timeout = std::chrono::minutes{30};
  HandBackPolicy policy = HandBackPolicy::keep;
  OnCreateFailure on_create_failure = OnCreateFailure::try_again;
  /// The run that uses the cluster: it is not handed back while a participant of the run lives.
  std::optional<std::string> run{};
  HashOptions hash{};
  /// Cancels: the call throws Cancelled, and nothing is left behind.
  std::stop_token stop{};
  /// Told while waiting, on the caller's thread, about once a second and when it changes: for whom.
  std::function<void(const WaitProgress&)> on_wait{};
};

/// Shared clusters by lease: one worker creates, the rest wait and are woken, whoever dies is
/// noticed at once, and a cluster nobody needs is handed back even if everyone who knew of it was
/// killed. docs/leases.md tells the rules.
///
/// Thread-safe, and safe over fork(), as CacheManager is; throws what its calls throw, too.
class DBCACHE_EXPORT SharedClusters {
 public:
  explicit SharedClusters(Options options = {});
  /// Over a manager's database, sharing its connections.
  explicit SharedClusters(const CacheManager& manager);
  ~SharedClusters();
  SharedClusters(SharedClusters&&) noexcept;
  SharedClusters& operator=(SharedClusters&&) noexcept;

  /// Leases the configuration's cluster: joins one that is ready, waits for one that is being
  /// created, or creates it. Terminations that are due on the same host are settled on the way, if
  /// the lifecycle has a `terminate`; their failure fails nothing.
  ///
  /// Where DATABRICKS_CLUSTER_ID is set, that cluster is leased, and never created, checked or
  /// handed back. Inside `dbcache run` (DBCACHE_LEASE is set) an acquire of the same configuration
  /// joins the run's lease, and its release ends nothing.
  ///
  /// Throws Timeout, Cancelled, CreationFailed (a creator's message), what `create` and `check`
  /// throw in this process, and InvalidArgument. Nothing is left behind then, but the debt of a
  /// creation that may have come to something.
  ClusterLease acquire(const ClusterConfig& config, const ClusterLifecycle& lifecycle,
                       const AcquireOptions& options = {});

  /// Takes part in a run, as something (`kind`: "worker", say) with a name.
  RunMembership join_run(std::string_view run, std::string_view kind = "process",
                         const std::optional<std::string>& name = std::nullopt);

  /// Who holds what, the dead whom nobody has noticed yet too.
  [[nodiscard]] LeaseReport leases() const;

  /// What is owed, oldest first. Notes the dead on the way.
  std::vector<OwedTermination> owed();

  /// Carries out what is owed, on every host or one; an empty host stands for the debts that name
  /// none. Each is tried once; none is begun once stopped.
  SettleReport settle(const std::function<void(const Termination&)>& terminate,
                      const std::optional<std::string>& host = std::nullopt,
                      const std::stop_token& stop = {});

  /// Prolongs a lease that holds by a deadline: it ends `ttl` from now. Throws NotFound for a lease
  /// that has ended, InvalidArgument for one that is held by a process.
  void renew_lease(std::int64_t lease, std::chrono::microseconds ttl);

  /// Ends a lease by its number, whoever holds it; else as ClusterLease::release does. The
  /// lifecycle is for the `terminate` alone. That of the `dbcache run` around this process stays.
  ReleaseReport release_lease(std::int64_t lease, const ClusterLifecycle& lifecycle = {},
                              const std::stop_token& stop = {});

  /// Creation::started, for a creation known by its configuration and fencing token.
  void creation_started(std::string_view config_hash, std::int64_t fencing_token,
                        std::string_view cluster_id);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dbcache
