#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "commands/decision.hpp"
#include "commands/reach.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

/// A grant appends two events, the end of a lease one.
inline rows::TableReader::Foresight foresight_of(const commands::Reach& reach) {
  return {reach.config_hash, reach.ends, reach.goes_on ? 2U : reach.ends ? 1U : 0U, reach.goes_on};
}

/// The one place that reaps and hands back, in this order: the dead within reach lose what they
/// held; `steps` run; clusters that nobody needs any more become owed; `then` sees the rows after
/// that, and may append too. A closed log is not reaped; the database that it was moved to does
/// that. Returns the events of the hand-back. Nothing if only a part of the dead was reaped: commit
/// that, and begin anew.
template <class Transaction>
std::optional<events::Events> run_in_order(Transaction& transaction, const commands::Reach& reach,
                                           const std::function<void(Transaction&)>& steps,
                                           const std::function<void(Transaction&)>& then) {
  if (reach.named) transaction.foresee_event(reach.named->name.position);
  transaction.present().rows.foresee(foresight_of(reach));
  const bool closed = transaction.closed().has_value();
  if (!closed) {
    const commands::Reaped reaped = commands::reap(transaction.present(), reach);
    transaction.append(reaped.events);
    if (!reaped.all) return std::nullopt;
  }
  if (steps) steps(transaction);
  if (!closed) {
    transaction.append(
        commands::reap_touched(transaction.present(), reach, transaction.appended()));
  }
  events::Events handed_back =
      commands::hand_back(transaction.present(), reach, transaction.appended());
  if (!closed) transaction.append(handed_back);
  if (then) then(transaction);
  return handed_back;
}

/// The same for steps that reach everything. All the dead are reaped at once.
template <class Transaction>
events::Events run_over_everything(Transaction& transaction,
                                   const std::function<void(Transaction&)>& steps,
                                   const std::function<void(Transaction&)>& then) {
  const bool closed = transaction.closed().has_value();
  transaction.present().liveness.expect_many();
  if (!closed) transaction.append(commands::reap(transaction.present()));
  if (steps) steps(transaction);
  events::Events handed_back = commands::hand_back(transaction.present());
  if (!closed) transaction.append(handed_back);
  if (then) then(transaction);
  return handed_back;
}

using Steps = std::function<void(store::Store::Transaction&)>;
using ReachOf = std::function<commands::Reach(const rows::TableReader&)>;

/// Runs steps in order in a write transaction of its own, which may run again from the start.
events::Events transact(store::Store& store, const ReachOf& reach, const Steps& steps,
                        const Steps& then = {});
events::Events transact_over_everything(store::Store& store, const Steps& steps,
                                        const Steps& then = {});

/// The name of what the events give their caller to hold: a lease, creation, check, termination or
/// part in a run. A decision gives one at most. Position 0: none.
rows::EventName name_of_held(const store::Store::Transaction& transaction,
                             const events::Events& events, std::int64_t first);

/// A command's decision, and the name of what it gave to hold.
template <class Result>
using Committed = std::pair<commands::Decision<Result>, rows::EventName>;

/// Decides on one command in such a transaction. `before` runs first.
template <class Command>
auto commit(store::Store& store, const Command& command, const std::function<void()>& before = {}) {
  std::pair<decltype(decide(command, std::declval<const rows::Present&>())), rows::EventName>
      result;
  if (!store.engine().exists()) {
    // A command that changes nothing must not create the database.
    result.first = decide(command, store.nothing());
    if (result.first.events.empty()) return result;
  }
  const auto step = [&](store::Store::Transaction& transaction) {
    if (before) before();
    result.first = decide(command, transaction.present());
    const std::int64_t first = transaction.append(result.first.events);
    result.second = name_of_held(transaction, result.first.events, first);
  };
  if constexpr (commands::reaches_everything<Command>) {
    transact_over_everything(store, step);
  } else {
    transact(
        store, [&](const rows::TableReader& rows) { return reach_of(command, rows); }, step);
  }
  return result;
}

}  // namespace dbcache::coordination
