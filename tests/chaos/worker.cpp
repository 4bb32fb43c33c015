#include "chaos/worker.hpp"

#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <poll.h>
#include <random>
#include <stdexcept>
#include <unistd.h>
#include <utility>

#include <dbcache/cache_manager.hpp>
#include <dbcache/databricks.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "chaos/databricks_cloud.hpp"
#include "chaos/journal.hpp"
#include "chaos/workspace.hpp"

namespace dbcache::chaos {
namespace {

using std::chrono::milliseconds;

constexpr int runs = 3;
constexpr int calm_configurations = 4;
const std::string counter_prefix = "counter-";

/// What a cloud does now and then, and the workers bear.
class CloudFailure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Field 22 of /proc/self/stat (proc(5)): with it, a pid names one process for good.
std::int64_t own_start_time() {
  std::ifstream file("/proc/self/stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  std::size_t at = stat.rfind(')');
  for (int field = 2; field < 22; ++field) at = stat.find(' ', at + 1);
  return std::stoll(stat.substr(at + 1));
}

/// Begin and end of something in a journal; after an exception too.
class Span {
 public:
  Span(const Journal& journal, boost::json::object record)
      : journal_(journal), record_(std::move(record)) {
    put("begin");
  }
  ~Span() { put("end"); }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  void put(const char* mark) {
    boost::json::object marked = record_;
    marked["mark"] = mark;
    journal_.write(std::move(marked));
  }

  const Journal& journal_;
  boost::json::object record_;
};

class Worker {
 public:
  explicit Worker(const WorkerSettings& settings)
      : settings_(settings),
        journal_(settings.places.journal_of("worker-" + std::to_string(settings.number))),
        workspace_(settings.places.workspace(), settings.number),
        manager_(Options{.database = settings.places.database,
                         .schema = settings.places.schema,
                         .default_expiry = settings.number % 4 == 0 ? std::chrono::seconds{1}
                                                                    : std::chrono::hours{1},
                         .durability = settings.durability,
                         .label = "worker " + std::to_string(settings.number)}),
        clusters_(manager_) {
    if (settings.over_https) cloud_.emplace(settings.places.fake());
    std::seed_seq seeds{settings.seed, settings.seed >> 32,
                        static_cast<std::uint64_t>(settings.number)};
    random_.seed(seeds);
    journal_.write(
        {{"what", "hello"},
         {"host", settings.host.value_or(0)},
         {"pid", ::getpid()},
         {"start_time", own_start_time()},
         {"pid_namespace", std::filesystem::read_symlink("/proc/self/ns/pid").string()}});
  }

  void run() {
    while (!told_to_end(pause(0, 5))) {
      try {
        come_and_go();
        if (!settings_.other_logs && chance(30)) count();
        use_a_cluster();
      } catch (const StorageFailure& error) {
        cut_off(error);
      } catch (const LeaseLost& error) {  // another went on with what it was creating
        cut_off(error);
      } catch (const NotFound& error) {
        if (!settings_.other_logs) throw;  // else of a name in another log
        cut_off(error);
      }
    }
    journal_.write({{"what", "ended"}});
  }

  /// Tells the journal, since nobody hears what is thrown.
  void failed(const std::exception& error) {
    journal_.write({{"what", "failed"}, {"error", error.what()}});
  }

 private:
  int number(int least, int most) { return std::uniform_int_distribution(least, most)(random_); }
  milliseconds pause(std::int64_t least, std::int64_t most) {
    return milliseconds(std::uniform_int_distribution(least, most)(random_));
  }
  bool chance(int percent) { return number(1, 100) <= percent; }

  /// Joins a run, or leaves it.
  void come_and_go() {
    if (!membership_ && chance(5)) {
      membership_ = clusters_.join_run("run-" + std::to_string(number(1, runs)), "worker");
    } else if (membership_ && chance(15)) {
      membership_.leave();
      membership_ = RunMembership();
    }
  }

  /// In the midst of a call; to be called where that was caught.
  void cut_off(const std::exception& error) {
    if (!settings_.host && !settings_.other_logs) throw;
    journal_.write({{"what", "cut_off"}, {"error", error.what()}});
    membership_ = RunMembership();
  }

  /// Adds one to a count of its own. Each that was acknowledged is to be in the log, once.
  void count() {
    if (!registered_) manager_.register_shared_cluster_creation(counter_, ::getpid());
    registered_ = true;
    const Span span(journal_, {{"what", "count"}, {"counter", counter_}});
    const std::int64_t count = manager_.increment_shared_cluster_usage(counter_);
    journal_.write({{"what", "counted"}, {"counter", counter_}, {"count", count}});
  }

  void use_a_cluster() {
    // Clusters that are used for long do not die of themselves.
    const bool for_long = settings_.number % 2 == 0 && chance(settings_.long_holds);
    const bool calm = for_long || (settings_.long_holds > 0 && chance(5));
    const int wanted = calm ? settings_.configurations + number(1, calm_configurations)
                            : number(1, settings_.configurations);
    const ClusterConfig config = cloud_ ? cloud_->configuration(wanted) : configuration(wanted);
    const std::string hash = config_hash(config);
    auto lease = acquire(config, hash);
    if (!lease) return;
    const std::int64_t token = lease->fencing_token();
    journal_.write({{"what", "acquired"},
                    {"config_hash", lease->config_hash()},
                    {"cluster_id", lease->cluster_id()},
                    {"lease", token},
                    {"created_here", lease->created_here()}});
    if (chance(30)) use(*lease);
    if (for_long) {
      if (!hold_long(*lease)) return;
    } else {
      // Some so long that another log has their number too by then.
      const bool outlives_logs = settings_.other_logs && chance(40);
      told_to_end(outlives_logs ? pause(300, 2000) : pause(2, 70));
    }
    if (!calm && chance(5)) lose(*lease);
    if (chance(10) && lease->lost()) journal_.write({{"what", "lost"}, {"lease", token}});
    if (chance(5)) return leave_behind(*lease);
    journal_.write({{"what", "releasing"}, {"lease", token}});
    if (chance(20)) {
      lease.reset();  // its destructor's work
      journal_.write({{"what", "released"}, {"lease", token}, {"was_held", nullptr}});
      return;
    }
    released(token, lease->release());
  }

  /// Uses the cluster as long as it is not lost; whether that was to the end.
  bool hold_long(const ClusterLease& lease) {
    const std::int64_t token = lease.fencing_token();
    // On a host that is to be cut off, until it is.
    const std::int64_t end =
        settings_.long_holds == 100
            ? std::numeric_limits<std::int64_t>::max()
            : monotonic_now() + std::chrono::nanoseconds(pause(30'000, 50'000)).count();
    while (monotonic_now() < end && !told_to_end(milliseconds{0})) {
      if (lease.lost()) {
        journal_.write({{"what", "lost"}, {"lease", token}});
        return false;
      }
      told_to_end(milliseconds{20});
      journal_.write({{"what", "used"}, {"lease", token}});
    }
    return true;
  }

  void released(std::int64_t lease, const ReleaseReport& report) {
    journal_.write({{"what", "released"}, {"lease", lease}, {"was_held", report.was_held}});
  }

  /// The lease outlives its object, as a shell's does: it ends by its number, or its deadline.
  void leave_behind(ClusterLease& lease) {
    const std::int64_t token = lease.fencing_token();
    const std::string name = lease.name();
    const auto remains = pause(10, longest_left_behind.count());
    journal_.write({{"what", "left_behind"},
                    {"lease", token},
                    {"for", std::chrono::nanoseconds(remains).count()}});
    try {
      lease.hold_for(remains);
    } catch (const LeaseLost&) {
      journal_.write({{"what", "lost"}, {"lease", token}});
      return;
    }
    told_to_end(pause(0, 50));
    if (chance(50)) return;
    journal_.write({{"what", "releasing"}, {"lease", token}});
    released(token, clusters_.release_lease(name, lifecycle(lease.config_hash())));
  }

  std::optional<ClusterLease> acquire(const ClusterConfig& config, const std::string& hash) {
    AcquireOptions options;
    options.policy = chance(50) ? HandBackPolicy::keep : HandBackPolicy::hand_back;
    options.timeout = chance(5) ? pause(1, 20) : std::chrono::minutes{5};
    options.on_create_failure = chance(80) ? OnCreateFailure::try_again : OnCreateFailure::fail;
    if (membership_ && chance(50)) {
      options.run = membership_.run();
    } else if (chance(10)) {
      options.run = "run-" + std::to_string(number(1, runs));
    }
    const Span span(journal_, {{"what", "acquire"}, {"config_hash", hash}});
    std::string refusal;
    try {
      return clusters_.acquire(config, lifecycle(hash), options);
    } catch (const Timeout& error) {
      refusal = std::string("timeout: ") + error.what();
    } catch (const CreationFailed& error) {
      refusal = std::string("creation failed: ") + error.what();
    } catch (const Busy& error) {
      refusal = std::string("busy: ") + error.what();
    } catch (const CloudFailure& error) {
      refusal = std::string("the cloud: ") + error.what();
    } catch (const databricks::WorkspaceError& error) {
      refusal = std::string("the workspace: ") + error.what();
    }
    journal_.write({{"what", "refused"}, {"config_hash", hash}, {"error", refusal}});
    return std::nullopt;
  }

  ClusterLifecycle lifecycle(const std::string& hash) {
    if (cloud_) return lifecycle_over_https(hash);
    ClusterLifecycle lifecycle;
    lifecycle.create = [this, hash](const ClusterConfig&, Creation& creation) {
      return create(hash, creation);
    };
    if (chance(90)) {
      lifecycle.check = [this](const std::string& cluster_id) {
        spend(pause(1, 4));
        if (chance(2)) throw CloudFailure("the workspace does not answer");
        return workspace_.runs(cluster_id);
      };
    }
    // A creator whose log is gone has nothing else to end its cluster by.
    if (settings_.other_logs || chance(90)) {
      lifecycle.terminate = [this](const Termination& termination) { terminate(termination.owed); };
    }
    return lifecycle;
  }

  /// The library's own, of which the journal is told.
  ClusterLifecycle lifecycle_over_https(const std::string& hash) {
    ClusterLifecycle lifecycle = cloud_->lifecycle();
    lifecycle.create = [this, hash, create = std::move(lifecycle.create)](
                           const ClusterConfig& config, Creation& creation) {
      const Span span = creates(hash, creation);
      return create(config, creation);
    };
    lifecycle.terminate =
        [this, terminate = std::move(lifecycle.terminate)](const Termination& termination) {
          const Span span = terminates(termination.owed);
          terminate(termination);
        };
    if (chance(10)) lifecycle.check = nullptr;
    if (chance(10)) lifecycle.terminate = nullptr;
    return lifecycle;
  }

  Span creates(const std::string& hash, const Creation& creation) {
    return {journal_,
            {{"what", "create"}, {"config_hash", hash}, {"creation", creation.fencing_token()}}};
  }
  Span terminates(const OwedTermination& owed) {
    return {journal_, {{"what", "terminate"}, {"subject", owed.subject}}};
  }

  std::string create(const std::string& hash, Creation& creation) {
    const Span span = creates(hash, creation);
    if (const auto started = creation.started_cluster_id()) {
      spend(pause(10, 60));
      if (chance(20)) workspace_.die(*started);
      if (workspace_.runs(*started)) return *started;
      if (!started->ends_with(creation.idempotency_token())) require_running(*started);
    }
    if (chance(4)) throw CloudFailure("no capacity");
    // Clusters that are used for long do not die with others.
    if (settings_.long_holds == 0 && chance(20)) {
      if (auto id = cluster_of_another(creation)) return std::move(*id);
    }
    std::string id = workspace_.create(creation.idempotency_token(), hash, pause(1, 8));
    if (chance(85)) creation.started(id);
    spend(pause(10, 90));
    if (chance(4)) throw CloudFailure("the cluster did not start");
    return id;
  }

  /// A cluster that another configuration has serves this one too: then two entries name it.
  std::optional<std::string> cluster_of_another(Creation& creation) {
    // What an earlier attempt left is what this one has to return.
    if (workspace_.runs_with(creation.idempotency_token())) return std::nullopt;
    const std::string other = config_hash(configuration(number(1, settings_.configurations)));
    const auto entry = manager_.get_shared_cluster_info(other);
    if (!entry || entry->status != RegistryStatus::ready || !entry->cluster_id ||
        !workspace_.runs(*entry->cluster_id)) {
      return std::nullopt;
    }
    // Once the log names it for this creation, it is not handed back.
    const auto is = [&](const char* what) {
      if (settings_.other_logs)
        journal_.write({{"what", what}, {"cluster_id", *entry->cluster_id}});
    };
    is("adopts");
    creation.started(*entry->cluster_id);
    is("adopted");
    require_running(*entry->cluster_id);
    return entry->cluster_id;
  }

  /// A creation has one cluster: the log knows no other one that it might leave.
  void require_running(const std::string& cluster_id) {
    if (!workspace_.runs(cluster_id)) throw CloudFailure("the cluster of another has ended");
  }

  void terminate(const OwedTermination& owed) {
    const Span span = terminates(owed);
    if (chance(4)) throw CloudFailure("the termination was refused");
    if (owed.cluster_id) workspace_.remove(*owed.cluster_id, pause(10, 60));
    if (owed.idempotency_token) {
      workspace_.remove_created_with(*owed.idempotency_token, pause(1, 5));
    }
    if (chance(3)) throw CloudFailure("the connection broke before the answer");
  }

  static void use(ClusterLease& lease) {
    try {
      lease.note_use("a test");
    } catch (const LeaseLost&) {
      // It was lost just now.
    }
  }

  /// The cluster dies under the lease, which its holder may or may not tell.
  void lose(ClusterLease& lease) {
    if (cloud_) {
      cloud_->die(lease.cluster_id());
    } else {
      workspace_.die(lease.cluster_id());
    }
    if (chance(30)) return;
    const Span span(journal_, {{"what", "report"}, {"lease", lease.fencing_token()}});
    try {
      lease.report_dead();
    } catch (const CloudFailure&) {
      // The check failed: nobody knows whether the cluster is dead.
    } catch (const databricks::WorkspaceError&) {
      // As before.
    }
  }

  WorkerSettings settings_;
  Journal journal_;
  Workspace workspace_;
  std::optional<DatabricksCloud> cloud_;  ///< Where clusters are not of workspace_.
  CacheManager manager_;
  SharedClusters clusters_;
  const std::string counter_ = counter_prefix + std::to_string(settings_.number);
  RunMembership membership_;
  bool registered_ = false;
  std::mt19937_64 random_;
};

}  // namespace

ClusterConfig configuration(int number) {
  return {{"cluster_name", "chaos-" + std::to_string(number)},
          {"host", "https://chaos-" + std::to_string(number % 2) + ".example"},
          {"num_workers", number}};
}

bool told_to_end(milliseconds within) {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return ::poll(&input, 1, static_cast<int>(within.count())) > 0;
}

void work(const WorkerSettings& settings) {
  Worker worker(settings);
  try {
    worker.run();
  } catch (const std::exception& error) {
    worker.failed(error);
    throw;
  }
}

}  // namespace dbcache::chaos
