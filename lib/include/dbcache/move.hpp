#pragma once

#include <cstdint>
#include <string>

#include <dbcache/export.hpp>
#include <dbcache/options.hpp>
#include <dbcache/replay.hpp>

namespace dbcache {

struct MoveOptions {
  /// Told of each pass over the events, which begins at 0 again: the log is checked, copied, and
  /// the copy checked. An exception from it ends the move where it is, to be gone on with or
  /// cancelled.
  ProgressCallback on_progress{};
};

/// What a move came to.
struct MoveReport {
  /// The databases as a command line names them, without passwords: paths, or URLs with their
  /// `--schema`.
  std::string from;
  std::string to;
  LogHead head;             ///< Of the log where it was, and so of what was moved.
  std::int64_t copied = 0;  ///< Events copied by this call; an earlier one may have copied others.
  /// The log had been moved there before, and there was nothing left to do.
  bool was_moved_before = false;
};

/// Moves a database's log and tables into another, of the same engine or not: every event as it
/// is, with its position, times and hash. Afterwards `from` takes no changes any more and tells
/// where its log went (DatabaseMoved); it can still be read.
///
/// `to` must be empty, or what an earlier move of the same log left in it: of one that was killed,
/// say, or `from` may have been moved out of it once. What is in `to` is checked, event by event
/// and row by row, before `from` is given up. At no moment do both take changes; at every moment
/// the same call goes on where the last one ended, wherever that was, even by SIGKILL.
///
/// The events that end leases of the dead are appended first. Throws Busy, and changes nothing,
/// while anybody holds a lease, creates, checks or terminates a cluster, or takes part in a run;
/// InvalidArgument where `to` is `from`, or is not empty; NotFound where there is no database
/// `from`; CorruptDatabase where its log or tables are damaged, or the copy is not the same;
/// DatabaseMoved where `from` was moved elsewhere, and what any call may throw. Once it has begun
/// to copy, whatever it throws leaves `from` closed: call it again, or cancel_move.
///
/// Of the options, `database`, `schema`, `busy_timeout`, `durability`, `label` and `clock` count;
/// `adoption_timezone` that of `from`. Thread-safe. Safe to call from several processes at once:
/// one of them may get Busy.
DBCACHE_EXPORT MoveReport move_log(const Options& from, const Options& to,
                                   const MoveOptions& options = {});

/// Gives up a move that did not come to its end: `from` takes changes again. What was copied is
/// left where it is; a later move there goes on with it. False where no move was under way. Throws
/// DatabaseMoved where it had come to its end, NotFound where there is no database `from`, and what
/// any call may throw. Thread-safe.
DBCACHE_EXPORT bool cancel_move(const Options& from);

}  // namespace dbcache
