#include "coordination/move.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "commands/move.hpp"
#include "coordination/transact.hpp"
#include "store/rebuild.hpp"

// The steps. Each is committed and on disk before the next begins, so a killed move can be resumed
// from any step:
//
//                                                          from is      to is
//   1. close the log of `from`, if nobody holds anything     away        open, empty
//   2. close the log of `to`                                 away        in
//   3. copy the events that `to` lacks, page by page         away        in
//   4. write the tables of `to`, and check the whole copy    away        in
//   5. give `from` up                                        gone        in
//   6. open the log of `to`                                  gone        open
//
// So the two logs are never open at once, and a move that can still be cancelled (before 5) has not
// opened `to`.
namespace dbcache::coordination {

using namespace store;

namespace {

constexpr std::int64_t before_the_first = std::numeric_limits<std::int64_t>::min();
constexpr std::size_t most_named = 3;

[[noreturn]] void throw_no_database(const std::string& name) {
  throw NotFound(fmt::format("there is no database {}; give the one to move", name));
}

/// One write transaction, on disk when this returns. It runs alone, since it relies on what was
/// read before it.
void commit_alone(const Store& store, const std::function<void(WriteSession&)>& work) {
  store.engine().write(
      std::nullopt,
      [&](WriteSession& session) {
        work(session);
        return Sync::always;
      },
      Engine::Grouping::alone);
}

bool is_empty(const ReadSession& session) {
  return session.log.read(before_the_first, 1, Extent::visible).empty() &&
         std::all_of(
             rows::projected_tables.begin(), rows::projected_tables.end(),
             [&](std::string_view table) { return session.tables.raw_rows(table).empty(); });
}

class Move {
 public:
  Move(Store& from, Store& to, const MoveOptions& options, const MoveSteps& steps)
      : from_(from),
        to_(to),
        options_(options),
        steps_(steps),
        from_name_(from.engine().name()),
        to_name_(to.engine().name()) {}

  MoveReport run() {
    require_two_databases();
    MoveReport report{from_name_, to_name_, {}, 0, false};
    const std::optional<ClosedLog> closed = closure_of_source();
    const bool gone = closed == gone_;
    if (closed && *closed != away_ && !gone) refuse_source(*closed);
    report.was_moved_before = gone && !is_moving_in();
    if (report.was_moved_before) {
      report.head = head_of_what_was_moved();
      return report;
    }
    require_target_to_fit();
    require_sound_source();
    if (!closed) {
      require_that_both_can_be_closed();
      close_source();
    }
    report.copied = copy();
    report.head = check_copy();
    give_source_up();
    open_copy();
    return report;
  }

 private:
  // ---- Before anything is changed

  void require_two_databases() const {
    const auto identity = from_.engine().identity();
    if (!identity) throw_no_database(from_name_);
    if (identity == to_.engine().identity()) {
      throw InvalidArgument(
          fmt::format("{} and {} are the same database; give a different one to move the log to",
                      from_name_, to_name_));
    }
  }

  [[nodiscard]] std::optional<ClosedLog> closure_of_source() const {
    std::optional<ClosedLog> closed;
    const bool exists =
        from_.read([&](const ReadSession& session) { closed = session.log.closed(); });
    if (!exists) throw_no_database(from_name_);
    return closed;
  }

  [[noreturn]] void refuse_source(const ClosedLog& closed) const {
    throw DatabaseMoved(refusal(closed, from_name_));
  }

  [[nodiscard]] bool is_moving_in() const {
    bool moving_in = false;
    to_.read([&](const ReadSession& session) { moving_in = session.log.closed() == in_; });
    return moving_in;
  }

  /// Whether the target is empty, or was left by an earlier move of this log. Copying then checks
  /// that its events are the same.
  [[nodiscard]] bool fits(const ReadSession& target) const {
    const auto closed = target.log.closed();
    if (closed) return closed == in_ || closed == came_from_there_;
    return is_empty(target);
  }

  void require_target_to_fit() const {
    to_.read([&](const ReadSession& session) {
      if (fits(session)) return;
      to_.require_open(session.log);
      throw InvalidArgument(fmt::format(
          "the database {} is not empty; give an empty one to move the log to", to_name_));
    });
  }

  /// Checked early: a damaged source would otherwise be found only after it was closed.
  void require_sound_source() const {
    const ReplayReport report =
        replay(from_, {.mode = ReplayMode::check, .on_progress = options_.on_progress});
    if (report.differences.empty()) return;
    throw CorruptDatabase(fmt::format(
        "the tables of {} differ from its log; see where with `dbcache replay --check`, "
        "rebuild them with `dbcache replay`, then move the log",
        from_name_));
  }

