#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "store/engine.hpp"
#include "store/postgres/transaction.hpp"

namespace dbcache::store::postgres {

/// Thrown out of a transaction that locks streams and turns out to need the lock over everything:
/// it runs again with that lock. Not a std::exception, so that no work mistakes it for its own
/// error.
struct NeedsEverything {};

/// What a lock guards: a stream and the rows that go with it, or which cluster is active. Locks are
/// taken in this order: registry streams, the active cluster, cluster streams, runs; by name among
/// themselves.
struct LockName {
  explicit LockName(std::string of);

  int rank = 0;
  std::string name;

  bool operator<(const LockName& other) const {
    return std::tie(rank, name) < std::tie(other.rank, other.name);
  }
};
using LockNames = std::set<LockName>;

/// Guards which rows of `clusters` are active.
inline constexpr std::string_view active_lock = "active";

/// Thrown in the same way out of a transaction that met a lock out of order which another has: it
/// runs again and takes these first, in order.
struct NeedsLocks {
  LockNames names;
};

/// Thrown in the same way out of a transaction that has looked at a creation under way without a
/// lock, and is to do more than wait.
struct NeedsStep {
  LockName name;
};

/// The advisory locks that keep writing transactions apart: one over everything, which transactions
/// that lock streams share, and one for each stream. A transaction takes a lock before it reads
/// what the lock guards. Each statement of a READ COMMITTED transaction sees all earlier commits,
/// and the server releases the locks only when the commit is visible
/// (https://www.postgresql.org/docs/15/explicit-locking.html). So no transaction reads what another
/// is about to change. Locks are taken in their order, or only tried: no two transactions wait for
/// each other. The server computes a lock's number from its name, so that a statement can lock what
/// a row names.
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

  /// Queues the lock over everything, or a share in it; then these.
  void begin(const LockNames& first);
  /// False if this transaction has it already.
  bool need(std::string_view name);
  bool need_stream(std::string_view stream);
  [[nodiscard]] bool has(std::string_view name) const;
  [[nodiscard]] bool have_everything() const { return scope_ == LockScope::everything; }

  /// Queues what a step on a configuration needs, in one message: its lock, that of the cluster
  /// that its entry names, the ends of both streams, and positions for so many events. Once that is
  /// answered, note_cluster() tells which cluster it was. Only if can_step().
  ///
  /// A step that may wait takes no lock of the configuration while its cluster is created. Else the
  /// creator would stand in a queue with a crowd of those that only find out that they must wait.
  void need_step(std::string_view config_hash, std::int64_t events, bool may_wait);
  /// Not if this transaction has other locks: the cluster's might come out of order.
  [[nodiscard]] bool can_step(std::string_view config_hash) const;
  [[nodiscard]] bool have_some() const { return !held_.empty(); }
  /// Queues the questions of need_step() for a configuration that does not exist.
  void rehearse_step();
  /// False if the cluster's lock was not taken.
  bool note_cluster(std::string_view cluster_id);

  void need_everything() const {
    if (scope_ != LockScope::everything) throw NeedsEverything{};
  }

  /// Where so many events of these streams go. Takes the locks of the streams.
  AppendPoint append_point(const std::vector<std::string>& streams, std::int64_t events);
  /// Records the new end of a stream that this transaction appended to.
  void note_end(std::string_view stream, StreamEnd end);

  /// The registry streams that this transaction appended to.
  [[nodiscard]] std::vector<std::string_view> appended_registries() const;

  /// For the next transaction, after this one appended so many events.
  [[nodiscard]] Forecast next_forecast(std::int64_t events) const {
    return {first_stream_, events};
  }

  /// Queues the lock over everything, for the transaction that the connection is in.
  static void lock_everything(Connection& connection, std::int64_t space);
  /// A number for a name in a space of names.
  static std::int64_t number(std::int64_t space, std::string_view name);

 private:
  void queue_lock(const LockName& name);
  [[nodiscard]] bool is_looking() const { return step_lock_ && step_lock_->rows() == 0; }
  void look_for_end(std::string_view stream);
  void draw(std::int64_t count);
  void draw_for_step(std::string_view config_hash, std::int64_t count);

  Transaction& transaction_;
  const std::int64_t space_;
  const LockScope scope_;
  const Forecast& forecast_;
  std::string first_stream_;
  LockNames begun_with_;  ///< Of those held, what begin() took.
  LockNames held_;
  struct End {
    std::optional<Result> row;
    std::optional<StreamEnd> noted;
  };
  std::map<std::string, End, std::less<>> ends_;
  std::optional<Result> step_lock_;       ///< Without a row: it was not taken.
  std::optional<Result> cluster_lock_;    ///< The same.
  std::optional<Result> end_of_cluster_;  ///< Of the entry's cluster, before its name is known.
  std::optional<Result> drawn_;
  std::optional<std::size_t> locks_when_drawn_;
};

}  // namespace dbcache::store::postgres
