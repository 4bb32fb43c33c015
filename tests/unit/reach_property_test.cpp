// Steps with reach decide what steps over the whole world decided: the rules before reach are kept
// here as the model. DBCACHE_TEST_SEED plays another game than the usual one.

#include <algorithm>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "lease_world.hpp"

namespace dbcache::commands {
namespace {

using namespace events;
using namespace std::chrono_literals;
using rows::EntryOrigin;
using rows::Lease;
using rows::Participant;
using rows::Share;
using test::LeaseWorld;

constexpr int games_of_worlds = 40;
constexpr int steps_of_a_game = 150;

std::uint64_t seed_of_worlds() {
  const char* const given = std::getenv("DBCACHE_TEST_SEED");
  return given == nullptr ? 20'261'130 : std::strtoull(given, nullptr, 10);
}

/// What clusters nobody needs, looked for in all entries.
Events hand_back_in_the_whole_world(const Present& present, const std::string& but) {
  Events events;
  const auto leases = present.rows.leases();
  const auto participants = present.rows.participants();
  const auto is_held = [&](const auto& fits) {
    return std::any_of(leases.begin(), leases.end(), fits);
  };
  for (const Share& share : present.rows.shares()) {
    const auto entry = present.rows.entry(share.config_hash);
    if (!entry || share.config_hash == but || share.check || share.creation ||
        is_held([&](const Lease& lease) { return lease.config_hash == share.config_hash; })) {
      continue;
    }
    if (share.origin == EntryOrigin::environment) {
      if (entry->usage_count == 0) {
        events.emplace_back(RegistryEntryRemoved{share.config_hash, EntryRemovalReason::released});
      }
      continue;
    }
    const bool has_cluster = share.created || entry->status == RegistryStatus::ready;
    if (share.origin != EntryOrigin::acquired || !has_cluster ||
        is_held([&](const Lease& lease) { return lease.cluster_id == entry->cluster_id; })) {
      continue;
    }
    const auto row = entry->cluster_id ? present.rows.cluster(*entry->cluster_id) : std::nullopt;
    const bool run_goes_on =
        std::any_of(participants.begin(), participants.end(), [&](const Participant& one) {
          return std::find(share.runs.begin(), share.runs.end(), one.run) != share.runs.end();
        });
    if (row && row->expiry_time <= present.now) {
      drop_entry(*entry, EntryRemovalReason::expired, OwedReason::expired, present, events);
    } else if (share.policy == HandBackPolicy::hand_back && entry->usage_count == 0 &&
               !run_goes_on) {
      drop_entry(*entry, EntryRemovalReason::handed_back, OwedReason::handed_back, present, events);
    }
  }
  return events;
}

/// The rows without the positions of their events, which are in another order.
std::vector<std::string> contents(const LeaseWorld& world) {
  std::vector<std::string> rows;
  for (const RegistryEntry& entry : world.tables.entries()) {
    rows.push_back(fmt::format("entry {} {} {} {} {}", entry.config_hash,
                               entry.cluster_id.value_or("-"), to_string(entry.status),
                               entry.usage_count, entry.error_message.value_or("-")));
  }
  for (const Share& share : world.tables.shares()) {
    rows.push_back(fmt::format(
        "share {} {} {} {} {} {} {}", share.config_hash, static_cast<int>(share.origin),
        share.creation.has_value(), share.created, share.idempotency_token.value_or("-"),
        share.policy ? to_string(*share.policy) : "-", fmt::join(share.runs, "+")));
  }
  for (const Lease& lease : world.tables.leases()) {
    rows.push_back(
        fmt::format("lease {} {} {}", lease.config_hash, lease.cluster_id, lease.holder.lock));
  }
  for (const rows::PendingTermination& pending : world.tables.pending_terminations()) {
    rows.push_back(fmt::format("owed {} {} {} {} {} {}", pending.subject, pending.config_hash,
                               pending.reason, pending.attempts, pending.termination.has_value(),
                               pending.retry_at ? format_timestamp(*pending.retry_at) : "-"));
  }
  for (const CachedCluster& cluster : world.tables.clusters({}, world.now, {})) {
    rows.push_back(fmt::format("cluster {} {} {}", cluster.cluster_id, cluster.is_active,
                               cluster.access_count));
  }
  for (const Participant& one : world.tables.participants()) {
    rows.push_back(fmt::format("participant {} {}", one.run, one.holder.lock));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

/// Two worlds in which the same happens. Leases and participants are known by their holders.
class TwoWorlds {
 public:
  explicit TwoWorlds(std::uint64_t of) : random_(of) {}

  void play() {
    for (int step = 0; step < steps_of_a_game; ++step) {
      const auto passes = std::chrono::seconds(below(600));
      narrow_.now += passes;
      whole_.now += passes;
      narrow_.tidy();
      in_whole({});
      const std::string what = take_a_step();
      ASSERT_EQ(contents(narrow_), contents(whole_)) << "after step " << step << ": " << what;
    }
  }

 private:
  std::size_t below(std::size_t count) { return random_() % count; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  std::string any_hash() { return std::string(1, static_cast<char>('a' + below(4))); }
  std::string any_cluster() { return fmt::format("c-{}", below(5)); }

  // ---- The same command in both

  void in_whole(const LeaseWorld::Steps& steps, const LeaseWorld::Steps& then = {},
                const std::string& keep = "") {
    whole_.append(reap(whole_.present(), keep));
    if (steps) steps(whole_);
    whole_.append(hand_back_in_the_whole_world(whole_.present(), keep));
    if (then) then(whole_);
  }

  /// Whether it was decided on, in both or in neither.
  template <class Command>
  void both(const Command& narrow, const Command& whole) {
    bool refused = false;
    try {
      narrow_.commit(narrow);
    } catch (const Error&) {
      refused = true;
    }
    bool refused_there = false;
    in_whole([&](LeaseWorld& world) {
      try {
        world.append(decide(whole, world.present()).events);
      } catch (const Error&) {
        refused_there = true;
      }
    });
    EXPECT_EQ(refused, refused_there);
  }
  template <class Command>
  void both(const Command& command) {
    both(command, command);
  }

  std::string take_a_step() {
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return acquire();
      case 4:
        return end_a_creation();
      case 5:
      case 6:
        return end_a_lease();
      case 7:
        return kill_someone();
      case 8:
        return join_or_leave();
      case 9:
        return settle();
      default:
        return documented();
    }
  }

  std::string acquire() {
    Acquire command = narrow_.acquirer(any_hash());
    command.policy = one_in(2) ? HandBackPolicy::hand_back : HandBackPolicy::keep;
    command.checks = one_in(4);
    if (one_in(3)) command.run = "nightly";
    if (one_in(6)) {
      command.fixed_cluster = any_cluster();
      command.config_hash = "cluster-id-" + *command.fixed_cluster;
    }
    holders_.push_back(command.holder);
    LeaseWorld::Step narrow;
    Decision<AcquireStep> whole;
    try {
      narrow = narrow_.acquire(command);
    } catch (const Busy&) {
      narrow.error = "busy";
    }
    in_whole(
        {},
        [&](LeaseWorld& world) {
          try {
            whole = decide(command, world.present());
            world.append(whole.events);
          } catch (const Busy&) {
            whole.result.error = "busy";
          }
        },
        command.config_hash);
    EXPECT_EQ(narrow.next, whole.result.next);
    EXPECT_EQ(narrow.cluster_id, whole.result.cluster_id);
    EXPECT_EQ(narrow.idempotency_token, whole.result.idempotency_token);
    EXPECT_EQ(narrow.awaited, whole.result.awaited);
    EXPECT_EQ(narrow.error, whole.result.error);
    return "acquire " + command.config_hash;
  }

  std::string end_a_creation() {
    const std::string hash = any_hash();
    const auto narrow = narrow_.tables.share(hash);
    const auto whole = whole_.tables.share(hash);
    if (!narrow || !narrow->creation) return "nothing";
    const std::string cluster_id = any_cluster();
    switch (below(3)) {
      case 0:
        both(RecordStarted{hash, {*narrow->creation}, cluster_id, *narrow->idempotency_token},
             RecordStarted{hash, {whole->creation.value()}, cluster_id, *whole->idempotency_token});
        break;
      case 1:
        both(FailCreation{hash, {*narrow->creation}, "no quota", {}, ""},
             FailCreation{hash, {whole->creation.value()}, "no quota", {}, ""});
        break;
      default: {
        Acquire by;
        by.config_hash = hash;
        by.holder = narrow->worker.value();
        by.policy = one_in(2) ? HandBackPolicy::hand_back : HandBackPolicy::keep;
        both(LeaseWorld::ready(by, *narrow->creation, cluster_id),
             LeaseWorld::ready(by, whole->creation.value(), cluster_id));
      }
    }
    return "end the creation of " + hash;
  }

  /// The lease of the same holder there.
  [[nodiscard]] std::int64_t there(const Lease& lease) const {
    for (const Lease& other : whole_.tables.leases()) {
      if (other.holder == lease.holder) return other.id;
    }
    return 0;
  }

  std::string end_a_lease() {
    const auto leases = narrow_.tables.leases();
    if (leases.empty()) return "nothing";
    const Lease& lease = leases[below(leases.size())];
    if (one_in(5)) {
      both(BelieveDead{{lease.id}}, BelieveDead{{there(lease)}});
    } else {
      both(EndLease{{lease.id}, {}}, EndLease{{there(lease)}, {}});
    }
    return fmt::format("end a lease of {}", lease.config_hash);
  }

  std::string kill_someone() {
    if (holders_.empty()) return "nothing";
    const rows::Holder& holder = holders_[below(holders_.size())];
    narrow_.kill(holder);
    whole_.kill(holder);
    narrow_.tidy();
    in_whole({});
    return fmt::format("kill the holder {}", holder.lock);
  }

  std::string join_or_leave() {
    const auto members = narrow_.tables.participants();
    if (members.empty() || one_in(2)) {
      const JoinRun command{"nightly", "worker", std::nullopt, narrow_.someone()};
      holders_.push_back(command.holder);
      both(command);
      return "join";
    }
    const Participant& one = members[below(members.size())];
    for (const Participant& other : whole_.tables.participants()) {
      if (other.holder == one.holder) {
        both(LeaveRun{{one.id}}, LeaveRun{{other.id}});
        break;
      }
    }
    return "leave";
  }

  std::string settle() {
    ClaimTermination command;
    command.every_host = true;
    command.in_passing = one_in(2);
    command.holder = narrow_.someone();
    both(command);
    const auto running = narrow_.tables.running_terminations();
    if (running.empty() || one_in(2)) return "claim";
    const auto& pending = running[below(running.size())];
    const auto there = whole_.tables.pending_termination(pending.subject);
    if (!there || !there->termination) return "claim";
    const auto error = one_in(2) ? std::optional<std::string>("403") : std::nullopt;
    both(FinishTermination{pending.subject, {*pending.termination}, error},
         FinishTermination{pending.subject, {*there->termination}, error});
    return "settle " + pending.subject;
  }

  std::string documented() {
    const std::string hash = any_hash();
    switch (below(5)) {
      case 0:
        both(DecrementUsage{hash});
        return "unuse " + hash;
      case 1:
        both(CleanUpEntry{hash, one_in(2) ? HeldClusters::remove : HeldClusters::leave});
        return "clean up " + hash;
      case 2: {
        ChangeStatus command{hash, one_in(2) ? RegistryStatus::ready : RegistryStatus::failed, {}};
        if (one_in(2)) command.details.cluster_id = any_cluster();
        both(command);
        return "mark " + hash;
      }
      case 3:
        both(CleanUpExpired{one_in(2) ? HeldClusters::remove : HeldClusters::leave});
        return "clean up what has expired";
      default:
        if (one_in(3)) both(ClearClusters{HeldClusters::leave});
        return "clear";
    }
  }

  std::mt19937_64 random_;
  LeaseWorld narrow_;
  LeaseWorld whole_;
  std::vector<rows::Holder> holders_;
};

class StepsWithReach : public testing::TestWithParam<int> {};

TEST_P(StepsWithReach, DecideWhatStepsOverTheWholeWorldDecide) {
  TwoWorlds(seed_of_worlds() + static_cast<std::uint64_t>(GetParam())).play();
}

INSTANTIATE_TEST_SUITE_P(Games, StepsWithReach, testing::Range(0, games_of_worlds));

}  // namespace
}  // namespace dbcache::commands
