#include "coordination/transact.hpp"

namespace dbcache::coordination {

events::Events transact(store::Store& store, const ReachOf& reach, const Steps& steps,
                        const Steps& then) {
  std::optional<events::Events> handed_back;
  while (!handed_back) {
    store.transact_in_steps(
        [&](store::Store::Transaction& transaction) {
          handed_back = run_in_order(transaction, reach(transaction.rows()), steps, then);
        },
        store::Engine::LockScope::streams);
  }
  return std::move(*handed_back);
}

events::Events transact_over_everything(store::Store& store, const Steps& steps,
                                        const Steps& then) {
  events::Events handed_back;
  store.transact_in_steps([&](store::Store::Transaction& transaction) {
    handed_back = run_over_everything(transaction, steps, then);
  });
  return handed_back;
}

}  // namespace dbcache::coordination