  /// Checked early: a role that may not write to the target would otherwise learn so only after the
  /// source was closed. Nothing of this lasts, except that the target is created.
  void require_that_both_can_be_closed() const {
    struct Undone {};
    try {
      with_source_unheld([](Store::Transaction&) { throw Undone(); });
    } catch (const Undone&) {
      // Nobody holds anything.
    }
    try {
      commit_alone(to_, [&](WriteSession& session) {
        session.log.close(in_);
        std::vector<EventRecord> none;
        session.log.read_into(none, 0, 1, Extent::visible);  // waits for the answer to close(), too
        throw Undone();
      });
    } catch (const Undone&) {
      // It may write.
    }
  }

  // ---- The steps

  void write(const Store& store, const std::function<void(WriteSession&)>& work) const {
    commit_alone(store, work);
    if (steps_.committed) steps_.committed();
  }

  void close_source() const {
    with_source_unheld([&](Store::Transaction& transaction) { transaction.close_log(away_); });
    if (steps_.committed) steps_.committed();
  }

  /// Runs `step` in a transaction in which nobody holds anything in the source.
  void with_source_unheld(const Steps& step) const {
    transact_over_everything(from_, {}, [&](Store::Transaction& transaction) {
      if (const auto closed = transaction.closed()) {  // by another process that moves it
        if (*closed != away_) refuse_source(*closed);
      } else {
        require_unheld(commands::held_by_the_living(transaction.present()));
      }
      step(transaction);
    });
  }

  void require_unheld(const std::vector<std::string>& held) const {
    if (held.empty()) return;
    const std::size_t named = std::min(held.size(), most_named);
    throw Busy(fmt::format(
        "{} is in use: {}{}; move it once these have ended (see `dbcache leases` and `dbcache "
        "shared`)",
        from_name_,
        fmt::join(held.begin(), held.begin() + static_cast<std::ptrdiff_t>(named), ", "),
        held.size() > named ? fmt::format(" and {} more", held.size() - named) : ""));
  }

  /// Returns how many events were copied.
  std::int64_t copy() {
    close_target();
    from_.read([&](const ReadSession& session) {
      gaps_until_ = session.log.gaps_until();
      incarnation_ = session.log.incarnation();
    });
    std::int64_t copied = 0;
    source_.emplace(gaps_until_);
    for_each_page(from_, [&](const std::vector<EventRecord>& events, std::int64_t after) {
      const std::size_t there = count_of_those_there(events, after);
      source_->take(events);
      if (there < events.size()) append(events, there, after);
      copied += static_cast<std::int64_t>(events.size() - there);
      if (!events.empty()) last_ = events.back().position;
    });
    return copied;
  }

  /// Reads a log that nobody appends to, page by page. The last page is empty.
  template <class Work>
  void for_each_page(const Store& store, Work work) const {
    LogProgress progress;
    std::vector<EventRecord> events;
    for (std::int64_t after = before_the_first;;) {
      store.read([&](const ReadSession& session) {
        if (progress.events_total == 0) progress.events_total = session.log.last_position();
        session.log.read_into(events, after, steps_.page, Extent::visible);
      });
      work(events, after);
      if (events.empty()) return;
      after = events.back().position;
      progress.events_done += static_cast<std::int64_t>(events.size());
      if (options_.on_progress) options_.on_progress(progress);
    }
  }

  void close_target() const {
    write(to_, [&](WriteSession& session) {
      if (!fits({session.tables, session.log, session.liveness, session.now})) throw_others_move();
      session.log.close(in_);
    });
  }

  [[nodiscard]] std::vector<EventRecord> read_target(std::int64_t after, std::size_t limit) const {
    std::vector<EventRecord> events;
    to_.read([&](const ReadSession& session) {
      session.log.read_into(events, after, limit, Extent::visible);
    });
    return events;
  }

  /// How many of these source events the target has, from the first on. Throws if it has any other
  /// event after that position.
  [[nodiscard]] std::size_t count_of_those_there(const std::vector<EventRecord>& events,
                                                 std::int64_t after) const {
    const auto there = read_target(after, std::max<std::size_t>(events.size(), 1));
    if (there.size() > events.size() || !std::equal(there.begin(), there.end(), events.begin())) {
      throw InvalidArgument(
          fmt::format("the database {} has events that {} does not have; give an empty one, or "
                      "cancel the move with `dbcache move --from {} --cancel`",
                      to_name_, from_name_, from_name_));
    }
    return there.size();
  }

