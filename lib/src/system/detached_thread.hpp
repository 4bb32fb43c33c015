#pragma once

#include <csignal>
#include <pthread.h>
#include <system_error>
#include <thread>
#include <utility>

namespace dbcache::system {

/// While this lives, threads that are started block every signal: the program's signals are for its
/// own threads.
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

/// Runs `work` on a thread of its own that nobody waits for. False, and nothing run, where there is
/// no thread to be had. `name` is what debuggers and `ps -L` call it, at most 15 characters.
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
