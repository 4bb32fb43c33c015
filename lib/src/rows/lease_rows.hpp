#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/describe.hpp>

#include <dbcache/lease.hpp>
#include <dbcache/time.hpp>

#include "system/process.hpp"

// The rows that coordinate workers. Like the documented rows they are projected from the log. A
// column that holds a struct or a list is stored as JSON text.
namespace dbcache {

BOOST_DESCRIBE_ENUM(HandBackPolicy, keep, hand_back)

namespace system {

BOOST_DESCRIBE_STRUCT(ProcessIdentity, (), (pid, start_time, boot_id, pid_namespace))

}  // namespace system
}  // namespace dbcache

namespace dbcache::rows {

/// How long a deadline holds, although the clock that gave it may have been wrong: from when it was
/// given, and never longer than it was given for.
struct Deadline {
  Timestamp given_at{};
  std::string boot_id;          ///< Of the machine, on SQLite; else empty.
  std::int64_t boot_until = 0;  ///< The deadline, in nanoseconds since that boot.

  bool operator==(const Deadline&) const = default;
};

/// The holder of a lease, creation, check, termination or membership of a run: a process with a
/// life lock, or only a deadline.
struct Holder {
  std::string lock_file;  ///< The id in the lock file; empty if there is no lock.
  std::int64_t lock = 0;  ///< The byte in it.
  system::ProcessIdentity process;
  std::string host;
  std::optional<std::string> label;
  std::optional<Timestamp> until;      ///< The deadline of a holder that outlives its process.
  std::optional<Deadline> deadline{};  ///< More of it, except from an older version.

  bool operator==(const Holder&) const = default;
};

/// How an entry was made, which decides whether its cluster may be handed back.
enum class EntryOrigin {
  documented,   ///< By `register`: its caller is responsible for the cluster.
  acquired,     ///< By `acquire`, which created the cluster.
  environment,  ///< By an acquire under DATABRICKS_CLUSTER_ID.
};
BOOST_DESCRIBE_ENUM(EntryOrigin, documented, acquired, environment)

/// What leases know of a registry entry in addition to its documented columns.
struct Share {
  static constexpr std::string_view table = "shares";
  std::string config_hash;
  EntryOrigin origin = EntryOrigin::documented;
  std::optional<std::string> host;
  std::optional<Holder> worker;                  ///< The process that creates the cluster.
  std::optional<std::int64_t> creation;          ///< Fencing token of the creation under way.
  std::optional<std::string> idempotency_token;  ///< That of the newest creation.
  bool created = false;                          ///< Whether it made the cluster of the entry.
  std::optional<std::int64_t> check;             ///< Position of the check under way.
  std::optional<Holder> checker;
  std::optional<HandBackPolicy> policy;  ///< The policy of the lease that ended last.
  std::vector<std::string> runs;         ///< The runs that used the cluster.
  /// When the cluster was last known to run: a check said so, or a lease on it was released.
  std::optional<Timestamp> alive_at{};
  bool failed_for_good = false;  ///< The last creation: another try cannot mend it.

  [[nodiscard]] const std::string& key() const { return config_hash; }
  bool operator==(const Share&) const = default;
};

struct Lease {
  static constexpr std::string_view table = "leases";
  std::int64_t id = 0;  ///< Position of the grant: the fencing token.
  std::string config_hash;
  std::string cluster_id;
  Holder holder;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  Timestamp granted_at{};
  bool created_here = false;

  [[nodiscard]] std::int64_t key() const { return id; }
  bool operator==(const Lease&) const = default;
};

/// A termination that is due.
struct PendingTermination {
  static constexpr std::string_view table = "terminations";
  std::string subject;  ///< The cluster id, or the idempotency token if no id is known.
  std::optional<std::string> cluster_id;
  std::optional<std::string> idempotency_token;
  std::string config_hash;
  std::optional<std::string> host;
  std::string reason;
  Timestamp owed_at{};
  std::int64_t attempts = 0;
  std::optional<std::int64_t> termination;  ///< Position of the attempt under way.
  std::optional<Holder> terminator;
  std::optional<std::string> error;   ///< The error of the last attempt.
  std::optional<Timestamp> retry_at;  ///< After a failure: until then steps on leases leave it.

  [[nodiscard]] const std::string& key() const { return subject; }
  bool operator==(const PendingTermination&) const = default;
};

struct Participant {
  static constexpr std::string_view table = "participants";
  std::int64_t id = 0;  ///< Position of the RunJoined event.
  std::string run;
  std::string kind;
  std::optional<std::string> name;
  Holder holder;
  Timestamp joined_at{};

  [[nodiscard]] std::int64_t key() const { return id; }
  bool operator==(const Participant&) const = default;
};

BOOST_DESCRIBE_STRUCT(Deadline, (), (given_at, boot_id, boot_until))
BOOST_DESCRIBE_STRUCT(Holder, (), (lock_file, lock, process, host, label, until, deadline))
BOOST_DESCRIBE_STRUCT(Share, (),
                      (config_hash, origin, host, worker, creation, idempotency_token, created,
                       check, checker, policy, runs, alive_at, failed_for_good))
BOOST_DESCRIBE_STRUCT(Lease, (),
                      (id, config_hash, cluster_id, holder, policy, run, granted_at, created_here))
BOOST_DESCRIBE_STRUCT(PendingTermination, (),
                      (subject, cluster_id, idempotency_token, config_hash, host, reason, owed_at,
                       attempts, termination, terminator, error, retry_at))
BOOST_DESCRIBE_STRUCT(Participant, (), (id, run, kind, name, holder, joined_at))

}  // namespace dbcache::rows
