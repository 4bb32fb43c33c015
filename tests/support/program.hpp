#pragma once

#include <chrono>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "support/child_process.hpp"

namespace dbcache::test {

/// Another program that runs beside the test; an ordinary user's where this process is root's,
/// since servers refuse to be root's. It is spawned, not forked: what the library does at a fork
/// (it closes its connections) would hide what a server's death does to them. Where the thread that
/// made it ends, the program is sent `death_signal`.
class Program {
 public:
  /// Its output is added to the file `log`.
  Program(const std::vector<std::string>& command, const std::filesystem::path& log,
          const std::string& death_signal = "KILL");
  /// Kills it.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool is_running();
  void kill(int signal);
  /// Until the program has ended, and everything that it started: the exit status, or the negative
  /// number of the signal that ended it. Throws where that takes a minute.
  int wait();

 private:
  void reap(int options);

  /// Each process of the program inherits the writing end: there is an end to read once all are
  /// gone.
  Pipe life_;
  pid_t owner_ = ::getpid();
  pid_t pid_ = -1;
  int status_ = 0;
};

/// Runs a program to its end. Throws, with what it wrote, where that is not a success.
void run(const std::vector<std::string>& command, const std::filesystem::path& log);

/// Until something is so of which no event tells. Throws where that takes a minute.
template <class Condition>
void poll_until(Condition condition, const std::string& what) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("no end to: " + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

/// A new directory for a server, which the ordinary user owns and only that user can enter.
class ServerDirectory {
 public:
  /// In `parent`; where that is empty, in memory if there is room, since a server's thousand files
  /// take a disk seconds to sync and remove. Power is the only thing that memory does not survive.
  explicit ServerDirectory(std::filesystem::path parent = {});
  ~ServerDirectory();
  ServerDirectory(const ServerDirectory&) = delete;
  ServerDirectory& operator=(const ServerDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

  /// Removes those of test processes that were killed. The first directory of a process does so
  /// too.
  static void remove_stale();

 private:
  std::filesystem::path path_;
  int lock_ = -1;
  pid_t owner_ = ::getpid();
};

}  // namespace dbcache::test
