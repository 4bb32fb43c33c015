#pragma once

#include <memory>
#include <optional>
#include <string>

#include <dbcache/shared_clusters.hpp>

#include "coordination/coordinator.hpp"
#include "coordination/waiter.hpp"

namespace dbcache::coordination {

/// The result of an acquire.
struct Granted {
  std::int64_t lease = 0;
  std::string cluster_id;
  std::string config_hash;
  std::optional<std::string> host;
  bool created_here = false;
  bool anything_owed = true;              ///< False: no pending termination waits.
  std::unique_ptr<store::LifeLock> lock;  ///< Null for a joined lease of another process.
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
    std::int64_t number = 0;  ///< Of the lease, the creation or the check.
    bool anything_owed = true;
  };

  [[nodiscard]] std::optional<Granted> join_surrounding_run();
  void take_lock();
  [[nodiscard]] Step step(const Answer& answer);
  [[nodiscard]] std::optional<Step> look() const;
  [[nodiscard]] Granted granted(std::int64_t lease, std::string cluster_id, bool created_here,
                                bool anything_owed = true);
  [[nodiscard]] Granted create(const Step& step);
  void fail_creation(const commands::FailCreation& failed);
  [[nodiscard]] Answer check(const Step& step);
  void wait(const commands::AcquireStep& awaited);
  void tell(const commands::AcquireStep& awaited);

  const Coordinator& coordinator_;
  const ClusterConfig& config_;
  const ClusterLifecycle& lifecycle_;
  const AcquireOptions& options_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point deadline_;
  input::ClusterInput input_;
  commands::Acquire command_;
  commands::Reach reach_;
  std::unique_ptr<store::LifeLock> lock_;
  std::optional<Waiter> waiter_;
  std::optional<commands::AcquireStep> told_;
  std::chrono::steady_clock::time_point tell_again_;
};

}  // namespace dbcache::coordination
