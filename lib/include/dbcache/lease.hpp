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

/// What becomes of a cluster that `acquire` created when nobody holds it any more. The policy of
/// the lease that ends last decides, however it ends.
enum class HandBackPolicy {
  keep,       ///< It stays cached until its expiry, for the next run to use.
  hand_back,  ///< It is owed to be terminated at once.
};

/// The stored word: "keep" or "hand_back".
[[nodiscard]] DBCACHE_EXPORT std::string_view to_string(HandBackPolicy policy) noexcept;

/// What the end of a lease came to.
struct ReleaseReport {
  /// It is that of the `dbcache run` around this process (DBCACHE_RUN_LEASE), and ends with it.
  bool of_surrounding_run = false;
  bool was_held = false;         ///< This call ended it. False: it had ended, or was lost, before.
  bool was_last = false;         ///< Nobody holds the configuration's cluster any more.
  std::int64_t usage_count = 0;  ///< Of the entry, after it.
  /// The termination that this end made due: a cluster id. Settled by now, if a `terminate` was at
  /// hand and succeeded; `error` says why not.
  std::optional<std::string> owed{};
  bool settled = false;
  std::optional<std::string> error{};
};

/// The right to use a configuration's cluster, held by this process until it is released.
/// Move-only; its destructor releases it. If the process dies, the others notice at once: the lease
/// is a lock of the kernel's. A lease that was moved from, or that is used in a forked child, holds
/// nothing: its calls but the accessors do nothing there, and hold_for throws LeaseLost. The
/// accessors, `lost` and `note_use` may be called while another thread calls anything but a move or
/// the destructor; the rest one at a time.
class DBCACHE_EXPORT ClusterLease {
 public:
  ClusterLease() noexcept;
  ~ClusterLease();
  ClusterLease(ClusterLease&&) noexcept;
  ClusterLease& operator=(ClusterLease&&) noexcept;

  [[nodiscard]] const std::string& cluster_id() const noexcept;
  [[nodiscard]] const std::string& config_hash() const noexcept;

  /// Whether this acquire called `create`.
  [[nodiscard]] bool created_here() const noexcept;

  /// The lease's number, which is its fencing token: it only grows for a configuration, so a
  /// service that remembers the highest it has seen can refuse a holder that was given up for dead.
  /// It is the position of the grant in the log.
  [[nodiscard]] std::int64_t fencing_token() const noexcept;

  /// Whether the lease has ended without being released: the cluster was found dead, the lease was
  /// taken away by force, or this process could not prove to the server for 8 seconds that it
  /// lives, so that others will take it for dead soon. Looks into the database, and throws as
  /// CacheManager's calls do; but where a server is out of reach it answers before anybody takes
  /// the lease.
  [[nodiscard]] bool lost() const;

  /// Writes into the log that something uses the cluster under this lease: a test's name, so that
  /// the cluster's history names the tests. A secret in it is not kept, nor what is beyond 1 KiB.
  /// Throws LeaseLost when the lease has ended.
  void note_use(std::string_view by);

  /// Says that the cluster does not answer. Where the lifecycle has a `check`, that is asked first,
  /// and if it says yes nothing happens and false is returned; without one it is believed. Then
  /// every lease on the cluster is lost, and the next acquire creates another; a cluster that was
  /// only believed dead is owed. What `check` throws is thrown on.
  bool report_dead();

  /// Ends the lease. Safe to call twice. Where the lease was the last and its policy is to hand
  /// back, and the lifecycle has a `terminate`, that is called before this returns; and then for
  /// what else is owed on the same host. Nothing of that is begun once stopped, but for the cluster
  /// of this lease.
  ReleaseReport release(const std::stop_token& stop = {});

