#include "bench/worker.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <stdexcept>
#include <unistd.h>

#include <fmt/format.h>
#include <sys/wait.h>

namespace dbcache::bench {
namespace {

std::string program_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  return ends;
}

void let_go(int& descriptor) {
  if (descriptor >= 0) ::close(descriptor);
  descriptor = -1;
}

}  // namespace

std::string program_directory() {
  return std::filesystem::path(program_path()).parent_path().string();
}

pid_t spawn(const std::vector<std::string>& command, int input, int output) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions{};
  ::posix_spawn_file_actions_init(&actions);
  const auto use = [&](int descriptor, int as, int flags) {
    if (descriptor >= 0) {
      ::posix_spawn_file_actions_adddup2(&actions, descriptor, as);
    } else {
      ::posix_spawn_file_actions_addopen(&actions, as, "/dev/null", flags, 0);
    }
  };
  use(input, STDIN_FILENO, O_RDONLY);
  use(output, STDOUT_FILENO, O_WRONLY);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, arguments.front(), &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    throw std::runtime_error(
        fmt::format("{} cannot be started: {}", command.front(), std::strerror(error)));
  }
  return pid;
}

void expect_success(pid_t pid, const std::string& what) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw std::runtime_error(what + " is gone");
  }
  if (status != 0) throw std::runtime_error(what + " failed");
}

Worker::Worker(std::vector<std::string> role) : name_(role.front()) {
  const auto in = make_pipe();
  const auto out = make_pipe();
  role.insert(role.begin(), {program_path(), "role"});
  pid_ = spawn(role, in[0], out[1]);
  ::close(in[0]);
  ::close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

Worker::~Worker() {
  let_go(input_);
  let_go(output_);
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Worker::put(std::int64_t number) const {
  if (::write(input_, &number, sizeof number) != sizeof number) {
    throw std::runtime_error("a worker that was to " + name_ + " does not listen");
  }
}

std::int64_t Worker::get() const {
  std::int64_t number = 0;
  if (::read(output_, &number, sizeof number) != sizeof number) {
    throw std::runtime_error("a worker that was to " + name_ + " failed");
  }
  return number;
}

std::vector<std::int64_t> Worker::finish() {
  let_go(input_);
  std::string bytes;
  std::array<char, 1 << 16> part{};
  for (;;) {
    const ssize_t size = ::read(output_, part.data(), part.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    bytes.append(part.data(), static_cast<std::size_t>(size));
  }
  const pid_t pid = pid_;
  pid_ = -1;
  expect_success(pid, "a worker that was to " + name_);
  std::vector<std::int64_t> numbers(bytes.size() / sizeof(std::int64_t));
  std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(std::int64_t));
  return numbers;
}

}  // namespace dbcache::bench
