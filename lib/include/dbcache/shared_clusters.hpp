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

/// A creation under way, as its `create` function sees it. Lives as long as that call.
///
/// Thread-safe: `create` may use it from several threads.
class DBCACHE_EXPORT Creation {
 public:
  class Impl;
  /// Only the library makes one.
  explicit Creation(Impl& impl) noexcept : impl_(impl) {}
  Creation(const Creation&) = delete;
  Creation& operator=(const Creation&) = delete;

  /// The hash of the configuration.
  [[nodiscard]] const std::string& config_hash() const noexcept;

  /// The token that makes creating twice harmless. The log has it before `create` is called. It
  /// stays the same over retries and takeovers, until a cluster is ready or its termination has
  /// begun.
  ///
  /// Give it to Databricks as `idempotency_token`. While a cluster with this token is active,
  /// another request returns that cluster's id and creates none. Databricks takes at most 64
  /// characters; the token has 40. Both rules are in the documentation of clusters/create in the
  /// Clusters API 2.0, and of `idempotency_token` in the Terraform resource databricks_cluster. The
  /// SDKs of API 2.1 lack the field. So tag the cluster with the token too, for `terminate` to
  /// find.
  [[nodiscard]] const std::string& idempotency_token() const noexcept;

  /// The position of this creation in the log. It grows with each takeover.
  [[nodiscard]] std::int64_t fencing_token() const noexcept;

  /// The creation's name, for SharedClusters::creation_started. As ClusterLease::name.
  [[nodiscard]] std::string name() const;

  /// The cluster that an earlier creator had started when it died or failed. Wait for that cluster.
  /// If `create` returns another, a termination of this one becomes pending.
  [[nodiscard]] const std::optional<std::string>& started_cluster_id() const noexcept;

  /// Records the cluster in the log while it still starts. It is then found if this process dies.
  /// Throws LeaseLost if another creator took over; then end `create`, since a termination of the
  /// cluster is pending. Throws it too if the database no longer has the log that the creation
  /// stands in; then end `create` too, and the acquire calls `terminate` for the cluster, unless
  /// it is one of the new log's or was another configuration's too. Throws Busy if a termination of
  /// the cluster has begun, and what any call of CacheManager may throw.
  void started(std::string_view cluster_id);

  /// Whether an earlier creation, which failed or whose process died, may have used the token.
  [[nodiscard]] bool continues_earlier() const noexcept;

  /// Says that there is no cluster with the token, and that none will appear: every request to
  /// create one was refused for good. If `create` then throws, no termination becomes pending,
  /// unless a cluster was `started`. Do not call it if the creation continues an earlier one, or if
  /// the outcome of a request is unknown.
  void nothing_started() noexcept;

  /// Tells what the cluster is doing while it starts, such as the state message of Databricks. It
  /// goes to the acquire's own AcquireOptions::on_wait, on this thread, when it changes and about
  /// once a second; and to those who wait for this creation, at most every 5 seconds. Cut at 200
  /// bytes; secrets become `[redacted]`, and control characters spaces. A database that cannot be
  /// written does not fail it. Throws nothing but what `on_wait` throws.
  void progress(std::string_view doing);

  /// Names the log that has this creation: 32 hex digits, the same for all creations of a database.
  /// Worth tagging the cluster with. A copy of the database has the same.
  [[nodiscard]] const std::string& owner() const noexcept;

  /// The moment at which the acquire times out. If it can, `create` throws Timeout by then.
  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const noexcept;

  /// Says whether the acquire was cancelled. If it can, `create` then throws Cancelled.
  [[nodiscard]] std::stop_token stop_token() const noexcept;

  /// Like ClusterLease::lock_descriptor: a program that inherits it keeps this creation alive.
  [[nodiscard]] int lock_descriptor() const noexcept;

 private:
  Impl& impl_;
};

/// A termination that the library asks the caller to carry out.
struct Termination {
  OwedTermination owed;
  /// Like ClusterLease::lock_descriptor: while a program that inherited it lives, no other process
  /// terminates the same cluster.
  int lock_descriptor = -1;
  /// The present, by the clock of OwedTermination::owed_at.
  Timestamp now{};
  /// Requested if the call ends for which this termination is only carried out in passing. If it
  /// can, `terminate` then throws Cancelled: the termination stays pending.
  std::stop_token stop{};
};

/// What ends a check early: the end of the acquire that asks.
struct CheckLimits {
  std::chrono::steady_clock::time_point deadline{};  ///< The check then throws Timeout.
  std::stop_token stop{};                            ///< The check then throws Cancelled.
};

