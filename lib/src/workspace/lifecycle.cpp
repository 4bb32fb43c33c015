#include "workspace/lifecycle.hpp"

#include <algorithm>

#include <boost/json.hpp>
#include <fmt/format.h>

#include "system/logger.hpp"
#include "workspace/auto_values.hpp"
#include "workspace/cluster_spec.hpp"

namespace json = boost::json;

namespace dbcache::workspace {

using databricks::Cluster;
using databricks::ClusterFailed;
using databricks::ClusterState;
using databricks::WorkspaceUnavailable;
using SteadyClock = std::chrono::steady_clock;

namespace {

/// How long a check waits for a cluster that starts, and a termination for one to begin to end.
constexpr std::chrono::minutes check_patience{20};
constexpr std::chrono::minutes end_patience{2};

/// How long a right may be missing before that is believed: workspaces under maintenance say so,
/// too.
constexpr std::chrono::minutes denial_patience{1};

enum class Stage { starting, usable, ended };

Stage stage_of(ClusterState state) {
  switch (state) {
    case ClusterState::running:
    case ClusterState::resizing:
      return Stage::usable;
    case ClusterState::terminating:
    case ClusterState::terminated:
    case ClusterState::error:
      return Stage::ended;
    case ClusterState::pending:
    case ClusterState::restarting:
    case ClusterState::unknown:
      break;
  }
  return Stage::starting;
}

States and_terminating(States states) {
  states.push_back(ClusterState::terminating);
  return states;
}

}  // namespace

class Lifecycle::Start {
 public:
  Start(const Lifecycle& lifecycle, const ClusterConfig& config, Creation& creation)
      : clusters_(lifecycle.clusters_),
        pace_(clusters_.api().pace()),
        creation_(creation),
        token_(creation.idempotency_token()),
        bounds_{creation.deadline(), creation.stop_token(), [this] { tell_again(); }},
        may_exist_(creation.continues_earlier()),
        config_(config),
        autotermination_minutes_(lifecycle.settings_.autotermination_minutes) {}

  std::string run() {
    try {
      spec_ = cluster_spec(config_, {token_, creation_.config_hash(), creation_.owner()},
                           autotermination_minutes_);
      return start();
    } catch (const Cancelled& error) {
      if (may_exist_) throw Cancelled(std::string(error.what()) + what_is_left);
      creation_.nothing_started();
      throw;
    } catch (const Timeout& error) {
      if (may_exist_) throw Timeout(std::string(error.what()) + what_is_left);
      creation_.nothing_started();
      throw;
    } catch (...) {
      if (!may_exist_) creation_.nothing_started();
      throw;
    }
  }

 private:
  std::string start() {
    std::string id = started_earlier();
    if (id.empty()) id = found_by_tag();
    if (id.empty() && creation_.continues_earlier()) {
      id = taken_on(clusters_.unknown_with_token(token_, bounds_));
    }
    if (id.empty()) {
      resolve_auto(spec_, clusters_, bounds_);
      do {
        id = request();
      } while (!claim(id));
    }
    await(id);
    leave_others(id);
    return id;
  }

  std::string started_earlier() {
    const auto& started = creation_.started_cluster_id();
    if (!started) return "";
    const auto cluster = clusters_.get(*started, bounds_);
    if (cluster && stage_of(cluster->state) != Stage::ended) return *started;
    if (cluster) ending_.insert(*started);
    return "";
  }

  /// Names the cluster in the log. False if others are terminating it.
  bool claim(const std::string& id) {
    try {
      creation_.started(id);
      return true;
    } catch (const Busy&) {
      ending_.insert(id);
      return false;
    }
  }

  std::string found_by_tag() {
    return taken_on(clusters_.with_token(token_, and_terminating(active_states), bounds_));
  }

  /// The oldest of the clusters with the tag. The others become owed: naming one and then another
  /// leaves the one to its termination.
  std::string taken_on(std::vector<Cluster> found) {
    std::erase_if(found, [this](const Cluster& cluster) {
      const bool ends = stage_of(cluster.state) == Stage::ended;
      if (ends) ending_.insert(cluster.cluster_id);
      return ends;
    });
    if (found.empty()) return "";
    may_exist_ = true;
    std::string oldest;
    for (std::size_t at = found.size(); at > 0; --at) {
      const std::string& id = found[at - 1].cluster_id;
      if (claim(id)) oldest = id;
    }
    return oldest;
  }

