#pragma once

#include <atomic>
#include <stdexcept>
#include <string>

#include <dbcache/cache_manager.hpp>

#include "support/child_process.hpp"
#include "support/fault_vfs.hpp"

namespace dbcache::test {

/// A process that stands still in the middle of an increment of `h`, at its first access of this
/// kind to the WAL, until it is let go.
class StandingStill {
 public:
  StandingStill(const std::string& path, FileCall where)
      : child_([=, this] {
          there_.close_read();
          let_go_.close_write();
          std::atomic<bool> armed = false;
          const FaultVfs vfs([&](const FileAccess& access) {
            if ((access.on_wal() || where == FileCall::committed) && access.call == where &&
                armed.exchange(false)) {
              there_.signal();
              let_go_.wait();
            }
            return SQLITE_OK;
          });
          CacheManager manager({.database = path});
          manager.increment_shared_cluster_usage("h");
          armed = true;
          manager.increment_shared_cluster_usage("h");
          return 0;
        }) {
    there_.close_write();
    let_go_.close_read();
    if (!there_.wait()) throw std::runtime_error("the other process did not write");
  }

  void stop() const { child_.kill(SIGSTOP); }
  void go_on() {
    let_go_.close_write();
    child_.kill(SIGCONT);
  }
  int kill() {
    child_.kill(SIGKILL);
    return child_.wait();
  }
  int wait() { return child_.wait(); }

 private:
  Pipe there_;
  Pipe let_go_;
  ChildProcess child_;
};

}  // namespace dbcache::test
