#include "coordination/acquisition.hpp"

#include <algorithm>
#include <exception>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "coordination/creation.hpp"
#include "input/input.hpp"
#include "system/environment.hpp"
#include "system/logger.hpp"
#include "system/process.hpp"
#include "text/hex.hpp"

namespace dbcache::coordination {
namespace {

using commands::AcquireStep;
using Clock = std::chrono::steady_clock;
using Next = AcquireStep::Next;

/// Begins the config_hash of entries for DATABRICKS_CLUSTER_ID.
constexpr std::string_view fixed_prefix = "cluster-id-";

constexpr std::chrono::seconds tell_every{1};

/// A caller that waits sweeps only if nobody else has come by for so long.
constexpr std::chrono::seconds leave_to_others{1};

/// "dbcache-" and 32 hex digits: Databricks allows at most 64 characters.
std::string new_idempotency_token() {
  const auto bits = system::random_128_bits();
  return "dbcache-" + text::to_hex({reinterpret_cast<const char*>(bits.data()), bits.size()});
}

Clock::time_point deadline_after(std::chrono::milliseconds timeout) {
  // A wait that the clock cannot represent lasts forever.
  constexpr std::chrono::milliseconds longest = std::chrono::years{100};
  return Clock::now() + std::min(timeout, longest);
}

/// The lease of the `dbcache run` around this process.
std::optional<rows::EventName> surrounding_lease() {
  const std::string text = system::environment_variable("DBCACHE_LEASE");
  if (text.empty()) return std::nullopt;
  try {
    return commands::read_name(text, "lease");
  } catch (const InvalidArgument& error) {
    system::logger()->warn("DBCACHE_LEASE is ignored: {}", error.what());
    return std::nullopt;
  }
}

std::optional<std::string> or_else(const std::optional<std::string>& one,
                                   const std::optional<std::string>& other) {
  return one ? one : other;
}

std::vector<std::string> owed_by(const events::Events& events) {
  std::vector<std::string> subjects;
  for (const events::Event& event : events) {
    if (const auto* owed = std::get_if<events::TerminationOwed>(&event)) {
      subjects.push_back(owed->subject);
    }
  }
  return subjects;
}

/// Whether nobody else's try can succeed.
bool is_for_good(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const LifecycleError& error) {
    return !error.may_succeed_again();
  } catch (...) {
    return false;
  }
}

bool is_waiting(Next next) {
  return next == Next::wait_for_creator || next == Next::wait_for_checker;
}

}  // namespace

Acquisition::Acquisition(const Coordinator& coordinator, const ClusterConfig& config,
                         const ClusterLifecycle& lifecycle, const AcquireOptions& options)
    : coordinator_(coordinator),
      given_(config),
      config_(input::with_host(config, lifecycle.host)),
      lifecycle_(lifecycle),
      options_(options),
      deadline_(deadline_after(options.timeout)) {
  if (!lifecycle.create) {
    throw InvalidArgument("the lifecycle has no create function; give one that starts a cluster");
  }
  if (options.timeout < std::chrono::milliseconds{0}) {
    throw InvalidArgument("the timeout is negative; give 0 or more");
  }
  const auto environment = system::Environment::read();
  // Refuse a configuration that cannot be cached before a cluster is created.
  input_ = input::read_cluster_input("not-yet-known", config_, environment);
  command_.config_hash = config_hash(config_, options.hash);
  command_.host = input::workspace_host(input_.configuration, environment);
  command_.policy = options.policy;
  if (options.run) command_.run = input::require_id(*options.run, "run");
  command_.checks = lifecycle.check || lifecycle.check_within;
  command_.check_counts_for = lifecycle.check_counts_for;
  if (!environment.databricks_cluster_id.empty()) {
    command_.fixed_cluster =
        input::require_cluster_id(environment.databricks_cluster_id, "DATABRICKS_CLUSTER_ID");
  }
}

