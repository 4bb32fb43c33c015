#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "store/engine.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

/// Thrown out of a transaction that reached for streams, and needs everything after all: it is run
/// again so. No std::exception, so that no work takes it for an error of its own.
struct NeedsEverything {};

/// The advisory locks by which transactions that write keep apart: one over everything, which is
/// shared by those that name their streams, and one for each of those. They are taken before what
/// they guard is read, each statement of a READ COMMITTED transaction sees what was committed
/// before it, and the server lets go of them only once the commit can be seen
/// (https://www.postgresql.org/docs/15/explicit-locking.html). So nobody reads what another is
/// about to change, and nothing is decided twice. Streams are locked in order of their numbers, or
/// only tried: no two transactions wait for each other.
///
/// With the lock of a stream goes the question where it ends. Where the transaction before began
/// with the same stream, as many positions are drawn at once as that one used; one that uses none
/// leaves a gap. They are good only if no lock was taken after them, since a stream's positions are
/// to be in order of its versions.
class StreamLocks {
 public:
  using LockScope = Engine::LockScope;

  /// What a transaction did, which the next one may do again.
  struct Habit {
    std::string stream;  ///< The first that was locked.
    std::int64_t events = 0;
  };

  /// `habit`: of the transaction before.
  StreamLocks(Transaction& transaction, std::int64_t space, LockScope scope, const Habit& habit)
      : transaction_(transaction), space_(space), reach_(scope), habit_(habit) {}

  /// Queued; to be sent with what comes next.
  void begin();
  void need(std::string_view name);
  void need_stream(std::string_view stream);
  void need_everything() const {
    if (reach_ != LockScope::everything) throw NeedsEverything{};
  }

  /// Where so many events of these streams go, whose locks this takes.
  AppendPoint append_point(const std::vector<std::string>& streams, std::int64_t events);
  /// Of a stream that this transaction appended to.
  void note_end(std::string_view stream, StreamEnd end);

  [[nodiscard]] Habit habit(std::int64_t events) const { return {first_stream_, events}; }

  /// As a transaction with nothing else has it. Queued.
  static void lock_everything(Connection& connection, std::int64_t space);
  /// The number of a lock: of a name in a space of names.
  static std::int64_t number(std::int64_t space, std::string_view name);

 private:
  bool lock(std::string_view name);
  void look_for_end(std::string_view stream);
  void draw(std::int64_t count);

  Transaction& transaction_;
  const std::int64_t space_;
  const LockScope reach_;
  const Habit& habit_;
  std::string first_stream_;
  std::set<std::int64_t> held_;
  struct End {
    std::optional<Result> row;
    std::optional<StreamEnd> noted;
  };
  std::map<std::string, End, std::less<>> ends_;
  std::optional<Result> drawn_;
  std::optional<std::size_t> locks_when_drawn_;
};

}  // namespace dbcache::store::postgres
