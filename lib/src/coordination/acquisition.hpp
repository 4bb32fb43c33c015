#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <dbcache/shared_clusters.hpp>

#include "coordination/coordinator.hpp"
#include "coordination/waiter.hpp"

namespace dbcache::coordination {

/// The result of an acquire.
struct Granted {
  rows::EventName lease;
  std::string cluster_id;
  std::string config_hash;
  std::optional<std::string> host;
  bool created_here = false;
  bool swept = false;                       ///< The acquire did the sweep of this second.
  std::vector<std::string> owed{};          ///< The terminations that became pending with it.
  std::unique_ptr<store::LifeLock> lock{};  ///< Null for a joined lease of another process.
};

/// One acquire. Its steps are decided in transactions. Waiting, creating and checking take long, so
/// they happen between the steps, with no connection held.
class Acquisition {
 public:
  Acquisition(const Coordinator& coordinator, const ClusterConfig& config,
              const ClusterLifecycle& lifecycle, const AcquireOptions& options);

  Granted run();

 private:
  /// The answer of a check, which the transaction of the next step records.
  using Answer = std::optional<commands::AnswerCheck>;

  struct Step {
    commands::AcquireStep come_to;
    rows::EventName name;             ///< Of the lease, the creation or the check.
    std::vector<std::string> owed{};  ///< The terminations that became pending with it.
    std::string owner{};              ///< Of a creation: the incarnation of its log.
  };

  [[nodiscard]] std::optional<Granted> join_surrounding_run();
  /// Whether a lease on a cluster of `host` is of this configuration.
  [[nodiscard]] bool is_of_configuration(const rows::Lease& lease,
                                         const std::optional<std::string>& host) const;
  void take_lock();
  [[nodiscard]] Step step(const Answer& answer);
  [[nodiscard]] std::optional<Step> look();
  /// What the awaited creation told, no more often than it is passed on.
  void read_progress(std::optional<std::int64_t> creation, const rows::TableReader& rows);
  [[nodiscard]] Granted granted(rows::EventName lease, std::string cluster_id, bool created_here);
  [[nodiscard]] Granted create(const Step& step);
  /// Of a creation that ran to its end.
  [[noreturn]] void leave_log(const Step& step, const std::string& made,
                              const commands::CreatorOutcome& outcome,
                              const std::set<std::string>& of_others);
  void fail_creation(const commands::FailCreation& failed, const std::set<std::string>& of_others);
  /// For a creation whose log is gone: nobody else will ever know of its cluster, unless it is
  /// one `of_others` there. Returns what became of it.
  [[nodiscard]] std::string terminate_unknown(const std::optional<std::string>& cluster_id,
                                              const std::string& idempotency_token, bool is_named,
                                              const std::set<std::string>& of_others) const;
  [[nodiscard]] Answer check(const Step& step);
  void wait(const commands::AcquireStep& awaited);
  /// Without a session, where the server is crowded.
  bool sleep_apart(const commands::AcquireStep& awaited);
  void tell(const commands::AcquireStep& awaited);

  const Coordinator& coordinator_;
  const ClusterConfig& given_;
  const ClusterConfig config_;  ///< With the lifecycle's host, if the one that was given has none.
  const ClusterLifecycle& lifecycle_;
  const AcquireOptions& options_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point deadline_;
  input::ClusterInput input_;
  commands::Acquire command_;
  commands::Reach reach_;
  std::unique_ptr<store::LifeLock> lock_;
  bool swept_ = false;
  std::vector<std::string> owed_;
  std::string doing_;  ///< What the cluster of this creation was doing at the last look:
  std::optional<std::int64_t> doing_of_;
  std::optional<Waiter> waiter_;
  std::optional<commands::AcquireStep> told_;
  std::chrono::steady_clock::time_point tell_again_;
};

}  // namespace dbcache::coordination
