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

/// The path that execvp(3) searches if PATH is not set.
constexpr const char* default_path = "/bin:/usr/bin";

/// 0, or the errno that says why this file cannot be executed.
int execution_error(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno;
  if (!S_ISREG(status.st_mode)) return EACCES;
  return ::access(path.c_str(), X_OK) == 0 ? 0 : errno;
}

bool is_missing(int error) { return error == ENOENT || error == ENOTDIR; }

[[noreturn]] void throw_start_error(const std::string& name, int error) {
  throw StartError(
      fmt::format("{} cannot be executed: {}", name, std::generic_category().message(error)),
      is_missing(error) ? StartError::Reason::not_found : StartError::Reason::not_executable);
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

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int spawn(const Launch& launch) {
  SpawnActions spawning;
  spawning.set(launch.signal_mask, launch.group);
  for (const auto& [ours, theirs] : launch.redirected) spawning.copy(ours, theirs);
  for (const int descriptor : launch.inherited) {
    // A copy onto itself clears FD_CLOEXEC, in the child alone.
    if (descriptor >= 0) spawning.copy(descriptor, descriptor);
  }
  std::vector<std::string> arguments = launch.arguments;
  std::vector<std::string> variables = launch.environment.lines();
  int pid = -1;
  const int error =
      ::posix_spawn(&pid, launch.path.c_str(), spawning.actions(), spawning.attributes(),
                    pointers_to(arguments).data(), pointers_to(variables).data());
  if (error != 0) throw_start_error(launch.path, error);
  return pid;
}

}  // namespace

std::string ExitStatus::text() const {
  if (signal == 0) return fmt::format("exit code {}", code);
  const char* const name = ::sigdescr_np(signal);
  return fmt::format("signal {} ({})", signal, name != nullptr ? name : "unknown");
}

std::string find_executable(const std::string& name, const Environment& environment) {
  if (name.find('/') != std::string::npos) {
    if (const int error = execution_error(name)) throw_start_error(name, error);
    return name;
  }
  int error = ENOENT;
  std::istringstream path(environment.get("PATH").value_or(default_path));
  for (std::string directory; !name.empty() && std::getline(path, directory, ':');) {
    std::string candidate = (directory.empty() ? "." : directory) + '/' + name;
    const int candidate_error = execution_error(candidate);
    if (candidate_error == 0) return candidate;
    if (!is_missing(candidate_error)) error = candidate_error;
  }
  if (!is_missing(error)) throw_start_error(name, error);
  throw StartError(
      fmt::format("there is no program '{}' in PATH; check its name, or give its path", name),
      StartError::Reason::not_found);
}

ChildProcess::ChildProcess(const Launch& launch) : pid_(spawn(launch)), group_(launch.group) {
  try {
    process_ = open_process(pid_);
  } catch (...) {
    signal(SIGKILL);
    reap();
    throw;
  }
}

ChildProcess::~ChildProcess() {
  if (pid_ < 0) return;
  signal(SIGKILL);
  reap();
}

void ChildProcess::signal(int number) const noexcept {
  ::kill(group_ == ProcessGroup::own ? -pid_ : pid_, number);
}

void ChildProcess::wait_for_exit() const {
  std::array<pollfd, 1> ended{{{exit_descriptor(), POLLIN, 0}}};
  wait_for(ended);
}

ExitStatus ChildProcess::reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  if (WIFSIGNALED(status)) return {.code = 0, .signal = WTERMSIG(status)};
  return {.code = WEXITSTATUS(status), .signal = 0};
}

}  // namespace dbcache::cli
