#pragma once

#include <memory>
#include <string>
#include <vector>

#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <dbcache/dbcache.hpp>

#include "coordination/move.hpp"
#include "store/engine_contract.hpp"
#include "support/errors.hpp"
#include "support/manual_clock.hpp"
#include "support/scoped_variable.hpp"

// What a move between two databases must keep, whatever their engines.
namespace dbcache::store {

/// All that a database holds: every event and every projected row, as stored, a line each.
inline std::vector<std::string> contents_of(const Options& options) {
  std::vector<std::string> lines;
  const Store store(options);
  store.read([&](const ReadSession& session) {
    constexpr std::size_t all = 1'000'000;
    for (const EventRecord& event : session.log.read(-1'000'000, all, Extent::visible)) {
      lines.push_back(fmt::format("{} {} {} {} {} {} {} {} {}", event.position, event.stream,
                                  event.version, event.type, event.payload, event.metadata,
                                  event.recorded_at, event.command_id, event.hash));
    }
    for (const std::string_view table : rows::projected_tables) {
      for (const rows::RawRow& row : session.tables.raw_rows(table)) {
        lines.push_back(
            fmt::format("{} {}: {}", table, row.key, boost::json::serialize(row.columns)));
      }
    }
  });
  return lines;
}

/// Which engine's log goes to which.
using EnginePair = std::tuple<EngineKind, EngineKind>;

inline auto engine_pairs() { return ::testing::Combine(engines(), engines()); }

inline std::string pair_name(const ::testing::TestParamInfo<EnginePair>& info) {
  return std::get<0>(info.param).name + "To" + std::get<1>(info.param).name;
}

/// A test over two databases, neither of which is made yet.
class MoveContract : public ::testing::TestWithParam<EnginePair> {
 protected:
  [[nodiscard]] Options at(const Place& place) const {
    Options options;
    options.database = place.database();
    options.schema = place.schema();
    options.clock = clock_.clock();
    options.durability = Durability::relaxed;
    return options;
  }

  /// Where both are new.
  void begin_anew() {
    from_place_ = std::get<0>(GetParam()).new_place();
    to_place_ = std::get<1>(GetParam()).new_place();
    from_ = at(*from_place_);
    to_ = at(*to_place_);
  }

  static MoveReport move(const Options& from, const Options& to, std::size_t page = 3) {
    Store source(from);
    Store target(to);
    return coordination::move(source, target, {}, {.page = page, .committed = {}});
  }
  /// What it threw, as "Class: message".
  static std::string error_of_moving(const Options& from, const Options& to) {
    return test::error_of([&] { return move(from, to); });
  }

  static std::optional<std::string> closed(const Options& options) {
    return CacheManager(options).get_database_info().closed;
  }

  test::BareEnvironment environment_;
  test::ManualClock clock_{"2026-01-15T10:30:00"};
  std::unique_ptr<Place> from_place_ = std::get<0>(GetParam()).new_place();
  std::unique_ptr<Place> to_place_ = std::get<1>(GetParam()).new_place();
  Options from_ = at(*from_place_);
  Options to_ = at(*to_place_);
};

/// Leaves rows in every table in which there may be some when nobody holds anything.
inline void fill(const Options& options) {
  CacheManager manager(options);
  SharedClusters shared(manager);
  manager.cache_new_cluster("cluster-\u00e4\\1%",
                            {{"num_workers", 2}, {"text", std::string("a\0b", 3)}});
  manager.cache_new_cluster("cluster-2", {{"is_shared", true}});
  manager.update_cluster_access("cluster-2");
  manager.register_shared_cluster_creation("gr\u00f6\u00dfe", 1);
  manager.update_shared_cluster_status("gr\u00f6\u00dfe", RegistryStatus::failed,
                                       {.error_message = "no quota \U0001F600\t"});
  manager.increment_shared_cluster_usage("gr\u00f6\u00dfe");
  const ClusterConfig config{{"host", "https://example.test"}};
  ClusterLifecycle lifecycle;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("leased-1"); };
  shared.acquire(config, lifecycle).release();
  AcquireOptions hand_back;
  hand_back.policy = HandBackPolicy::hand_back;
  lifecycle.create = [](const ClusterConfig&, Creation&) { return std::string("owed-1"); };
  shared.acquire({{"num_workers", 7}}, lifecycle, hand_back).release();
}

}  // namespace dbcache::store
