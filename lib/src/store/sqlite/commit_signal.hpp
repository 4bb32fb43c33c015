#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "store/engine.hpp"

namespace dbcache::store::sqlite {

/// Tells other processes about commits. Each commit writes to a small file beside the database
/// (`DATABASE-signal`), which waiters watch with inotify(7). Watching the WAL itself would
/// wake them before others can see the commit.
///
/// One thread at a time raises or closes it. It has no mutex: a child may close it that was forked
/// while another thread of its parent was raising it, and that thread does not exist in the child.
class CommitSignal {
 public:
  explicit CommitSignal(std::string database) : database_(std::move(database)) {}
  ~CommitSignal() { close(); }
  CommitSignal(const CommitSignal&) = delete;
  CommitSignal& operator=(const CommitSignal&) = delete;

  /// After a commit, once it is on disk. A signal that cannot be given is lost: waiters also look
  /// from time to time.
  void raise() noexcept;

  /// Around a fork, and when the database was replaced.
  void close() noexcept;

  /// The wakeup has no descriptor where the file is missing and may not be made.
  [[nodiscard]] std::unique_ptr<Wakeup> watch(bool may_make) const;

 private:
  std::string database_;
  std::atomic<int> descriptor_ = -1;
};

}  // namespace dbcache::store::sqlite