Granted Acquisition::run() {
  if (auto joined = join_surrounding_run()) return std::move(*joined);
  if (command_.fixed_cluster) {
    command_.config_hash = fmt::format("{}{}", fixed_prefix, *command_.fixed_cluster);
    input::require_id(command_.config_hash, "DATABRICKS_CLUSTER_ID");
    command_.policy = HandBackPolicy::keep;
  }
  command_.new_token = new_idempotency_token();
  reach_.config_hash = command_.config_hash;
  reach_.goes_on = true;
  swept_ = coordinator_.sweep_if_due();
  for (Answer answer;;) {
    if (options_.stop.stop_requested()) {
      if (answer) coordinator_.commit(*answer);
      throw Cancelled("the acquire was cancelled");
    }
    Step taken;
    try {
      taken = step(answer);
    } catch (const LockGivenUp&) {
      lock_.reset();
      continue;
    }
    answer.reset();
    owed_.insert(owed_.end(), taken.owed.begin(), taken.owed.end());
    const AcquireStep& come_to = taken.come_to;
    switch (come_to.next) {
      case Next::granted:
        return granted(taken.name, come_to.cluster_id.value(), false);
      case Next::create:
        return create(taken);
      case Next::check:
        answer = check(taken);
        break;
      case Next::creation_failed:
        throw CreationFailed(come_to.error);
      case Next::wait_for_creator:
      case Next::wait_for_checker:
        if (come_to.creation) command_.waited_for = come_to.creation;
        if (options_.on_create_failure == OnCreateFailure::fail && come_to.creation) {
          command_.fails_with = come_to.creation;
        }
        wait(come_to);
        break;
    }
  }
}

void Acquisition::take_lock() {
  TakenLock taken = coordinator_.take_lock();
  lock_ = std::move(taken.lock);
  command_.holder = std::move(taken.holder);
}

std::optional<Granted> Acquisition::join_surrounding_run() {
  const auto name = surrounding_lease();
  if (!name) return std::nullopt;
  std::optional<rows::Lease> lease;
  rows::EventName whole = *name;
  bool is_known = false;
  std::optional<std::string> host;
  coordinator_.store().read([&](const store::ReadSession& session) {
    const rows::Present present = store::present(session);
    lease.reset();
    host.reset();
    is_known = commands::is_ours(commands::named<events::LeaseGranted>(*name), present);
    if (is_known) {
      lease = session.tables.lease(name->position);
      whole = present.names.events_at({name->position}).front().name;
    }
    if (lease && !commands::is_alive(lease->holder, lease->granted_at, present)) lease.reset();
    if (!lease || lease->config_hash == command_.config_hash) return;
    if (const auto row = session.tables.cluster(lease->cluster_id)) host = row->host;
  });
  if (!is_known) {
    system::logger()->warn(
        "DBCACHE_LEASE is ignored: {} is not the name of a lease in this database",
        commands::to_string(*name));
  } else if (lease && name->mark.empty() && command_.fixed_cluster != lease->cluster_id) {
    // A number alone is also that of a lease of any other database.
    system::logger()->warn(
        "DBCACHE_LEASE is ignored: it is the number {} without a name, and DATABRICKS_CLUSTER_ID "
        "does not name that lease's cluster",
        name->position);
    return std::nullopt;
  }
  // A lease with a deadline may end while this process still needs the cluster.
  const bool joinable = lease && !lease->holder.until;
  // `run` exports lease and cluster id together. If they do not match, one of them belongs to
  // another lease or database.
  if (lease && command_.fixed_cluster && command_.fixed_cluster != lease->cluster_id) {
    return std::nullopt;
  }
  const bool fixed = lease && lease->config_hash.starts_with(fixed_prefix) &&
                     command_.fixed_cluster == lease->cluster_id;
  if (joinable && (fixed || is_of_configuration(*lease, host))) {
    return Granted{whole, lease->cluster_id, lease->config_hash, host ? host : command_.host};
  }
  // The cluster id that `run` exported belongs to the configuration of `run`, not to this one.
  if (!lease || command_.fixed_cluster == lease->cluster_id) command_.fixed_cluster.reset();
  return std::nullopt;
}

