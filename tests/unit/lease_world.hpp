#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "commands/clusters.hpp"
#include "commands/leases.hpp"
#include "commands/reach.hpp"
#include "commands/registry.hpp"
#include "commands/terminations.hpp"
#include "coordination/transact.hpp"
#include "given.hpp"
#include "projections/memory_tables.hpp"
#include "projections/project.hpp"

// Leases on tables in memory: commands in the order in which the library runs them, and holders who
// live until they are said to be dead.
namespace dbcache::test {

/// The names of the events of a log in memory.
class FakeNames final : public rows::EventNames {
 public:
  explicit FakeNames(const events::Events& log) : log_(log) {}
  [[nodiscard]] std::vector<rows::LoggedEvent> events_at(
      const std::vector<std::int64_t>& positions) const override {
    std::vector<rows::LoggedEvent> found;
    for (const std::int64_t position : positions) {
      if (position < 1 || position > static_cast<std::int64_t>(log_.size())) continue;
      const events::Event& event = log_[static_cast<std::size_t>(position - 1)];
      found.push_back(
          {{position, fmt::format("{:016x}", position)}, std::string(events::type_of(event))});
    }
    return found;
  }

 private:
  const events::Events& log_;
};

class FakeLiveness final : public rows::Liveness {
 public:
  [[nodiscard]] Verdict probe(const rows::Holder& holder) const override {
    if (dead.contains(holder.lock)) return Verdict::dead;
    return holder.lock == 0 || unjudgeable.contains(holder.lock) ? Verdict::unknown
                                                                 : Verdict::alive;
  }
  [[nodiscard]] std::optional<system::BootTime> boot_time() const override { return boot; }

  std::set<std::int64_t> dead;
  std::set<std::int64_t> unjudgeable;
  std::optional<system::BootTime> boot;
};

inline const std::string workspace = "https://workspace.example";

template <class Payload>
std::vector<Payload> all_of(const events::Events& events) {
  std::vector<Payload> found;
  for (const events::Event& event : events) {
    if (const auto* payload = std::get_if<Payload>(&event)) found.push_back(*payload);
  }
  return found;
}

class LeaseWorld {
 public:
  Timestamp now = at("10:30");
  projections::MemoryTables tables;
  FakeLiveness liveness;
  events::Events log;

  [[nodiscard]] rows::Present present() const { return {tables, liveness, now, names_}; }

  /// What the log names an event.
  [[nodiscard]] static rows::EventName name_of(std::int64_t position) {
    return {position, fmt::format("{:016x}", position)};
  }
  void foresee_event(std::int64_t) const {}
  [[nodiscard]] const rows::EventNames& names() const { return names_; }

  /// Someone who lives.
  rows::Holder someone() {
    rows::Holder holder;
    holder.lock_file = "locks";
    holder.lock = ++last_holder_;
    holder.process = {1000 + last_holder_, 1, "boot", "pid:[1]"};
    holder.host = "ci-1";
    return holder;
  }
  void kill(const rows::Holder& holder) { liveness.dead.insert(holder.lock); }

  /// The position of the first.
  std::int64_t append(const events::Events& events) {
    const auto first = static_cast<std::int64_t>(log.size()) + 1;
    for (const events::Event& event : events) {
      appended_.push_back(event);
      log.push_back(event);
      projections::project(event, static_cast<std::int64_t>(log.size()), tables);
    }
    return first;
  }

  // As a store's transaction, for coordination::run_in_order().
  static std::optional<store::ClosedLog> closed() { return std::nullopt; }
  [[nodiscard]] const events::Events& appended() const { return appended_; }
  using Steps = std::function<void(LeaseWorld&)>;
  void transact(const commands::Reach& reach, const Steps& steps, const Steps& then = {}) {
    do {
      appended_.clear();
    } while (!coordination::run_in_order(*this, reach, steps, then));
  }

  /// A command on leases, after reaping and before handing back; what it was decided to, and the
  /// position of its first event.
  template <class Command>
  auto commit(const Command& command) {
    std::pair<decltype(commands::decide(command, present())), std::int64_t> committed;
    const auto step = [&](LeaseWorld&) {
      committed.first = commands::decide(command, present());
      committed.second = append(committed.first.events);
    };
    if constexpr (commands::reaches_everything<Command>) {
      coordination::run_over_everything<LeaseWorld>(*this, step, {});
    } else if constexpr (requires { commands::reach_of(command, tables); }) {
      transact(commands::reach_of(command, tables), step);
    } else {
      step(*this);  // a documented command, which depends on no lease
    }
    return committed;
  }

