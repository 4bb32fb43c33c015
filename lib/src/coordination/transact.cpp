#include "coordination/transact.hpp"

#include <cstddef>
#include <variant>

#include <boost/mp11/algorithm.hpp>
#include <boost/mp11/list.hpp>

namespace dbcache::coordination {

rows::EventName name_of_held(const store::Store::Transaction& transaction,
                             const events::Events& events, std::int64_t first) {
  using Held =
      boost::mp11::mp_list<events::LeaseGranted, events::CreationStarted, events::CheckStarted,
                           events::TerminationStarted, events::RunJoined>;
  for (std::size_t at = 0; at < events.size(); ++at) {
    const bool is_held =
        std::visit([]<class Payload>(
                       const Payload&) { return boost::mp11::mp_contains<Held, Payload>::value; },
                   events[at]);
    if (is_held) return transaction.name_of(first + static_cast<std::int64_t>(at));
  }
  return {};
}

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
