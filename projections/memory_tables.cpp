#include "projections/memory_tables.hpp"

#include <algorithm>
#include <limits>

namespace dbcache::projections {

using namespace rows;

namespace {

bool fits(const CachedCluster& row, const ClusterFilter& filter, Timestamp now) {
  return filter.is_active.value_or(row.is_active) == row.is_active &&
         filter.is_shared.value_or(row.is_shared) == row.is_shared &&
         (!filter.is_expired || *filter.is_expired == (row.expiry_time <= now));
}

template <class Row>
std::vector<Row> newest_first(std::vector<Row> rows) {
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.id > b.id; });
  return rows;
}

template <class Rows, class Key>
auto find(const Rows& rows, const Key& key) {
  const auto found = rows.find(key);
  return found == rows.end() ? std::nullopt : std::optional(found->second);
}

template <class Rows>
void erase(Rows& rows, std::string_view key) {
  if (const auto found = rows.find(key); found != rows.end()) rows.erase(found);
}

template <class Rows, class Change>
void change_in_place(Rows& rows, std::string_view key, const Change& change) {
  if (const auto found = rows.find(key); found != rows.end()) change(found->second);
}

template <class Rows>
auto in_order(const Rows& rows) {
  std::vector<typename Rows::mapped_type> all;
  all.reserve(rows.size());
  for (const auto& [key, row] : rows) all.push_back(row);
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.key() < b.key(); });
  return all;
}

std::string key_text(const std::string& key) { return key; }
std::string key_text(std::int64_t key) { return std::to_string(key); }

template <class Rows>
std::vector<RawRow> raw(const Rows& rows) {
  std::vector<RawRow> all;
  all.reserve(rows.size());
  for (const auto& [key, row] : rows) all.push_back({key_text(key), stored_columns(row)});
  std::sort(all.begin(), all.end(), [](const RawRow& a, const RawRow& b) { return a.key < b.key; });
  return all;
}

/// Rows that fit, in order of id, of a table that is in that order.
template <class Row, class Fits>
std::vector<Row> page_of(const std::map<std::int64_t, Row>& rows, TableReader::Page page,
                         const Fits& fits) {
  std::vector<Row> found;
  for (auto at = rows.upper_bound(page.after); at != rows.end() && found.size() < page.limit;
       ++at) {
    if (fits(at->second)) found.push_back(at->second);
  }
  return found;
}

template <class Row, class Fits>
std::vector<Row> only(std::vector<Row> rows, const Fits& fits) {
  std::erase_if(rows, [&](const Row& row) { return !fits(row); });
  return rows;
}

template <class Row>
std::vector<Row> first(std::vector<Row> rows, std::size_t limit) {
  if (rows.size() > limit) rows.resize(limit);
  return rows;
}

}  // namespace

std::optional<CachedCluster> MemoryTables::cluster(std::string_view cluster_id) const {
  return find(clusters_, cluster_id);
}

std::vector<CachedCluster> MemoryTables::clusters(const ClusterFilter& filter, Timestamp now,
                                                  std::optional<std::size_t> limit) const {
  std::vector<CachedCluster> rows;
  for (const auto& [key, row] : clusters_) {
    if (fits(row, filter, now)) rows.push_back(row);
  }
  rows = newest_first(std::move(rows));
  if (limit && rows.size() > *limit) rows.resize(*limit);
  return rows;
}

CacheStatistics MemoryTables::statistics(Timestamp now) const {
  CacheStatistics totals;
  for (const auto& [key, row] : clusters_) {
    totals.total_clusters += 1;
    totals.active_clusters += row.is_active ? 1 : 0;
    totals.expired_clusters += row.expiry_time <= now ? 1 : 0;
    totals.total_accesses += std::min(
        row.access_count, std::numeric_limits<std::int64_t>::max() - totals.total_accesses);
    totals.shared_clusters += row.is_shared ? 1 : 0;
  }
  return totals;
}

std::optional<RegistryEntry> MemoryTables::entry(std::string_view config_hash) const {
  return find(entries_, config_hash);
}

