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
#include "store/store.hpp"

namespace dbcache::coordination {

using rows::Holder;

/// A lock that is held, and its holder as the log tells it.
struct Hold {
  std::unique_ptr<store::LifeLock> lock;
  Holder holder;
};

/// Thrown out of a transaction that was to let a lock hold something, which this process could not
/// keep until then. No std::exception, so that nobody takes it for an error.
struct LockGivenUp {};

/// Whose debts: every workspace's, or those of one; without a host, those that name none.
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

  [[nodiscard]] Hold hold() const;

  /// Reaps the dead, decides and appends, and hands back what nobody needs any more; in one
  /// transaction. `observe` sees the rows after that.
  template <class Command>
  auto commit(const Command& command,
              const std::function<void(const rows::TableReader&)>& observe = {}) const;

  /// The same for a command by which a holder holds something: `make` makes it. Where the lock was
  /// given up before, another is taken.
  template <class Make>
  auto commit_with(Hold& hold, const Make& make) const;

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

  template <class Command>
  auto commit_holding(const store::LifeLock* lock, const Command& command,
                      const std::function<void(const rows::TableReader&)>& observe) const;

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

template <class Command>
auto Coordinator::commit(const Command& command,
                         const std::function<void(const rows::TableReader&)>& observe) const {
  return commit_holding(nullptr, command, observe);
}

template <class Make>
auto Coordinator::commit_with(Hold& hold, const Make& make) const {
  for (;;) {
    try {
      return commit_holding(hold.lock.get(), make(std::as_const(hold.holder)), {});
    } catch (const LockGivenUp&) {
      hold = this->hold();
    }
  }
}

template <class Command>
auto Coordinator::commit_holding(
    const store::LifeLock* lock, const Command& command,
    const std::function<void(const rows::TableReader&)>& observe) const {
  using Outcome = decltype(commands::decide(command, std::declval<const rows::Present&>()));
  const auto run = [&](auto take) {
    store_->transact_in_steps([&](store::Store::Transaction& transaction) {
      if (lock != nullptr && lock->lost()) throw LockGivenUp{};
      transaction.append(commands::reap(transaction.present()));
      take(transaction);
      transaction.append(commands::hand_back(transaction.present()));
      if (observe) observe(transaction.rows());
    });
  };
  if constexpr (std::is_same_v<Outcome, events::Events>) {
    std::pair<events::Events, std::int64_t> appended;
    run([&](store::Store::Transaction& transaction) {
      appended.first = commands::decide(command, transaction.present());
      appended.second = transaction.append(appended.first);
    });
    return appended;
  } else {
    std::pair<Outcome, std::int64_t> decided;
    run([&](store::Store::Transaction& transaction) {
      decided.first = commands::decide(command, transaction.present());
      decided.second = transaction.append(decided.first.events);
    });
    return decided;
  }
}

}  // namespace dbcache::coordination
