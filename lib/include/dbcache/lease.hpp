#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <dbcache/export.hpp>
#include <dbcache/time.hpp>

namespace dbcache {

/// The fate of a cluster that `acquire` created, once its last lease has ended. The policy of the
/// lease that ends last decides, however it ends.
enum class HandBackPolicy {
  keep,       ///< The cluster stays cached until it expires, for the next run to use.
  hand_back,  ///< Its termination becomes pending at once.
};

/// The stored word: "keep" or "hand_back". Never throws. Thread-safe.
[[nodiscard]] DBCACHE_EXPORT std::string_view to_string(HandBackPolicy policy) noexcept;

/// What the process does after a call.
enum class Afterwards {
  go_on,  ///< It calls the library again, or another process of its job does.
  /// It exits. The call looks for the dead of all configurations even if another process has just
  /// done so, and settles what they left: nobody else may come.
  exit,
};

/// The result of ending a lease.
struct ReleaseReport {
  /// The lease is that of the `dbcache run` around this process (DBCACHE_RUN_LEASE). It ends with
  /// that run, not by this call.
  bool of_surrounding_run = false;
  bool was_held = false;         ///< This call ended it. False: it had ended, or was lost, before.
  bool was_last = false;         ///< The configuration has no lease any more.
  std::int64_t usage_count = 0;  ///< Of the registry entry, after the lease has ended.
  /// The cluster whose termination became pending with this lease, by its id; or, of one that had
  /// ended before, whose termination was tried.
  std::optional<std::string> owed{};
  bool settled = false;                ///< `terminate` has terminated that cluster.
  std::optional<std::string> error{};  ///< Why it has not, if it was tried.
  /// Of a lease that had ended before, released by its name: how it ended, `released` or the reason
  /// of its loss in docs/log-format.md, such as `deadline`.
  std::optional<std::string> ended{};
  std::optional<std::string> cluster_id{};  ///< Of that lease.
  /// What became of that cluster: `in_use` (by other leases), `cached`, `termination_pending`, or
  /// `gone` (nothing here knows it any more).
  std::optional<std::string> cluster_is{};
};

/// The right to use the cluster of a configuration. This process holds it until it is released.
///
/// If the process dies, the lease ends. It is a lock of the kernel (a file lock on SQLite, a server
/// session on PostgreSQL), so others notice at once. On PostgreSQL, other machines give it
/// 15 seconds to show up again.
///
/// Move-only. The destructor and a move assignment release the lease that the object held. They
/// never throw: they log a failure, and the lease then ends like that of a dead process. They may
/// block for as long as the lifecycle's `terminate`.
///
/// An object that was made empty or moved from holds nothing; nor does the copy of an object in a
/// forked child. There release, report_dead and lost do nothing and return false or an empty
/// report, and hold_for and note_use throw LeaseLost.
///
/// Threads: the accessors, `lost` and `note_use` may run while another thread calls any member,
/// except a move or the destructor. The other members run one at a time.
class DBCACHE_EXPORT ClusterLease {
 public:
  /// Holds nothing.
  ClusterLease() noexcept;
  ~ClusterLease();
  ClusterLease(ClusterLease&&) noexcept;
  ClusterLease& operator=(ClusterLease&&) noexcept;

  /// The cluster's id. Stays after the release; empty if the object was made empty or moved from.
  [[nodiscard]] const std::string& cluster_id() const noexcept;

  /// The hash of the registry entry: the configuration's, or `cluster-id-<cluster_id>` for a
  /// cluster that DATABRICKS_CLUSTER_ID names. Stays after the release, like the id.
  [[nodiscard]] const std::string& config_hash() const noexcept;

  /// Returns whether the acquire that made this lease created the cluster.
  [[nodiscard]] bool created_here() const noexcept;

  /// The lease's number, which is its fencing token: the position of its grant in the log. It only
  /// grows for a configuration. So a service that remembers the highest token can refuse a holder
  /// that was given up for dead. 0 if the object was made empty or moved from.
  [[nodiscard]] std::int64_t fencing_token() const noexcept;