/// The caller's functions for clusters. The library calls them on the thread that called it, such
/// as with acquire or release; <dbcache/async.hpp> has threads of its own. No connection is held
/// meanwhile, so they may use the library and take minutes. They report failure by throwing.
///
/// A lease keeps copies of `check` and `terminate` for as long as it lives.
struct ClusterLifecycle {
  /// Creates a cluster and returns its id once it can be used. Required. For a configuration, one
  /// process at a time calls it. One acquire calls it at most once.
  std::function<std::string(const ClusterConfig&, Creation&)> create;

  /// Returns whether a cluster still runs. One process calls it before it joins a cluster that
  /// nobody holds, while the others wait; report_dead calls it too. An exception fails that call
  /// alone.
  std::function<bool(const std::string& cluster_id)> check{};

  /// The same, for a check that can end early. An acquire calls this one where there is one.
  std::function<bool(const std::string& cluster_id, const CheckLimits&)> check_within{};

  /// For so long after a `check` said yes, or after a process released its lease on the cluster,
  /// this caller joins it without a check. So a worker that leases again and again neither asks nor
  /// writes each time. A lease that is lost, a report_dead and another cluster end that time. So
  /// does a clock that was set back. 0: every join of a cluster that nobody holds is checked.
  std::chrono::milliseconds check_counts_for{0};

  /// Terminates a cluster, or the cluster that a creation with this token left. It must do no harm
  /// if nothing is left to terminate, since it is called at least once. If it succeeds and its
  /// process does not die meanwhile, it is called only once.
  std::function<void(const Termination&)> terminate{};

  /// The workspace whose clusters these are, if the configuration names none by its `host`: as if
  /// the configuration named this one. Empty: DATABRICKS_HOST. An acquire inside `dbcache run`
  /// that names no host joins the run's lease whatever the workspace.
  std::string host{};
};

/// The fate of callers that wait for a creator whose `create` throws.
enum class OnCreateFailure {
  try_again,  ///< Each becomes the creator in turn, until one succeeds.
  fail,       ///< They throw CreationFailed with the creator's message.
};

/// What an acquire waits for.
struct WaitProgress {
  enum class For {
    creator,  ///< Another process, which creates the cluster.
    checker,  ///< Another process, which checks the cluster.
    cluster,  ///< The cluster that this call creates (Creation::progress). It is the `holder`.
  };
  For waits_for = For::creator;
  HolderInfo holder;
  Timestamp since{};  ///< When the creation began; of a check, when the caller last looked.
  std::chrono::milliseconds waited{};  ///< How long this call has waited.
  std::string doing{};  ///< What the cluster is doing, as its creator told last; empty: not known.
};

/// How an acquire runs.
struct AcquireOptions {
  /// The time until a lease is granted; 0 or more. It includes `create`, as far as `create`
  /// observes Creation::deadline.
  std::chrono::milliseconds timeout = std::chrono::minutes{30};
  HandBackPolicy policy = HandBackPolicy::keep;
  OnCreateFailure on_create_failure = OnCreateFailure::try_again;
  /// The run that uses the cluster. The cluster is not handed back while a participant of it lives.
  std::optional<std::string> run{};
  HashOptions hash{};  ///< The keys that the configuration's hash leaves out.
  Afterwards afterwards = Afterwards::go_on;
  /// Cancels the call. It then throws Cancelled and leaves nothing behind.
  std::stop_token stop{};
  /// Called while waiting, on the caller's thread: about once a second, and when the process that
  /// the call waits for changes. While it creates, on the thread that calls Creation::progress.
  std::function<void(const WaitProgress&)> on_wait{};
};

/// Shared clusters by lease. One worker creates the cluster of a configuration; the others wait,
/// and are woken when it is ready. If a holder dies, the others notice. If nobody needs a cluster,
/// it is handed back, even after every process that knew of it was killed. docs/leases.md has the
/// rules.
///
/// Thread-safe and safe over fork(), as CacheManager is. Every call may also throw what any call of
/// CacheManager may throw. An object that was moved from may only be assigned to or destroyed.
class DBCACHE_EXPORT SharedClusters {
 public:
  /// Opens nothing yet. Throws as the constructor of CacheManager does.
  explicit SharedClusters(Options options = {});
  /// Uses the database and the connections of a manager, which may be destroyed before this object.
  explicit SharedClusters(const CacheManager& manager);
  ~SharedClusters();
  SharedClusters(SharedClusters&&) noexcept;
  SharedClusters& operator=(SharedClusters&&) noexcept;

