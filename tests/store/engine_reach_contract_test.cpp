#include <algorithm>
#include <random>

#include "engine_contract.hpp"
#include "projections/memory_tables.hpp"

// What a step on a configuration and a sweep ask: every engine answers as the tables in memory do.
namespace dbcache::store {
namespace {

using projections::MemoryTables;
using rows::TableReader;

const Timestamp noon = parse_timestamp("2026-01-15T10:30:00");

class EngineReach : public EngineContract {
 protected:
  std::size_t below(std::size_t count) { return random_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  std::string any(const std::string& prefix, std::size_t count) {
    return prefix + std::to_string(below(count));
  }
  rows::Holder any_holder() {
    rows::Holder holder;
    holder.lock_file = "0123456789abcdef0123456789abcdef";
    holder.lock = static_cast<std::int64_t>(below(1000)) + 1;
    holder.host = "ci-1";
    return holder;
  }
  Timestamp any_time() { return noon + std::chrono::minutes(static_cast<int>(below(120)) - 60); }

  /// Puts a row, changes one or removes one, in both.
  void change(rows::Tables& tables) {
    switch (below(9)) {
      case 0:
      case 1: {
        rows::Lease lease;
        lease.id = static_cast<std::int64_t>(below(60)) + 1;
        lease.config_hash = any("h", 5);
        lease.cluster_id = any("c", 4);
        lease.holder = any_holder();
        lease.granted_at = noon;
        tables.put(lease);
        break;
      }
      case 2:
        tables.erase_lease(static_cast<std::int64_t>(below(60)) + 1);
        break;
      case 3:
        put_entry(tables);
        break;
      case 4: {
        const std::string hash = any("h", 5);
        const auto cluster_id = one_in(3) ? std::nullopt : std::optional(any("c", 4));
        tables.change_entry(hash, [&](RegistryEntry& row) { row.cluster_id = cluster_id; });
        break;
      }
      case 5:
        if (const std::string hash = any("h", 5); one_in(3)) {
          tables.erase_entry(hash);
          tables.erase_share(hash);
        }
        break;
      case 6: {
        CachedCluster row;
        row.cluster_id = any("c", 4);
        row.id = static_cast<std::int64_t>(below(1000)) + 1;
        row.created_at = row.last_accessed = noon;
        row.expiry_time = any_time();
        row.is_active = one_in(2);
        const auto with_that_id = ids_.find(row.id);
        if (with_that_id == ids_.end() || with_that_id->second == row.cluster_id) {
          ids_[row.id] = row.cluster_id;
          tables.put(row);
        }
        break;
      }
      case 7:
        put_termination(tables);
        break;
      default: {
        rows::Participant one;
        one.id = static_cast<std::int64_t>(below(30)) + 1;
        one.run = any("r", 3);
        one.kind = "worker";
        one.holder = any_holder();
        one.joined_at = noon;
        one_in(4) ? tables.erase_participant(one.id) : tables.put(one);
      }
    }
  }

  void put_entry(rows::Tables& tables) {
    RegistryEntry entry;
    entry.config_hash = any("h", 5);
    entry.id = 1 + static_cast<std::int64_t>(entry.config_hash.back() - '0');
    entry.creation_time = noon;
    if (!one_in(4)) entry.cluster_id = any("c", 4);
    entry.status = one_in(2) ? RegistryStatus::ready : RegistryStatus::creating;
    tables.put(entry);
    rows::Share share;
    share.config_hash = entry.config_hash;
    share.origin = one_in(4) ? rows::EntryOrigin::documented : rows::EntryOrigin::acquired;
    if (one_in(3)) share.creation = 7;
    if (one_in(4)) share.check = 8;
    for (const std::string run : {"r0", "r1", "a \"b\" r"}) {
      if (one_in(3)) share.runs.push_back(run);
    }
    tables.put(share);
  }

  void put_termination(rows::Tables& tables) {
    rows::PendingTermination pending;
    pending.subject = any("c", 6);
    pending.config_hash = any("h", 5);
    if (!one_in(3)) pending.host = any("https://w", 2);
    pending.reason = "expired";
    pending.owed_at = any_time();
    if (one_in(2)) pending.retry_at = any_time();
    if (one_in(3)) {
      pending.termination = 9;
      pending.terminator = any_holder();
    }
    one_in(4) ? tables.erase_pending_termination(pending.subject) : tables.put(pending);
  }

  static void expect_same(const TableReader& engine, const TableReader& memory) {
    const TableReader::Page few{TableReader::from_the_first, 3};
    for (int i = 0; i < 6; ++i) {
      const std::string hash = "h" + std::to_string(i);
      const std::string cluster_id = "c" + std::to_string(i);
      EXPECT_EQ(engine.leases_of(hash, few), memory.leases_of(hash, few));
      EXPECT_EQ(engine.leases_of(hash, {20, 100}), memory.leases_of(hash, {20, 100}));
      EXPECT_EQ(engine.leases_on(cluster_id, few), memory.leases_on(cluster_id, few));
      EXPECT_EQ(engine.count_leases_of(hash), memory.count_leases_of(hash));
      EXPECT_EQ(engine.pending_terminations_of(hash), memory.pending_terminations_of(hash));
      expect_same_naming(engine.naming(cluster_id), memory.naming(cluster_id));
    }
    EXPECT_EQ(engine.active_clusters(), memory.active_clusters());
    EXPECT_EQ(engine.active_cluster(noon), memory.active_cluster(noon));
    for (const std::string run : {"r0", "r1", "r2", "a \"b\" r"}) {
      EXPECT_EQ(engine.participants_of(run, few), memory.participants_of(run, few));
      EXPECT_EQ(engine.configurations_of(run), memory.configurations_of(run)) << run;
    }
    EXPECT_EQ(engine.participant(5), memory.participant(5));
    EXPECT_EQ(engine.leases_after({10, 7}), memory.leases_after({10, 7}));
    EXPECT_EQ(engine.participants_after(few), memory.participants_after(few));
    EXPECT_EQ(engine.busy_shares_after("h1", 2), memory.busy_shares_after("h1", 2));
    EXPECT_EQ(engine.running_terminations(), memory.running_terminations());
    EXPECT_EQ(engine.expired_configurations(noon, "", 2),
              memory.expired_configurations(noon, "", 2));
    for (const auto& host :
         {std::optional<std::string>(), std::optional<std::string>("https://w1")}) {
      for (const bool every : {true, false}) {
        for (const auto due_by : {std::optional<Timestamp>(), std::optional(noon)}) {
          EXPECT_EQ(engine.waiting_terminations(every, host, due_by, 1, 2),
                    memory.waiting_terminations(every, host, due_by, 1, 2));
        }
      }
    }
  }

  static void expect_same_naming(const std::vector<TableReader::Naming>& found,
                                 const std::vector<TableReader::Naming>& expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t at = 0; at < found.size(); ++at) {
      EXPECT_EQ(found[at].entry, expected[at].entry);
      EXPECT_EQ(found[at].share, expected[at].share);
    }
  }

  std::mt19937_64 random_{20'261'130};
  std::map<std::int64_t, std::string> ids_;  ///< Of clusters: two rows have no id in common.
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineReach, engines(), engine_name);

TEST_P(EngineReach, AnswersAsTheTablesInMemoryDo) {
  const auto engine = open();
  MemoryTables memory;
  for (int transaction = 0; transaction < 40; ++transaction) {
    std::mt19937_64 before = random_;
    auto ids = ids_;
    write(*engine, [&](WriteSession& session) {
      random_ = before;  // the work may run again
      ids_ = ids;
      for (int i = 0; i < 10; ++i) change(session.tables);
      if (transaction % 4 == 0) {
        MemoryTables same;
        memory.copy_to(same);
        random_ = before;
        ids_ = ids;
        for (int i = 0; i < 10; ++i) change(same);
        expect_same(session.tables, same);
      }
    });
    random_ = before;
    ids_ = ids;
    for (int i = 0; i < 10; ++i) change(memory);
    engine->read(std::nullopt,
                 [&](const ReadSession& session) { expect_same(session.tables, memory); });
    if (HasFailure()) FAIL() << "after transaction " << transaction;
  }
}

}  // namespace
}  // namespace dbcache::store