  /// Asks for a cluster. A request whose outcome is unknown is looked up before it is sent again.
  std::string request() {
    const auto give_up = SteadyClock::now() + pace_.patience;
    Pauses pauses(pace_);
    for (;;) {
      const Attempt attempt = post();
      if (attempt.outcome == Attempt::Outcome::refused) {
        throw_refusal(fmt::format("{} does not create the cluster", clusters_.api().host()),
                      attempt.refusal, Purpose::creation);
      }
      if (attempt.outcome == Attempt::Outcome::done) {
        const json::value* const id = attempt.body.if_contains("cluster_id");
        if (id != nullptr && id->is_string() && !id->get_string().empty()) {
          std::string made(id->get_string());
          if (!ending_.contains(made)) return made;
          // The idempotency token still stands for a cluster that ends.
          tell(fmt::format("the cluster {} ends before another can start", made));
        } else if (std::string late = look_for_late_one(); !late.empty()) {
          return late;
        }
      } else if (attempt.may_be_done) {
        if (std::string late = look_for_late_one(); !late.empty()) return late;
      }
      const auto next = pauses.next(attempt.retry_after);
      const bool failed = attempt.outcome == Attempt::Outcome::failed;
      if (failed && !attempt.may_help) throw_failed(clusters_.api(), attempt);
      if (SteadyClock::now() + next >= give_up) {
        Attempt last = attempt;
        if (!failed) last.failure = "it gives a new cluster no id of its own";
        throw_failed(clusters_.api(), last);
      }
      if (failed) tell(attempt.failure);
      pause(next, bounds_, creating);
    }
  }

  /// A request to create one, and what it may have left.
  Attempt post() {
    const bool existed_before = may_exist_;
    may_exist_ = true;
    try {
      Attempt attempt =
          clusters_.api().try_once("POST", "/api/2.1/clusters/create", &spec_, bounds_);
      const bool done = attempt.outcome == Attempt::Outcome::done || attempt.may_be_done;
      if (!done) may_exist_ = existed_before;
      return attempt;
    } catch (const databricks::WorkspaceError&) {  // not of a request that was sent
      may_exist_ = existed_before;
      throw;
    }
  }

  /// A list may lag behind.
  std::string look_for_late_one() {
    const auto until = SteadyClock::now() + pace_.list_lag;
    Pauses pauses(pace_);
    for (;;) {
      if (std::string found = found_by_tag(); !found.empty()) return found;
      const auto next = pauses.next();
      if (SteadyClock::now() + next >= until) return "";
      pause(next, bounds_, creating);
    }
  }

  void await(const std::string& id) {
    const auto began = SteadyClock::now();
    std::optional<SteadyClock::time_point> denied_since;
    Pauses pauses(pace_);
    for (;;) {
      const auto now = SteadyClock::now();
      try {
        const auto cluster = clusters_.get(id, bounds_);
        denied_since.reset();
        if (!cluster) {
          if (now - began >= pace_.get_lag) {
            throw ClusterFailed(
                fmt::format("the cluster {} is gone while it started: somebody removed it", id));
          }
        } else {
          const Stage stage = stage_of(cluster->state);
          if (stage == Stage::usable) return;
          if (stage == Stage::ended) throw_failed_start(*cluster);
          tell(cluster->state_message.empty() ? std::string(to_string(cluster->state))
                                              : cluster->state_message);
        }
      } catch (const WorkspaceUnavailable& error) {
        // The cluster starts all the same; what ends the wait is its deadline.
        if (!error.may_succeed_again()) throw;
        tell(error.what());
      } catch (const databricks::PermissionDenied& error) {
        denied_since = denied_since.value_or(now);
        if (now - *denied_since >= denial_patience) throw;
        tell(error.what());
      }
      pause(pauses.next(), bounds_, creating);
    }
  }

  /// Lists lag behind, so that a request that was lost may have made a cluster after all.
  void leave_others(const std::string& id) {
    std::vector<Cluster> others;
    try {
      others = clusters_.with_token(token_, active_states, bounds_);
    } catch (const databricks::WorkspaceError& error) {
      system::logger()->warn("whether another cluster has the token {} could not be looked up: {}",
                             token_, error.what());
      return;
    }
    bool found = false;
    for (const Cluster& other : others) {
      if (other.cluster_id != id && claim(other.cluster_id)) found = true;
    }
    if (found) creation_.started(id);
  }

  void tell(const std::string& doing) {
    doing_ = doing;
    creation_.progress(doing_);
  }
  /// So that the time in a progress line goes on, and Ctrl-C in Python is noticed.
  void tell_again() const { creation_.progress(doing_); }

  static constexpr const char* creating = "the creation of the cluster";
  static constexpr const char* what_is_left =
      "; a cluster may be starting: the next acquire of its configuration takes it on, and "
      "`dbcache "
      "cleanup --workspace` terminates it";

