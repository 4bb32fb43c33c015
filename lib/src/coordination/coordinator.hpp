#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include <dbcache/shared_clusters.hpp>

#include "commands/leases.hpp"
#include "commands/terminations.hpp"
#include "coordination/transact.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

using rows::Holder;

/// A lock that is held, and its holder as the log tells it.
struct TakenLock {
  std::unique_ptr<store::LifeLock> lock;
  Holder holder;
};

/// Thrown out of a transaction that was to let a lock hold something, which this process could not
/// keep until then. No std::exception, so that nobody takes it for an error.
struct LockGivenUp {};

/// Whose pending terminations: every workspace's, or those of one; without a host, those that name
/// none.
struct Workspaces {
  bool every = false;
  std::optional<std::string> host;
};

/// What the parts of coordination share: the store, and transactions in the order that leases need.
class Coordinator {
 public:
  Coordinator(std::shared_ptr<store::Store> store, std::chrono::microseconds default_expiry)
      : store_(std::move(store)), default_expiry_(default_expiry) {}

  [[nodiscard]] store::Store& store() const { return *store_; }
  [[nodiscard]] std::chrono::microseconds default_expiry() const { return default_expiry_; }

  [[nodiscard]] TakenLock take_lock() const;

  /// Decides on a command, as coordination::commit() does.
  template <class Command>
  auto commit(const Command& command) const {
    return coordination::commit(*store_, command);
  }

  /// The same for a command by which a holder holds something: `make` makes it. Where the lock was
  /// given up before, another is taken.
  template <class Make>
  auto commit_with(TakenLock& taken, const Make& make) const {
    for (;;) {
      try {
        return coordination::commit(*store_, make(std::as_const(taken.holder)), [&taken] {
          if (taken.lock->lost()) throw LockGivenUp{};
        });
      } catch (const LockGivenUp&) {
        taken = take_lock();
      }
    }
  }

  /// Reaps and hands back where there is anything to. Nothing is written where there is not.
  void tidy() const;

  /// Carries out what is owed, one after the other until it is stopped; first of all, stopped or
  /// not, `own`.
  SettleReport settle(const std::function<void(const Termination&)>& terminate,
                      const Workspaces& workspaces, const std::stop_token& stop,
                      const std::optional<std::string>& own = std::nullopt) const;

  ReleaseReport release(std::int64_t lease,
                        const std::function<void(const Termination&)>& terminate,
                        const std::stop_token& stop,
                        const std::function<void()>& let_go = {}) const;

  /// Throws LeaseLost where another took over; the cluster is owed then.
  void record_started(const std::string& config_hash, std::int64_t creation,
                      std::string_view cluster_id) const;

 private:
  /// Whether there was one to settle.
  bool settle_one(commands::ClaimTermination& claim,
                  const std::function<void(const Termination&)>& terminate,
                  SettleReport& report) const;

  std::shared_ptr<store::Store> store_;
  std::chrono::microseconds default_expiry_;
};

/// The position of the event of this type among those appended from `first` on.
template <class Payload>
std::int64_t position_of(const events::Events& events, std::int64_t first) {
  for (std::size_t at = 0; at < events.size(); ++at) {
    if (std::holds_alternative<Payload>(events[at])) return first + static_cast<std::int64_t>(at);
  }
  return 0;
}

/// An exception's words as they can be kept in the log.
std::string message_of(std::exception_ptr error);

HolderInfo describe(const Holder& holder, bool alive);

/// Whether it is the lease of the `dbcache run` around this process (DBCACHE_RUN_LEASE).
bool is_of_surrounding_run(std::int64_t lease);

}  // namespace dbcache::coordination
