#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <string>

#include "store/engine.hpp"

namespace dbcache::coordination {

/// Sleeps in the kernel until there may be news: a commit, a holder that is done, or a stop
/// request. A lost signal does no harm, since every sleep ends after a while. If others commit
/// without pause, it listens to commits only now and then: the lock of a holder reports that the
/// holder is done.
///
/// The caller loops: look, and sleep if there is nothing yet. The first `sleep` only arms and
/// returns at once, so that the caller looks again.
class Waiter {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  /// Waits for commits to a configuration, or to any.
  Waiter(store::Engine& engine, std::optional<std::string> config_hash, std::stop_token stop);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  /// Makes the next sleep wait for this holder, too.
  void await(const rows::Holder& holder);

  /// Returns when the caller should look again, at the latest at `until`.
  void sleep(Moment until);

  /// Whether to wait without a session, because others may find no way in. Asks only while the
  /// sleeps are not armed.
  [[nodiscard]] bool should_sleep_apart() const;
  /// Closes the session, and returns when to look again: soon, if the wait is probably short.
  /// Nothing if this process needs it for something else.
  std::optional<Moment> stand_aside(bool is_short);
  /// Sleeps until then, or until it is stopped. False if it is.
  bool pause(Moment until) const;

 private:
  class Stop;
  store::Engine& engine_;
  const std::optional<std::string> config_hash_;
  std::unique_ptr<Stop> stop_;
  std::unique_ptr<store::Wakeup> commits_;
  Moment looks_paid_until_{};  ///< Grows by a pause with each look that a commit caused.
  std::optional<rows::Holder> holder_;
  std::unique_ptr<store::Wakeup> freed_;
  std::chrono::milliseconds look_apart_{};  ///< The length of the next sleep without a session.
  std::minstd_rand random_{std::random_device{}()};
  std::chrono::milliseconds look_for_holder_{};  ///< The length of the next sleep without `freed_`.
};

}  // namespace dbcache::coordination
