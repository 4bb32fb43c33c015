#include "chaos/crowd.hpp"

#include <algorithm>
#include <csignal>
#include <iostream>
#include <iterator>
#include <utility>
#include <vector>

#include <sys/wait.h>

namespace dbcache::chaos {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace {

/// How long workers that were told to end may take: no call of theirs takes nearly as long.
constexpr std::chrono::seconds patience{300};

constexpr milliseconds look_every{20};

}  // namespace

int status_of_ended(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Crowd::Crowd(const CrowdSettings& settings, const Fleet* fleet)
    : settings_(settings), fleet_(fleet), journal_(settings.places.journal_of("driver")) {
  std::seed_seq seeds{settings.seed, settings.seed >> 32};
  random_.seed(seeds);
}

milliseconds Crowd::pause(std::int64_t least, std::int64_t most) {
  return milliseconds(std::uniform_int_distribution(least, most)(random_));
}

void Crowd::work_for(milliseconds duration) {
  const std::int64_t end = monotonic_now() + nanoseconds(duration).count();
  const std::int64_t period = nanoseconds(milliseconds(settings_.kill_every_ms)).count();
  fill();
  if (next_kill_ == 0) next_kill_ = monotonic_now() + period;
  for (std::int64_t now = monotonic_now(); now < end; now = monotonic_now()) {
    const bool kills = settings_.kill_every_ms > 0;
    const std::int64_t until = kills ? std::min(end, next_kill_) : end;
    const auto left =
        std::chrono::ceil<milliseconds>(nanoseconds(std::max<std::int64_t>(until - now, 0)));
    spend(std::min(left, look_every));
    if (kills && monotonic_now() >= next_kill_) {
      kill_one();
      next_kill_ = monotonic_now() + period;
    }
    fill();
  }
}

bool Crowd::end() {
  stop_.close_write();
  const std::int64_t deadline = monotonic_now() + nanoseconds(patience).count();
  while (!running_.empty() && monotonic_now() < deadline) {
    reap(WNOHANG);
    if (!running_.empty()) spend(milliseconds{10});
  }
  const bool ended = running_.empty();
  for (const auto& [pid, member] : running_) {
    std::cout << "worker " << member.worker << " does not end" << std::endl;
    ::kill(pid, SIGKILL);
    killed_.insert(pid);
  }
  reap(0);
  return ended;
}

void Crowd::fill() {
  reap(WNOHANG);
  for (int host = 0; host < std::max(fleet_ ? fleet_->hosts() : 0, 1); ++host) {
    const auto there = std::count_if(running_.begin(), running_.end(),
                                     [&](const auto& one) { return one.second.host == host; });
    for (auto missing = settings_.workers - there; missing > 0; --missing) start(host);
  }
}

void Crowd::start(int host) {
  const std::int64_t worker = ++started_;
  const std::vector<std::string> command{
      "/proc/self/exe", "--worker", std::to_string(worker),                      //
      "--directory", settings_.places.directory.string(),                        //
      "--database", fleet_ ? fleet_->workers_url() : settings_.places.database,  //
      "--schema", settings_.places.schema,                                       //
      "--configurations", std::to_string(settings_.configurations),              //
      "--seed", std::to_string(settings_.seed),                                  //
      settings_.durability == Durability::full ? "--full" : "--full=false",
      settings_.other_logs ? "--other-logs" : "--other-logs=false",
      settings_.over_https ? "--workspace" : "--workspace=false", "--long-holds",
      std::to_string(host == spared_ ? 100 : settings_.long_holds), "--host",
      fleet_ && fleet_->hosts() > 0 ? std::to_string(host) : "-1",
      // The first one breaks the rule, the others behave.
      "--break", worker == 1 && settings_.breaks != break_tag_look_up ? settings_.breaks : ""};
  const pid_t pid =
      fleet_ ? fleet_->spawn_on(host, command, stop_.read_end()) : spawn(command, stop_.read_end());
  running_.emplace(pid, Member{worker, host});
}

void Crowd::kill_one() {
  std::vector<std::pair<pid_t, Member>> killable;
  std::copy_if(running_.begin(), running_.end(), std::back_inserter(killable),
               [&](const auto& one) { return one.second.host != spared_; });
  if (killable.empty()) return;
  const auto victim = killable.begin() + std::uniform_int_distribution<std::ptrdiff_t>(
                                             0, std::ssize(killable) - 1)(random_);
  // Before the kill: whatever comes later in a journal, the worker was as good as dead.
  journal_.write({{"what", "kill"}, {"worker", victim->second.worker}});
  ::kill(victim->first, SIGKILL);
  killed_.insert(victim->first);
}

/// One by one: a server's process is somebody else's to wait for.
void Crowd::reap(int options) {
  for (auto at = running_.begin(); at != running_.end();) {
    const auto member = at++;
    int status = 0;
    if (::waitpid(member->first, &status, options) != member->first) continue;
    const int result = status_of_ended(status);
    if (result != 0 && (result != -SIGKILL || killed_.erase(member->first) == 0)) {
      std::cout << "worker " << member->second.worker << " ended with " << result << std::endl;
      ++failed_;
    }
    running_.erase(member);
  }
}

}  // namespace dbcache::chaos
