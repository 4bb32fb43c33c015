#include "system/descriptor.hpp"

#include <cerrno>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <unistd.h>
#include <utility>

#include "system/fork_gate.hpp"

namespace dbcache::system {
namespace {

/// The descriptors that a child must not keep.
class Registry final : private ForkAware {
 public:
  virtual ~Registry() = default;

  static Registry& instance() {
    static Registry& registry =
        *new Registry;  // never freed: a fork may follow the end of the statics
    return registry;
  }

  void add(int descriptor) {
    const std::lock_guard lock(mutex_);
    descriptors_.insert(descriptor);
  }

  void close(int descriptor) {
    const std::lock_guard lock(mutex_);
    descriptors_.erase(descriptor);
    ::close(descriptor);
  }

  void forget(int descriptor) {
    const std::lock_guard lock(mutex_);
    descriptors_.erase(descriptor);
  }

 private:
  Registry() { ForkGate::instance().enroll(*this, ForkGate::Member::inner); }

  void before_fork(Users) override { mutex_.lock(); }
  void after_fork_in_parent() override { mutex_.unlock(); }
  void after_fork_in_child() override {
    for (const int descriptor : descriptors_) ::close(descriptor);
    descriptors_.clear();
    mutex_.unlock();
  }

  std::mutex mutex_;
  std::set<int> descriptors_;
};

}  // namespace

int above_standard(int descriptor) {
  if (descriptor < 0 || descriptor > STDERR_FILENO) return descriptor;
  const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  return moved;
}

void reserve_standard_descriptors() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    // Reading from stdin and writing to the others fails. Without FD_CLOEXEC: a program that this
    // process starts would have the same trouble.
    const int opened = ::open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
    // Another thread may have taken the number, or /dev/null may be missing.
    if (opened != descriptor && opened >= 0) ::close(opened);
  }
}

ForkClosed::ForkClosed(int descriptor) : descriptor_(descriptor), owner_(::getpid()) {
  Registry::instance().add(descriptor_);
}

ForkClosed::~ForkClosed() {
  if (is_open()) Registry::instance().forget(descriptor_);
}

bool ForkClosed::is_open() const noexcept { return owner_ == ::getpid(); }

Descriptor::Descriptor(int descriptor)
    : descriptor_(descriptor < 0 ? -1 : above_standard(descriptor)) {
  if (descriptor_ < 0) return;
  owner_ = ::getpid();
  Registry::instance().add(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), owner_(other.owner_) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = std::exchange(other.descriptor_, -1);
    owner_ = other.owner_;
  }
  return *this;
}

int Descriptor::get() const noexcept { return owner_ == ::getpid() ? descriptor_ : -1; }

void Descriptor::close() noexcept {
  // In a child the number may belong to another file by now.
  if (get() >= 0) Registry::instance().close(descriptor_);
  descriptor_ = -1;
}

void Descriptor::close_slowly() noexcept {
  if (get() >= 0) {
    Registry::instance().forget(descriptor_);
    ::close(descriptor_);
  }
  descriptor_ = -1;
}

}  // namespace dbcache::system
