#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include <dbcache/errors.hpp>
#include <dbcache/shared_clusters.hpp>

#include "commands/leases.hpp"
#include "coordination/acquisition.hpp"
#include "coordination/coordinator.hpp"
#include "coordination/creation.hpp"
#include "coordination/open_store.hpp"
#include "coordination/past_lease.hpp"
#include "face/cache_manager_impl.hpp"
#include "face/lease_impl.hpp"
#include "input/input.hpp"
#include "system/environment.hpp"
#include "system/logger.hpp"

namespace dbcache {

using coordination::Coordinator;
using rows::Lease;
using rows::Participant;
using rows::Share;

// ---- A creation, as its `create` function sees it

const std::string& Creation::config_hash() const noexcept { return impl_.config_hash; }
const std::string& Creation::idempotency_token() const noexcept { return impl_.idempotency_token; }
std::int64_t Creation::fencing_token() const noexcept { return impl_.name.position; }
std::string Creation::name() const { return commands::to_string(impl_.name); }
const std::optional<std::string>& Creation::started_cluster_id() const noexcept {
  return impl_.started_cluster_id;
}
void Creation::started(std::string_view cluster_id) {
  {
    const std::scoped_lock guard(impl_.mutex);
    impl_.started = cluster_id;
  }
  if (impl_.coordinator.record_started({impl_.config_hash, impl_.name}, cluster_id)) {
    const std::scoped_lock guard(impl_.mutex);
    impl_.of_others.emplace(cluster_id);
  }
}
bool Creation::continues_earlier() const noexcept { return impl_.continues_earlier; }
void Creation::nothing_started() noexcept { impl_.nothing_started = true; }
void Creation::progress(std::string_view doing) { impl_.progress.tell(doing); }
const std::string& Creation::owner() const noexcept { return impl_.owner; }
std::chrono::steady_clock::time_point Creation::deadline() const noexcept { return impl_.deadline; }
std::stop_token Creation::stop_token() const noexcept { return impl_.stop; }
int Creation::lock_descriptor() const noexcept { return impl_.lock.descriptor(); }

// ---- Shared clusters

class SharedClusters::Impl {
 public:
  explicit Impl(Coordinator of) : coordinator(std::move(of)) {}

  void renew(const rows::EventName& lease, std::chrono::microseconds ttl) const {
    if (ttl <= std::chrono::microseconds{0} || ttl > std::chrono::years{1}) {
      throw InvalidArgument(fmt::format("ttl is {} s; it must be more than 0 and at most 1 year",
                                        std::chrono::duration<double>(ttl).count()));
    }
    const std::string cluster_id = exported_cluster(lease);
    require_database(lease);
    coordinator.commit(commands::RenewLease{lease, coordinator.store().now() + ttl,
                                            /*convert=*/false, cluster_id});
  }

  [[nodiscard]] ReleaseReport release(const rows::EventName& lease,
                                      const coordination::Ending& ending) const {
    if (coordination::is_of_surrounding_run(lease)) {
      ReleaseReport report;
      report.of_surrounding_run = true;
      return report;
    }
    require_database(lease);
    return coordinator.release({lease, std::nullopt, exported_cluster(lease), /*by_name=*/true},
                               ending);
  }

  Coordinator coordinator;

 private:
  void require_database(const rows::EventName& lease) const {
    if (coordinator.store().engine().exists()) return;
    throw NotFound(fmt::format(
        "there is no lease {}: the database does not exist; check its path. If it was removed, the "
        "lease's cluster is nobody's now: terminate it yourself",
        commands::to_string(lease)));
  }