  /// The lease's name: its number, '-' and 16 hex digits that no lease of another log has. Keep it,
  /// and not the number, wherever it must find this lease again. Empty if the object was made empty
  /// or moved from. May throw std::bad_alloc.
  [[nodiscard]] std::string name() const;

  /// Returns whether the lease has ended without being released. Either the cluster was found dead,
  /// or somebody ended the lease by force, or the database no longer has the log that the lease
  /// stands in: it was wiped, restored or exchanged. Or, on PostgreSQL, this process could not
  /// prove to the server for 8 seconds that it lives; others may take the lease soon after. If the
  /// server comes back and nobody took it, this process holds it again, and this returns false
  /// again.
  ///
  /// It reads the database, and throws as the calls of CacheManager do. If a server is out of
  /// reach, it answers from what the process knows, before another process takes the lease.
  [[nodiscard]] bool lost() const;

  /// Records in the log that `by` uses the cluster under this lease. Give the name of a test, so
  /// that the cluster's history names its tests. The text is cut at 1 KiB; secrets in it become
  /// `[redacted]`. Throws LeaseLost if the lease has ended.
  void note_use(std::string_view by);

  /// Reports that the cluster does not answer. If the lifecycle has a `check`, it is asked first.
  /// If `check` says that the cluster runs, the call changes nothing and returns false. Otherwise
  /// every lease on the cluster is lost and the next acquire creates another cluster; the call
  /// returns true.
  ///
  /// Without a `check` the call believes the report, and a termination of the cluster becomes
  /// pending. If another holder checks already, the call waits for its answer. An exception from
  /// `check` ends the call.
  bool report_dead();

  /// Ends the lease. Safe to call twice.
  ///
  /// If this was the last lease, its policy is to hand back and the lifecycle has a `terminate`,
  /// the call terminates the cluster before it returns. A failure to terminate is in the report,
  /// not thrown.
  ///
  /// Then it may settle the other pending terminations on the same host: if it is the call that
  /// looks for the dead of all configurations in this second, if it terminated the cluster and the
  /// process has no other lease, or if the process exits `afterwards`. It leaves out those that
  /// failed a short time ago: after 1 failed attempt for 1 minute, then for 2, 4 and so on, up to 1
  /// hour. Once `stop` is requested it begins none of them.
  ///
  /// Throws LeaseLost if the database no longer has the log that the lease stands in. The message
  /// names the cluster, which no log knows any more; the call changes nothing and terminates
  /// nothing, since others that had joined the cluster may still use it. Throws what any call of
  /// CacheManager may throw, too. The lease then ends like that of a dead process.
  ReleaseReport release(const std::stop_token& stop = {},
                        Afterwards afterwards = Afterwards::go_on);

  /// Makes the lease outlive this object and this process. It ends by
  /// SharedClusters::release_lease, or `ttl` from now. The object holds nothing afterwards.
  ///
  /// `ttl` must be more than 0 and at most 1 year, else InvalidArgument. Throws LeaseLost if the
  /// lease has ended. A lease that was joined inside `dbcache run` stays that run's, and ends with
  /// it.
  void hold_for(std::chrono::microseconds ttl);

  /// The file descriptor of the lease's lock, or -1 if there is none here. A program that inherits
  /// it (dup2(2), or FD_CLOEXEC cleared) holds the lease too, as long as any process has it open.
  /// Use it for a program that uses the cluster and may outlive this process.
  [[nodiscard]] int lock_descriptor() const noexcept;

  /// Returns whether the object was given a lease. Stays true after release and hold_for, and in a
  /// forked child; false if the object was made empty or moved from.
  explicit operator bool() const noexcept { return impl_ != nullptr; }