std::vector<RegistryEntry> MemoryTables::entries() const {
  std::vector<RegistryEntry> rows;
  for (const auto& [key, row] : entries_) rows.push_back(row);
  return newest_first(std::move(rows));
}

std::optional<Share> MemoryTables::share(std::string_view config_hash) const {
  return find(shares_, config_hash);
}
std::optional<Lease> MemoryTables::lease(std::int64_t id) const { return find(leases_, id); }
std::optional<PendingTermination> MemoryTables::pending_termination(
    std::string_view subject) const {
  return find(pending_terminations_, subject);
}
std::vector<Share> MemoryTables::shares() const { return in_order(shares_); }
std::vector<Lease> MemoryTables::leases() const { return in_order(leases_); }
std::vector<PendingTermination> MemoryTables::pending_terminations() const {
  return in_order(pending_terminations_);
}
std::vector<Participant> MemoryTables::participants() const { return in_order(participants_); }

// ---- Without indexes: these tables are a model, not a database

std::vector<Lease> MemoryTables::leases_of(std::string_view config_hash, Page page) const {
  return page_of(leases_, page, [&](const Lease& row) { return row.config_hash == config_hash; });
}

std::vector<Lease> MemoryTables::leases_on(std::string_view cluster_id, Page page) const {
  return page_of(leases_, page, [&](const Lease& row) { return row.cluster_id == cluster_id; });
}

std::int64_t MemoryTables::count_leases_of(std::string_view config_hash) const {
  return std::count_if(leases_.begin(), leases_.end(),
                       [&](const auto& lease) { return lease.second.config_hash == config_hash; });
}

std::vector<TableReader::Naming> MemoryTables::naming(std::string_view cluster_id) const {
  std::vector<Naming> found;
  for (const auto& [hash, entry] : entries_) {
    if (entry.cluster_id == cluster_id) found.push_back({entry, share(hash)});
  }
  std::sort(found.begin(), found.end(), [](const Naming& a, const Naming& b) {
    return a.entry.config_hash < b.entry.config_hash;
  });
  return found;
}

std::vector<CachedCluster> MemoryTables::active_clusters() const {
  return clusters({.is_active = true}, {}, std::nullopt);
}

std::optional<CachedCluster> MemoryTables::active_cluster(Timestamp now) const {
  auto found = clusters({.is_active = true, .is_expired = false}, now, 1);
  return found.empty() ? std::nullopt : std::optional(std::move(found.front()));
}

std::vector<PendingTermination> MemoryTables::pending_terminations_of(
    std::string_view config_hash) const {
  return only(pending_terminations(),
              [&](const PendingTermination& row) { return row.config_hash == config_hash; });
}

std::vector<PendingTermination> MemoryTables::waiting_terminations(
    bool every_host, const std::optional<std::string>& host, std::optional<Timestamp> due_by,
    std::size_t behind, std::size_t limit) const {
  auto found = only(pending_terminations(), [&](const PendingTermination& row) {
    return !row.termination && (every_host || row.host == host) &&
           (!due_by || !row.retry_at || *row.retry_at <= *due_by);
  });
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.owed_at < b.owed_at; });
  found.erase(found.begin(),
              found.begin() + static_cast<std::ptrdiff_t>(std::min(behind, found.size())));
  return first(std::move(found), limit);
}

std::optional<Participant> MemoryTables::participant(std::int64_t id) const {
  return find(participants_, id);
}

std::vector<Participant> MemoryTables::participants_of(std::string_view run, Page page) const {
  return page_of(participants_, page, [&](const Participant& row) { return row.run == run; });
}

std::vector<std::string> MemoryTables::configurations_of(std::string_view run) const {
  std::vector<std::string> found;
  for (const Share& share : shares()) {
    if (std::find(share.runs.begin(), share.runs.end(), run) != share.runs.end()) {
      found.push_back(share.config_hash);
    }
  }
  return found;
}

std::vector<Lease> MemoryTables::leases_after(Page page) const {
  return page_of(leases_, page, [](const Lease&) { return true; });
}

std::vector<Participant> MemoryTables::participants_after(Page page) const {
  return page_of(participants_, page, [](const Participant&) { return true; });
}