  /// Leases the cluster of a configuration. It joins a cluster that is ready, waits for one that is
  /// being created, or creates one. If the lifecycle has a `terminate`, it then settles the
  /// terminations that became pending with it. It settles the others on the same host, as
  /// ClusterLease::release does, if it is the call that looks for the dead of all configurations in
  /// this second, or if the process exits afterwards. A failure of these does not fail the call.
  ///
  /// If DATABRICKS_CLUSTER_ID is set, it leases that cluster, and never creates, checks or hands it
  /// back. Inside `dbcache run` (DBCACHE_LEASE is set), an acquire of the same configuration joins
  /// the run's lease, unless that lease holds by a deadline. The release of a joined lease ends
  /// nothing.
  ///
  /// Throws Timeout, Cancelled, CreationFailed (with a creator's message), LeaseLost (another took
  /// over the creation, or its log is gone: see Creation::started), InvalidArgument, and what
  /// `create` and `check` throw in this process. It leaves nothing behind then, except a pending
  /// termination, if `create` may have started a cluster.
  ClusterLease acquire(const ClusterConfig& config, const ClusterLifecycle& lifecycle,
                       const AcquireOptions& options = {});

  /// Takes a place in the run of this name. `kind` says what the participant is ("worker", say);
  /// `name` may name it. The rules of ids hold for `run` and `kind`; `name` is cut at 1 KiB.
  RunMembership join_run(std::string_view run, std::string_view kind = "process",
                         const std::optional<std::string>& name = std::nullopt);

  /// Returns all holders. It includes dead ones that no call has noted yet (HolderInfo::alive).
  [[nodiscard]] LeaseReport leases() const;

  /// Returns the pending terminations, oldest first. It first ends what dead processes held, and
  /// writes that to the log.
  std::vector<OwedTermination> owed();

  /// Settles the pending terminations of every host, or of one. An empty `host` means those that
  /// name no host. It tries each once, also those that have just failed, and begins none once
  /// `stop` is requested. A program calls it before it exits, to leave nothing behind. `terminate`
  /// is called as that of a lifecycle; what it throws is in the report. Throws InvalidArgument if
  /// it is empty.
  SettleReport settle(const std::function<void(const Termination&)>& terminate,
                      const std::optional<std::string>& host = std::nullopt,
                      const std::stop_token& stop = {});

  /// Renews a lease that holds by a deadline: it ends `ttl` from now. `lease` is its name
  /// (ClusterLease::name). `ttl` must be more than 0 and at most 1 year, else InvalidArgument.
  /// Throws InvalidArgument too for a lease that a process holds, and NotFound for one that has
  /// ended or that is not of this database's log.
  void renew_lease(std::string_view lease, std::chrono::microseconds ttl);

  /// The same for a lease's number. Every database has leases of the same small numbers, so this
  /// acts only if DATABRICKS_CLUSTER_ID names the lease's cluster. Throws InvalidArgument if that
  /// is unset, and NotFound if it names another cluster.
  void renew_lease(std::int64_t lease, std::chrono::microseconds ttl);

  /// Ends a lease by its name, any process's, as ClusterLease::release does. Of the lifecycle it
  /// uses only `terminate`. It does not end the lease of the `dbcache run` around this process
  /// (ReleaseReport::of_surrounding_run). If the lease had ended otherwise than by a release, it
  /// settles what ClusterLease::release does. Throws NotFound for a lease that is not of this
  /// database's log, and InvalidArgument for what is no name of a lease.
  ReleaseReport release_lease(std::string_view lease, const ClusterLifecycle& lifecycle = {},
                              const std::stop_token& stop = {},
                              Afterwards afterwards = Afterwards::go_on);

  /// The same for a lease's number, under the condition of renew_lease.
  ReleaseReport release_lease(std::int64_t lease, const ClusterLifecycle& lifecycle = {},
                              const std::stop_token& stop = {},
                              Afterwards afterwards = Afterwards::go_on);

  /// Creation::started for a creation that its configuration and its name (Creation::name) give.
  /// Throws NotFound for a creation that is not in this database, and as that call does.
  void creation_started(std::string_view config_hash, std::string_view creation,
                        std::string_view cluster_id);

  /// The same for its fencing token. It acts only if DBCACHE_IDEMPOTENCY_TOKEN is that creation's,
  /// as it is in a `create` command; else it throws InvalidArgument.
  void creation_started(std::string_view config_hash, std::int64_t fencing_token,
                        std::string_view cluster_id);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dbcache
