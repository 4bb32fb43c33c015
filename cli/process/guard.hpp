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

/// The process of --while-pid, as a descriptor that becomes readable when that process exits.
/// Throws InvalidArgument if there is no such process, or a younger one took its number.
Descriptor open_while_pid(std::int64_t pid);

/// What a guard holds: a lease, or a part in a run.
class GuardedResource {
 public:
  GuardedResource() = default;
  GuardedResource(const GuardedResource&) = delete;
  GuardedResource& operator=(const GuardedResource&) = delete;
  virtual ~GuardedResource() = default;

  /// Described to the caller of the command.
  [[nodiscard]] virtual boost::json::object report() = 0;
  /// Whether another process has ended it. The guard asks every few seconds.
  [[nodiscard]] virtual bool was_ended_elsewhere() = 0;
  /// After `stop` it starts no work that another process can do.
  virtual void release(const std::stop_token& stop) = 0;
};

/// Runs in the guard, and takes what the guard will hold.
using TakeResource = std::function<std::unique_ptr<GuardedResource>(Context&, SignalThread&)>;

/// What the guard took, or the exit code and message of its failure.
struct GuardAnswer {
  ExitCode code = ExitCode::done;
  std::string error;
  boost::json::object report;
};

/// Starts a guard: a process in a session of its own that takes a resource and holds it while
/// `process` lives. Returns when the guard has it or has failed; a signal meanwhile cancels.
/// Call it before a database is open or another thread runs.
GuardAnswer start_guard(Context& context, Descriptor process, const TakeResource& take);

}  // namespace dbcache::cli
