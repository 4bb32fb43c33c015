#pragma once

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <grp.h>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <utility>

#include <sys/prctl.h>
#include <sys/wait.h>

// Processes of a test, and the pipes by which they wait for one another: no test sleeps.
namespace dbcache::test {

/// A pipe whose ends are closed one by one. Reading sees the end once every writer has closed.
class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close_read() { close_end(ends_[0]); }
  void close_write() { close_end(ends_[1]); }
  [[nodiscard]] int read_end() const { return ends_[0]; }
  [[nodiscard]] int write_end() const { return ends_[1]; }

  /// Pieces of up to PIPE_BUF bytes arrive whole, whoever else writes.
  void write(const void* bytes, std::size_t size) const {
    if (::write(ends_[1], bytes, size) != static_cast<ssize_t>(size)) {
      throw std::runtime_error("writing to a pipe failed");
    }
  }
  template <class Value>
  void put(const Value& value) const {
    write(&value, sizeof value);
  }
  void signal() const { put('!'); }

  /// False at the end.
  bool read(void* bytes, std::size_t size) const {
    auto* at = static_cast<char*>(bytes);
    while (size > 0) {
      const ssize_t got = ::read(ends_[0], at, size);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      at += got;
      size -= static_cast<std::size_t>(got);
    }
    return true;
  }
  template <class Value>
  bool get(Value& value) const {
    return read(&value, sizeof value);
  }
  bool wait() const {
    char byte = 0;
    return get(byte);
  }
  std::string read_to_end() const {
    std::string all;
    for (char byte = 0; get(byte);) all += byte;
    return all;
  }

 private:
  static void close_end(int& end) {
    if (end >= 0) ::close(end);
    end = -1;
  }

  int ends_[2] = {-1, -1};
};

/// A forked child that runs `body` and leaves without anything of the test framework's. It dies
/// with its parent.
class ChildProcess {
 public:
  /// The child's exit status is what `body` returns (an int), or this after an exception.
  static constexpr int threw = 99;

  template <class Body>
  explicit ChildProcess(Body body) {
    pid_ = ::fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");
    if (pid_ > 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    int status = threw;
    try {
      status = body();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "a child process threw: %s\n", error.what());
    }
    ::_exit(status);
  }
  ~ChildProcess() {
    if (pid_ > 0) {
      kill(SIGKILL);
      wait();
    }
  }
  ChildProcess(ChildProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  ChildProcess& operator=(ChildProcess&&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void kill(int signal) const { ::kill(pid_, signal); }

  /// The exit status, or the negative number of the signal that ended it.
  int wait() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

/// What `body` returns, as text, run in a child process.
template <class Body>
std::string in_child(Body body) {
  Pipe answer;
  ChildProcess child([&] {
    answer.close_read();
    const std::string text = body();
    if (!text.empty()) answer.write(text.data(), text.size());
    return 0;
  });
  answer.close_write();
  std::string text = answer.read_to_end();
  if (const int status = child.wait(); status != 0) {
    text += "[the child ended with " + std::to_string(status) + "]";
  }
  return text;
}

/// The id of the user `nobody` everywhere.
inline constexpr uid_t other_user = 65534;

inline bool is_root() { return ::geteuid() == 0; }

/// In a child of its own, makes this process an ordinary user's where it is root's.
inline void become_ordinary_user() {
  if (!is_root()) return;
  if (::setgroups(0, nullptr) != 0 || ::setgid(other_user) != 0 || ::setuid(other_user) != 0) {
    throw std::runtime_error("the user could not be changed");
  }
}

/// `in_child`, as a user whom file modes stop.
template <class Body>
std::string in_child_as_ordinary_user(Body body) {
  return in_child([&] {
    become_ordinary_user();
    return body();
  });
}

}  // namespace dbcache::test
