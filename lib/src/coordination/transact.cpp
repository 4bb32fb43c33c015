#include "coordination/transact.hpp"

namespace dbcache::coordination {

events::Events transact(store::Store& store, const Steps& steps, const Steps& then,
                        const std::string& keep) {
  events::Events handed_back;
  store.transact_in_steps([&](store::Store::Transaction& transaction) {
    handed_back = run_in_order(transaction, steps, then, keep);
  });
  return handed_back;
}

bool is_tidy(const rows::Present& present, const std::string& keep) {
  return commands::reap(present, keep).empty() && commands::hand_back(present, keep).empty();
}

}  // namespace dbcache::coordination
