#pragma once

#include <cstdint>
#include <string>

#include <dbcache/export.hpp>
#include <dbcache/options.hpp>
#include <dbcache/replay.hpp>

namespace dbcache {

/// How `move_log` runs.
struct MoveOptions {
  /// Reports the progress of each of three passes: check the log, copy it, check the copy. Each
  /// pass begins at 0. An exception from it stops the move; it can be resumed or cancelled.
  ProgressCallback on_progress{};
};

/// The result of a move.
struct MoveReport {
  /// The two databases in the form of a command line, without passwords: paths, or URLs with
  /// `--schema`.
  std::string from;
  std::string to;
  LogHead head;             ///< The head of the log that was moved.
  std::int64_t copied = 0;  ///< Events that this call copied. An earlier call may have copied more.
  /// An earlier call had finished the move. This one changed nothing.
  bool was_moved_before = false;
};

/// Moves the log and tables of the database `from` into the database `to`, on the same engine or
/// another. Every event keeps its position, times and hash. Afterwards `from` takes no changes:
/// calls that write throw DatabaseMoved, which names `to`. It can still be read.
///
/// `to` must be empty, or hold what an earlier move of the same log left there. That move may have
/// been killed, or it may have moved the log out of `to` into `from`. The call checks every event
/// and row in `to` before it gives up `from`. At no moment do both take changes. If a move stops at
/// any point, even by SIGKILL, the same call resumes it.
///
/// The call first appends the events that end the leases of dead processes. It throws, with nothing
/// moved:
/// - Busy if anybody holds a lease, creates, checks or terminates a cluster, or takes part in a
/// run;
/// - InvalidArgument if `to` is `from` or is not empty;
/// - NotFound if there is no database `from`;
/// - CorruptDatabase if the log or tables of `from` are damaged;
/// - DatabaseMoved if `from` was moved elsewhere;
/// - and what any call of CacheManager may throw.
///
/// After it has begun to copy, any exception leaves `from` closed. One of them is CorruptDatabase
/// if the copy differs from the log. Call move_log again, or cancel_move.
///
/// Of the options, only `database`, `schema`, `busy_timeout`, `durability`, `label` and `clock`
/// count, and `adoption_timezone` of `from`. Thread-safe. Several processes may call it at once;
/// one of them may get Busy.
DBCACHE_EXPORT MoveReport move_log(const Options& from, const Options& to,
                                   const MoveOptions& options = {});

/// Cancels a move that has not finished: `from` takes changes again. The events already copied stay
/// in the other database; a later move to it resumes with them. Returns false if no move was under
/// way. Throws DatabaseMoved if the move had finished, NotFound if there is no database `from`, and
/// what any call of CacheManager may throw. Thread-safe.
DBCACHE_EXPORT bool cancel_move(const Options& from);

}  // namespace dbcache