bool Acquisition::is_of_configuration(const rows::Lease& lease,
                                      const std::optional<std::string>& host) const {
  if (lease.config_hash == command_.config_hash) return true;
  // `run` may have chosen another workspace than this process would.
  return host && !input::names_host(given_) &&
         lease.config_hash == config_hash(input::with_host(given_, *host), options_.hash);
}

std::optional<Acquisition::Step> Acquisition::look() {
  std::optional<Step> seen;
  coordinator_.store().read([&](const store::ReadSession& session) {
    const rows::Present present = store::present(session);
    if (!commands::reap(present, reach_).events.empty()) return;
    auto decision = commands::decide(command_, present);
    if (decision.events.empty() && is_waiting(decision.result.next)) {
      read_progress(decision.result.creation, session.tables);
      seen = Step{std::move(decision.result), {}, {}};
    }
  });
  return seen;
}

void Acquisition::read_progress(std::optional<std::int64_t> creation,
                                const rows::TableReader& rows) {
  if (!options_.on_wait || !creation) return;
  if (doing_of_ == creation && Clock::now() < tell_again_) return;
  doing_of_ = creation;
  doing_ = rows.progress(command_.config_hash, *creation).value_or("");
}

Acquisition::Step Acquisition::step(const Answer& answer) {
  // A caller that waits looks again and again, and a read transaction is enough to see that there
  // is no news.
  if (!answer && waiter_) {
    if (auto seen = look()) return std::move(*seen);
  }
  if (!lock_) take_lock();
  Step step;
  if (answer && answer->answer == events::CheckAnswer::alive) {
    command_.checked = answer->cluster_id;
  }
  transact(
      coordinator_.store(), [&](const rows::TableReader&) { return reach_; },
      [&](store::Store::Transaction& transaction) {
        if (lock_->lost()) throw LockGivenUp{};  // while this transaction waited
        if (answer) transaction.append(commands::decide(*answer, transaction.present()).events);
      },
      [&](store::Store::Transaction& transaction) {
        auto decision = commands::decide(command_, transaction.present());
        const std::int64_t first = transaction.append(decision.events);
        step.come_to = std::move(decision.result);
        step.name = name_of_held(transaction, decision.events, first);
        if (step.come_to.next == Next::create) step.owner = transaction.incarnation();
        step.owed = owed_by(transaction.appended());
      });
  command_.checked.reset();
  return step;
}

Granted Acquisition::granted(rows::EventName lease, std::string cluster_id, bool created_here) {
  lock_->done();
  return {std::move(lease), std::move(cluster_id), command_.config_hash,
          command_.host,    created_here,          swept_,
          std::move(owed_), std::move(lock_)};
}