 private:
  friend class LeaseMaker;
  class Impl;
  explicit ClusterLease(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A place in a run. While any participant of a run lives, no cluster that the run used is handed
/// back.
///
/// If the process dies, its place ends, as a ClusterLease does. Move-only. The destructor and a
/// move assignment leave the run; they never throw. In a forked child the copy of an object does
/// nothing.
///
/// Threads: `id`, `name` and `run` may be called while another thread calls `leave`. The other
/// members run one at a time.
class DBCACHE_EXPORT RunMembership {
 public:
  /// Has no place in any run.
  RunMembership() noexcept;
  ~RunMembership();
  RunMembership(RunMembership&&) noexcept;
  RunMembership& operator=(RunMembership&&) noexcept;

  /// The participant's number: the position of its joining in the log. 0 if there is none.
  [[nodiscard]] std::int64_t id() const noexcept;

  /// The participant's name: its number, '-' and 16 hex digits that no other log has. Empty if
  /// there is none. May throw std::bad_alloc.
  [[nodiscard]] std::string name() const;

  /// The name of the run. Empty if there is none.
  [[nodiscard]] const std::string& run() const noexcept;

  /// Leaves the run. Safe to call twice. Returns the subjects of the terminations that became
  /// pending with it (OwedTermination::subject). Throws what any call of CacheManager may throw;
  /// the place then ends like that of a dead process.
  std::vector<std::string> leave();

  /// Returns whether the object was given a place. Stays true after leave.
  explicit operator bool() const noexcept { return impl_ != nullptr; }

 private:
  friend class LeaseMaker;
  class Impl;
  explicit RunMembership(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// The holder of something, as the log has it.
struct HolderInfo {
  std::string host;                    ///< The machine of the process.
  std::int64_t pid = 0;                ///< The process, in its own PID namespace.
  std::optional<std::string> label{};  ///< Options::label of the process.
  std::optional<Timestamp> until{};    ///< The deadline, if it holds by one and not by being alive.
  bool alive = false;                  ///< It lived, or its deadline lay ahead, during the call.
};

/// A lease, or a creation or a check under way.
struct LeaseInfo {
  enum class Kind { lease, creation, check };
  std::int64_t lease = 0;  ///< Its fencing token.
  std::string name{};      ///< What ClusterLease::name and Creation::name return.
  Kind kind = Kind::lease;
  std::string config_hash;
  std::optional<std::string> cluster_id{};
  HolderInfo holder;
  Timestamp since{};  ///< When it was granted; of a creation or check, the entry's creation_time.
  HandBackPolicy policy = HandBackPolicy::keep;  ///< Of a lease.
  std::optional<std::string> run{};              ///< The run that a lease was acquired for.
};

/// The documented uses of an entry (increment_shared_cluster_usage). The log does not say whose
/// they are.
struct DocumentedUses {
  std::string config_hash;
  std::optional<std::string> cluster_id{};
  std::int64_t count = 0;
};

/// A participant of a run.
struct ParticipantInfo {
  std::int64_t id = 0;             ///< The position of its joining in the log.
  std::string participant_name{};  ///< That, '-' and 16 hex digits that no other log has.
  std::string run;
  std::string kind;  ///< Such as "worker".
  std::optional<std::string> name{};
  HolderInfo holder;
  Timestamp since{};  ///< When it joined.
};

/// The holders of everything in a database.
struct LeaseReport {
  std::vector<LeaseInfo> leases;  ///< Oldest first.
  std::vector<DocumentedUses> documented_uses;
  std::vector<ParticipantInfo> participants;
};

/// A pending termination. It is of a cluster, or of the cluster that a failed creation may have
/// left, which only its idempotency token names.
struct OwedTermination {
  std::string subject;  ///< The cluster id, else the token. It names the termination in the log.
  std::optional<std::string> cluster_id{};
  std::optional<std::string> idempotency_token{};
  std::optional<std::string> config_hash{};
  std::optional<std::string> host{};       ///< Of the workspace, normalised as for `config_hash`.
  std::string reason;                      ///< A word of docs/log-format.md, such as `expired`.
  Timestamp owed_at{};                     ///< When it became pending.
  std::int64_t attempts = 0;               ///< How many attempts have begun.
  std::optional<std::string> error{};      ///< Of the last attempt.
  std::optional<HolderInfo> terminator{};  ///< The process that terminates it now.
};

/// The result of settling pending terminations. All strings but `error` are subjects.
struct SettleReport {
  std::vector<std::string> settled;  ///< Terminated by this call.
  struct Failure {
    std::string subject;
    std::string error;  ///< The message of the exception from `terminate`.
  };
  std::vector<Failure> failed;
  /// Still pending: others terminate them now, a lease holds the cluster, or the call was stopped.
  std::vector<std::string> left;
};

}  // namespace dbcache
