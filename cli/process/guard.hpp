#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include <boost/json/object.hpp>

#include "cli/command.hpp"
#include "cli/process/descriptor.hpp"
#include "cli/process/signals.hpp"

namespace dbcache::cli {

/// A process that --while-pid names, by a descriptor that is readable once it has ended.
/// Throws InvalidArgument where it cannot be the one that was meant.
Descriptor open_named_process(std::int64_t pid);

/// What a guard holds.
class Holding {
 public:
  Holding() = default;
  Holding(const Holding&) = delete;
  Holding& operator=(const Holding&) = delete;
  virtual ~Holding() = default;

  /// What the caller of the command is told of it.
  [[nodiscard]] virtual boost::json::object report() = 0;
  /// Whether somebody else has ended it. Asked now and then.
  [[nodiscard]] virtual bool has_ended() = 0;
  /// Once stopped it begins nothing that others can do as well.
  virtual void let_go(const std::stop_token& stop) = 0;
};

/// Takes what is to be held, in the guard.
using Take = std::function<std::unique_ptr<Holding>(Context&, SignalWatch&)>;

/// What came of the taking: a report, or the code and message of a failure.
struct GuardAnswer {
  ExitCode code = ExitCode::done;
  std::string error;
  boost::json::object report;
};

/// Starts a guard: a process of its own, in a session of its own, that takes, and holds for as long
/// as `process` lives. Returns when it has taken; a signal meanwhile cancels that. No database may
/// be open and no other thread run.
GuardAnswer hold_in_guard(Context& context, Descriptor process, const Take& take);

}  // namespace dbcache::cli
