#pragma once

#include <string>
#include <vector>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "events/event.hpp"
#include "rows/present.hpp"

// What many unit tests begin with: moments of one day, rows, and events in words.
namespace dbcache::test {

/// A moment of the day that the tests play on.
inline Timestamp at(const std::string& time_of_day) {
  return parse_timestamp("2026-01-15T" + time_of_day);
}

/// Rows and a moment to decide on, where nobody holds anything.
inline rows::Present present(const rows::TableReader& tables, Timestamp now) {
  class NobodyIsKnown final : public rows::Liveness {
   public:
    [[nodiscard]] Verdict probe(const rows::Holder&) const override { return Verdict::unknown; }
  };
  class NothingIsNamed final : public rows::EventNames {
   public:
    [[nodiscard]] std::vector<rows::LoggedEvent> events_at(
        const std::vector<std::int64_t>&) const override {
      return {};
    }
  };
  static const NobodyIsKnown nobody;
  static const NothingIsNamed nothing;
  return {tables, nobody, now, nothing};
}

namespace given {

inline const Timestamp now = at("10:30");

/// As Databricks makes them.
inline const std::string token = "dapi0123456789abcdef";

}  // namespace given

/// An active cluster cached at 10:00 for an hour.
inline CachedCluster cluster_row(std::int64_t id, const std::string& cluster_id) {
  CachedCluster row;
  row.id = id;
  row.cluster_id = cluster_id;
  row.created_at = row.last_accessed = at("10:00");
  row.expiry_time = at("11:00");
  return row;
}

inline CachedCluster inactive(CachedCluster row) {
  row.is_active = false;
  return row;
}

inline CachedCluster shared(CachedCluster row) {
  row.is_shared = true;
  return row;
}

inline CachedCluster expiring(CachedCluster row, const std::string& time_of_day) {
  row.expiry_time = at(time_of_day);
  return row;
}

/// An entry that the process 4711 registered at 10:00, used once.
inline RegistryEntry entry_row(std::int64_t id, const std::string& config_hash) {
  RegistryEntry row;
  row.id = id;
  row.config_hash = config_hash;
  row.worker_pid = 4711;
  row.creation_time = at("10:00");
  row.usage_count = 1;
  return row;
}

inline RegistryEntry ready(RegistryEntry row, const std::string& cluster_id) {
  row.status = RegistryStatus::ready;
  row.cluster_id = cluster_id;
  return row;
}

inline RegistryEntry failed(RegistryEntry row, const std::string& error_message) {
  row.status = RegistryStatus::failed;
  row.error_message = error_message;
  return row;
}

/// Events as the log would tell them, to compare and to print.
inline std::vector<std::string> told(const std::vector<events::Event>& events) {
  std::vector<std::string> lines;
  for (const events::Event& event : events) {
    lines.push_back(std::string(events::type_of(event)) + ' ' + events::payload_of(event));
  }
  return lines;
}

}  // namespace dbcache::test