  /// Appends the events from `first` on.
  void append(const std::vector<EventRecord>& events, std::size_t first, std::int64_t after) const {
    const std::int64_t end =
        first > 0 ? events[first - 1].position : std::max<std::int64_t>(after, 0);
    bool tried = false;
    write(to_, [&](WriteSession& session) {
      require_still_mine(session.log);
      // If the answer to the commit was lost, this runs again.
      const std::int64_t last = session.log.last_position();
      if (std::exchange(tried, true) && last == events.back().position) return;
      if (last != end) throw_others_move();
      session.log.open();
      for (std::size_t at = first; at < events.size(); ++at) session.log.append(events[at]);
      session.log.close(in_);
    });
  }

  /// Writes the tables, then reads the whole copy back and checks it.
  [[nodiscard]] LogHead check_copy() const {
    write(to_, [&](WriteSession& session) {
      require_still_mine(session.log);
      session.tables.clear();
      source_->tables().copy_to(session.tables);
      session.log.set_gaps_until(std::min(gaps_until_, last_));
      session.log.set_incarnation(incarnation_);
    });

    std::int64_t gaps_until = 0;
    to_.read([&](const ReadSession& session) { gaps_until = session.log.gaps_until(); });
    Rebuild copy(gaps_until);
    for_each_page(to_,
                  [&](const std::vector<EventRecord>& events, std::int64_t) { copy.take(events); });
    bool same = copy.head() == source_->head();
    to_.read([&](const ReadSession& session) {
      require_still_mine(session.log);
      same = same && source_->report(session.tables).differences.empty();
    });
    if (!same) {
      throw CorruptDatabase(
          fmt::format("the copy in {0} differs from the log of {1}; check the disk, remove {0}, "
                      "and run the move again",
                      to_name_, from_name_));
    }
    return source_->head();
  }

  void give_source_up() const {
    write(from_, [&](WriteSession& session) {
      const auto closed = session.log.closed();
      if (closed == gone_) return;
      if (closed != away_ || session.log.last_position() != last_) {
        throw Busy(fmt::format(
            "the move of {} was cancelled while it ran; run it again to move the log", from_name_));
      }
      session.log.close(gone_);
    });
  }

  void open_copy() const {
    write(to_, [&](WriteSession& session) {
      if (session.log.closed() == in_) session.log.open();
    });
  }

  void require_still_mine(const EventLogReader& log) const {
    if (log.closed() != in_) throw_others_move();
  }

  [[noreturn]] void throw_others_move() const {
    throw Busy(
        fmt::format("another process is moving a log to {}; run the move again once that one has "
                    "ended",
                    to_name_));
  }

  // ---- After the move is complete

  [[nodiscard]] LogHead head_of_what_was_moved() const {
    // The target is still closed if it is being moved in under another name of the source.
    to_.read([&](const ReadSession& session) {
      const auto closed = session.log.closed();
      if (closed && closed->moving == Moving::in) to_.require_open(session.log);
    });
    ChainChecker checker;
    for_each_page(from_, [&](const std::vector<EventRecord>& events, std::int64_t after) {
      const auto there = read_target(after, events.size());
      if (there != events) {
        throw CorruptDatabase(fmt::format(
            "the log of {} was moved to {}, which no longer has it; restore {} from a backup",
            from_name_, to_name_, to_name_));
      }
      for (const EventRecord& event : events) static_cast<void>(checker.check(event));
    });
    return checker.head();
  }

  Store& from_;
  Store& to_;
  const MoveOptions& options_;
  const MoveSteps& steps_;
  const std::string from_name_;
  const std::string to_name_;
  const ClosedLog away_{Moving::away, to_name_};
  const ClosedLog gone_{Moving::gone, to_name_};
  const ClosedLog in_{Moving::in, from_name_};
  const ClosedLog came_from_there_{
      Moving::gone, from_name_};  ///< The state of a target to which the log moves back.
  std::int64_t gaps_until_ = 0;
  std::string incarnation_;        ///< Of the source.
  std::int64_t last_ = 0;          ///< Position of the source's last event.
  std::optional<Rebuild> source_;  ///< Built from what was read so far.
};

}  // namespace

MoveReport move(Store& from, Store& to, const MoveOptions& options, const MoveSteps& steps) {
  return Move(from, to, options, steps).run();
}

bool cancel_move(Store& from) {
  const std::string name = from.engine().name();
  const auto is_under_way = [&](const EventLogReader& log) {
    const auto closed = log.closed();
    if (closed && closed->moving != Moving::away) throw DatabaseMoved(refusal(*closed, name));
    return closed.has_value();
  };
  bool cancelled = false;
  if (!from.read([&](const ReadSession& session) { cancelled = is_under_way(session.log); })) {
    throw_no_database(name);
  }
  if (!cancelled) return false;
  commit_alone(from, [&](WriteSession& session) {
    cancelled = is_under_way(session.log);
    if (cancelled) session.log.open();
  });
  return cancelled;
}

}  // namespace dbcache::coordination
