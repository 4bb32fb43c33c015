#pragma once

#include <csignal>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <utility>

namespace dbcache::system {

/// While this lives, threads that this thread starts block every signal, so that the program's own
/// threads handle its signals.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_{};
};

/// Runs `work` on a new thread that nobody waits for. Returns false, without running it, if no
/// thread can be started. Debuggers and `ps -L` show `name`, at most 15 characters.
template <class Work>
bool start_detached(const char* name, Work work) {
  const BlockedSignals blocked;
  try {
    std::thread thread(std::move(work));
    ::pthread_setname_np(thread.native_handle(), name);
    thread.detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

}  // namespace dbcache::system
