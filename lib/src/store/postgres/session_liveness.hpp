#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "rows/present.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

/// How long a holder is given to show up after its lock was found gone.
inline constexpr std::chrono::seconds grace{15};

/// Holders that prove themselves, and those who note suspects, do so one after the other: who has
/// proved first is not noted, and who is noted first ends that. Of the transaction.
inline constexpr const char* lock_suspects =
    "SELECT pg_advisory_xact_lock('suspects'::regclass::oid::integer, 0)";

/// Who lives, as one transaction sees it. A holder has an advisory lock of its session
/// (session_keeper.hpp). Where that is gone, either the process is, or only the session: the server
/// was started anew, another took over from it, or a connection was cut. A process of this machine
/// can be asked after; any other is a suspect from the moment this was noticed first, by anybody,
/// and lives until its grace is over. The table `suspects` keeps that moment; after the server was
/// started anew, it counts from anew.
class SessionLiveness final : public rows::Liveness {
 public:
  SessionLiveness(Transaction& transaction, const std::string& log)
      : transaction_(transaction), log_(log) {}

  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override;

  /// Writes down who became a suspect. After the transaction; never throws: the next who notices
  /// does it as well.
  void note_suspects(Connection& connection) const noexcept;

 private:
  struct Server {
    std::unordered_set<std::int64_t> held;
    std::unordered_map<std::int64_t, bool> suspects;  ///< Whether their grace is over.
  };
  void look() const;

  Transaction& transaction_;
  const std::string& log_;
  mutable std::optional<Server> server_;
  mutable std::vector<std::int64_t> new_suspects_;
};

}  // namespace dbcache::store::postgres