  /// DATABRICKS_CLUSTER_ID. A number alone is not enough without it.
  [[nodiscard]] static std::string exported_cluster(const rows::EventName& lease) {
    std::string cluster_id = system::Environment::read().databricks_cluster_id;
    if (lease.mark.empty() && cluster_id.empty()) {
      throw InvalidArgument(fmt::format(
          "{} is the number of a lease, and every database has a lease of that number; give its "
          "name, as `dbcache acquire` prints it and `dbcache leases` shows it, or set "
          "DATABRICKS_CLUSTER_ID to its cluster",
          lease.position));
    }
    return cluster_id;
  }
};

namespace {

Coordinator coordinator_of(Options options) {
  const auto expiry = options.default_expiry;
  input::require_expiry(expiry);
  return {coordination::open_store(std::move(options)), expiry};
}

LeaseInfo describe(const Lease& lease, const rows::Present& present) {
  return {lease.id,
          {},
          LeaseInfo::Kind::lease,
          lease.config_hash,
          lease.cluster_id,
          coordination::describe(lease.holder,
                                 commands::is_alive(lease.holder, lease.granted_at, present)),
          lease.granted_at,
          lease.policy,
          lease.run};
}

/// Adds the creation and the check of an entry that are under way.
void add_doings(const Share& share, const RegistryEntry& entry, const rows::Present& present,
                std::vector<LeaseInfo>& leases) {
  const auto add = [&](std::int64_t number, LeaseInfo::Kind kind, const rows::Holder& holder) {
    leases.push_back(
        {number,
         {},
         kind,
         entry.config_hash,
         entry.cluster_id,
         coordination::describe(holder, commands::is_alive(holder, entry.creation_time, present)),
         entry.creation_time,
         HandBackPolicy::keep,
         std::nullopt});
  };
  if (share.creation && share.worker)
    add(*share.creation, LeaseInfo::Kind::creation, *share.worker);
  if (share.check && share.checker) add(*share.check, LeaseInfo::Kind::check, *share.checker);
}

/// The names of everything in the report, asked for at once.
void add_names(const rows::EventNames& log, LeaseReport& report) {
  std::vector<std::int64_t> positions;
  for (const LeaseInfo& lease : report.leases) positions.push_back(lease.lease);
  for (const ParticipantInfo& one : report.participants) positions.push_back(one.id);
  std::map<std::int64_t, std::string> names;
  for (const rows::LoggedEvent& event : log.events_at(positions)) {
    names.emplace(event.name.position, commands::to_string(event.name));
  }
  for (LeaseInfo& lease : report.leases) lease.name = names[lease.lease];
  for (ParticipantInfo& one : report.participants) one.participant_name = names[one.id];
}

}  // namespace

SharedClusters::SharedClusters(Options options)
    : impl_(std::make_shared<Impl>(coordinator_of(std::move(options)))) {}

SharedClusters::SharedClusters(const CacheManager& manager)
    : impl_(std::make_shared<Impl>(
          Coordinator(manager.impl_->store, manager.impl_->default_expiry))) {}

SharedClusters::~SharedClusters() = default;
SharedClusters::SharedClusters(SharedClusters&&) noexcept = default;
SharedClusters& SharedClusters::operator=(SharedClusters&&) noexcept = default;

ClusterLease SharedClusters::acquire(const ClusterConfig& config, const ClusterLifecycle& lifecycle,
                                     const AcquireOptions& options) {
  const Coordinator& coordinator = impl_->coordinator;
  coordination::Granted granted =
      coordination::Acquisition(coordinator, config, lifecycle, options).run();
  const bool may_settle = granted.lock != nullptr && lifecycle.terminate;
  const bool swept = granted.swept;
  coordination::Debts debts{{false, granted.host}, std::move(granted.owed)};
  ClusterLifecycle kept = lifecycle;
  kept.create = nullptr;  // and everything it has captured
  ClusterLease lease = LeaseMaker::lease(coordinator, std::move(granted), std::move(kept));
  if (may_settle && !options.stop.stop_requested()) {
    try {
      const bool exits = options.afterwards == Afterwards::exit;
      if (exits && !swept) coordinator.sweep_for_others();
      if (exits || swept) debts.others = coordination::Debts::Others::due;
      coordinator.settle(lifecycle.terminate, debts, options.stop);
    } catch (const Error& error) {
      system::logger()->warn(
          "pending terminations could not be settled: {}; a later call tries again", error.what());
    }
  }
  return lease;
}

RunMembership SharedClusters::join_run(std::string_view run, std::string_view kind,
                                       const std::optional<std::string>& name) {
  const Coordinator& coordinator = impl_->coordinator;
  const input::Redactor redactor(system::Environment::read().databricks_token);
  coordination::TakenLock taken = coordinator.take_lock();
  commands::JoinRun command{input::require_id(run, "run"),
                            input::require_id(kind, "kind of participant"), std::nullopt,
                            taken.holder};
  if (name) command.name = input::clean_label(*name, redactor);
  const auto [decision, participant] =
      coordinator.commit_with(taken, [&](const rows::Holder& holder) {
        command.holder = holder;
        return command;
      });
  taken.lock->done();
  return LeaseMaker::membership(coordinator, std::move(taken.lock), participant,
                                std::move(command.run));
}

LeaseReport SharedClusters::leases() const {
  LeaseReport report;
  const store::Store& store = impl_->coordinator.store();
  store.read([&](const store::ReadSession& session) {
    const rows::Present present = store::present(session);
    report = {};
    session.liveness.expect_many();
    for (const Lease& lease : session.tables.leases()) {
      report.leases.push_back(describe(lease, present));
    }
    for (const RegistryEntry& entry : session.tables.entries()) {
      if (const auto share = session.tables.share(entry.config_hash)) {
        add_doings(*share, entry, present, report.leases);
      }
      const auto documented = commands::usage_of(entry, session.tables).documented;
      if (documented > 0) {
        report.documented_uses.push_back({entry.config_hash, entry.cluster_id, documented});
      }
    }
    for (const Participant& one : session.tables.participants()) {
      report.participants.push_back(
          {one.id,
           {},
           one.run,
           one.kind,
           one.name,
           coordination::describe(one.holder,
                                  commands::is_alive(one.holder, one.joined_at, present)),
           one.joined_at});
    }
    add_names(session.log, report);
  });
  std::sort(report.leases.begin(), report.leases.end(),
            [](const LeaseInfo& a, const LeaseInfo& b) { return a.lease < b.lease; });
  return report;
}

std::vector<OwedTermination> SharedClusters::owed() {
  impl_->coordinator.sweep();
  std::vector<OwedTermination> owed;
  impl_->coordinator.store().read([&](const store::ReadSession& session) {
    owed.clear();
    for (const rows::PendingTermination& pending : session.tables.pending_terminations()) {
      owed.push_back(
          {pending.subject, pending.cluster_id, pending.idempotency_token, pending.config_hash,
           pending.host, pending.reason, pending.owed_at, pending.attempts, pending.error,
           pending.terminator ? std::optional(coordination::describe(*pending.terminator, true))
                              : std::nullopt});
    }
  });
  std::stable_sort(owed.begin(), owed.end(),
                   [](const auto& a, const auto& b) { return a.owed_at < b.owed_at; });
  return owed;
}

SettleReport SharedClusters::settle(const std::function<void(const Termination&)>& terminate,
                                    const std::optional<std::string>& host,
                                    const std::stop_token& stop) {
  if (!terminate)
    throw InvalidArgument(
        "settle was called without a terminate function; give one that terminates a cluster");
  const auto settle_of = [&](const std::optional<std::string>& workspace) {
    return impl_->coordinator.settle_all(terminate, {!host.has_value(), workspace}, stop);
  };
  const std::string normal = host ? input::normalised_host(*host) : "";
  if (normal.empty()) return settle_of(std::nullopt);
  SettleReport report = settle_of(normal);
  if (normal == *host) return report;
  // Older versions kept more of an address, under which a termination may still be pending.
  SettleReport older = settle_of(host);
  const auto append = [](auto& to, auto& more) {
    to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  };
  append(report.settled, older.settled);
  append(report.failed, older.failed);
  append(report.left, older.left);
  return report;
}

void SharedClusters::renew_lease(std::string_view lease, std::chrono::microseconds ttl) {
  impl_->renew(commands::read_name(lease, "lease"), ttl);
}

void SharedClusters::renew_lease(std::int64_t lease, std::chrono::microseconds ttl) {
  impl_->renew({lease, {}}, ttl);
}

ReleaseReport SharedClusters::release_lease(std::string_view lease,
                                            const ClusterLifecycle& lifecycle,
                                            const std::stop_token& stop, Afterwards afterwards) {
  return impl_->release(commands::read_name(lease, "lease"),
                        {lifecycle.terminate, stop, afterwards});
}

ReleaseReport SharedClusters::release_lease(std::int64_t lease, const ClusterLifecycle& lifecycle,
                                            const std::stop_token& stop, Afterwards afterwards) {
  return impl_->release({lease, {}}, {lifecycle.terminate, stop, afterwards});
}

void SharedClusters::creation_started(std::string_view config_hash, std::string_view creation,
                                      std::string_view cluster_id) {
  impl_->coordinator.record_started(
      {std::string(config_hash), commands::read_name(creation, "creation"), true,
       system::environment_variable("DBCACHE_IDEMPOTENCY_TOKEN")},
      cluster_id);
}

void SharedClusters::creation_started(std::string_view config_hash, std::int64_t fencing_token,
                                      std::string_view cluster_id) {
  impl_->coordinator.record_started({std::string(config_hash),
                                     {fencing_token, {}},
                                     true,
                                     system::environment_variable("DBCACHE_IDEMPOTENCY_TOKEN")},
                                    cluster_id);
}

}  // namespace dbcache
