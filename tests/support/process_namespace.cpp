#include "support/process_namespace.hpp"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#include <utility>

#include <sys/mount.h>

#include "support/throw_errno.hpp"

namespace dbcache::test {
namespace {

int open_space(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw_errno("no PID namespace to open");
  return descriptor;
}

/// The first process of a new namespace, which does nothing.
ChildProcess start_first() {
  const int home = open_space("/proc/self/ns/pid");
  if (::unshare(CLONE_NEWPID) != 0) {
    ::close(home);
    throw_errno("no new PID namespace");
  }
  ChildProcess first([] { return ::pause(); });
  ::setns(home, CLONE_NEWPID);
  ::close(home);
  return first;
}

}  // namespace

ProcessNamespace::ProcessNamespace() : first_(start_first()) {
  const std::string path = "/proc/" + std::to_string(first_.pid()) + "/ns/pid";
  descriptor_ = open_space(path);
  char name[64];
  const ssize_t size = ::readlink(path.c_str(), name, sizeof name);
  if (size < 0) throw_errno(path);
  name_.assign(name, static_cast<std::size_t>(size));
}

ProcessNamespace::~ProcessNamespace() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ProcessNamespace::ProcessNamespace(ProcessNamespace&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      name_(std::move(other.name_)),
      first_(std::move(other.first_)) {}

ProcessNamespace::Visit::Visit(int space) : home_(open_space("/proc/self/ns/pid")) {
  if (::setns(space, CLONE_NEWPID) == 0) return;
  ::close(home_);
  throw_errno("a PID namespace cannot be entered");
}

ProcessNamespace::Visit::~Visit() {
  ::setns(home_, CLONE_NEWPID);
  ::close(home_);
}

void ProcessNamespace::mount_own_proc() {
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("proc", "/proc", "proc", 0, nullptr) != 0) {
    throw_errno("/proc cannot be mounted");
  }
}

}  // namespace dbcache::test
