#include <algorithm>
#include <limits>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "store/postgres/postgres_rows.hpp"
#include "store/postgres/postgres_tables.hpp"

// What steps on leases and sweeps ask. A step on a configuration foresees what it will read, and
// gets it in one message.
namespace dbcache::store::postgres {
namespace {

using rows::Lease;
using rows::Participant;
using rows::PendingTermination;
using rows::Share;
using rows::TableReader;

/// So many leases are read ahead: the one that lives is most often the first, or the second beside
/// one that ends.
constexpr std::size_t leases_ahead = 2;

/// The cluster of an entry whose name only the server knows yet.
constexpr std::string_view cluster_of_entry =
    "(SELECT cluster_id FROM shared_cluster_registry WHERE config_hash = $1::text)";

/// Statements about that cluster. Parameter: the config hash.
template <class Row>
const std::string& select_by_entry(std::string_view column, std::string_view rest) {
  static const std::string& text = *new std::string(fmt::format(
      "{} WHERE {} = {} {}", Statements<Row>::select(), column, cluster_of_entry, rest));
  return text;
}

const std::string& select_shares_by_entry() {
  static const std::string& text = *new std::string(
      fmt::format("{} WHERE config_hash IN (SELECT config_hash FROM shared_cluster_registry WHERE "
                  "cluster_id = {})",
                  Statements<Share>::select(), cluster_of_entry));
  return text;
}

/// Adds the rows that can be read, until there are so many.
template <class Row>
void add_readable(const Result& result, std::size_t limit, std::vector<Row>& rows) {
  for (int at = 0; at < result.rows() && rows.size() < limit; ++at) {
    const Columns columns(result, at);
    try {
      rows.push_back(sql::RowReader(columns, sql::Table<Row>::name).template read<Row>());
    } catch (const CorruptDatabase&) {
      // A step that needs this row says so.
    }
  }
}

/// Pages by `ask(limit)`, which goes on behind what `follow` is told of, the last row of a page.
template <class Row, class Ask, class Follow>
std::vector<Row> readable_page(std::size_t limit, const Ask& ask, const Follow& follow) {
  std::vector<Row> rows;
  for (bool more = true; more && rows.size() < limit;) {
    const Result result = ask(static_cast<std::int64_t>(limit - rows.size()));
    more = static_cast<std::size_t>(result.rows()) == limit - rows.size();
    add_readable(result, limit, rows);
    if (more) follow(result, result.rows() - 1);
  }
  return rows;
}

/// A page of the rows whose holder may be dead.
template <class Row>
std::vector<Row> suspect_page(Transaction& transaction, const SessionLiveness& liveness,
                              TableReader::Page page) {
  static const std::string& sql = *new std::string(
      fmt::format("{} WHERE id > $1 AND {} ORDER BY id LIMIT $2", Statements<Row>::select(),
                  SessionLiveness::may_be_dead("$3::text")));
  return readable_page<Row>(
      page.limit,
      [&](std::int64_t limit) {
        return transaction.ask(sql,
                               Values().integer(page.after).integer(limit).text(liveness.log()));
      },
      [&](const Result& result, int last) { page.after = result.integer(last, 0); });
}

template <class Row>
std::vector<Row> page_of(Transaction& transaction, const std::string& sql, std::string_view value,
                         TableReader::Page page) {
  return read_rows<Row>(transaction.ask(
      sql,
      Values().text(value).integer(page.after).integer(static_cast<std::int64_t>(page.limit))));
}

std::vector<std::string> texts(const Result& result) {
  std::vector<std::string> found;
  found.reserve(static_cast<std::size_t>(result.rows()));
  for (int row = 0; row < result.rows(); ++row) found.emplace_back(result.text(row, 0));
  return found;
}

std::vector<TableReader::Naming> with_shares(const std::vector<RegistryEntry>& entries,
                                             const std::vector<Share>& shares) {
  std::vector<TableReader::Naming> found;
  for (const RegistryEntry& entry : entries) {
    const auto share = std::find_if(shares.begin(), shares.end(), [&](const Share& one) {
      return one.config_hash == entry.config_hash;
    });
    found.push_back({entry, share == shares.end() ? std::nullopt : std::optional(*share)});
  }
  return found;
}

}  // namespace

// ---- What is read ahead

void FirstLeases::learn(std::string_view of, std::vector<Lease> rows, std::size_t asked_for) {
  key_ = of;
  is_complete_ = rows.size() < asked_for;
  rows_ = std::move(rows);
}

std::optional<std::vector<Lease>> FirstLeases::find(std::string_view of,
                                                    TableReader::Page page) const {
  if (key_ != of || page.after != TableReader::from_the_first ||
      (!is_complete_ && rows_.size() < page.limit)) {
    return std::nullopt;
  }
  const auto count = std::min(page.limit, rows_.size());
  return std::vector<Lease>(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(count));
}

void FirstLeases::add(const Lease& row, std::string_view of) {
  if (key_ != of) return;
  const auto same = std::find_if(rows_.begin(), rows_.end(),
                                 [&](const Lease& known) { return known.id == row.id; });
  if (same != rows_.end()) {
    *same = row;
  } else if (is_complete_) {
    rows_.push_back(row);  // with the highest position
  }
}

void FirstLeases::remove(std::int64_t id) {
  std::erase_if(rows_, [&](const Lease& known) { return known.id == id; });
}

void PostgresTables::foresee(const Foresight& foresight) const {
  if (locks_ == nullptr || foreseen_ || foresight.config_hash.empty() ||
      !locks_->can_step(foresight.config_hash)) {
    return;
  }
  // In a new session the server makes a plan for each question, which takes longer than all else:
  // not while others wait for the locks.
  if (!locks_->have_some() &&
      !transaction_.has_plan(foresight.ends ? select_shares_by_entry()
                                            : select_by_entry<CachedCluster>("cluster_id", ""))) {
    rehearsed_ = std::make_unique<Foreseen>();
    locks_->rehearse_step();
    ask_ahead(*rehearsed_,
              {.config_hash = "", .ends = foresight.ends ? std::optional(0) : std::nullopt});
  }
  locks_->need_step(foresight.config_hash, static_cast<std::int64_t>(foresight.events),
                    foresight.may_wait);
  foreseen_ = std::make_unique<Foreseen>();
  ask_ahead(*foreseen_, foresight);
}

void PostgresTables::ask_ahead(Foreseen& seen, const Foresight& foresight) const {
  seen.of = foresight;
  const std::string& hash = foresight.config_hash;
  const auto expect = [&](std::optional<Result>& answer, const std::string& sql) {
    transaction_.expect(answer, sql, Values().text(hash));
  };
  expect(seen.entry, Statements<RegistryEntry>::select_one());
  expect(seen.share, Statements<Share>::select_one());
  transaction_.expect(seen.leases_of, LeaseStatements::leases_of(),
                      Values()
                          .text(hash)
                          .integer(TableReader::from_the_first)
                          .integer(static_cast<std::int64_t>(leases_ahead)));
  expect(seen.cluster, select_by_entry<CachedCluster>("cluster_id", ""));
  expect(seen.pending, select_by_entry<PendingTermination>("subject", ""));
  if (foresight.ends) {
    transaction_.expect(seen.lease, Statements<Lease>::select_one(),
                        Values().integer(*foresight.ends));
    expect(seen.entries_naming,
           select_by_entry<RegistryEntry>("cluster_id", "ORDER BY config_hash"));
    expect(seen.shares_naming, select_shares_by_entry());
    expect(seen.leases_on,
           select_by_entry<Lease>("cluster_id", fmt::format("ORDER BY id LIMIT {}", leases_ahead)));
  }
  liveness_.foresee(hash, foresight.ends);
}

/// With the locks that foresee() took, which guard these rows. If it took none, these rows are good
/// enough to wait.
void PostgresTables::learn_foreseen() const {
  if (!foreseen_ || foreseen_->is_learnt) return;
  if (!foreseen_->entry) transaction_.run();
  Foreseen& seen = *foreseen_;
  seen.is_learnt = true;
  const std::string& hash = seen.of.config_hash;
  const auto entry = read_row<RegistryEntry>(*seen.entry);
  entries_.insert_or_assign(hash, entry);
  shares_.insert_or_assign(hash, read_row<Share>(*seen.share));
  leases_of_.learn(hash, read_rows<Lease>(*seen.leases_of), leases_ahead);
  if (seen.lease) {
    const auto lease = read_row<Lease>(*seen.lease);
    if (!lease || lease->config_hash == hash) leases_.insert_or_assign(*seen.of.ends, lease);
  }
  if (!entry || !entry->cluster_id) return;
  const std::string& cluster_id = *entry->cluster_id;
  if (!locks_->note_cluster(cluster_id)) return;
  clusters_.insert_or_assign(cluster_id, read_row<CachedCluster>(*seen.cluster));
  pending_terminations_.insert_or_assign(cluster_id, read_row<PendingTermination>(*seen.pending));
  if (!seen.leases_on) return;
  leases_on_.learn(cluster_id, read_rows<Lease>(*seen.leases_on), leases_ahead);
  naming_.emplace(cluster_id, with_shares(read_rows<RegistryEntry>(*seen.entries_naming),
                                          read_rows<Share>(*seen.shares_naming)));
}

// ---- By index

std::vector<Lease> PostgresTables::leases_of(std::string_view config_hash, Page page) const {
  learn_foreseen();
  if (auto known = leases_of_.find(config_hash, page)) return std::move(*known);
  lock_stream(events::registry_stream(config_hash));
  return page_of<Lease>(transaction_, LeaseStatements::leases_of(), config_hash, page);
}

std::vector<Lease> PostgresTables::leases_on(std::string_view cluster_id, Page page) const {
  learn_foreseen();
  if (auto known = leases_on_.find(cluster_id, page)) return std::move(*known);
  lock_stream(events::cluster_stream(cluster_id));
  return page_of<Lease>(transaction_, LeaseStatements::leases_on(), cluster_id, page);
}

std::int64_t PostgresTables::count_leases_of(std::string_view config_hash) const {
  lock_stream(events::registry_stream(config_hash));
  return transaction_.ask(LeaseStatements::count_leases_of(), Values().text(config_hash))
      .integer(0, 0);
}

/// The lock on the cluster guards them, the shares of other configurations too.
std::vector<TableReader::Naming> PostgresTables::naming(std::string_view cluster_id) const {
  learn_foreseen();
  if (naming_ && naming_->first == cluster_id) return as_they_are_now(naming_->second, cluster_id);
  lock_stream(events::cluster_stream(cluster_id));
  const auto entries = read_rows<RegistryEntry>(
      transaction_.ask(LeaseStatements::entries_naming(), Values().text(cluster_id)));
  if (entries.empty()) return {};
  return with_shares(entries, read_rows<Share>(transaction_.ask(LeaseStatements::shares_naming(),
                                                                Values().text(cluster_id))));
}

/// What was read before this transaction changed some of it.
std::vector<TableReader::Naming> PostgresTables::as_they_are_now(
    std::vector<Naming> before, std::string_view cluster_id) const {
  std::vector<Naming> now;
  for (Naming& named : before) {
    if (entries_.contains(named.entry.config_hash)) continue;
    now.push_back(std::move(named));
  }
  for (const auto& [config_hash, entry] : entries_) {
    if (entry && entry->cluster_id == cluster_id) now.push_back({*entry, share(config_hash)});
  }
  std::sort(now.begin(), now.end(), [](const Naming& a, const Naming& b) {
    return a.entry.config_hash < b.entry.config_hash;
  });
  return now;
}

std::vector<CachedCluster> PostgresTables::active_clusters() const {
  lock(active_lock);
  return read_rows<CachedCluster>(transaction_.ask(LeaseStatements::active_clusters()));
}

std::optional<CachedCluster> PostgresTables::active_cluster(Timestamp now) const {
  lock(active_lock);
  const std::string time = format_timestamp(now);
  return read_row<CachedCluster>(
      transaction_.ask(LeaseStatements::active_cluster(), Values().text(time)));
}

std::vector<PendingTermination> PostgresTables::pending_terminations_of(
    std::string_view config_hash) const {
  lock_stream(events::registry_stream(config_hash));
  return read_rows<PendingTermination>(
      transaction_.ask(LeaseStatements::terminations_of(), Values().text(config_hash)));
}

/// Without a lock: the claim looks at it again with one.
std::vector<PendingTermination> PostgresTables::waiting_terminations(
    bool every_host, const std::optional<std::string>& host, std::optional<Timestamp> due_by,
    std::size_t behind, std::size_t limit) const {
  const std::string& sql = every_host ? LeaseStatements::waiting_terminations()
                           : host     ? LeaseStatements::waiting_terminations_of_host()
                                      : LeaseStatements::waiting_terminations_without_host();
  const std::string time = due_by ? format_timestamp(*due_by) : std::string();
  Values values;
  values.integer(static_cast<std::int64_t>(behind)).integer(static_cast<std::int64_t>(limit));
  due_by ? values.text(time) : values.null();
  if (!every_host && host) values.text(*host);
  return read_rows<PendingTermination>(transaction_.ask(sql, values));
}

std::vector<Participant> PostgresTables::participants_of(std::string_view run, Page page) const {
  lock_stream(events::run_stream(run));
  return page_of<Participant>(transaction_, LeaseStatements::participants_of(), run, page);
}

std::vector<std::string> PostgresTables::configurations_of(std::string_view run) const {
  lock_stream(events::run_stream(run));
  return texts(
      transaction_.ask("SELECT config_hash FROM shares WHERE runs <> '[]' AND "
                       "list_of_runs(runs) @> to_jsonb($1::text) ORDER BY config_hash",
                       Values().text(run)));
}

// ---- For a sweep, which decides again what it finds

std::vector<Lease> PostgresTables::leases_after(Page page) const {
  return suspect_page<Lease>(transaction_, liveness_, page);
}

std::vector<Participant> PostgresTables::participants_after(Page page) const {
  return suspect_page<Participant>(transaction_, liveness_, page);
}

std::optional<std::string> PostgresTables::progress(std::string_view config_hash,
                                                    std::int64_t creation) const {
  const Result rows = transaction_.ask(
      "SELECT doing FROM creation_progress WHERE config_hash = $1::text AND creation = $2::bigint",
      Values().text(config_hash).integer(creation));
  return rows.rows() > 0 ? std::optional(std::string(rows.text(0, 0))) : std::nullopt;
}

void PostgresTables::tell_progress(std::string_view config_hash, std::int64_t creation,
                                   std::string_view doing) {
  transaction_.change(
      "DELETE FROM creation_progress AS told WHERE NOT EXISTS (SELECT 1 FROM shares "
      "WHERE config_hash = told.config_hash AND creation = told.creation)",
      Values());
  transaction_.change(
      "INSERT INTO creation_progress (config_hash, creation, doing) "
      "SELECT $1::text, $2::bigint, $3::text WHERE EXISTS "
      "(SELECT 1 FROM shares WHERE config_hash = $1::text AND creation = $2::bigint) "
      "ON CONFLICT (config_hash) DO UPDATE SET creation = excluded.creation, doing = "
      "excluded.doing",
      Values().text(config_hash).integer(creation).text(doing));
  changed_ = true;
}

std::vector<Share> PostgresTables::busy_shares_after(std::string_view config_hash,
                                                     std::size_t limit) const {
  std::string after(config_hash);
  return readable_page<Share>(
      limit,
      [&](std::int64_t rows) {
        return transaction_.ask(LeaseStatements::busy_shares_after(),
                                Values().text(after).integer(rows));
      },
      [&](const Result& result, int last) { after = result.text(last, 0); });
}

std::vector<PendingTermination> PostgresTables::running_terminations() const {
  std::vector<PendingTermination> rows;
  add_readable(transaction_.ask(LeaseStatements::running_terminations()),
               std::numeric_limits<std::size_t>::max(), rows);
  return rows;
}

std::vector<std::string> PostgresTables::expired_configurations(Timestamp now,
                                                                std::string_view after,
                                                                std::size_t limit) const {
  const std::string time = format_timestamp(now);
  return texts(
      transaction_.ask(LeaseStatements::expired_configurations(),
                       Values().text(time).text(after).integer(static_cast<std::int64_t>(limit))));
}

}  // namespace dbcache::store::postgres
