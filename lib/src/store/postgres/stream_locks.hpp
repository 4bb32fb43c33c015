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

/// Thrown out of a transaction that locks streams and turns out to need the lock over everything:
/// it runs again with that lock. Not a std::exception, so that no work mistakes it for its own
/// error.
struct NeedsEverything {};

/// The advisory locks that keep writing transactions apart: one over everything, which transactions
/// that lock streams share, and one for each stream. A transaction takes a lock before it reads
/// what the lock guards. Each statement of a READ COMMITTED transaction sees all earlier commits,
/// and the server releases the locks only when the commit is visible
/// (https://www.postgresql.org/docs/15/explicit-locking.html). So no transaction reads what another
/// is about to change. Streams are locked in the order of their numbers, or only tried: no two
/// transactions wait for each other.
///
/// The lock of a stream is sent together with the query for the stream's end. If the forecast names
/// the same stream, the positions are drawn in the same message; a transaction that does not use
/// them leaves a gap. They are valid only if no lock was taken after them, because the positions in
/// a stream must be in the order of its versions.
class StreamLocks {
 public:
  using LockScope = Engine::LockScope;

  /// What a transaction will probably do: the same as the one before it.
  struct Forecast {
    std::string stream;  ///< The first that it locks.
    std::int64_t events = 0;
  };

  StreamLocks(Transaction& transaction, std::int64_t space, LockScope scope,
              const Forecast& forecast)
      : transaction_(transaction), space_(space), scope_(scope), forecast_(forecast) {}

  /// Queues the lock over everything, or a share in it.
  void begin();
  void need(std::string_view name);
  void need_stream(std::string_view stream);
  void need_everything() const {
    if (scope_ != LockScope::everything) throw NeedsEverything{};
  }

  /// Where so many events of these streams go. Takes the locks of the streams.
  AppendPoint append_point(const std::vector<std::string>& streams, std::int64_t events);
  /// Records the new end of a stream that this transaction appended to.
  void note_end(std::string_view stream, StreamEnd end);

  /// For the next transaction, after this one appended so many events.
  [[nodiscard]] Forecast next_forecast(std::int64_t events) const {
    return {first_stream_, events};
  }

  /// Queues the lock over everything, for the transaction that the connection is in.
  static void lock_everything(Connection& connection, std::int64_t space);
  /// The number of the lock for a name in a space of names.
  static std::int64_t number(std::int64_t space, std::string_view name);

 private:
  bool lock(std::string_view name);
  void look_for_end(std::string_view stream);
  void draw(std::int64_t count);

  Transaction& transaction_;
  const std::int64_t space_;
  const LockScope scope_;
  const Forecast& forecast_;
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
