#include "support/program.hpp"

#include <cstdint>
#include <fcntl.h>
#include <mutex>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <stdlib.h>
#include <system_error>

#include <sys/file.h>

#include "support/files.hpp"

namespace dbcache::test {
namespace {

constexpr int patience_ms = 60'000;
const std::string directory_prefix = "dbcache-server-";
const std::filesystem::path memory = "/dev/shm";

/// Containers often have 64 MB of it; a server takes 40 MB, and its log of writes more.
bool has_room(const std::filesystem::path& directory) {
  std::error_code error;
  const auto space = std::filesystem::space(directory, error);
  return !error && space.available >= (std::uintmax_t{2} << 30);
}

/// A descriptor that holds the directory's lock; -1 where somebody else does.
int lock_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  ::close(descriptor);
  return -1;
}

void remove_stale_in(const std::filesystem::path& parent) {
  for (const std::string& name : names_in(parent)) {
    if (!name.starts_with(directory_prefix)) continue;
    const int lock = lock_directory(parent / name);
    if (lock < 0) continue;
    std::error_code error;
    std::filesystem::remove_all(parent / name, error);
    ::close(lock);
  }
}

std::vector<std::string> as_ordinary_user(const std::vector<std::string>& command,
                                          const std::string& death_signal) {
  std::vector<std::string> all{"setpriv", "--pdeathsig", death_signal};
  if (is_root()) {
    const std::string id = std::to_string(other_user);
    all.insert(all.end(), {"--reuid", id, "--regid", id, "--clear-groups"});
  }
  all.emplace_back("--");
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_{};
};

/// No signal is blocked, whatever the test blocks.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    sigset_t none;
    ::sigemptyset(&none);
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK);
  }
  ~SpawnAttributes() { ::posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_{};
};

}  // namespace

Program::Program(const std::vector<std::string>& command, const std::filesystem::path& log,
                 const std::string& death_signal) {
  std::vector<std::string> words = as_ordinary_user(command, death_signal);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  SpawnActions actions;
  ::posix_spawn_file_actions_addopen(actions.get(), 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(actions.get(), 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                     0644);
  ::posix_spawn_file_actions_adddup2(actions.get(), 1, 2);
  ::posix_spawn_file_actions_adddup2(actions.get(), life_.write_end(), 3);
  SpawnAttributes attributes;
  const int error = ::posix_spawnp(&pid_, arguments.front(), actions.get(), attributes.get(),
                                   arguments.data(), environ);
  if (error != 0) throw std::system_error(error, std::generic_category(), words.front());
  life_.close_write();
}

Program::~Program() {
  if (pid_ < 0 || ::getpid() != owner_) return;
  kill(SIGKILL);
  reap(0);
}

void Program::reap(int options) {
  int status = 0;
  pid_t ended = 0;
  do {
    ended = ::waitpid(pid_, &status, options);
  } while (ended < 0 && errno == EINTR);
  if (ended != pid_) return;
  pid_ = -1;
  status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

bool Program::is_running() {
  if (pid_ > 0) reap(WNOHANG);
  return pid_ > 0;
}

void Program::kill(int signal) {
  if (pid_ > 0) ::kill(pid_, signal);
}

int Program::wait() {
  pollfd end{life_.read_end(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&end, 1, patience_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready != 1) throw std::runtime_error("a program did not end: " + std::to_string(pid_));
  if (pid_ > 0) reap(0);
  return status_;
}

void run(const std::vector<std::string>& command, const std::filesystem::path& log) {
  if (Program(command, log).wait() != 0) {
    throw std::runtime_error(command.front() + " failed: " + read_bytes(log));
  }
}

ServerDirectory::ServerDirectory(std::filesystem::path parent) {
  static std::once_flag once;
  std::call_once(once, remove_stale);

  if (parent.empty()) parent = has_room(memory) ? memory : std::filesystem::temp_directory_path();
  std::string made = (parent / "dbcache-new-XXXXXX").string();
  if (::mkdtemp(made.data()) == nullptr) throw std::runtime_error("no directory: " + made);
  if (is_root() && ::chown(made.c_str(), other_user, other_user) != 0) {
    throw std::runtime_error("chown failed: " + made);
  }
  lock_ = lock_directory(made);
  // It has the name by which `remove_stale` finds it only when it is locked.
  path_ = parent / (directory_prefix + made.substr(made.size() - 6));
  std::filesystem::rename(made, path_);
}

ServerDirectory::~ServerDirectory() {
  if (::getpid() == owner_) {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  ::close(lock_);
}

void ServerDirectory::remove_stale() {
  for (const auto& parent : {memory, std::filesystem::temp_directory_path()}) {
    if (std::filesystem::exists(parent)) remove_stale_in(parent);
  }
}

}  // namespace dbcache::test
