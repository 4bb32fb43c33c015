#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>

#include "store/engine.hpp"

namespace dbcache::coordination {

/// Sleeps in the kernel until something happens that a wait is for: a commit, the end of what a
/// holder does, or being stopped. Nothing is lost if a signal is: every sleep ends after a while.
/// Where others commit without end, it listens to commits now and then only: what a holder does is
/// told by its lock too.
///
/// One caller looks, and sleeps where there was nothing to be had yet, and looks again. It looks
/// once more after the first call of `sleep`, which only arms.
class Waiter {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  Waiter(store::Engine& engine, std::stop_token stop);
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  /// For whom the next sleep is.
  void await(const rows::Holder& holder);

  /// Returns when it is time to look again, at the latest at `until`.
  void sleep(Moment until);

 private:
  class Stop;
  store::Engine& engine_;
  std::unique_ptr<Stop> stop_;
  std::unique_ptr<store::Wakeup> commits_;
  Moment looks_paid_until_{};  ///< By commits, at one in so long.
  std::optional<rows::Holder> holder_;
  std::unique_ptr<store::Wakeup> freed_;
  std::chrono::milliseconds look_for_holder_{};  ///< How long the next sleep without `freed_` is.
};

}  // namespace dbcache::coordination
