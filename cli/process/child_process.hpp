#pragma once

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/process/descriptor.hpp"
#include "cli/process/environment.hpp"

namespace dbcache::cli {

/// How a child process ended.
struct ExitStatus {
  int code = 0;    ///< If `signal` is 0.
  int signal = 0;  ///< The signal that killed it, or 0.

  /// The shell's number for it: the code, or 128 plus the signal.
  [[nodiscard]] int as_exit_code() const noexcept { return signal != 0 ? 128 + signal : code; }
  /// `exit code 3`, `signal 9 (Killed)`.
  [[nodiscard]] std::string text() const;
};

/// A program cannot be started.
class StartError : public std::runtime_error {
 public:
  enum class Reason { not_found, not_executable };

  StartError(const std::string& message, Reason reason)
      : std::runtime_error(message), reason_(reason) {}
  [[nodiscard]] Reason reason() const noexcept { return reason_; }

 private:
  Reason reason_;
};

/// The path of the program `name`, searched for in PATH if it has no slash. Throws StartError.
std::string find_executable(const std::string& name, const Environment& environment);

/// The process group of a child process.
enum class ProcessGroup {
  callers,  ///< A terminal's Ctrl-C reaches the child as it reaches dbcache.
  own,      ///< The child and its descendants are signalled together; Ctrl-C does not reach them.
};

/// How to start a child process.
struct Launch {
  std::string path;
  std::vector<std::string> arguments;  ///< argv, the name included.
  Environment environment{};
  sigset_t signal_mask{};
  ProcessGroup group = ProcessGroup::callers;
  std::vector<std::pair<int, int>> redirected{};  ///< A descriptor, and its number in the child.
  std::vector<int> inherited{};  ///< Close-on-exec descriptors that the child keeps; -1 is skipped.
};

/// A running child process. The destructor kills it if it was not reaped.
class ChildProcess {
 public:
  /// Throws StartError.
  explicit ChildProcess(const Launch& launch);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Readable when the process has exited.
  [[nodiscard]] int exit_descriptor() const noexcept { return process_.number(); }
  [[nodiscard]] ProcessGroup group() const noexcept { return group_; }

  /// Signals the process, or its whole group if it has its own. Not after reap().
  void signal(int number) const noexcept;

  void wait_for_exit() const;
  ExitStatus reap();

 private:
  int pid_ = -1;
  ProcessGroup group_;
  Descriptor process_;
};

}  // namespace dbcache::cli
