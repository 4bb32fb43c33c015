#include "cli/process/child_process.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <spawn.h>
#include <sstream>
#include <system_error>

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/process/system_call.hpp"

namespace dbcache::cli {
namespace {

/// What execvp(3) searches where PATH is not set.
constexpr const char* default_path = "/bin:/usr/bin";

/// 0, or the reason why this file cannot be executed.
int why_not_executable(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

bool is_absent(int reason) { return reason == ENOENT || reason == ENOTDIR; }

[[noreturn]] void cannot_start(const std::string& name, int reason) {
  throw CannotStart(
      fmt::format("{} cannot be executed: {}", name, std::generic_category().message(reason)),
      !is_absent(reason));
}

/// posix_spawn's two objects, initialised and destroyed.
class SpawnActions {
 public:
  SpawnActions() {
    ::posix_spawn_file_actions_init(&actions_);
    ::posix_spawnattr_init(&attributes_);
  }
  ~SpawnActions() {
    ::posix_spawn_file_actions_destroy(&actions_);
    ::posix_spawnattr_destroy(&attributes_);
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;

  void copy(int from, int to) { must(::posix_spawn_file_actions_adddup2(&actions_, from, to)); }

  void set(const sigset_t& mask, ProcessGroup group) {
    int flags = POSIX_SPAWN_SETSIGMASK;
    must(::posix_spawnattr_setsigmask(&attributes_, &mask));
    if (group == ProcessGroup::own) {
      flags |= POSIX_SPAWN_SETPGROUP;
      must(::posix_spawnattr_setpgroup(&attributes_, 0));
    }
    must(::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags)));
  }

  [[nodiscard]] const posix_spawn_file_actions_t* actions() const { return &actions_; }
  [[nodiscard]] const posix_spawnattr_t* attributes() const { return &attributes_; }

 private:
  static void must(int error) {
    if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn");
  }

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

int spawn(const Launch& launch) {
  SpawnActions spawning;
  spawning.set(launch.signal_mask, launch.group);
  for (const auto& [ours, theirs] : launch.redirected) spawning.copy(ours, theirs);
  for (const int descriptor : launch.inherited) {
    // Onto itself: that clears FD_CLOEXEC, in the child alone.
    if (descriptor >= 0) spawning.copy(descriptor, descriptor);
  }
  std::vector<std::string> words = launch.words;
  std::vector<std::string> variables = launch.environment.lines();
  int pid = -1;
  const int error =
      ::posix_spawn(&pid, launch.path.c_str(), spawning.actions(), spawning.attributes(),
                    pointers_to(words).data(), pointers_to(variables).data());
  if (error != 0) cannot_start(launch.path, error);
  return pid;
}

}  // namespace

std::string Ending::text() const {
  if (signal == 0) return fmt::format("exit code {}", code);
  const char* const name = ::sigdescr_np(signal);
  return fmt::format("signal {} ({})", signal, name != nullptr ? name : "unknown");
}

std::string find_program(const std::string& name, const Environment& environment) {
  if (name.find('/') != std::string::npos) {
    if (const int reason = why_not_executable(name)) cannot_start(name, reason);
    return name;
  }
  int reason = ENOENT;
  std::istringstream path(environment.get("PATH").value_or(default_path));
  for (std::string directory; !name.empty() && std::getline(path, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + '/' + name;
    const int why_not = why_not_executable(candidate);
    if (why_not == 0) return candidate;
    if (!is_absent(why_not)) reason = why_not;
  }
  if (!is_absent(reason)) cannot_start(name, reason);
  throw CannotStart(fmt::format("there is no program '{}' in PATH", name), false);
}

Program::Program(const Launch& launch) : pid_(spawn(launch)), group_(launch.group) {
  try {
    process_ = open_process(pid_);
  } catch (...) {
    signal(SIGKILL);
    reap();
    throw;
  }
}

Program::~Program() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  reap();
}

void Program::signal(int number) const noexcept {
  ::kill(group_ == ProcessGroup::own ? -pid_ : pid_, number);
}

void Program::wait_until_ended() const {
  std::array<pollfd, 1> ended{{{ended_descriptor(), POLLIN, 0}}};
  wait_for(ended);
}

Ending Program::reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) return {.code = 0, .signal = WTERMSIG(status)};
  return {.code = WEXITSTATUS(status), .signal = 0};
}

}  // namespace dbcache::cli
