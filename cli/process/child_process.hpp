#pragma once

#include <csignal>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cli/process/descriptor.hpp"
#include "cli/process/environment.hpp"

namespace dbcache::cli {

/// How a program ended.
struct Ending {
  int code = 0;    ///< Its exit code, if `signal` is 0.
  int signal = 0;  ///< What killed it.

  /// As a shell has it: the code, or 128 and the signal.
  [[nodiscard]] int as_exit_code() const noexcept { return signal != 0 ? 128 + signal : code; }
  /// `exit code 3`, `signal 9 (Killed)`.
  [[nodiscard]] std::string text() const;
};

/// A program cannot be started.
class CannotStart : public std::runtime_error {
 public:
  CannotStart(const std::string& message, bool found)
      : std::runtime_error(message), found_(found) {}
  [[nodiscard]] bool found() const noexcept { return found_; }

 private:
  bool found_;
};

/// The file that `name` stands for, by PATH where it has no slash. Throws CannotStart.
std::string find_program(const std::string& name, const Environment& environment);

/// Whose signals a program gets.
enum class ProcessGroup {
  callers,  ///< A terminal's Ctrl-C reaches it as it reaches us.
  own,      ///< It and its descendants can be signalled together; a terminal does not reach them.
};

/// What is to be started, and with what.
struct Launch {
  std::string path;
  std::vector<std::string> words;  ///< argv, the name included.
  Environment environment{};
  sigset_t signal_mask{};
  ProcessGroup group = ProcessGroup::callers;
  std::vector<std::pair<int, int>> redirected{};  ///< Ours, and the number it has there.
  std::vector<int> inherited{};  ///< Under their own numbers, although close-on-exec; not -1.
};

/// A running child process. Killed when destroyed before it was reaped.
class Program {
 public:
  /// Throws CannotStart.
  explicit Program(const Launch& launch);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// Readable once it has ended.
  [[nodiscard]] int ended_descriptor() const noexcept { return process_.number(); }
  [[nodiscard]] ProcessGroup group() const noexcept { return group_; }

  /// To it, or to its whole group where that is its own. Not after it was reaped.
  void signal(int number) const noexcept;

  void wait_until_ended() const;
  Ending reap();

 private:
  int pid_ = -1;
  ProcessGroup group_;
  Descriptor process_;
};

}  // namespace dbcache::cli
