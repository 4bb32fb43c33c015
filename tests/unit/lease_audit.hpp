#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lease_world.hpp"

namespace dbcache::test {

/// Checks after each step that a world of leases keeps the rules. It counts by the events alone,
/// without the library's rules, and replays them into tables of its own.
class LeaseAudit {
 public:
  explicit LeaseAudit(const LeaseWorld& world) : world_(world) {}

  void check() {
    follow_events();
    check_usage();
    check_debts();
    for (const RegistryEntry& entry : world_.tables.entries()) {
      EXPECT_TRUE(entry.status != RegistryStatus::ready || entry.cluster_id) << entry.config_hash;
    }
    EXPECT_LE(
        world_.tables.clusters({.is_active = true, .is_expired = false}, world_.now, {}).size(),
        1u);
    for (const std::string_view table : rows::projected_tables) {
      expect_same(world_.tables.raw_rows(table), replayed_.raw_rows(table), table);
    }
  }

  /// Whether someone took this cluster over from dbcache.
  [[nodiscard]] bool was_taken(const std::string& cluster_id) const {
    return users_.contains(cluster_id);
  }

  /// What the log says of a cluster.
  [[nodiscard]] std::string story(const std::string& id) const {
    std::string text;
    for (std::size_t at = 0; at < world_.log.size(); ++at) {
      const std::string payload = payload_of(world_.log[at]);
      if (payload.find('"' + id + '"') != std::string::npos) {
        text += fmt::format("\n{} {} {}", at + 1, type_of(world_.log[at]), payload);
      }
    }
    return text;
  }

 private:
  /// What the events say of an entry's uses.
  struct Uses {
    std::set<std::int64_t> leases;
    std::optional<std::int64_t> creation;
    std::int64_t documented = 0;
  };

  /// Each new event, as it would be read from a log.
  void follow_events() {
    for (; followed_ < world_.log.size(); ++followed_) {
      const auto position = static_cast<std::int64_t>(followed_) + 1;
      const events::Event event =
          events::parse_event(type_of(world_.log[followed_]), payload_of(world_.log[followed_]));
      std::visit([&](const auto& payload) { note(payload, position); }, event);
      projections::project(event, position, replayed_);
    }
  }

  template <class Payload>
  void note(const Payload&, std::int64_t) {}
  void note(const events::CreationRegistered& event, std::int64_t) {
    uses_[event.config_hash] = {{}, {}, 1};
  }
  void note(const events::UsageIncremented& event, std::int64_t) {
    uses_[event.config_hash].documented += 1;
  }
  void note(const events::UsageDecremented& event, std::int64_t) {
    uses_[event.config_hash].documented -= 1;
  }
  void note(const events::RegistryEntryRemoved& event, std::int64_t) {
    const Uses& uses = uses_[event.config_hash];
    EXPECT_TRUE(uses.leases.empty() && !uses.creation) << event.config_hash;
    uses_.erase(event.config_hash);
  }
  void note(const events::CreationStarted& event, std::int64_t position) {
    Uses& uses = uses_[event.config_hash];
    EXPECT_FALSE(uses.creation) << "two create " << event.config_hash;
    EXPECT_TRUE(uses.leases.empty()) << event.config_hash;
    uses = {{}, position, 0};
  }
  void note(const events::LeaseGranted& event, std::int64_t position) {
    Uses& uses = uses_[event.config_hash];
    if (event.creation) {
      EXPECT_EQ(uses.creation, event.creation);
      uses.creation.reset();
    }
    uses.leases.insert(position);
  }
  void note(const events::LeaseReleased& event, std::int64_t) {
    ended(event.config_hash, event.lease);
  }
  void note(const events::LeaseLost& event, std::int64_t) { ended(event.config_hash, event.lease); }
  void ended(const std::string& hash, std::int64_t lease) {
    Uses& uses = uses_[hash];
    if (uses.creation == lease) {
      uses.creation.reset();
    } else {
      EXPECT_EQ(uses.leases.erase(lease), 1u) << lease << " of " << hash << " ended twice";
    }
  }
  void note(const events::TerminationOwed& event, std::int64_t) {
    EXPECT_TRUE(pending_terminations_.insert(event.subject).second)
        << event.subject << " is owed twice";
  }
  void note(const events::TerminationDone& event, std::int64_t) {
    pending_terminations_.erase(event.subject);
  }
  void note(const events::TerminationCancelled& event, std::int64_t) {
    pending_terminations_.erase(event.subject);
    if (event.reason == events::CancelReason::in_use) users_.insert(event.subject);
  }

  void check_usage() {
    for (const RegistryEntry& entry : world_.tables.entries()) {
      const Uses& uses = uses_[entry.config_hash];
      const auto leases = static_cast<std::int64_t>(uses.leases.size());
      EXPECT_EQ(entry.usage_count, leases + (uses.creation ? 1 : 0) + uses.documented)
          << entry.config_hash;
      const commands::Usage usage = commands::usage_of(entry, world_.tables);
      EXPECT_EQ(usage.leases, leases);
      EXPECT_EQ(usage.creations, uses.creation ? 1 : 0);
      EXPECT_EQ(usage.documented, uses.documented);
    }
  }

  void check_debts() {
    std::set<std::string> leased;
    for (const rows::Lease& lease : world_.tables.leases()) leased.insert(lease.cluster_id);
    for (const rows::PendingTermination& pending : world_.tables.pending_terminations()) {
      EXPECT_TRUE(pending_terminations_.contains(pending.subject));
      EXPECT_FALSE(pending.termination && pending.cluster_id &&
                   leased.contains(*pending.cluster_id))
          << pending.subject << " is terminated under a lease";
    }
  }

  static void expect_same(const std::vector<rows::RawRow>& live,
                          const std::vector<rows::RawRow>& made, std::string_view table) {
    ASSERT_EQ(live.size(), made.size()) << table;
    for (std::size_t row = 0; row < live.size(); ++row) {
      EXPECT_EQ(live[row].key, made[row].key) << table;
      EXPECT_EQ(live[row].columns, made[row].columns) << table;
    }
  }

  const LeaseWorld& world_;
  projections::MemoryTables replayed_;
  std::size_t followed_ = 0;  ///< So many events of the log are in it.
  std::map<std::string, Uses> uses_;
  std::set<std::string> pending_terminations_;  ///< Their subjects.
  std::set<std::string> users_;                 ///< Clusters that someone took over from dbcache.
};

}  // namespace dbcache::test
