// Whatever is done to it, the cache answers as the documented system would, and its tables are what
// its log says. DBCACHE_TEST_SEED plays another game than the usual one.

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <dbcache/cache_manager.hpp>

#include "documented_model.hpp"
#include "support/manual_clock.hpp"
#include "support/rounds.hpp"
#include "support/scoped_variable.hpp"
#include "support/test_database.hpp"

namespace dbcache {

void PrintTo(const CachedCluster& row, std::ostream* out) {
  *out << fmt::format("#{} {} {} x{} active {} shared {} created {} expires {}", row.id,
                      row.cluster_id, row.status, row.access_count, row.is_active, row.is_shared,
                      format_timestamp(row.created_at), format_timestamp(row.expiry_time));
}

void PrintTo(const RegistryEntry& row, std::ostream* out) {
  *out << fmt::format("#{} {} {} of {} x{} error {}", row.id, row.config_hash,
                      to_string(row.status), row.cluster_id.value_or("-"), row.usage_count,
                      row.error_message.value_or("-"));
}

namespace {

using namespace std::chrono_literals;
using test::DocumentedModel;

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr int replay_count = 10;
constexpr std::uint64_t usual_seed = 20'260'115;

int command_count() {
  return test::over_postgres() ? test::rounds(300, 1'000) : test::rounds(3'000, 10'000);
}

std::uint64_t seed() {
  const char* const given = std::getenv("DBCACHE_TEST_SEED");
  return given == nullptr ? usual_seed : std::strtoull(given, nullptr, 10);
}

/// Plays random commands against a cache and the model, and compares what they answer.
class Game {
 public:
  Game() {
    // How often each command comes up, out of the sum of them all.
    add(12, &Game::cache_new);
    add(10, &Game::save);
    add(14, &Game::access);
    add(5, &Game::remove);
    add(3, &Game::clean_up);
    add(1, &Game::clear_clusters);
    add(7, &Game::register_creation);
    add(5, &Game::register_or_join);
    add(12, &Game::change_status);
    add(12, &Game::increment);
    add(12, &Game::decrement);
    add(4, &Game::clean_up_entry);
    add(1, &Game::clear_registry);
    add(8, &Game::give_invalid_input);
  }

  /// Stops at the first command after which the two disagree.
  void play() {
    for (int count = 1; count <= command_count(); ++count) {
      move_the_clock();
      said_ = "";
      (this->*commands_[below(commands_.size())])();
      compare_answers();
      if (count % (command_count() / replay_count) == 0) compare_with_the_log();
      if (testing::Test::HasFailure()) {
        FAIL() << "after command " << count << " of seed " << seed() << ": " << said_;
      }
    }
  }

  /// Rebuilds the tables from the log, which must leave every row as it was.
  void rebuild() {
    const ReplayReport report = cache_.replay();
    EXPECT_TRUE(report.rebuilt);
    EXPECT_EQ(report.differences.size(), 0u);
    compare_answers();
    compare_with_the_log();
  }

 private:
  // ---- Chance

  std::size_t below(std::size_t count) { return random_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }

  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return *(choices.begin() + below(choices.size()));
  }

  std::string any_cluster() {
    return one_of<std::string>({"c-1", "c-2", "c-3", "gr\u00f6\u00dfe", "c-5/\\%"});
  }
  std::string any_hash() { return one_of<std::string>({"h-1", "h-2", "h-3", "c-1"}); }
  RegistryStatus any_status() {
    return one_of({RegistryStatus::creating, RegistryStatus::ready, RegistryStatus::failed});
  }
  std::optional<bool> maybe() { return one_of<std::optional<bool>>({std::nullopt, true, false}); }

  template <class T>
  std::optional<T> perhaps(T value) {
    return one_in(2) ? std::optional(std::move(value)) : std::nullopt;
  }

  void move_the_clock() {
    clock_.advance(std::chrono::microseconds(below(90'000'000)));
    if (one_in(50)) clock_.advance(40min);
    if (one_in(200)) clock_.advance(-5min);  // clocks are set back, too
    // To the very moment at which a cluster expires, where one is still to expire.
    if (one_in(20) && !model_.clusters.empty()) {
      const Timestamp expiry = model_.clusters[below(model_.clusters.size())].expiry_time;
      if (expiry > clock_.now() && expiry < clock_.now() + 2h)
        clock_.advance(expiry - clock_.now());
    }
  }

  void add(int weight, void (Game::*command)()) {
    commands_.insert(commands_.end(), static_cast<std::size_t>(weight), command);
  }

  // ---- Commands

  void cache_new() {
    CachedCluster row;
    row.cluster_id = any_cluster();
    row.cluster_name = perhaps<std::string>("name");
    row.host = perhaps<std::string>("https://workspace.cloud.databricks.com");
    row.num_workers = perhaps<std::int64_t>(static_cast<std::int64_t>(below(9)));
    row.is_shared = one_in(3);
    row.status = one_of<std::string>({"RUNNING", "PENDING"});
    ClusterConfig config{{"status", row.status}, {"is_shared", row.is_shared}, {"custom", {1, 2}}};
    if (row.cluster_name) config.values()["cluster_name"] = *row.cluster_name;
    if (row.host) config.values()["host"] = *row.host;
    if (row.num_workers) config.values()["num_workers"] = *row.num_workers;
    if (one_in(3)) {
      row.created_at = parse_timestamp("2026-01-14T23:00:00.000007");
      config.values()["created_at"] = "2026-01-15T01:00:00.000007+02:00";
    }
    said_ = "cache " + row.cluster_id;
    cache_.cache_new_cluster(row.cluster_id, config);
    model_.cache_new(row, clock_.now());
  }

  void save() {
    CachedCluster row;
    row.id = 12345;  // not taken
    row.cluster_id = any_cluster();
    row.cluster_name = perhaps<std::string>("saved \U0001F600");
    row.num_workers = perhaps<std::int64_t>(0);
    row.status = one_of<std::string>({"RUNNING", "TERMINATED", ""});
    row.access_count = one_in(20) ? most : static_cast<std::int64_t>(below(5));
    row.is_active = !one_in(3);
    row.is_shared = one_in(3);
    if (one_in(2)) row.created_at = clock_.now() - 3h;
    if (one_in(2)) row.last_accessed = clock_.now() - 1min;
    if (one_in(2)) row.expiry_time = clock_.now() + one_of({-1min, 0min, 1min, 300min});
    said_ = "save " + row.cluster_id;
    cache_.save_cluster_cache(row);
    model_.save(row, clock_.now());
  }

  void access() {
    const std::string id = any_cluster();
    said_ = "access " + id;
    EXPECT_EQ(cache_.update_cluster_access(id), model_.access(id, clock_.now()));
  }

  void remove() {
    const std::string id = any_cluster();
    said_ = "remove " + id;
    EXPECT_EQ(cache_.remove_terminated_cluster(id), model_.remove(id));
  }

  void clean_up() {
    said_ = "clean up";
    EXPECT_EQ(cache_.cleanup_expired_clusters(), model_.clean_up(clock_.now()));
  }

  void clear_clusters() {
    said_ = "clear the clusters";
    EXPECT_EQ(cache_.clear_cluster_cache(), model_.clear_clusters());
  }

  void register_creation() {
    const std::string hash = any_hash();
    said_ = "register " + hash;
    const bool answer = cache_.register_shared_cluster_creation(hash, 1);
    model_.register_creation(hash, 1, clock_.now());
    EXPECT_EQ(answer, model_.can_join(hash));
  }

  void register_or_join() {
    const std::string hash = any_hash();
    said_ = "register or join " + hash;
    const Registration answer = cache_.register_or_join_shared_cluster(hash, 4711);
    EXPECT_EQ(answer.created, model_.register_creation(hash, 4711, clock_.now()));
    EXPECT_EQ(answer.joinable, model_.can_join(hash));
    EXPECT_EQ(numbered(answer.entry), model_.entry(hash));
  }

  void change_status() {
    const std::string hash = any_hash();
    const RegistryStatus status = any_status();
    const StatusDetails details{perhaps(any_cluster()), perhaps<std::string>("no quota\n")};
    said_ = fmt::format("change the status of {} to {}", hash, to_string(status));
    switch (model_.change_status(hash, status, details)) {
      case DocumentedModel::StatusAnswer::changed:
        cache_.update_shared_cluster_status(hash, status, details);
        break;
      case DocumentedModel::StatusAnswer::not_found:
        EXPECT_THROW(cache_.update_shared_cluster_status(hash, status, details), NotFound);
        break;
      case DocumentedModel::StatusAnswer::needs_cluster:
        EXPECT_THROW(cache_.update_shared_cluster_status(hash, status, details), InvalidArgument);
        break;
    }
  }

  void increment() {
    const std::string hash = any_hash();
    said_ = "increment " + hash;
    EXPECT_EQ(cache_.increment_shared_cluster_usage(hash), model_.increment(hash));
  }

  void decrement() {
    const std::string hash = any_hash();
    said_ = "decrement " + hash;
    EXPECT_EQ(cache_.decrement_shared_cluster_usage(hash), model_.decrement(hash));
  }

  void clean_up_entry() {
    const std::string hash = any_hash();
    said_ = "clean up " + hash;
    EXPECT_TRUE(cache_.cleanup_shared_cluster_registry(hash));
    model_.clean_up_entry(hash);
  }

  void clear_registry() {
    said_ = "clear the registry";
    EXPECT_EQ(cache_.clear_shared_cluster_registry(), model_.clear_entries());
  }

  /// What must be refused, and must change nothing: the model is not told of it.
  void give_invalid_input() {
    const std::string bad_id =
        one_of<std::string>({"", std::string(300, 'x'), "\xFF", std::string("a\0b", 3)});
    CachedCluster bad_row;
    bad_row.cluster_id = any_cluster();
    (one_in(2) ? bad_row.access_count : bad_row.num_workers.emplace()) = -1;
    const std::vector<std::function<void()>> calls{
        [&] { cache_.cache_new_cluster(bad_id); },
        [&] {
          cache_.cache_new_cluster(any_cluster(), {{"num_workers", -1}});
        },
        [&] {
          cache_.cache_new_cluster(any_cluster(), {{"created_at", "yesterday"}});
        },
        [&] {
          cache_.cache_new_cluster(any_cluster(), {{"custom", "\xFF"}});
        },
        [&] { cache_.save_cluster_cache(bad_row); },
        [&] { cache_.update_cluster_access(bad_id); },
        [&] { cache_.remove_terminated_cluster(bad_id); },
        [&] { cache_.register_shared_cluster_creation(bad_id, 1); },
        [&] { cache_.register_shared_cluster_creation(any_hash(), 0); },
        [&] { cache_.update_shared_cluster_status(bad_id, any_status()); },
        [&] {
          cache_.update_shared_cluster_status(any_hash(), any_status(), {bad_id, {}});
        },
        [&] {
          cache_.update_shared_cluster_status(any_hash(), any_status(), {{}, "\xFF"});
        },
        [&] { cache_.increment_shared_cluster_usage(bad_id); },
        [&] { cache_.decrement_shared_cluster_usage(bad_id); },
        [&] { cache_.cleanup_shared_cluster_registry(bad_id); },
        [&] { static_cast<void>(cache_.get_shared_cluster_info(bad_id)); }};
    const std::size_t which = below(calls.size());
    said_ = fmt::format("invalid input {}", which);
    EXPECT_THROW(calls[which](), InvalidArgument);
  }

  // ---- Comparing

  /// With the number of its event in place of the position, which is another where numbers are
  /// missing from the log.
  template <class Row>
  Row numbered(Row row) {
    if (!test::over_postgres()) return row;
    if (const auto news = static_cast<std::size_t>(model_.events) - positions_.size(); news > 0) {
      const auto events = cache_.history({.limit = news, .order = HistoryOrder::newest_first});
      for (auto event = events.rbegin(); event != events.rend(); ++event) {
        positions_.push_back(event->position);
      }
    }
    const auto found = std::lower_bound(positions_.begin(), positions_.end(), row.id);
    EXPECT_TRUE(found != positions_.end() && *found == row.id) << "no event is at " << row.id;
    row.id = found - positions_.begin() + 1;
    return row;
  }
  template <class Row>
  std::optional<Row> numbered(std::optional<Row> row) {
    if (row) row = numbered(std::move(*row));
    return row;
  }
  template <class Row>
  std::vector<Row> numbered(std::vector<Row> rows) {
    for (Row& row : rows) row = numbered(std::move(row));
    return rows;
  }

  void compare_answers() {
    const Timestamp now = clock_.now();
    EXPECT_EQ(numbered(cache_.get_all_clusters()), model_.all_clusters({}, now));
    EXPECT_EQ(numbered(cache_.get_all_shared_clusters()), model_.all_entries());
    EXPECT_EQ(numbered(cache_.load_cluster_cache()), model_.load(now));
    EXPECT_EQ(cache_.get_database_info().events, model_.events);
    compare_info(now);
    compare_statistics(now);

    const ClusterFilter filter{maybe(), maybe(), maybe()};
    EXPECT_EQ(numbered(cache_.get_all_clusters(filter)), model_.all_clusters(filter, now));
    const std::string hash = any_hash();
    EXPECT_EQ(numbered(cache_.get_shared_cluster_info(hash)), model_.entry(hash));
    EXPECT_EQ(cache_.can_join_shared_cluster_creation(hash), model_.can_join(hash));
  }

  void compare_info(Timestamp now) {
    const auto info = cache_.get_cached_cluster_info();
    const auto expected = model_.load_although_expired(now);
    ASSERT_EQ(info.has_value(), expected.has_value());
    if (!info) return;
    const bool valid = expected->expiry_time > now;
    EXPECT_EQ(numbered(info->cluster), *expected);
    EXPECT_EQ(info->is_valid, valid);
    EXPECT_EQ(info->remaining, valid ? expected->expiry_time - now : 0us);
    EXPECT_EQ(cache_.is_cluster_cache_valid(*expected), valid);
  }

  void compare_statistics(Timestamp now) {
    CacheStatistics statistics = cache_.get_cache_statistics();
    statistics.cache_file_size = 0;
    EXPECT_EQ(statistics, model_.statistics(now));
  }

  void compare_with_the_log() {
    const ReplayReport check = cache_.replay({.mode = ReplayMode::check});
    EXPECT_EQ(check.differences.size(), 0u);
    EXPECT_EQ(check.events, model_.events);
    EXPECT_EQ(check.clusters, static_cast<std::int64_t>(model_.clusters.size()));
    EXPECT_EQ(check.registry_entries, static_cast<std::int64_t>(model_.entries.size()));
    const VerifyReport verified = cache_.verify({.kept_head = kept_head_});
    EXPECT_TRUE(verified.ok());
    kept_head_ = verified.head;
  }

  test::BareEnvironment bare_;
  test::TestDatabase database_;
  test::ManualClock clock_;
  DocumentedModel model_{1h};
  CacheManager cache_{
      database_.options({.durability = Durability::relaxed, .clock = clock_.clock()})};
  std::mt19937_64 random_{seed()};
  std::vector<void (Game::*)()> commands_;
  std::optional<LogHead> kept_head_;
  std::vector<std::int64_t> positions_;  ///< Of the events that there are.
  std::string said_;
};

TEST(RandomCommands, LeaveTheCacheAsTheDocumentedSystemAndItsLogHaveIt) {
  std::cout << "seed " << seed() << " (DBCACHE_TEST_SEED plays another)\n";
  Game game;
  ASSERT_NO_FATAL_FAILURE(game.play());
  game.rebuild();
}

}  // namespace
}  // namespace dbcache