  const ClustersApi& clusters_;
  const Pace& pace_;
  Creation& creation_;
  const std::string token_;
  const Bounds bounds_;
  bool may_exist_;  ///< A cluster with the token.
  const ClusterConfig& config_;
  const std::int64_t autotermination_minutes_;
  json::object spec_;
  std::string doing_ = "asking the workspace for a cluster";
  std::set<std::string> ending_;  ///< Clusters with the token that are ending.
};

std::string Lifecycle::create(const ClusterConfig& config, Creation& creation) const {
  return Start(*this, config, creation).run();
}

bool Lifecycle::check(const std::string& cluster_id, const Bounds& bounds) const {
  const Bounds whole = bounds.at_most(check_patience);
  Pauses pauses(clusters_.api().pace());
  for (;;) {
    const auto cluster = clusters_.get(cluster_id, whole);
    if (!cluster) return false;
    switch (stage_of(cluster->state)) {
      case Stage::usable:
        return true;
      case Stage::ended:
        return false;
      case Stage::starting:
        break;
    }
    if (cluster->state == ClusterState::unknown) {
      throw WorkspaceUnavailable(
          fmt::format("{} does not say whether the cluster {} runs: its state is UNKNOWN",
                      clusters_.api().host(), cluster_id),
          {}, true);
    }
    pause(pauses.next(), whole, "the check of the cluster");
  }
}

bool Lifecycle::end(const std::string& cluster_id, const Bounds& bounds) const {
  const Bounds whole = bounds.at_most(end_patience);
  Pauses pauses(clusters_.api().pace());
  for (bool known = false;;) {
    known = clusters_.remove(cluster_id, settings_.permanent_delete, whole) || known;
    const auto cluster = clusters_.get(cluster_id, whole);
    known = known || cluster;
    if (!cluster || stage_of(cluster->state) == Stage::ended) return known;
    pause(pauses.next(), whole, "the termination of the cluster");
  }
}

bool may_be_new(const OwedTermination& owed) {
  return !owed.cluster_id || owed.reason == "creation_failed" || owed.reason == "creator_died" ||
         owed.reason == "superseded" || owed.reason == "log_gone";
}

bool Lifecycle::end_all(const OwedTermination& owed, Timestamp now, const Bounds& bounds) const {
  const Pace& pace = clusters_.api().pace();
  const auto began = SteadyClock::now();
  std::set<std::string> ended;
  Pauses pauses(pace);
  for (;;) {
    auto found =
        clusters_.with_token(*owed.idempotency_token, and_terminating(active_states), bounds);
    // Before it is said that there is none.
    if (found.empty() && ended.empty()) {
      found = clusters_.unknown_with_token(*owed.idempotency_token, bounds);
    }
    for (const Cluster& cluster : found) {
      if (ended.insert(cluster.cluster_id).second) end(cluster.cluster_id, bounds);
    }
    const auto until = owed.owed_at + pace.list_lag;
    const auto passed = std::chrono::floor<Timestamp::duration>(SteadyClock::now() - began);
    if (!may_be_new(owed) || now + passed >= until) break;
    pause(pauses.next(), bounds, "the wait for a list that may lag behind");
  }
  return owed.cluster_id ? ended.contains(*owed.cluster_id) : !ended.empty();
}

void Lifecycle::terminate(const OwedTermination& owed, Timestamp now, const Bounds& bounds) const {
  bool known = owed.cluster_id && end(*owed.cluster_id, bounds);
  if (owed.idempotency_token) known = end_all(owed, now, bounds) || known;
  if (known) return;
  if (!owed.host) {
    throw WorkspaceUnavailable(
        fmt::format("{} has no cluster {}, which may be of another workspace: the database does "
                    "not say of which; if it is gone, `dbcache cleanup --terminate true` settles "
                    "this",
                    clusters_.api().host(), owed.subject),
        {}, true);
  }
  const auto late_cluster = clusters_.api().pace().late_cluster;
  if (!may_be_new(owed) || now >= owed.owed_at + late_cluster) return;
  const auto minutes = std::chrono::ceil<std::chrono::minutes>(late_cluster).count();
  throw WorkspaceUnavailable(
      owed.cluster_id
          ? fmt::format("{} has no cluster {} yet, but may show it late: try again {} minutes "
                        "after its creation ended",
                        clusters_.api().host(), *owed.cluster_id, minutes)
          : fmt::format("no cluster has the token {} yet, but one may still appear: a request to "
                        "create it may be on its way for {} minutes; try again then",
                        *owed.idempotency_token, minutes),
      {}, true);
}

}  // namespace dbcache::workspace