std::vector<Share> MemoryTables::busy_shares_after(std::string_view config_hash,
                                                   std::size_t limit) const {
  return first(only(shares(),
                    [&](const Share& row) {
                      return (row.creation || row.check) && row.config_hash > config_hash;
                    }),
               limit);
}

std::vector<PendingTermination> MemoryTables::running_terminations() const {
  return only(pending_terminations(),
              [](const PendingTermination& row) { return row.termination.has_value(); });
}

std::vector<std::string> MemoryTables::expired_configurations(Timestamp now, std::string_view after,
                                                              std::size_t limit) const {
  std::vector<std::string> found;
  for (const Share& share : shares()) {
    const auto entry = this->entry(share.config_hash);
    if (share.origin != EntryOrigin::acquired || share.config_hash <= after || !entry ||
        !entry->cluster_id) {
      continue;
    }
    const auto row = cluster(*entry->cluster_id);
    if (row && row->expiry_time <= now && leases_on(row->cluster_id, {}).empty()) {
      found.push_back(share.config_hash);
    }
  }
  return first(std::move(found), limit);
}

std::vector<RawRow> MemoryTables::raw_rows(std::string_view table) const {
  if (table == clusters_table) return raw(clusters_);
  if (table == registry_table) return raw(entries_);
  if (table == Share::table) return raw(shares_);
  if (table == Lease::table) return raw(leases_);
  if (table == PendingTermination::table) return raw(pending_terminations_);
  return raw(participants_);
}

void MemoryTables::put(const CachedCluster& row) {
  clusters_.insert_or_assign(row.cluster_id, row);
}
void MemoryTables::put(const RegistryEntry& row) {
  entries_.insert_or_assign(row.config_hash, row);
}
void MemoryTables::erase_cluster(std::string_view cluster_id) { erase(clusters_, cluster_id); }
void MemoryTables::erase_entry(std::string_view config_hash) { erase(entries_, config_hash); }

void MemoryTables::put(const Share& row) { shares_.insert_or_assign(row.key(), row); }
void MemoryTables::put(const Lease& row) { leases_.insert_or_assign(row.key(), row); }
void MemoryTables::put(const PendingTermination& row) {
  pending_terminations_.insert_or_assign(row.key(), row);
}
void MemoryTables::put(const Participant& row) { participants_.insert_or_assign(row.key(), row); }
void MemoryTables::erase_share(std::string_view config_hash) { erase(shares_, config_hash); }
void MemoryTables::erase_lease(std::int64_t id) { leases_.erase(id); }
void MemoryTables::erase_pending_termination(std::string_view subject) {
  erase(pending_terminations_, subject);
}
void MemoryTables::erase_participant(std::int64_t id) { participants_.erase(id); }

void MemoryTables::change_cluster(std::string_view cluster_id,
                                  const Change<CachedCluster>& change) {
  change_in_place(clusters_, cluster_id, change);
}
void MemoryTables::change_entry(std::string_view config_hash, const Change<RegistryEntry>& change) {
  change_in_place(entries_, config_hash, change);
}
void MemoryTables::change_share(std::string_view config_hash, const Change<Share>& change) {
  change_in_place(shares_, config_hash, change);
}
void MemoryTables::change_pending_termination(std::string_view subject,
                                              const Change<PendingTermination>& change) {
  change_in_place(pending_terminations_, subject, change);
}

void MemoryTables::clear() {
  clusters_.clear();
  entries_.clear();
  shares_.clear();
  leases_.clear();
  pending_terminations_.clear();
  participants_.clear();
}

void MemoryTables::copy_to(Tables& target) const {
  // In order of id, so that rows made by hand in a table read the same as rows made by events.
  for (auto rows = clusters({}, {}, std::nullopt); !rows.empty(); rows.pop_back()) {
    target.put(rows.back());
  }
  for (auto rows = entries(); !rows.empty(); rows.pop_back()) target.put(rows.back());
  const auto copy = [&](const auto& rows) {
    for (const auto& row : rows) target.put(row);
  };
  copy(shares());
  copy(leases());
  copy(pending_terminations());
  copy(participants());
}

}  // namespace dbcache::projections
