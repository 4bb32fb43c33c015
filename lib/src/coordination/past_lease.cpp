#include "coordination/past_lease.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <boost/describe/enum_to_string.hpp>

#include "commands/leases.hpp"
#include "commands/terminations.hpp"
#include "events/event.hpp"

namespace dbcache::coordination {
namespace {

/// How an event ends the lease; nothing if it does not.
std::optional<std::string> end_by(const events::Event& event, std::int64_t lease) {
  if (const auto* released = std::get_if<events::LeaseReleased>(&event)) {
    if (released->lease == lease) return "released";
  } else if (const auto* lost = std::get_if<events::LeaseLost>(&event)) {
    if (lost->lease == lease) return boost::describe::enum_to_string(lost->reason, "");
  }
  return std::nullopt;
}

std::string state_of(const std::string& cluster_id, const rows::Present& present) {
  if (commands::is_cluster_held(cluster_id, present)) return "in_use";
  if (present.rows.pending_termination(cluster_id)) return "termination_pending";
  return present.rows.cluster(cluster_id) || commands::is_named(cluster_id, present) ? "cached"
                                                                                     : "gone";
}

}  // namespace

std::optional<std::string> describe_past_lease(const store::Store& store,
                                               const commands::EndLease& command,
                                               ReleaseReport& report) {
  using store::EventRecord;
  const rows::EventName& lease = command.lease;
  std::optional<EventRecord> grant;
  events::LeaseGranted granted;
  store.read([&](const store::ReadSession& session) {
    grant.reset();
    const rows::Present present = store::present(session);
    // The log may be another one by now than when the lease was looked for.
    if (!commands::is_ours(commands::named<events::LeaseGranted>(lease), present)) return;
    auto found = session.log.read(lease.position - 1, 1, store::Extent::visible);
    if (found.empty() || found.front().position != lease.position) return;
    grant = std::move(found.front());
    granted = std::get<events::LeaseGranted>(events::parse_event(grant->type, grant->payload));
    commands::require_cluster(lease, command.cluster_id, granted.cluster_id);
    report.cluster_id = granted.cluster_id;
    report.cluster_is = state_of(granted.cluster_id, present);
  });
  if (!grant) return std::nullopt;
  for (std::int64_t after = grant->version; !report.ended;) {
    std::vector<EventRecord> page;
    store.read([&](const store::ReadSession& session) {
      page = session.log.read_stream(grant->stream, after, store::page_size);
    });
    if (page.empty()) break;
    for (const EventRecord& record : page) {
      if (!report.ended) {
        report.ended = end_by(events::parse_event(record.type, record.payload), lease.position);
      }
    }
    after = page.back().version;
  }
  return granted.host;
}

}  // namespace dbcache::coordination