  /// Makes the lease outlive this object and this process: it ends by `release_lease`, or `ttl`
  /// from now. The object holds nothing any more. Throws InvalidArgument for a `ttl` of 0 or less,
  /// or more than a year; LeaseLost when the lease has ended.
  /// A lease that was joined inside `dbcache run` stays that run's, and ends with it.
  void hold_for(std::chrono::microseconds ttl);

  /// The descriptor of the lease's lock, or -1. A program that inherits it (dup2(2) without
  /// FD_CLOEXEC) holds the lease too, for as long as any process has it open: so a program that
  /// outlives this one does not use a cluster that nobody holds.
  [[nodiscard]] int lock_descriptor() const noexcept;

  /// Whether there is a lease in here.
  explicit operator bool() const noexcept { return impl_ != nullptr; }

 private:
  friend class LeaseMaker;
  class Impl;
  explicit ClusterLease(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Part in a run: while any participant of a run lives, no cluster that the run used is handed
/// back. Move-only; its destructor leaves. What was said of leases in forked children holds here
/// too.
class DBCACHE_EXPORT RunMembership {
 public:
  RunMembership() noexcept;
  ~RunMembership();
  RunMembership(RunMembership&&) noexcept;
  RunMembership& operator=(RunMembership&&) noexcept;

  /// Of the participant: the position of its joining in the log.
  [[nodiscard]] std::int64_t id() const noexcept;
  [[nodiscard]] const std::string& run() const noexcept;

  /// Ends it. Safe to call twice. Returns the clusters that became owed by it.
  std::vector<std::string> leave();

  explicit operator bool() const noexcept { return impl_ != nullptr; }

 private:
  friend class LeaseMaker;
  class Impl;
  explicit RunMembership(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Who holds something, as the log has it.
struct HolderInfo {
  std::string host;
  std::int64_t pid = 0;
  std::optional<std::string> label{};
  std::optional<Timestamp> until{};  ///< It holds by a deadline, not by being alive.
  bool alive = false;                ///< By the kernel's word, or the deadline's, just now.
};

/// A lease, or a creation or a check under way.
struct LeaseInfo {
  enum class Kind { lease, creation, check };
  std::int64_t lease = 0;  ///< Its fencing token.
  Kind kind = Kind::lease;
  std::string config_hash;
  std::optional<std::string> cluster_id{};
  HolderInfo holder;
  Timestamp since{};
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run{};
};

/// Documented uses (increment_shared_cluster_usage) of an entry: nobody knows whose they are.
struct DocumentedUses {
  std::string config_hash;
  std::optional<std::string> cluster_id{};
  std::int64_t count = 0;
};

struct ParticipantInfo {
  std::int64_t id = 0;
  std::string run;
  std::string kind;
  std::optional<std::string> name{};
  HolderInfo holder;
  Timestamp since{};
};

/// Who holds what.
struct LeaseReport {
  std::vector<LeaseInfo> leases;  ///< Oldest first.
  std::vector<DocumentedUses> documented_uses;
  std::vector<ParticipantInfo> participants;
};

/// A termination that is due: of a cluster, or of whatever a creation that came to no good may have
/// left, known by its idempotency token alone.
struct OwedTermination {
  std::string subject;  ///< The cluster id, else the token: what names it in the log.
  std::optional<std::string> cluster_id{};
  std::optional<std::string> idempotency_token{};
  std::optional<std::string> config_hash{};
  std::optional<std::string> host{};  ///< Of the workspace, normalised as for `config_hash`.
  std::string reason;
  Timestamp owed_at{};
  std::int64_t attempts = 0;
  std::optional<std::string> error{};      ///< Of the last attempt.
  std::optional<HolderInfo> terminator{};  ///< Who is at it now.
};

/// What settling came to.
struct SettleReport {
  std::vector<std::string> settled;  ///< Subjects.
  struct Failure {
    std::string subject;
    std::string error;
  };
  std::vector<Failure> failed;
  std::vector<std::string> left;  ///< Subjects that others settle now, or that are held.
};

}  // namespace dbcache
