#include "system/fork_gate.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <pthread.h>
#include <vector>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

namespace dbcache::system {

struct ForkGate::State {
  std::mutex mutex;
  std::condition_variable changed;
  int users = 0;
  std::chrono::milliseconds patience = std::chrono::seconds{5};
  bool forking = false;
  bool closed = false;
  ForkAware::Users left_at_fork = ForkAware::Users::none;
  std::vector<ForkAware*> members;
};

ForkGate& ForkGate::instance() {
  static ForkGate& gate = *new ForkGate;
  return gate;
}

ForkGate::ForkGate() : state_(new State) {
  ::pthread_atfork([] { instance().prepare(); }, [] { instance().release_in_parent(); },
                   [] { instance().release_in_child(); });
}

ForkGate::Pass::Pass() {
  State& state = *instance().state_;
  std::unique_lock lock(state.mutex);
  state.changed.wait(lock, [&] { return !state.forking; });
  if (state.closed) {
    throw StorageFailure(fmt::format(
        "this process was forked while another thread had been using the database for over {} s; "
        "fork while no call is running, or exec in the child",
        std::chrono::duration<double>(state.patience).count()));
  }
  ++state.users;
}

ForkGate::Pass::~Pass() {
  State& state = *instance().state_;
  {
    const std::lock_guard lock(state.mutex);
    --state.users;
  }
  state.changed.notify_all();
}

void ForkGate::enroll(ForkAware& member, Member as) {
  const std::lock_guard lock(state_->mutex);
  auto& members = state_->members;
  members.insert(as == Member::inner ? members.end() : members.begin(), &member);
}

void ForkGate::withdraw(ForkAware& member) {
  const std::lock_guard lock(state_->mutex);
  std::erase(state_->members, &member);
}

void ForkGate::set_patience(std::chrono::milliseconds patience) {
  const std::lock_guard lock(state_->mutex);
  state_->patience = patience;
}

bool ForkGate::closed_to_this_process() {
  const std::lock_guard lock(state_->mutex);
  return state_->closed;
}

void ForkGate::prepare() {
  std::unique_lock lock(state_->mutex);
  // Threads that fork at the same time take turns.
  state_->changed.wait(lock, [&] { return !state_->forking; });
  state_->forking = true;
  // In a child that must not use connections, the open ones are the parent's: leave them open.
  const bool idle = !state_->closed && state_->changed.wait_for(lock, state_->patience,
                                                                [&] { return state_->users == 0; });
  state_->left_at_fork = idle ? ForkAware::Users::none : ForkAware::Users::some;
  for (ForkAware* member : state_->members) member->before_fork(state_->left_at_fork);
  lock.release();  // held during the fork, so that parent and child see the same state
}

void ForkGate::release_in_parent() {
  for (ForkAware* member : state_->members) member->after_fork_in_parent();
  state_->forking = false;
  state_->mutex.unlock();
  state_->changed.notify_all();
}

void ForkGate::release_in_child() {
  for (ForkAware* member : state_->members) member->after_fork_in_child();
  state_->forking = false;
  state_->users = 0;
  state_->closed = state_->closed || state_->left_at_fork == ForkAware::Users::some;
  state_->mutex.unlock();
  // The condition variable counts waiting threads of the parent, which do not exist here.
  new (&state_->changed) std::condition_variable;
}

}  // namespace dbcache::system
