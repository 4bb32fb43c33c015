#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <dbcache/cluster.hpp>
#include <dbcache/registry.hpp>

#include "commands/decision.hpp"
#include "commands/liveness.hpp"
#include "system/process.hpp"

// The rules of the table `shared_cluster_registry`: decide(command, present) -> Decision. Pure.
namespace dbcache::commands {

struct RegisterCreation {
  std::string config_hash;
  system::ProcessIdentity worker;
};

/// What a registration did. The caller reads the entry after the events are projected.
struct Registered {
  bool created = false;
  bool joinable = false;
};
Decision<Registered> decide(const RegisterCreation& command, const Present& present);

struct ChangeStatus {
  std::string config_hash;
  RegistryStatus status = RegistryStatus::creating;
  StatusDetails details;
};
Decision<> decide(const ChangeStatus& command, const Present& present);

struct IncrementUsage {
  std::string config_hash;
};
Decision<std::int64_t> decide(const IncrementUsage& command, const Present& present);

struct DecrementUsage {
  std::string config_hash;
};
Decision<std::int64_t> decide(const DecrementUsage& command, const Present& present);

struct CleanUpEntry {
  std::string config_hash;
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const CleanUpEntry& command, const Present& present);

struct ClearRegistry {
  HeldClusters held = HeldClusters::leave;
};
Decision<Removal> decide(const ClearRegistry& command, const Present& present);

/// Whether a worker may wait for the entry's cluster or use it: the status is creating or ready.
bool is_joinable(const RegistryEntry& entry);

}  // namespace dbcache::commands
