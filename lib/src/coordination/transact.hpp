#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "commands/decision.hpp"
#include "commands/leases.hpp"
#include "store/store.hpp"

namespace dbcache::coordination {

/// The one place that reaps and hands back, in this order: the dead lose what they held; `steps`
/// run; clusters that nobody needs any more become owed; `then` sees the rows after that, and may
/// append too. `keep` is the configuration that the caller continues with: a dead creation of it is
/// only ended, and its entry is not handed back. A closed log is not reaped; the database that it
/// was moved to does that. Returns the events of the hand-back.
template <class Transaction>
events::Events run_in_order(Transaction& transaction,
                            const std::function<void(Transaction&)>& steps,
                            const std::function<void(Transaction&)>& then,
                            const std::string& keep) {
  const auto tidy = [&](const events::Events& found) {
    if (!found.empty() && !transaction.closed()) transaction.append(found);
  };
  tidy(commands::reap(transaction.present(), keep));
  if (steps) steps(transaction);
  events::Events handed_back = commands::hand_back(transaction.present(), keep);
  tidy(handed_back);
  if (then) then(transaction);
  return handed_back;
}

using Steps = std::function<void(store::Store::Transaction&)>;

/// The same in a write transaction of its own, which may run again from the start.
events::Events transact(store::Store& store, const Steps& steps, const Steps& then = {},
                        const std::string& keep = "");

/// Whether transact() without `steps` would append nothing.
bool is_tidy(const rows::Present& present, const std::string& keep = "");

/// A command's decision, and the position of its first event.
template <class Result>
using Committed = std::pair<commands::Decision<Result>, std::int64_t>;

/// Decides on one command in such a transaction. `before` runs first.
template <class Command>
auto commit(store::Store& store, const Command& command, const std::function<void()>& before = {}) {
  std::pair<decltype(decide(command, std::declval<const rows::Present&>())), std::int64_t> result;
  transact(store, [&](store::Store::Transaction& transaction) {
    if (before) before();
    result.first = decide(command, transaction.present());
    result.second = transaction.append(result.first.events);
  });
  return result;
}

}  // namespace dbcache::coordination
