#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "rows/present.hpp"
#include "store/postgres/result.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

class SessionKeeper;

/// How long a holder may take to lock again after its lock was found gone.
inline constexpr std::chrono::seconds grace{15};

/// A transaction-level lock. Holders that take their locks again, and processes that note suspects,
/// run one at a time: a holder that was first is not noted, and one that was noted first deletes
/// the note.
inline constexpr const char* lock_suspects =
    "SELECT pg_advisory_xact_lock('suspects'::regclass::oid::integer, 0)";

/// The locks among these for which the tables still have something that they hold. Parameter: their
/// numbers, each with a comma behind it.
extern const std::string_view select_standing_locks;

/// Which holders live, as one transaction sees it. A holder's session has an advisory lock
/// (session_keeper.hpp). If that is gone, either the process has ended or only the session: the
/// server was restarted, a standby took over, or a connection was cut. For a process on this
/// machine the kernel knows. Any other holder becomes a suspect when the first process notices, and
/// counts as alive until its grace is over. The table `suspects` keeps that moment; a restart of
/// the server starts the grace anew.
class SessionLiveness final : public rows::Liveness {
 public:
  SessionLiveness(Transaction& transaction, const std::string& log, const SessionKeeper& keeper)
      : transaction_(transaction), log_(log), keeper_(keeper) {}

  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override;

  /// The next probe asks for the locks of all holders at once.
  void expect_many() const override { many_ = true; }

  /// A condition on rows with a holder. It is false for a holder that has its lock: a sweep need
  /// not read that row. `log`: a parameter with the id of the log.
  static std::string may_be_dead(std::string_view log);
  [[nodiscard]] const std::string& log() const { return log_; }

  /// Asks with the next query for the locks of the first leases of a configuration, and of one more
  /// lease. A lock that can be shared is nobody's.
  void foresee(std::string_view config_hash, std::optional<std::int64_t> lease) const;

  /// Writes the new suspects down, after the transaction. Never throws: if it fails, the next
  /// process that notices does it.
  void note_suspects(Connection& connection) const noexcept;

 private:
  [[nodiscard]] bool is_held(std::int64_t lock) const;
  /// Whether its grace is over; nothing if it is no suspect.
  [[nodiscard]] std::optional<bool> suspicion_of(std::int64_t lock) const;
  void look_at_all() const;
  void learn_foreseen() const;

  Transaction& transaction_;
  const std::string& log_;
  const SessionKeeper& keeper_;
  mutable bool many_ = false;
  mutable bool has_all_ = false;  ///< A lock that is not in `held_` is nobody's.
  mutable std::unordered_map<std::int64_t, bool> held_;
  mutable std::unordered_map<std::int64_t, std::optional<bool>> suspicions_;
  mutable std::optional<Result> first_leases_;
  mutable std::optional<Result> one_lease_;
  mutable std::vector<std::int64_t> new_suspects_;
};

}  // namespace dbcache::store::postgres
