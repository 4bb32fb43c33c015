#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include <sys/types.h>

#include <dbcache/shared_clusters.hpp>

#include "commands/leases.hpp"
#include "commands/terminations.hpp"
#include "coordination/transact.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

using rows::Holder;

/// A held lock, and its holder as events record it.
struct TakenLock {
  std::unique_ptr<store::LifeLock> lock;
  Holder holder;
};

/// Leaves a transaction whose lock this process could not keep until the transaction began. Not a
/// std::exception, so that no handler takes it for an error.
struct LockGivenUp {};

/// Selects pending terminations: of every workspace, or of one host. Without a host, those that
/// name no host.
struct Workspaces {
  bool every = false;
  std::optional<std::string> host;
};

/// Which pending terminations a call carries out.
struct Debts {
  enum class Others {
    none,
    due,  ///< What a step on a lease may try now: not what failed a short time ago.
    all,
  };
  Workspaces of;
  std::vector<std::string> own{};  ///< Subjects: first, even if the call is stopped.
  Others others = Others::none;
};

/// A creation as a caller names it.
struct CreationName {
  std::string config_hash;
  rows::EventName name;
  bool by_name = false;             ///< The caller is not the creator.
  std::string idempotency_token{};  ///< A name without a mark counts only with the creation's own.
};

/// How a lease is ended, in addition to what the log records.
struct Ending {
  const std::function<void(const Termination&)>& terminate;
  const std::stop_token& stop;
  Afterwards afterwards;
};

/// What the parts of coordination share: the store, and transactions that reap, decide and hand
/// back.
class Coordinator {
 public:
  Coordinator(std::shared_ptr<store::Store> store, std::chrono::microseconds default_expiry)
      : duty_(std::make_shared<Duty>(std::move(store))), default_expiry_(default_expiry) {}

  [[nodiscard]] store::Store& store() const { return *duty_->store; }
  [[nodiscard]] std::chrono::microseconds default_expiry() const { return default_expiry_; }

  [[nodiscard]] TakenLock take_lock() const;

  /// Decides on a command, as coordination::commit() does.
  template <class Command>
  auto commit(const Command& command) const {
    return coordination::commit(store(), command);
  }

  /// The same for a command that gives its holder something to hold: `make` makes the command. If
  /// the lock was given up before the transaction, takes another and tries again.
  template <class Make>
  auto commit_with(TakenLock& taken, const Make& make) const {
    for (;;) {
      try {
        return coordination::commit(store(), make(std::as_const(taken.holder)), [&taken] {
          if (taken.lock->lost()) throw LockGivenUp{};
        });
      } catch (const LockGivenUp&) {
        taken = take_lock();
      }
    }
  }

  /// Ends what the dead held and hands back what has expired, in all configurations.
  void sweep() const;
  /// The same unless it throws: what is wrong with another configuration must not hinder the
  /// caller. Returns whether it swept.
  bool sweep_for_others() const;
  /// The same, unless somebody swept less than a second ago. Then this process does it
  /// when the last copy of this coordinator goes: a death just before must not stay unnoticed
  /// because this was the last process of a job.
  bool sweep_if_due(std::chrono::nanoseconds overdue = {}) const;

  /// Counts a lease of this process for as long as the result lives. A forked child counts those of
  /// its parent, too.
  [[nodiscard]] std::shared_ptr<const void> count_a_lease() const { return duty_->leases; }

  /// Carries out pending terminations one after the other until stopped. The report does not say
  /// what is left.
  SettleReport settle(const std::function<void(const Termination&)>& terminate, const Debts& debts,
                      const std::stop_token& stop) const;

  /// Sweeps first, and says what is left.
  SettleReport settle_all(const std::function<void(const Termination&)>& terminate,
                          const Workspaces& workspaces, const std::stop_token& stop) const;

  /// `lease`: with its configuration where the caller knows it, which saves a question.
  ReleaseReport release(const commands::EndLease& lease, const Ending& ending,
                        const std::function<void()>& let_go = {}) const;

  /// Throws LeaseLost if another worker took over (the cluster is owed then), or if the creation is
  /// not of this log; the latter is NotFound unless the caller is the creator. Returns whether
  /// another configuration has the cluster too.
  bool record_started(const CreationName& creation, std::string_view cluster_id) const;

 private:
  /// At the end of a release: settles its own debt, and those of others if this process has the
  /// duty to look for them, or may be the last to do so.
  void settle_after(ReleaseReport& report, const Ending& ending, const Workspaces& workspaces,
                    bool swept) const;

  /// Returns whether there was one to settle.
  bool settle_one(commands::ClaimTermination& claim,
                  const std::function<void(const Termination&)>& terminate,
                  const std::stop_token& stop, SettleReport& report) const;

  /// A sweep that this process left to others.
  struct Duty {
    explicit Duty(std::shared_ptr<store::Store> of) : store(std::move(of)) {}
    ~Duty();
    Duty(const Duty&) = delete;
    Duty& operator=(const Duty&) = delete;

    void sweep(store::Engine::Patience patience = std::nullopt);

    const std::shared_ptr<store::Store> store;
    const std::shared_ptr<const void> leases = std::make_shared<char>();
    std::atomic<pid_t> skipped_by = 0;  ///< A forked child answers for what it left itself.
  };

  std::shared_ptr<Duty> duty_;
  std::chrono::microseconds default_expiry_;
};

/// An exception's message in a form that the log may keep.
std::string message_of(std::exception_ptr error);

HolderInfo describe(const Holder& holder, bool alive);

/// Whether it is the lease of the `dbcache run` around this process (DBCACHE_RUN_LEASE).
bool is_of_surrounding_run(const rows::EventName& lease);

}  // namespace dbcache::coordination
