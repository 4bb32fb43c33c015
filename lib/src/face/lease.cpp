#include <exception>
#include <optional>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "commands/leases.hpp"
#include "coordination/waiter.hpp"
#include "face/lease_impl.hpp"
#include "input/input.hpp"
#include "input/redact.hpp"
#include "system/environment.hpp"
#include "system/logger.hpp"

namespace dbcache {
namespace {

constexpr std::chrono::microseconds longest_hold = std::chrono::years{1};

/// Within this time a broken session is known to be in doubt.
constexpr std::chrono::seconds patience_of_lost{6};

const std::string no_text;

/// The process that checks an entry's cluster: none, a live one, or one that died before it
/// answered.
enum class Checker { nobody, alive, dead };
Checker checker_of(const coordination::Coordinator& coordinator, const std::string& config_hash) {
  Checker checker = Checker::nobody;
  coordinator.store().read([&](const store::ReadSession& session) {
    const auto share = session.tables.share(config_hash);
    if (!share || !share->check || !share->checker) return;
    const bool alive = commands::is_alive(*share->checker, Timestamp{}, store::present(session));
    checker = alive ? Checker::alive : Checker::dead;
  });
  return checker;
}

template <class End>
void end_quietly(const char* what, End end) noexcept {
  try {
    end();
  } catch (const LeaseLost& error) {
    system::logger()->warn("{}", error.what());
  } catch (const std::exception& error) {
    // The lock is let go all the same, so a later call reaps what it held.
    system::logger()->warn("the log could not record the end of {}: {}; a later call records it",
                           what, error.what());
  } catch (...) {
  }
}

}  // namespace

std::string_view to_string(HandBackPolicy policy) noexcept {
  return policy == HandBackPolicy::keep ? "keep" : "hand_back";
}

ClusterLease::ClusterLease() noexcept = default;
ClusterLease::ClusterLease(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ClusterLease::ClusterLease(ClusterLease&&) noexcept = default;

ClusterLease& ClusterLease::operator=(ClusterLease&& other) noexcept {
  if (this != &other) {
    if (impl_) end_quietly("a lease", [&] { release(); });
    impl_ = std::move(other.impl_);
  }
  return *this;
}

ClusterLease::~ClusterLease() {
  if (impl_) end_quietly("a lease", [&] { release(); });
}

const std::string& ClusterLease::cluster_id() const noexcept {
  return impl_ ? impl_->granted.cluster_id : no_text;
}
const std::string& ClusterLease::config_hash() const noexcept {
  return impl_ ? impl_->granted.config_hash : no_text;
}
bool ClusterLease::created_here() const noexcept { return impl_ && impl_->granted.created_here; }
std::int64_t ClusterLease::fencing_token() const noexcept {
  return impl_ ? impl_->granted.lease.position : 0;
}
std::string ClusterLease::name() const {
  return impl_ ? commands::to_string(impl_->granted.lease) : no_text;
}

bool ClusterLease::lost() const {
  if (!impl_ || !impl_->is_ours()) return false;
  const auto by_the_lock = [this] {
    return impl_->with_lock([](const store::LifeLock* lock) -> std::optional<bool> {
      if (lock != nullptr && lock->lost()) return true;
      // While the lock is in doubt nobody else takes the lease. A read could block until too late
      // to report that the lease was given up.
      if (lock != nullptr && lock->in_doubt()) return false;
      return std::nullopt;
    });
  };
  if (const auto known = by_the_lock()) return *known;
  bool there = false;
  try {
    impl_->coordinator.store().read(
        [&](const store::ReadSession& session) {
          const auto& lease = impl_->granted.lease;
          there = session.tables.lease(lease.position).has_value() &&
                  commands::is_ours(commands::named<events::LeaseGranted>(lease),
                                    store::present(session));
        },
        patience_of_lost);
  } catch (const Error&) {
    if (const auto known = by_the_lock()) return *known;
    throw;
  }
  return !there && impl_->is_ours();  // another thread may have released it meanwhile
}

void ClusterLease::note_use(std::string_view by) {
  if (!impl_ || !impl_->is_ours())
    throw LeaseLost("this process does not hold the lease; acquire it again");
  const input::Redactor redactor(system::Environment::read().databricks_token);
  impl_->coordinator.commit(commands::NoteUse{
      impl_->granted.lease, input::clean_label(by, redactor), impl_->granted.cluster_id});
}

bool ClusterLease::report_dead() {
  if (!impl_ || !impl_->is_ours()) return false;
  const coordination::Coordinator& coordinator = impl_->coordinator;
  const coordination::Granted& granted = impl_->granted;
  if (!impl_->lifecycle.check) {
    return coordinator.commit(commands::BelieveDead{granted.lease, granted.cluster_id})
        .first.result;
  }
  coordination::TakenLock taken = coordinator.take_lock();
  rows::EventName check;
  for (;;) {
    const auto [begun, name] = coordinator.commit_with(taken, [&](const rows::Holder& holder) {
      return commands::BeginCheck{granted.lease, holder, granted.cluster_id};
    });
    if (begun.result.lease_ended) return true;
    if (begun.result.begun) {
      check = name;
      break;
    }
    // Another holder is checking the cluster now: wait, and use its answer if it gives one.
    coordination::Waiter waiter(coordinator.store().engine(), granted.config_hash, {});
    waiter.await(*begun.result.awaited);
    while (checker_of(coordinator, granted.config_hash) == Checker::alive) {
      waiter.sleep(coordination::Waiter::Moment::max());
    }
    if (checker_of(coordinator, granted.config_hash) == Checker::nobody) return lost();
  }
  commands::AnswerCheck answer{granted.config_hash, check, granted.cluster_id,
                               events::CheckAnswer::alive, std::nullopt};
  try {
    if (!impl_->lifecycle.check(granted.cluster_id)) answer.answer = events::CheckAnswer::dead;
  } catch (...) {
    answer.answer = events::CheckAnswer::failed;
    answer.error = coordination::message_of(std::current_exception());
    coordinator.commit(answer);
    throw;
  }
  coordinator.commit(answer);
  return answer.answer == events::CheckAnswer::dead;
}

ReleaseReport ClusterLease::release(const std::stop_token& stop, Afterwards afterwards) {
  if (!impl_ || !impl_->is_ours()) return {};
  impl_->ended = true;
  if (impl_->is_borrowed) {
    ReleaseReport report;
    report.of_surrounding_run = coordination::is_of_surrounding_run(impl_->granted.lease);
    return report;
  }
  struct LetGo {
    Impl& impl;
    ~LetGo() { impl.give_lock_up(); }
  } const let_go{*impl_};
  return impl_->coordinator.release(
      {impl_->granted.lease, impl_->granted.config_hash, impl_->granted.cluster_id},
      {impl_->lifecycle.terminate, stop, afterwards}, [&] { impl_->give_lock_up(); });
}

void ClusterLease::hold_for(std::chrono::microseconds ttl) {
  if (ttl <= std::chrono::microseconds{0} || ttl > longest_hold) {
    throw InvalidArgument(fmt::format("ttl is {} s; it must be more than 0 and at most 1 year",
                                      std::chrono::duration<double>(ttl).count()));
  }
  if (!impl_ || !impl_->is_ours())
    throw LeaseLost("this process does not hold the lease; acquire it again");
  if (impl_->is_borrowed) {
    impl_->ended = true;
    return;
  }
  impl_->coordinator.commit(commands::RenewLease{impl_->granted.lease,
                                                 impl_->coordinator.store().now() + ttl,
                                                 /*convert=*/true, impl_->granted.cluster_id});
  impl_->ended = true;
  impl_->give_lock_up();
}

int ClusterLease::lock_descriptor() const noexcept {
  if (!impl_ || !impl_->is_ours()) return -1;
  return impl_->with_lock(
      [](const store::LifeLock* lock) { return lock != nullptr ? lock->descriptor() : -1; });
}

RunMembership::RunMembership() noexcept = default;
RunMembership::RunMembership(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
RunMembership::RunMembership(RunMembership&&) noexcept = default;

RunMembership& RunMembership::operator=(RunMembership&& other) noexcept {
  if (this != &other) {
    if (impl_) end_quietly("a part in a run", [&] { leave(); });
    impl_ = std::move(other.impl_);
  }
  return *this;
}

RunMembership::~RunMembership() {
  if (impl_) end_quietly("a part in a run", [&] { leave(); });
}

std::int64_t RunMembership::id() const noexcept { return impl_ ? impl_->participant.position : 0; }
std::string RunMembership::name() const {
  return impl_ ? commands::to_string(impl_->participant) : no_text;
}
const std::string& RunMembership::run() const noexcept { return impl_ ? impl_->run : no_text; }

std::vector<std::string> RunMembership::leave() {
  if (!impl_ || impl_->ended || impl_->owner != ::getpid()) return {};
  impl_->ended = true;
  struct LetGo {
    std::unique_ptr<store::LifeLock>& lock;
    ~LetGo() { lock.reset(); }
  } const let_go{impl_->lock};
  const coordination::Coordinator& coordinator = impl_->coordinator;
  end_quietly("others of the run", [&] { coordinator.sweep(); });
  const commands::LeaveRun command{impl_->participant};
  commands::Fit fit = commands::Fit::ours;
  events::Events handed_back;
  if (store::Store& store = coordinator.store(); store.engine().exists()) {
    handed_back = coordination::transact(
        store, [&](const rows::TableReader& rows) { return commands::reach_of(command, rows); },
        [&](store::Store::Transaction& transaction) {
          const auto decision = commands::decide(command, transaction.present());
          fit = decision.result;
          transaction.append(decision.events);
        });
  } else {
    fit = commands::decide(command, store.nothing()).result;
  }
  if (fit != commands::Fit::ours) {
    system::logger()->warn(
        "{}", commands::log_gone_text(fmt::format("the part in the run '{}'", impl_->run),
                                      impl_->participant, fit));
  }
  std::vector<std::string> owed;
  for (const events::Event& event : handed_back) {
    if (const auto* pending = std::get_if<events::TerminationOwed>(&event)) {
      owed.push_back(pending->subject);
    }
  }
  return owed;
}

}  // namespace dbcache
