#pragma once

#include <stdexcept>
#include <string>

#include "support/child_process.hpp"
#include "support/raw_database.hpp"

namespace dbcache::test {

/// Another process that holds a lock of SQLite's until it is told to let go.
class Holder {
 public:
  Holder(const std::string& path, const std::string& begin)
      : child_([&] {
          locked_.close_read();
          release_.close_write();
          SQLite::Database database = open_raw(path);
          database.exec(begin);
          locked_.signal();
          release_.wait();
          return 0;
        }) {
    locked_.close_write();
    release_.close_read();
    if (!locked_.wait()) throw std::runtime_error("the holder could not lock");
  }

  void release() { release_.close_write(); }
  void release_and_wait() {
    release();
    child_.wait();
  }

 private:
  Pipe locked_;
  Pipe release_;
  ChildProcess child_;
};

}  // namespace dbcache::test
