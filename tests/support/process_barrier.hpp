#pragma once

#include <pthread.h>
#include <stdexcept>

#include <sys/mman.h>

namespace dbcache::test {

/// Where processes forked after it wait for one another (pthread_barrier_wait(3)).
class ProcessBarrier {
 public:
  explicit ProcessBarrier(unsigned processes) {
    void* shared = ::mmap(nullptr, sizeof(pthread_barrier_t), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) throw std::runtime_error("mmap failed");
    barrier_ = static_cast<pthread_barrier_t*>(shared);
    pthread_barrierattr_t attributes;
    ::pthread_barrierattr_init(&attributes);
    ::pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_barrier_init(barrier_, &attributes, processes);
    ::pthread_barrierattr_destroy(&attributes);
  }
  ~ProcessBarrier() { ::munmap(barrier_, sizeof(pthread_barrier_t)); }
  ProcessBarrier(const ProcessBarrier&) = delete;
  ProcessBarrier& operator=(const ProcessBarrier&) = delete;

  void wait() const { ::pthread_barrier_wait(barrier_); }

 private:
  pthread_barrier_t* barrier_;
};

}  // namespace dbcache::test
