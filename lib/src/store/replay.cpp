#include <vector>

#include "store/log_pass.hpp"
#include "store/rebuild.hpp"
#include "store/store.hpp"

namespace dbcache::store {
ReplayReport replay(const Store& store, const ReplayOptions& options) {
  std::int64_t gaps_until = 0;
  store.read([&](const ReadSession& session) { gaps_until = session.log.gaps_until(); });
  Rebuild rebuild(gaps_until);
  LogPass pass([&](const std::vector<EventRecord>& page) { rebuild.take(page); });
  // The log only grows, so read most of it before the transaction that must see its end. Writers
  // then wait only for the last page.
  ReplayReport report;
  if (!pass.run(store, options.on_progress)) return report;
  if (options.mode == ReplayMode::check) {
    store.read([&](const ReadSession& session) {
      pass.run_to_end(session.log);
      report = rebuild.report(session.tables);
    });
    return report;
  }
  // Alone: what it reads must be committed, since it does not read it again if it has to run again.
  store.engine().write(
      std::nullopt,
      [&](WriteSession& session) {
        store.require_open(session.log);
        pass.run_to_end(session.log);
        report = rebuild.report(session.tables);
        session.tables.clear();
        rebuild.tables().copy_to(session.tables);
        report.rebuilt = true;
        return Sync::as_configured;
      },
      Engine::Grouping::alone);
  return report;
}

}  // namespace dbcache::store
