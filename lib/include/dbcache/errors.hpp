#pragma once

#include <stdexcept>
#include <string>

#include <dbcache/export.hpp>

/// The one hierarchy of errors. Every message names the thing it is about and the remedy. Unless an
/// error says otherwise, the call that threw it changed nothing.
namespace dbcache {

/// What every error of the library derives from.
class DBCACHE_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An argument breaks a documented rule: an empty id, a malformed time, a negative count.
class DBCACHE_EXPORT InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// The call names an entry that does not exist, where one is needed.
class DBCACHE_EXPORT NotFound : public Error {
 public:
  using Error::Error;
};

/// The database stayed locked by others for the whole of `Options::busy_timeout`; or what the call
/// names is held by others: a live lease or creator, or a termination under way.
class DBCACHE_EXPORT Busy : public Error {
 public:
  using Error::Error;
};

/// Waiting took longer than the caller allowed.
class DBCACHE_EXPORT Timeout : public Error {
 public:
  using Error::Error;
};

/// The caller asked for the call to end.
class DBCACHE_EXPORT Cancelled : public Error {
 public:
  using Error::Error;
};

/// The lease, or the creation, has ended: the cluster was found dead, or another took over.
class DBCACHE_EXPORT LeaseLost : public Error {
 public:
  using Error::Error;
};

/// The worker that created the cluster failed; the message is its own.
class DBCACHE_EXPORT CreationFailed : public Error {
 public:
  using Error::Error;
};

/// The database, or one of its rows, is not what dbcache wrote: damaged, or not a database at all.
class DBCACHE_EXPORT CorruptDatabase : public Error {
 public:
  using Error::Error;
};

/// The database takes no changes: its log was moved to another, or is being moved
/// (<dbcache/move.hpp>). The message says where it is, and what to do. Reading still works.
class DBCACHE_EXPORT DatabaseMoved : public Error {
 public:
  using Error::Error;
};

/// The database was written by a newer dbcache than this one.
class DBCACHE_EXPORT NewerSchema : public Error {
 public:
  using Error::Error;
};

/// Reading or writing failed: disk full, I/O error, no permission.
class DBCACHE_EXPORT StorageFailure : public Error {
 public:
  /// What is known of the change that the failed call was to make.
  enum class Outcome {
    not_committed,  ///< Nothing was changed.
    unknown,        ///< The change may or may not be there: look before trying again.
  };

  explicit StorageFailure(const std::string& message, Outcome outcome = Outcome::not_committed)
      : Error(message), outcome_(outcome) {}

  /// Whether the change is known not to have happened. Never throws.
  [[nodiscard]] Outcome outcome() const noexcept { return outcome_; }

 private:
  Outcome outcome_;
};

}  // namespace dbcache
