#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <sys/types.h>

#include "chaos/fleet.hpp"
#include "chaos/journal.hpp"
#include "chaos/worker.hpp"
#include "support/child_process.hpp"

namespace dbcache::chaos {

struct CrowdSettings {
  Places places;
  int workers = 16;  ///< At a time; of each host, where there are several.
  int configurations = 20;
  int kill_every_ms = 100;  ///< 0: nobody is killed.
  std::uint64_t seed = 0;
  std::string breaks;
  Durability durability = Durability::relaxed;
  int long_holds = 0;       ///< Percent; on a host that is spared all that may be.
  bool other_logs = false;  ///< As in WorkerSettings.
  bool over_https = false;  ///< As in WorkerSettings.
};

/// What waitpid(2) told, as the exit status, or the negative number of a signal.
int status_of_ended(int status);

/// The workers that run, and how they ended.
class Crowd {
 public:
  /// Without a fleet they use the database of the settings, on this machine.
  Crowd(const CrowdSettings& settings, const Fleet* fleet);

  /// Lets them work, kills one every now and then, and starts others in their place.
  void work_for(std::chrono::milliseconds duration);

  /// Nobody on this host is killed from now on; nothing: everybody may be.
  void spare(std::optional<int> host) { spared_ = host; }

  /// Lets the workers end. False when some had to be killed for not ending.
  bool end();

  [[nodiscard]] int failed() const { return failed_; }
  [[nodiscard]] const Journal& journal() const { return journal_; }
  std::chrono::milliseconds pause(std::int64_t least, std::int64_t most);

 private:
  struct Member {
    std::int64_t worker = 0;
    int host = 0;
  };

  void fill();
  void start(int host);
  void kill_one();
  void reap(int options);

  const CrowdSettings settings_;
  const Fleet* const fleet_;
  Journal journal_;
  test::Pipe stop_;
  std::map<pid_t, Member> running_;
  std::set<pid_t> killed_;
  std::int64_t started_ = 0;
  int failed_ = 0;
  std::int64_t next_kill_ = 0;
  std::optional<int> spared_;
  std::mt19937_64 random_;
};

}  // namespace dbcache::chaos
