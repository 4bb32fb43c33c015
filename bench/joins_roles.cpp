#include "bench/joins_roles.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <latch>
#include <map>
#include <stdexcept>
#include <thread>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <dbcache/dbcache.hpp>

#include "bench/big_log.hpp"
#include "bench/contention.hpp"
#include "bench/measure.hpp"

namespace dbcache::bench {
namespace {

/// No cluster expires while it is measured.
Options options_for(const std::string& database) {
  return {.database = database, .default_expiry = std::chrono::hours{24}};
}

ClusterConfig configuration_of(std::int64_t number) {
  const bool other = number >= first_other;
  return {{"cluster_name",
           fmt::format("{}-{}", other ? "other" : "mine", other ? number - first_other : number)},
          {"num_workers", 1}};
}

ClusterLifecycle lifecycle_of(std::int64_t number) {
  return {.create = [number](const ClusterConfig&, Creation&) { return cluster_id_of(number); },
          .terminate = [](const Termination&) {}};
}

/// On SQLite a lease has a descriptor.
void allow_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void play_prime(const RoleWords& words) {
  SharedClusters clusters(options_for(words.at(1)));
  // The first one creates, and only the second joins.
  for (int time = 0; time < 2; ++time) {
    clusters.acquire(configuration_of(0), lifecycle_of(0)).release();
  }
}

void play_hold(const RoleWords& words) {
  allow_descriptors();
  const std::int64_t first = std::stoll(words.at(2));
  const std::int64_t count = std::stoll(words.at(3));
  const std::int64_t spread = std::stoll(words.at(4));
  const std::int64_t first_configuration = std::stoll(words.at(5));
  SharedClusters clusters(options_for(words.at(1)));
  std::vector<ClusterLease> leases;
  for (std::int64_t number = first; number < first + count; ++number) {
    const std::int64_t configuration = first_configuration + number % spread;
    leases.push_back(
        clusters.acquire(configuration_of(configuration), lifecycle_of(configuration)));
  }
  say({1});
  for (;;) ::pause();
}

void play_ours(const RoleWords& words) {
  const std::int64_t number = std::stoll(words.at(2));
  SharedClusters clusters(options_for(words.at(1)));
  const ClusterConfig config = configuration_of(number);
  const ClusterLifecycle lifecycle = lifecycle_of(number);
  contend(std::chrono::milliseconds(std::stoll(words.back())), [&] {
    ClusterLease lease = clusters.acquire(config, lifecycle);
    lease.release();
  });
}

void play_raw(const RoleWords& words) {
  const auto open = words.at(1) == "sqlite" ? open_raw_sqlite : open_raw_postgres;
  const auto leases = open(words.at(2), std::stoi(words.at(3)), LeaseSamples::from_words(words, 4));
  contend(std::chrono::milliseconds(std::stoll(words.back())), [&] {
    leases->grant();
    leases->release();
  });
}

void play_sweep(const RoleWords& words) {
  SharedClusters clusters(options_for(words.at(1)));
  contend(std::chrono::milliseconds(std::stoll(words.back())), [&] {
    if (!clusters.owed().empty()) throw std::logic_error("nothing can be owed");
  });
}

/// The workers of one process of a crowd.
class Crowd {
 public:
  Crowd(const std::string& database, std::int64_t first, std::int64_t count,
        std::int64_t configurations)
      : first_(first),
        configurations_(configurations),
        clusters_(options_for(database)),
        leases_(static_cast<std::size_t>(count)),
        held_at_(static_cast<std::size_t>(count)),
        ready_(count) {}

  void run() {
    std::vector<std::jthread> threads;
    // Goes before the threads, which it wakes, should this throw.
    std::promise<SteadyClock::time_point> moment;
    const auto begin = moment.get_future().share();
    for (std::size_t at = 0; at < leases_.size(); ++at) {
      threads.emplace_back([this, at, begin] { acquire(at, begin); });
    }
    ready_.wait();
    say({1});
    moment.set_value(SteadyClock::time_point(std::chrono::nanoseconds(hear())));
    threads.clear();
    say({*std::max_element(held_at_.begin(), held_at_.end()), failed_, created_});
    hear();
  }

 private:
  void acquire(std::size_t at, const std::shared_future<SteadyClock::time_point>& begin) {
    const std::int64_t configuration =
        first_other + (first_ + static_cast<std::int64_t>(at)) % configurations_;
    ClusterLifecycle lifecycle = lifecycle_of(configuration);
    lifecycle.create = [this, configuration](const ClusterConfig&, Creation&) {
      ++created_;
      return cluster_id_of(configuration);
    };
    const ClusterConfig config = configuration_of(configuration);
    ready_.count_down();
    try {
      std::this_thread::sleep_until(begin.get());
      leases_[at] = clusters_.acquire(config, lifecycle, {.policy = HandBackPolicy::hand_back});
    } catch (const std::exception& error) {
      // One tells for all of this process: most often they fail for one reason.
      if (++failed_ == 1) std::cerr << "an acquire failed: " << error.what() << "\n";
    }
    held_at_[at] = to_nanoseconds(SteadyClock::now());
  }

  const std::int64_t first_;
  const std::int64_t configurations_;
  SharedClusters clusters_;
  std::atomic<std::int64_t> failed_ = 0;
  std::atomic<std::int64_t> created_ = 0;
  std::vector<ClusterLease> leases_;
  std::vector<Nanoseconds> held_at_;
  std::latch ready_;
};

void play_crowd(const RoleWords& words) {
  allow_descriptors();
  Crowd(words.at(1), std::stoll(words.at(2)), std::stoll(words.at(3)), std::stoll(words.at(4)))
      .run();
}

}  // namespace

RoleWords prime_role(const std::string& database) { return {"prime", database}; }

RoleWords holder_role(const HolderRole& role) {
  return {"hold",
          role.database,
          std::to_string(role.first),
          std::to_string(role.count),
          std::to_string(role.spread),
          std::to_string(role.first_configuration)};
}

RoleWords crowd_role(const CrowdRole& role) {
  return {"crowd", role.database, std::to_string(role.first), std::to_string(role.count),
          std::to_string(role.configurations)};
}

RoleWords ours_role(const std::string& database, int configuration) {
  return {"ours", database, std::to_string(configuration)};
}

RoleWords raw_role(const std::string& engine, const std::string& database, int entry,
                   const LeaseSamples& samples) {
  RoleWords words{"raw", engine, database, std::to_string(entry)};
  for (std::string& word : samples.words()) words.push_back(std::move(word));
  return words;
}

RoleWords sweep_role(const std::string& database) { return {"sweep", database}; }

int play_joins(const RoleWords& role) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const std::map<std::string, std::function<void(const RoleWords&)>> roles{
      {"prime", play_prime}, {"hold", play_hold},   {"ours", play_ours},
      {"raw", play_raw},     {"sweep", play_sweep}, {"crowd", play_crowd}};
  roles.at(role.at(0))(role);
  return 0;
}

}  // namespace dbcache::bench
