#include "power_loss/workload.hpp"

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string_view>
#include <thread>

#include <boost/json/parse.hpp>
#include <boost/json/value_to.hpp>
#include <fmt/format.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "power_loss/shim.hpp"
#include "support/child_process.hpp"
#include "support/soundness.hpp"

namespace dbcache::power_loss {
namespace {

constexpr const char* shared_row = "shared";

/// Begins the promise of a call that changed nothing, and told what another had done.
constexpr std::string_view sight_of = "sight of ";

/// An event in words, the same to those who promise it and to those who look for it.
std::string in_words(std::string_view type, std::string_view stream, std::string_view label,
                     std::optional<std::int64_t> count = std::nullopt) {
  return count ? fmt::format("{} {} of {} by {}", type, *count, stream, label)
               : fmt::format("{} of {} by {}", type, stream, label);
}

std::string in_words(const RecordedEvent& event) {
  namespace json = boost::json;
  const json::value metadata = json::parse(event.metadata);
  const auto* label = metadata.at("label").if_string();
  std::optional<std::int64_t> count;
  if (event.type == "UsageIncremented") {
    count = json::value_to<std::int64_t>(json::parse(event.payload).at("usage_count"));
  }
  return in_words(event.type, event.stream, label == nullptr ? "nobody" : std::string_view(*label),
                  count);
}

/// One thread of a worker.
class Caller {
 public:
  Caller(const WorkerSettings& settings, int number, CacheManager& manager, std::string label)
      : settings_(settings),
        manager_(manager),
        label_(std::move(label)),
        own_(fmt::format("{}-{}", settings.name, number)) {
    std::seed_seq seeds{settings.seed, settings.seed >> 32, static_cast<std::uint64_t>(number)};
    random_.seed(seeds);
  }

  void run() {
    register_row(shared_row);
    register_row(own_);
    for (int call = 0; call < settings_.calls; ++call) call_something(call);
  }

 private:
  int number(int least, int most) { return std::uniform_int_distribution(least, most)(random_); }

  /// A manager of relaxed durability promises but some events.
  void acknowledge_event(std::string_view type, const std::string& stream,
                         std::optional<std::int64_t> count = std::nullopt,
                         bool always_synced = false) const {
    if (settings_.durability == Durability::full || always_synced) {
      acknowledge(in_words(type, stream, label_, count));
    }
  }

  void register_row(const std::string& hash) {
    if (manager_.register_or_join_shared_cluster(hash, ::getpid()).created) {
      acknowledge_event("CreationRegistered", "registry-" + hash, std::nullopt, true);
    } else if (settings_.durability == Durability::full) {
      acknowledge(fmt::format("{}CreationRegistered of registry-{}", sight_of, hash));
    }
  }

  void increment(const std::string& hash) {
    const auto count = manager_.increment_shared_cluster_usage(hash);
    acknowledge_event("UsageIncremented", "registry-" + hash, count);
  }

  void call_something(int call) {
    const int what = number(1, 100);
    if (what <= 45) return increment(shared_row);
    if (what <= 65) return increment(own_);
    if (what <= 76) {
      cluster_ = fmt::format("{}-{}", own_, call);
      manager_.cache_new_cluster(cluster_);
      return acknowledge_event("ClusterCached", "cluster-" + cluster_);
    }
    if (what <= 84 && !cluster_.empty()) {
      if (manager_.update_cluster_access(cluster_)) {
        acknowledge_event("ClusterAccessed", "cluster-" + cluster_);
      }
      return;
    }
    if (what <= 90) return register_row(fmt::format("{}-{}", shared_row, number(1, 30)));
    if (what <= 96) return use_a_cluster();
    if (what <= 98 || !settings_.forks) {
      return manager_.optimize_database(number(1, 4) == 1 ? Vacuum::yes : Vacuum::no);
    }
    test::ChildProcess child([&] {
      increment(own_);
      return 0;
    });
    if (child.wait() != 0) complain("a forked child of " + own_ + " failed");
  }

  void use_a_cluster() {
    const ClusterConfig config{{"cluster_name", fmt::format("power-{}", number(1, 3))}};
    const ClusterLifecycle lifecycle{.create = [](const ClusterConfig&, Creation& creation) {
      return "cluster-" + std::to_string(creation.fencing_token());
    }};
    SharedClusters clusters(manager_);
    ClusterLease lease = clusters.acquire(config, lifecycle);
    const std::string stream = "registry-" + lease.config_hash();
    acknowledge_event("LeaseGranted", stream, std::nullopt, true);
    if (lease.release().was_held) {
      acknowledge_event("LeaseReleased", stream, std::nullopt, true);
    }
  }

  const WorkerSettings& settings_;
  CacheManager& manager_;
  std::string label_;
  std::string own_;
  std::string cluster_;
  std::mt19937_64 random_;
};

CacheManager open_manager(const WorkerSettings& settings, const std::string& label) {
  return CacheManager(
      Options{.database = settings.database, .durability = settings.durability, .label = label});
}

}  // namespace

void work(const WorkerSettings& settings) {
  // Threads that share a manager, which commits for them together, and one that has its own.
  CacheManager shared = open_manager(settings, settings.name);
  const std::string other_label = settings.name + "-alone";
  CacheManager alone = open_manager(settings, other_label);
  std::vector<std::jthread> threads;
  for (int number = 0; number < settings.threads; ++number) {
    threads.emplace_back([&, number] {
      const bool is_alone = number == 1;
      try {
        Caller(settings, number, is_alone ? alone : shared, is_alone ? other_label : settings.name)
            .run();
      } catch (const std::exception& error) {
        complain(fmt::format("{} failed: {}", settings.name, error.what()));
      }
    });
  }
}

void check(const std::string& database, const std::vector<std::string>& promised) {
  CacheManager manager({.database = database, .label = "checker"});
  std::map<std::string, int> events;
  std::set<std::string> whosoever;
  for (const RecordedEvent& event : manager.history()) {
    ++events[in_words(event)];
    whosoever.insert(fmt::format("{}{} of {}", sight_of, event.type, event.stream));
  }
  for (const std::string& promise : promised) {
    const bool is_kept =
        promise.starts_with(sight_of) ? whosoever.contains(promise) : --events[promise] >= 0;
    if (!is_kept) complain("lost: the acknowledged " + promise);
  }
  if (!manager.get_database_info().exists) return;
  if (const std::string wrong = test::unsoundness_of(database); !wrong.empty()) complain(wrong);
}

}  // namespace dbcache::power_loss
