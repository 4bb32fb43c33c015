#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <boost/describe.hpp>
#include <boost/json/object.hpp>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>
#include <dbcache/time.hpp>

#include "rows/lease_rows.hpp"
#include "system/process.hpp"

// The events. Each payload holds everything that its projection needs, times included. To add one,
// write a struct here with its name, schema number and description (event.cpp), a line in the
// variant, an overload of `apply`, and a golden file. docs/architecture.md shows the steps.
//
// Logs keep old payloads forever. To change a payload, raise its `schema` and teach `upcast`
// (event.cpp) to read the older forms.
namespace dbcache::events {

using rows::Holder;

/// A cluster was cached: its row is made, or replaced.
struct ClusterCached {
  static constexpr std::string_view type = "ClusterCached";
  static constexpr int schema = 1;
  CachedCluster cluster;
  boost::json::object configuration;  ///< As given, without secrets.
};

/// A row found in an adopted database.
struct ClusterImported {
  static constexpr std::string_view type = "ClusterImported";
  static constexpr int schema = 1;
  CachedCluster cluster;           ///< As normalised.
  boost::json::object original;    ///< As it was, without secrets.
  std::vector<std::string> notes;  ///< Values that had to be replaced.
};

/// Another cluster became the active one.
struct ClusterDeactivated {
  static constexpr std::string_view type = "ClusterDeactivated";
  static constexpr int schema = 1;
  std::string cluster_id;
  std::string active_cluster_id;
};

struct ClusterAccessed {
  static constexpr std::string_view type = "ClusterAccessed";
  static constexpr int schema = 1;
  std::string cluster_id;
  Timestamp last_accessed;
  std::int64_t access_count = 0;  ///< After it.
};

/// A cluster past its expiry was cleaned up: its row is removed.
struct ClusterExpired {
  static constexpr std::string_view type = "ClusterExpired";
  static constexpr int schema = 1;
  std::string cluster_id;
  Timestamp expiry_time;
};

enum class ClusterRemovalReason { cleared, terminated, lost, handed_back };

/// A cluster's row is removed.
struct ClusterRemoved {
  static constexpr std::string_view type = "ClusterRemoved";
  static constexpr int schema = 1;
  std::string cluster_id;
  ClusterRemovalReason reason = ClusterRemovalReason::cleared;
};

/// A worker began to create the cluster of a configuration: its entry is made.
struct CreationRegistered {
  static constexpr std::string_view type = "CreationRegistered";
  static constexpr int schema = 1;
  std::string config_hash;
  Timestamp creation_time;
  system::ProcessIdentity worker;
};

/// A row found in an adopted database.
struct EntryImported {
  static constexpr std::string_view type = "EntryImported";
  static constexpr int schema = 1;
  RegistryEntry entry;
  boost::json::object original;
  std::vector<std::string> notes;
};

/// Status, cluster id and error message are set to these values.
struct RegistryStatusChanged {
  static constexpr std::string_view type = "RegistryStatusChanged";
  static constexpr int schema = 2;
  std::string config_hash;
  RegistryStatus from = RegistryStatus::creating;
  RegistryStatus to = RegistryStatus::creating;
  std::optional<std::string> cluster_id;
  std::optional<std::string> error_message;
  bool for_good = false;  ///< A creation failed, and another try cannot mend it; since 2.
};

struct UsageIncremented {
  static constexpr std::string_view type = "UsageIncremented";
  static constexpr int schema = 1;
  std::string config_hash;
  std::int64_t usage_count = 0;  ///< After it.
};

struct UsageDecremented {
  static constexpr std::string_view type = "UsageDecremented";
  static constexpr int schema = 1;
  std::string config_hash;
  std::int64_t usage_count = 0;  ///< After it.
};

enum class EntryRemovalReason {
  cleaned_up,
  lost,
  handed_back,
  expired,
  cleared,
  terminated,
  released
};

/// An entry is removed.
struct RegistryEntryRemoved {
  static constexpr std::string_view type = "RegistryEntryRemoved";
  static constexpr int schema = 1;
  std::string config_hash;
  EntryRemovalReason reason = EntryRemovalReason::cleaned_up;
};

// ---- Leases. `lease`, `creation`, `check`, `termination` and `participant` are the positions of
// the events that began what they name.

/// A worker begins to create the cluster of a configuration, or takes over from one that died or
/// failed. Its position is the creation's fencing token.
struct CreationStarted {
  static constexpr std::string_view type = "CreationStarted";
  static constexpr int schema = 1;
  std::string config_hash;
  Holder holder;
  std::string idempotency_token;
  std::optional<std::string> cluster_id;  ///< The cluster that an earlier creator had started.
  std::optional<std::string> host;
  Timestamp creation_time;
  std::int64_t usage_count = 0;  ///< After it.
};

/// Its position is the lease's number and fencing token.
struct LeaseGranted {
  static constexpr std::string_view type = "LeaseGranted";
  static constexpr int schema = 1;
  std::string config_hash;
  std::string cluster_id;
  Holder holder;
  HandBackPolicy policy = HandBackPolicy::keep;
  std::optional<std::string> run;
  Timestamp granted_at;
  bool created_here = false;
  std::optional<std::string> host;
  std::optional<std::int64_t> creation;  ///< The creation that ends with it.
  std::int64_t usage_count = 0;          ///< After it.
};

/// A lease was released, or a creation failed.
struct LeaseReleased {
  static constexpr std::string_view type = "LeaseReleased";
  static constexpr int schema = 2;
  std::string config_hash;
  std::int64_t lease = 0;  ///< Or the creation.
  std::optional<std::string> cluster_id;
  std::optional<HandBackPolicy> policy;  ///< Empty for a creation.
  std::int64_t usage_count = 0;          ///< After it.
  /// Only if the holder, a process, released it; since 2.
  std::optional<Timestamp> released_at{};
};

enum class LeaseLossReason {
  died,          ///< Its holder died.
  deadline,      ///< Its deadline passed.
  cluster_lost,  ///< The cluster was found dead.
  forced,        ///< Its entry or cluster was removed by force.
};

/// A lease or a creation ended in another way.
struct LeaseLost {
  static constexpr std::string_view type = "LeaseLost";
  static constexpr int schema = 1;
  std::string config_hash;
  std::int64_t lease = 0;
  std::optional<std::string> cluster_id;
  std::optional<HandBackPolicy> policy;
  LeaseLossReason reason = LeaseLossReason::died;
  std::int64_t usage_count = 0;
};

/// A lease got a deadline, or a later one.
struct LeaseRenewed {
  static constexpr std::string_view type = "LeaseRenewed";
  static constexpr int schema = 2;
  std::string config_hash;
  std::int64_t lease = 0;
  Timestamp until;
  std::optional<rows::Deadline> deadline{};  ///< Since 2.
};

/// The cluster is used under a lease, for example by a test.
struct ClusterUsed {
  static constexpr std::string_view type = "ClusterUsed";
  static constexpr int schema = 1;
  std::string cluster_id;
  std::int64_t lease = 0;
  std::string by;
};

/// A check began whether an entry's cluster still runs.
struct CheckStarted {
  static constexpr std::string_view type = "CheckStarted";
  static constexpr int schema = 1;
  std::string config_hash;
  std::string cluster_id;
  Holder holder;
};

enum class CheckAnswer {
  alive,
  dead,
  failed,  ///< The check threw.
  died,    ///< The checking process died.
};

struct CheckAnswered {
  static constexpr std::string_view type = "CheckAnswered";
  static constexpr int schema = 2;
  std::string config_hash;
  std::string cluster_id;
  std::int64_t check = 0;
  CheckAnswer answer = CheckAnswer::alive;
  std::optional<std::string> error;
  std::optional<Timestamp> answered_at{};  ///< Since 2.
};

enum class OwedReason {
  handed_back,
  expired,
  cleared,
  cleaned_up,
  creation_failed,
  creator_died,
  superseded,     ///< A creation made another cluster, or came too late.
  reported_dead,  ///< By a holder without `check`.
};

/// A cluster must be terminated, or what a creation left, of which only the token is known.
struct TerminationOwed {
  static constexpr std::string_view type = "TerminationOwed";
  static constexpr int schema = 1;
  std::string subject;  ///< The cluster id, or else the token.
  std::optional<std::string> cluster_id;
  std::optional<std::string> idempotency_token;
  std::string config_hash;
  std::optional<std::string> host;
  OwedReason reason = OwedReason::handed_back;
  Timestamp owed_at;
};

/// Its position names the attempt.
struct TerminationStarted {
  static constexpr std::string_view type = "TerminationStarted";
  static constexpr int schema = 1;
  std::string subject;
  std::string config_hash;
  Holder holder;
};

struct TerminationDone {
  static constexpr std::string_view type = "TerminationDone";
  static constexpr int schema = 1;
  std::string subject;
  std::int64_t termination = 0;
};

struct TerminationFailed {
  static constexpr std::string_view type = "TerminationFailed";
  static constexpr int schema = 2;
  std::string subject;
  std::int64_t termination = 0;
  std::string error;
  std::optional<Timestamp> retry_at{};  ///< Until then steps on leases leave it alone; since 2.
};

enum class CancelReason {
  taken_over,  ///< Another creator continues the creation.
  in_use,      ///< The cluster is cached, started, made ready or leased again.
  terminated,  ///< `remove` recorded that it was terminated.
};

struct TerminationCancelled {
  static constexpr std::string_view type = "TerminationCancelled";
  static constexpr int schema = 1;
  std::string subject;
  CancelReason reason = CancelReason::in_use;
};

/// Its position names the participant.
struct RunJoined {
  static constexpr std::string_view type = "RunJoined";
  static constexpr int schema = 1;
  std::string run;
  std::string kind;
  std::optional<std::string> name;
  Holder holder;
  Timestamp joined_at;
};

enum class RunLeftReason { left, died };

struct RunLeft {
  static constexpr std::string_view type = "RunLeft";
  static constexpr int schema = 1;
  std::string run;
  std::int64_t participant = 0;
  RunLeftReason reason = RunLeftReason::left;
};

// Stored by name.
BOOST_DESCRIBE_ENUM(ClusterRemovalReason, cleared, terminated, lost, handed_back)
BOOST_DESCRIBE_ENUM(EntryRemovalReason, cleaned_up, lost, handed_back, expired, cleared, terminated,
                    released)
BOOST_DESCRIBE_ENUM(LeaseLossReason, died, deadline, cluster_lost, forced)
BOOST_DESCRIBE_ENUM(CheckAnswer, alive, dead, failed, died)
BOOST_DESCRIBE_ENUM(OwedReason, handed_back, expired, cleared, cleaned_up, creation_failed,
                    creator_died, superseded, reported_dead)
BOOST_DESCRIBE_ENUM(CancelReason, taken_over, in_use, terminated)
BOOST_DESCRIBE_ENUM(RunLeftReason, left, died)

using Event =
    std::variant<ClusterCached, ClusterImported, ClusterDeactivated, ClusterAccessed,
                 ClusterExpired, ClusterRemoved, CreationRegistered, EntryImported,
                 RegistryStatusChanged, UsageIncremented, UsageDecremented, RegistryEntryRemoved,
                 CreationStarted, LeaseGranted, LeaseReleased, LeaseLost, LeaseRenewed, ClusterUsed,
                 CheckStarted, CheckAnswered, TerminationOwed, TerminationStarted, TerminationDone,
                 TerminationFailed, TerminationCancelled, RunJoined, RunLeft>;

/// The events of one command, in order; none if it changes nothing.
using Events = std::vector<Event>;

inline constexpr std::string_view cluster_stream_prefix = "cluster-";
inline constexpr std::string_view registry_stream_prefix = "registry-";
std::string cluster_stream(std::string_view cluster_id);
inline constexpr std::string_view run_stream_prefix = "run-";
std::string registry_stream(std::string_view config_hash);
std::string run_stream(std::string_view run);

/// The stream that an event belongs to.
std::string stream_of(const Event& event);
std::string_view type_of(const Event& event);
std::string payload_of(const Event& event);

bool is_known_type(std::string_view type);

/// Reads a stored payload, and upcasts an older schema. Throws CorruptDatabase if it is not a
/// payload of that type, and NewerSchema if its schema is newer than this dbcache.
Event parse_event(std::string_view type, std::string_view payload);

}  // namespace dbcache::events