Granted Acquisition::create(const Step& step) {
  const rows::EventName& name = step.name;
  Progress progress(coordinator_, command_.config_hash, name.position, command_.holder,
                    options_.on_wait, began_);
  Creation::Impl under_way{coordinator_,
                           command_.config_hash,
                           step.come_to.idempotency_token,
                           name,
                           step.come_to.cluster_id,
                           deadline_,
                           options_.stop,
                           *lock_,
                           progress};
  under_way.owner = step.owner;
  under_way.continues_earlier = step.come_to.continues_earlier;
  if (step.come_to.others_have_it) under_way.of_others.insert(*step.come_to.cluster_id);
  std::optional<std::string> made;
  Committed<commands::CreatorOutcome> finished;
  TakenLock lease;
  try {
    Creation creation(under_way);
    made =
        input::require_cluster_id(lifecycle_.create(config_, creation), "cluster id from `create`");
    input_.cluster_id = *made;
    // The lease needs its own lock: processes that `create` left behind may have inherited the lock
    // of the creation.
    lease = coordinator_.take_lock();
    finished = coordinator_.commit_with(lease, [&](const Holder& holder) {
      return commands::FinishCreation{
          command_.config_hash, name,         input_,        coordinator_.default_expiry(), holder,
          command_.policy,      command_.run, command_.host, step.come_to.idempotency_token};
    });
  } catch (const StorageFailure& error) {
    // The log cannot be written. Without the lock this creation counts as dead, and others take it
    // over with what the log has.
    lock_.reset();
    if (!made) throw;
    throw StorageFailure(
        fmt::format("{}; the cluster {} was created, but the log may not have it: if `dbcache "
                    "owed` does not list it, terminate it yourself",
                    error.what(), *made),
        error.outcome());
  } catch (...) {
    fail_creation(
        {command_.config_hash, name, message_of(std::current_exception()), made,
         step.come_to.idempotency_token, or_else(under_way.started_here(), step.come_to.cluster_id),
         is_for_good(std::current_exception()), under_way.nothing_started},
        under_way.what_others_have());
    throw;
  }
  if (finished.first.result.fit != commands::Fit::ours) {
    leave_log(step, *made, finished.first.result, under_way.what_others_have());
  }
  if (finished.first.result.stale) {
    throw LeaseLost(fmt::format(
        "the creation {} of '{}' was ended while `create` ran; its cluster {} will be handed "
        "back: acquire again",
        name.position, command_.config_hash, input_.cluster_id));
  }
  const auto superseded = owed_by(finished.first.events);
  owed_.insert(owed_.end(), superseded.begin(), superseded.end());
  lock_->done();
  lock_ = std::move(lease.lock);
  return granted(finished.second, input_.cluster_id, true);
}

void Acquisition::leave_log(const Step& step, const std::string& made,
                            const commands::CreatorOutcome& outcome,
                            const std::set<std::string>& of_others) {
  const std::string fate =
      terminate_unknown(made, step.come_to.idempotency_token, outcome.is_named, of_others);
  const auto& earlier = step.come_to.cluster_id;
  if (earlier && earlier != made) {
    system::logger()->warn(
        "the cluster {}, which an earlier creator had started, may be nobody's now: terminate it "
        "yourself once nobody uses it",
        *earlier);
  }
  lock_.reset();
  throw LeaseLost(fmt::format("{}; its cluster {} {}",
                              commands::log_gone_text("the creation", step.name, outcome.fit), made,
                              fate));
}

/// Throws nothing: the caller must see why the creation failed, not why that was not recorded.
void Acquisition::fail_creation(const commands::FailCreation& failed,
                                const std::set<std::string>& of_others) {
  try {
    const commands::CreatorOutcome outcome = coordinator_.commit(failed).first.result;
    if (outcome.fit != commands::Fit::ours) {
      const auto cluster_id = or_else(failed.cluster_id, failed.started);
      const std::string fate =
          terminate_unknown(cluster_id, failed.idempotency_token, outcome.is_named, of_others);
      system::logger()->warn(
          "{}; {} {}", commands::log_gone_text("the creation", failed.creation, outcome.fit),
          cluster_id ? "its cluster " + *cluster_id
                     : "what it may have started with the token " + failed.idempotency_token,
          fate);
    }
  } catch (const std::exception& error) {
    system::logger()->error(
        "the creation {} of '{}' failed ({}){}; the log could not record this: {}",
        commands::to_string(failed.creation), failed.config_hash, failed.error,
        failed.cluster_id ? " and left the cluster " + *failed.cluster_id : "", error.what());
  }
  lock_.reset();
}

