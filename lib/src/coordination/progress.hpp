#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include <dbcache/shared_clusters.hpp>

#include "coordination/coordinator.hpp"

namespace dbcache::coordination {

/// Tells what the cluster of a creation is doing: the creator's caller, and those who wait.
/// Thread-safe.
class Progress {
 public:
  using SteadyClock = std::chrono::steady_clock;

  /// `began`: the acquire.
  Progress(const Coordinator& coordinator, std::string config_hash, std::int64_t creation,
           Holder creator, std::function<void(const WaitProgress&)> on_wait,
           SteadyClock::time_point began);

  /// Creation::progress.
  void tell(std::string_view doing);

 private:
  void tell_caller(const std::string& doing, SteadyClock::time_point now);
  void tell_others(const std::string& doing, SteadyClock::time_point now);

  const Coordinator& coordinator_;
  const std::string config_hash_;
  const std::int64_t creation_;
  const Holder creator_;
  const std::function<void(const WaitProgress&)> on_wait_;
  const SteadyClock::time_point began_;
  const Timestamp since_;
  std::mutex mutex_;
  std::string shown_;
  SteadyClock::time_point show_again_{};
  std::optional<std::string> written_;
  SteadyClock::time_point write_again_{};
};

}  // namespace dbcache::coordination
