#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <sys/types.h>

namespace dbcache::bench {

/// The directory of this program, with the others beside it.
std::string program_directory();

/// Starts a program. `input` and `output` are its standard input and output, /dev/null where they
/// are below 0. Nothing else of ours is open in it.
pid_t spawn(const std::vector<std::string>& command, int input = -1, int output = -1);

/// Waits for a process to end. Throws unless it succeeded.
void expect_success(pid_t pid, const std::string& what);

/// Another process of this program, in one of its roles (roles.hpp), with nothing inherited.
/// Numbers go in by its standard input, and come out by its standard output.
class Worker {
 public:
  explicit Worker(std::vector<std::string> role);
  ~Worker();  ///< Kills it, if it still runs.
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void put(std::int64_t number) const;
  [[nodiscard]] std::int64_t get() const;

  /// What it says until it ends.
  std::vector<std::int64_t> finish();

 private:
  std::string name_;
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
};

}  // namespace dbcache::bench
