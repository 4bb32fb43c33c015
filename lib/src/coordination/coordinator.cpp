#include "coordination/coordinator.hpp"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "coordination/past_lease.hpp"
#include "coordination/sweep.hpp"
#include "events/event.hpp"
#include "input/input.hpp"
#include "system/environment.hpp"
#include "system/logger.hpp"

namespace dbcache::coordination {

using rows::PendingTermination;

namespace {

/// After a sweep that took long, the next one is due only after so many times as long.
constexpr int pauses_for_a_sweep = 30;

/// A process that is about to exit does not wait for a database that is out of reach.
constexpr std::chrono::seconds patience_at_the_end{1};

void warn_of_no_sweep(const Error& error) {
  system::logger()->warn("the dead were not looked for: {}; a later call does so", error.what());
}

}  // namespace

TakenLock Coordinator::take_lock() const {
  TakenLock taken{store().engine().take_lock(), {}};
  taken.holder = taken.lock->holder();
  taken.holder.label = store().label();
  return taken;
}

void Coordinator::sweep() const { duty_->sweep(); }

bool Coordinator::sweep_for_others() const {
  try {
    duty_->sweep();
    return true;
  } catch (const Error& error) {
    warn_of_no_sweep(error);
    return false;
  }
}

bool Coordinator::sweep_if_due(std::chrono::nanoseconds overdue) const {
  try {
    if (store().engine().claim_sweep(overdue) && sweep_for_others()) return true;
  } catch (const Error& error) {
    warn_of_no_sweep(error);
  }
  duty_->skipped_by = ::getpid();
  return false;
}

void Coordinator::Duty::sweep(store::Engine::Patience patience) {
  const auto began = std::chrono::steady_clock::now();
  const std::size_t holders = coordination::sweep(*store, patience);
  skipped_by = 0;
  try {
    store->engine().swept(pauses_for_a_sweep * (std::chrono::steady_clock::now() - began), holders);
  } catch (const Error& error) {
    system::logger()->debug("the next sweep may come early: {}", error.what());
  }
}

Coordinator::Duty::~Duty() {
  if (skipped_by != ::getpid()) return;
  try {
    sweep(patience_at_the_end);
  } catch (const std::exception& error) {
    system::logger()->debug("the last sweep failed: {}; a later call sweeps", error.what());
  }
}

SettleReport Coordinator::settle(const std::function<void(const Termination&)>& terminate,
                                 const Debts& debts, const std::stop_token& stop) const {
  SettleReport report;
  commands::ClaimTermination claim;
  claim.every_host = debts.of.every;
  claim.host = debts.of.host;
  for (const std::string& own : debts.own) {
    claim.subject = own;
    settle_one(claim, terminate, {}, report);
  }
  if (debts.others == Debts::Others::none) return report;
  claim.subject.reset();
  claim.in_passing = debts.others == Debts::Others::due;
  while (!stop.stop_requested() && settle_one(claim, terminate, stop, report)) {
  }
  return report;
}

SettleReport Coordinator::settle_all(const std::function<void(const Termination&)>& terminate,
                                     const Workspaces& workspaces,
                                     const std::stop_token& stop) const {
  sweep();
  SettleReport report = settle(terminate, {workspaces, {}, Debts::Others::all}, stop);
  std::set<std::string> tried(report.settled.begin(), report.settled.end());
  for (const auto& failure : report.failed) tried.insert(failure.subject);
  store().read([&](const store::ReadSession& session) {
    report.left.clear();
    for (const PendingTermination& pending : session.tables.pending_terminations()) {
      if ((workspaces.every || pending.host == workspaces.host) &&
          !tried.contains(pending.subject)) {
        report.left.push_back(pending.subject);
      }
    }
  });
  return report;
}

bool Coordinator::settle_one(commands::ClaimTermination& claim,
                             const std::function<void(const Termination&)>& terminate,
                             const std::stop_token& stop, SettleReport& report) const {
  bool due = false;
  store().read([&](const store::ReadSession& session) {
    due = commands::decide(claim, store::present(session)).result.has_value();
  });
  if (!due) return false;
  TakenLock taken = take_lock();
  const auto [claimed, claim_name] = commit_with(taken, [&](const Holder& holder) {
    claim.holder = holder;
    return claim;
  });
  if (!claimed.result) return false;
  const PendingTermination& pending = *claimed.result;
  claim.skip.insert(pending.subject);

  commands::FinishTermination finish{pending.subject, claim_name, std::nullopt};
  Termination termination;
  termination.owed = {pending.subject,     pending.cluster_id,   pending.idempotency_token,
                      pending.config_hash, pending.host,         pending.reason,
                      pending.owed_at,     pending.attempts + 1, std::nullopt,
                      std::nullopt};
  termination.lock_descriptor = taken.lock->descriptor();
  termination.now = store().now();
  termination.stop = stop;
  if (taken.lock->lost()) {
    // Others may have claimed the termination since the lock was lost.
    finish.error = "its claim was given up, since the database could not be reached for too long";
  } else {
    try {
      terminate(termination);
    } catch (...) {
      finish.error = message_of(std::current_exception());
    }
  }
  commit(finish);
  if (finish.error) {
    report.failed.push_back({pending.subject, *finish.error});
  } else {
    report.settled.push_back(pending.subject);
  }
  return true;
}

namespace {

/// Whether the cluster of a lease that had ended before was among what was settled.
void tell_of_past(const SettleReport& settled, ReleaseReport& report) {
  const auto& cluster_id = report.cluster_id;
  if (std::ranges::find(settled.settled, cluster_id) != settled.settled.end()) {
    report.owed = cluster_id;
    report.settled = true;
    report.cluster_is = "gone";
  }
  for (const auto& failure : settled.failed) {
    if (failure.subject != cluster_id) continue;
    report.owed = cluster_id;
    report.error = failure.error;
  }
}

}  // namespace

ReleaseReport Coordinator::release(const commands::EndLease& lease, const Ending& ending,
                                   const std::function<void()>& let_go) const {
  ReleaseReport report;
  std::optional<PendingTermination> pending;
  std::optional<std::string> host;
  bool known = false;
  commands::LeaseEnded ended;
  const auto reach = [&](const rows::TableReader& rows) {
    known = lease.config_hash || rows.lease(lease.lease.position);
    return commands::reach_of(lease, rows);
  };
  const auto end = [&](store::Store::Transaction& transaction) {
    auto decision = commands::decide(lease, transaction.present());
    ended = std::move(decision.result);
    const auto share = transaction.rows().share(ended.config_hash);
    host = share ? share->host : std::nullopt;
    transaction.append(decision.events);
  };
  const auto look_for_debt = [&](store::Store::Transaction& transaction) {
    pending =
        ended.was_last ? transaction.rows().pending_termination(ended.cluster_id) : std::nullopt;
  };
  try {
    if (store().engine().exists()) {
      transact(store(), reach, end, look_for_debt);
    } else {
      commands::decide(lease, store().nothing());  // and no database is made
    }
  } catch (const DatabaseMoved&) {
    if (known) throw;
  }
  report.was_held = ended.was_held;
  report.was_last = ended.was_last;
  report.usage_count = ended.usage_count;
  if (let_go) let_go();
  if (pending) report.owed = pending->subject;
  if (lease.by_name && !ended.was_held) host = describe_past_lease(store(), lease, report);
  const bool was_lost = report.ended && *report.ended != "released";
  if (!known && !was_lost) return report;
  const bool swept = sweep_if_due();
  if (!ending.terminate) return report;
  try {
    settle_after(report, ending, {false, host}, swept);
  } catch (const Error& error) {
    // The release is committed. The pending termination remains, and a later call settles it.
    system::logger()->warn(
        "pending terminations could not be settled: {}; a later call tries again", error.what());
    if (!report.settled && !report.error) report.error = error.what();
  }
  return report;
}

void Coordinator::settle_after(ReleaseReport& report, const Ending& ending,
                               const Workspaces& workspaces, bool swept) const {
  if (report.owed) {
    const SettleReport own = settle(ending.terminate, {workspaces, {*report.owed}}, ending.stop);
    report.settled = !own.settled.empty();
    if (!own.failed.empty()) report.error = own.failed.front().error;
  }
  if (ending.stop.stop_requested()) return;
  // A process that has handed its last cluster back may be the last of its job, and has just waited
  // for its `terminate`: beside that a sweep costs nothing. Elsewhere it would cost each release of
  // a process that holds one lease at a time.
  const bool may_be_last =
      ending.afterwards == Afterwards::exit || (report.owed && duty_->leases.use_count() == 1);
  if (!swept && !may_be_last) return;
  if (!swept) sweep_for_others();
  const SettleReport others =
      settle(ending.terminate, {workspaces, {}, Debts::Others::due}, ending.stop);
  if (report.ended) tell_of_past(others, report);
}

bool Coordinator::record_started(const CreationName& creation, std::string_view cluster_id) const {
  const std::string& config_hash = creation.config_hash;
  const std::int64_t number = creation.name.position;
  commands::RecordStarted command{input::require_id(config_hash, "config hash"),
                                  creation.name,
                                  input::require_cluster_id(cluster_id),
                                  {}};
  // A creation that never existed would make a cluster owed that dbcache did not create.
  const auto begun = number > 0 ? store::events_from(store(), number, 1, store::Extent::visible)
                                : std::vector<RecordedEvent>();
  if (!begun.empty() && begun.front().position == number &&
      begun.front().type == events::CreationStarted::type &&
      begun.front().stream == events::registry_stream(config_hash)) {
    command.idempotency_token = std::get<events::CreationStarted>(
                                    events::parse_event(begun.front().type, begun.front().payload))
                                    .idempotency_token;
  } else if (creation.by_name) {
    throw NotFound(
        fmt::format("there is no creation {} of '{}' in this database; use the "
                    "DBCACHE_CREATION_NAME, DBCACHE_CONFIG_HASH and DBCACHE_DATABASE that the "
                    "create command was given",
                    commands::to_string(creation.name), config_hash));
  }
  if (creation.name.mark.empty() && creation.idempotency_token != command.idempotency_token) {
    throw InvalidArgument(fmt::format(
        "the number {} alone may be that of another log's creation; give the creation's name, "
        "$DBCACHE_CREATION_NAME, or leave DBCACHE_IDEMPOTENCY_TOKEN as the create command was "
        "given it",
        number));
  }
  const commands::CreatorOutcome outcome = commit(command).first.result;
  if (outcome.fit != commands::Fit::ours) {
    const std::string text = fmt::format(
        "{}; stop waiting for the cluster {}: the acquire that began the creation sees to it",
        commands::log_gone_text("the creation", creation.name, outcome.fit), cluster_id);
    if (creation.by_name) throw NotFound(text);
    throw LeaseLost(text);
  }
  if (!outcome.stale) return outcome.others_have_it;
  throw LeaseLost(fmt::format(
      "another worker took over the creation {} of '{}'; stop waiting for the cluster {}, which "
      "will be handed back",
      number, config_hash, cluster_id));
}

std::string message_of(std::exception_ptr error) {
  const input::Redactor redactor(system::Environment::read().databricks_token);
  try {
    std::rethrow_exception(std::move(error));
  } catch (const std::exception& exception) {
    return input::clean_any_message(exception.what(), redactor);
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

bool is_of_surrounding_run(const rows::EventName& lease) {
  const std::string text = system::environment_variable("DBCACHE_RUN_LEASE");
  // A number alone may be that lease, which must not be ended by accident.
  return lease.mark.empty() ? std::to_string(lease.position) == text.substr(0, text.find('-'))
                            : commands::to_string(lease) == text;
}

HolderInfo describe(const Holder& holder, bool alive) {
  return {holder.host, holder.process.pid, holder.label, holder.until, alive};
}

}  // namespace dbcache::coordination
