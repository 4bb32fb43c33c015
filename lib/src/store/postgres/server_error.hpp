#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace dbcache::store::postgres {

struct Target;

/// An error that the server reported for a statement. The transaction can only be rolled back.
class ServerError : public std::runtime_error {
 public:
  ServerError(std::string state, const std::string& message, std::string hint = {})
      : std::runtime_error(message), state_(std::move(state)), hint_(std::move(hint)) {}
  /// https://www.postgresql.org/docs/15/errcodes-appendix.html
  [[nodiscard]] const std::string& state() const noexcept { return state_; }

  /// Two transactions were in each other's way: another attempt may succeed at once.
  [[nodiscard]] bool is_conflict() const;
  /// The schema was replaced after the connection was opened, or a pooler replaced the session by
  /// one without its prepared statements.
  [[nodiscard]] bool is_stale() const;
  /// The server takes no writes, at least for now.
  [[nodiscard]] bool is_read_only() const;
  /// Its table of locks is full. The code alone may also mean any other memory.
  [[nodiscard]] bool is_out_of_locks() const;

 private:
  std::string state_;
  std::string hint_;
};

/// The last attempt before the deadline has failed: no connection, or a conflict that lasted.
[[noreturn]] void throw_unusable(const Target& target, std::string_view reason);

/// A pooler has given the session of another client to this one.
[[noreturn]] void throw_not_reset(const Target& target);

/// Throws the public error that stands for the server's.
[[noreturn]] void throw_typed(const ServerError& error, const Target& target);

}  // namespace dbcache::store::postgres