  /// As coordination::sweep() does.
  void tidy() {
    commands::Dead dead;
    commands::find_dead(tables.leases(), present(), dead);
    commands::find_dead(tables.participants(), present(), dead);
    commands::find_dead(tables.shares(), present(), dead);
    commands::find_dead(tables.running_terminations(), present(), dead);
    for (const auto& hash : tables.expired_configurations(now, "", 1000)) {
      dead.configurations.insert(hash);
    }
    for (const auto& subject : dead.terminations) commit(commands::LoseTermination{subject});
    for (const auto participant : dead.participants) {
      commit(commands::LoseParticipant{participant});
    }
    for (const auto& [hash, suspects] : dead.leases) {
      commands::Reach reach;
      reach.config_hash = hash;
      reach.suspects = suspects;
      transact(reach, {});
    }
    for (const auto& hash : dead.configurations) commit(commands::HandBack{hash});
  }

  struct Step : commands::AcquireStep {
    std::int64_t number = 0;  ///< Of the lease, the creation or the check.
    events::Events events;
  };

  commands::Acquire acquirer(const std::string& hash = "hash") {
    commands::Acquire command;
    command.config_hash = hash;
    command.holder = someone();
    command.host = workspace;
    command.new_token = "token-" + std::to_string(++last_token_);
    return command;
  }
  Step acquire(const commands::Acquire& command) {
    Step step;
    std::int64_t position = 0;
    const auto decide = [&](LeaseWorld&) {
      auto decision = commands::decide(command, present());
      step = {{std::move(decision.result)}, 0, std::move(decision.events)};
      position = append(step.events);
    };
    commands::Reach reach;
    reach.config_hash = command.config_hash;
    reach.goes_on = true;
    transact(reach, {}, decide);
    for (const events::Event& event : step.events) {
      if (std::holds_alternative<events::LeaseGranted>(event) ||
          std::holds_alternative<events::CreationStarted>(event) ||
          std::holds_alternative<events::CheckStarted>(event)) {
        step.number = position;
      }
      ++position;
    }
    return step;
  }
  Step acquire(const std::string& hash = "hash") { return acquire(acquirer(hash)); }

  static commands::FinishCreation ready(const commands::Acquire& by, std::int64_t creation,
                                        const std::string& cluster_id) {
    commands::FinishCreation command;
    command.config_hash = by.config_hash;
    command.creation = {creation};
    command.input.cluster_id = cluster_id;
    command.default_expiry = std::chrono::hours{1};
    command.holder = by.holder;
    command.policy = by.policy;
    command.run = by.run;
    command.host = by.host;
    return command;
  }

  struct Grant {
    rows::Holder holder;
    std::int64_t lease = 0;
    events::Events events;
  };

  /// A lease on a new cluster, by whoever created it.
  Grant created(commands::Acquire by, const std::string& cluster_id) {
    const Step step = acquire(by);
    auto finished = commit(ready(by, step.number, cluster_id));
    return {by.holder, newest_lease(), std::move(finished.first.events)};
  }
  Grant created(const std::string& hash = "hash", const std::string& cluster_id = "c-1") {
    return created(acquirer(hash), cluster_id);
  }
  Grant created(HandBackPolicy policy) {
    auto by = acquirer();
    by.policy = policy;
    return created(std::move(by), "c-1");
  }

  /// One more lease on what is there.
  Grant joined(commands::Acquire by) {
    Step step = acquire(by);
    return {by.holder, step.number, std::move(step.events)};
  }
  Grant joined(const std::string& hash = "hash") { return joined(acquirer(hash)); }

  commands::LeaseEnded end(const Grant& held) {
    return commit(commands::EndLease{{held.lease}}).first.result;
  }

  /// A claim on what is due on the workspace, by someone who lives, after a sweep.
  std::pair<std::optional<rows::PendingTermination>, std::int64_t> claim() {
    tidy();
    commands::ClaimTermination command;
    command.holder = someone();
    command.host = workspace;
    const auto [decision, first] = commit(command);
    last_terminator = command.holder;
    return {decision.result, first};
  }
  rows::Holder last_terminator;

  [[nodiscard]] RegistryEntry entry(const std::string& hash = "hash") const {
    return tables.entry(hash).value();
  }
  [[nodiscard]] rows::Share share(const std::string& hash = "hash") const {
    return tables.share(hash).value();
  }
  [[nodiscard]] std::vector<std::string> owed() const {
    std::vector<std::string> subjects;
    for (const auto& pending : tables.pending_terminations()) subjects.push_back(pending.subject);
    return subjects;
  }
  [[nodiscard]] std::int64_t newest_lease() const { return tables.leases().back().id; }

 private:
  events::Events appended_;  ///< In this transaction.
  std::int64_t last_holder_ = 0;
  int last_token_ = 0;
  FakeNames names_{log};
};

/// A world of leases for each test.
class Leases : public testing::Test, protected LeaseWorld {};

}  // namespace dbcache::test
