#pragma once

#include <stdexcept>
#include <string>

#include <dbcache/export.hpp>

/// The errors that the library throws. All of them derive from Error. A message names the thing it
/// is about and the remedy. A call that throws has changed nothing, unless the error or the call
/// says otherwise.
///
/// Error objects are values: a thread may read one that no other thread changes.
namespace dbcache {

/// The base of every error of the library.
class DBCACHE_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument breaks a documented rule: an empty id, a malformed time, a negative count.
class DBCACHE_EXPORT InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// The call needs something that does not exist: an entry, a lease, a creation or a database.
class DBCACHE_EXPORT NotFound : public Error {
 public:
  using Error::Error;
};

/// Another process or thread is in the way. Either the database stayed locked for the whole of
/// Options::busy_timeout. Or the entry or cluster is in use: a live lease or creator holds it, or
/// its termination has begun. The call may succeed later.
class DBCACHE_EXPORT Busy : public Error {
 public:
  using Error::Error;
};

/// The wait took longer than the caller's timeout.
class DBCACHE_EXPORT Timeout : public Error {
 public:
  using Error::Error;
};

/// The caller stopped the call through its stop token or cancellation slot.
class DBCACHE_EXPORT Cancelled : public Error {
 public:
  using Error::Error;
};

/// The lease or the creation has ended: the cluster was found dead, another process took over, or
/// somebody ended it by force.
class DBCACHE_EXPORT LeaseLost : public Error {
 public:
  using Error::Error;
};

/// The worker that created the cluster failed. The message is that worker's own.
class DBCACHE_EXPORT CreationFailed : public Error {
 public:
  using Error::Error;
};

/// A function of a lifecycle (<dbcache/shared_clusters.hpp>) throws it to say whether another try
/// may help. If a `create` throws one that says no, all that wait for this creation fail with
/// CreationFailed and its message, whatever AcquireOptions::on_create_failure says.
class DBCACHE_EXPORT LifecycleError : public Error {
 public:
  LifecycleError(const std::string& message, bool may_succeed_again)
      : Error(message), may_succeed_again_(may_succeed_again) {}

  /// Whether another try, without a change by a person, may succeed. Never throws.
  [[nodiscard]] bool may_succeed_again() const noexcept { return may_succeed_again_; }

 private:
  bool may_succeed_again_;
};

/// The database or one of its rows is not as dbcache wrote it. It is damaged, or it is not a
/// database.
class DBCACHE_EXPORT CorruptDatabase : public Error {
 public:
  using Error::Error;
};

/// The database takes no changes, because its log was moved to another database or is being moved
/// (<dbcache/move.hpp>). The message says where the log is and what to do. Reading still works.
class DBCACHE_EXPORT DatabaseMoved : public Error {
 public:
  using Error::Error;
};

/// A newer dbcache wrote the database. Upgrade this one.
class DBCACHE_EXPORT NewerSchema : public Error {
 public:
  using Error::Error;
};

/// Reading or writing failed: a full disk, an I/O error, a missing permission, a server out of
/// reach.
class DBCACHE_EXPORT StorageFailure : public Error {
 public:
  /// Whether the change of the failed call was committed.
  enum class Outcome {
    not_committed,  ///< Nothing was changed.
    unknown,        ///< The change may have been committed. Look before trying again.
  };

  explicit StorageFailure(const std::string& message, Outcome outcome = Outcome::not_committed)
      : Error(message), outcome_(outcome) {}

  /// Whether the change was committed, as far as the library knows. Never throws.
  [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }

 private:
  Outcome outcome_;
};

}  // namespace dbcache