std::string Acquisition::terminate_unknown(const std::optional<std::string>& cluster_id,
                                           const std::string& idempotency_token, bool is_named,
                                           const std::set<std::string>& of_others) const {
  if (is_named) return "is one of the database's now";
  if (cluster_id && of_others.contains(*cluster_id)) {
    return "served another configuration too: terminate it yourself once nobody uses it";
  }
  if (!lifecycle_.terminate) return "is nobody's now: terminate it yourself";
  const std::optional<std::string> token =
      idempotency_token.empty() ? std::nullopt : std::optional(idempotency_token);
  Termination termination;
  termination.now = coordinator_.store().now();
  termination.owed = {cluster_id.value_or(idempotency_token),
                      cluster_id,
                      token,
                      command_.config_hash,
                      command_.host,
                      "log_gone",
                      termination.now,
                      1,
                      std::nullopt,
                      std::nullopt};
  termination.lock_descriptor = lock_ ? lock_->descriptor() : -1;
  try {
    lifecycle_.terminate(termination);
  } catch (...) {
    return fmt::format("is nobody's now, and could not be terminated ({}): terminate it yourself",
                       message_of(std::current_exception()));
  }
  return "was terminated";
}

Acquisition::Answer Acquisition::check(const Step& step) {
  commands::AnswerCheck answer{command_.config_hash, step.name, step.come_to.cluster_id.value(),
                               events::CheckAnswer::alive, std::nullopt};
  try {
    const bool runs = lifecycle_.check_within
                          ? lifecycle_.check_within(answer.cluster_id, {deadline_, options_.stop})
                          : lifecycle_.check(answer.cluster_id);
    if (!runs) answer.answer = events::CheckAnswer::dead;
  } catch (...) {
    answer.answer = events::CheckAnswer::failed;
    answer.error = message_of(std::current_exception());
    coordinator_.commit(answer);
    lock_.reset();
    throw;
  }
  return answer;
}

void Acquisition::wait(const AcquireStep& awaited) {
  const auto now = Clock::now();
  tell(awaited);
  if (now >= deadline_) {
    throw Timeout(fmt::format(
        "no cluster for '{}' after {:.1f} s: it is still being {} by the process {} on {}; "
        "wait longer, or see `dbcache leases`",
        command_.config_hash, std::chrono::duration<double>(now - began_).count(),
        awaited.next == Next::wait_for_creator ? "created" : "checked",
        awaited.awaited->process.pid, awaited.awaited->host));
  }
  if (!waiter_) waiter_.emplace(coordinator_.store().engine(), command_.config_hash, options_.stop);
  const auto until = options_.on_wait ? std::min(deadline_, tell_again_) : deadline_;
  if (waiter_->should_sleep_apart() && sleep_apart(awaited)) return;
  waiter_->await(*awaited.awaited);
  waiter_->sleep(until);
  // It cannot settle what a sweep finds before it is granted: one that is done first can.
  swept_ = coordinator_.sweep_if_due(leave_to_others) || swept_;
}

bool Acquisition::sleep_apart(const AcquireStep& awaited) {
  lock_.reset();  // the next step takes another
  const auto look_at = waiter_->stand_aside(awaited.next == Next::wait_for_checker);
  if (!look_at) return false;
  const auto until = std::min(*look_at, deadline_);
  while (Clock::now() < until) {
    tell(awaited);
    if (!waiter_->pause(options_.on_wait ? std::min(until, tell_again_) : until)) break;
  }
  return true;
}

void Acquisition::tell(const AcquireStep& awaited) {
  if (!options_.on_wait) return;
  const auto now = Clock::now();
  const bool same = told_ && told_->next == awaited.next && told_->awaited == awaited.awaited;
  if (same && now < tell_again_) return;
  told_ = awaited;
  const bool is_known = awaited.creation && awaited.creation == doing_of_;
  tell_again_ = now + tell_every;
  options_.on_wait({awaited.next == Next::wait_for_creator ? WaitProgress::For::creator
                                                           : WaitProgress::For::checker,
                    describe(*awaited.awaited, true), awaited.since,
                    std::chrono::duration_cast<std::chrono::milliseconds>(now - began_),
                    is_known ? doing_ : ""});
}

}  // namespace dbcache::coordination
