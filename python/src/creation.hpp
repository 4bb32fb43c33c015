#pragma once

#include <condition_variable>
#include <mutex>
#include <string>

#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "gil.hpp"

namespace dbcache::python {

/// The creation that a `create` in Python gets. Python may keep it after `create` has returned, and
/// call it from other threads. Callers of all members hold the GIL.
class CreationUnderWay {
 public:
  explicit CreationUnderWay(Creation& creation) : creation_(&creation) {}

  Creation& get() const {
    if (creation_ == nullptr) {
      throw LeaseLost("this creation has ended: its create() returned; use it before that");
    }
    return *creation_;
  }

  /// Calls `use` with the creation, without the GIL. So another thread may call end() meanwhile:
  /// that waits for this call.
  template <class Use>
  auto used(Use use) {
    Creation& creation = get();
    {
      const std::lock_guard lock(mutex_);
      ++calls_;
    }
    return unlocked([&] {
      struct Left {
        CreationUnderWay& of;
        ~Left() {
          const std::lock_guard lock(of.mutex_);
          --of.calls_;
          of.left_.notify_all();
        }
      } const left{*this};
      return use(creation);
    });
  }

  void started(const std::string& cluster_id) {
    used([&](Creation& creation) { creation.started(cluster_id); });
  }

  void progress(const std::string& doing) {
    used([&](Creation& creation) { creation.progress(doing); });
  }

  void end() {
    creation_ = nullptr;
    const Released released;
    std::unique_lock lock(mutex_);
    left_.wait(lock, [this] { return calls_ == 0; });
  }

 private:
  Creation* creation_;
  std::mutex mutex_;
  std::condition_variable left_;
  int calls_ = 0;
};

}  // namespace dbcache::python
