#pragma once

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>
#include <vector>

#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "support/child_process.hpp"
#include "support/errors.hpp"
#include "support/scoped_variable.hpp"
#include "support/soundness.hpp"
#include "support/test_database.hpp"

// Processes that lease clusters, tell a test what they do, and go on when it says so. The test's
// own process runs no thread and waits for no lease, so that it may fork under every sanitizer.
namespace dbcache::test {

/// A process of a scene, as it sees itself.
class Actor {
 public:
  Actor(const Pipe& news, const Pipe& orders) : news_(news), orders_(orders) {}

  /// Tells the test a line.
  void tell(std::string line) const {
    line += '\n';
    news_.write(line.data(), line.size());
  }
  /// Waits until the test says `go`.
  void wait_for_go() const {
    if (!orders_.wait()) ::_exit(1);
  }
  void tell_and_wait(std::string line) const {
    tell(std::move(line));
    wait_for_go();
  }

 private:
  const Pipe& news_;
  const Pipe& orders_;
};

/// A process of a scene, as the test sees it. What its body throws is told as "threw ...".
class Worker {
 public:
  template <class Body>
  explicit Worker(Body body)
      : child_([&] {
          name_sessions(sessions_of(::getpid()));
          news_.close_read();
          orders_.close_write();
          const Actor actor(news_, orders_);
          const std::string error = error_of([&] {
            body(actor);
            return 0;
          });
          if (!error.empty()) actor.tell("threw " + error);
          return 0;
        }),
        pid_(child_.pid()) {
    news_.close_write();
    orders_.close_read();
  }

  [[nodiscard]] pid_t pid() const { return pid_; }

  /// The next line that it tells; empty when it has ended.
  std::string next() const {
    std::string line;
    for (char byte = 0; news_.get(byte) && byte != '\n';) line += byte;
    return line;
  }
  /// Whether there is a line that was not read yet, or it has ended.
  [[nodiscard]] bool has_news() const {
    pollfd news{news_.read_end(), POLLIN, 0};
    return ::poll(&news, 1, 0) > 0;
  }
  /// The next line that begins so, or that says what it threw. Those before it are left out.
  std::string next_of(std::string_view beginning) const {
    for (;;) {
      std::string line = next();
      if (line.empty() || line.starts_with(beginning) || line.starts_with("threw")) return line;
    }
  }
  /// All lines until it ends.
  std::vector<std::string> rest() const {
    std::vector<std::string> lines;
    for (std::string line = next(); !line.empty(); line = next()) lines.push_back(line);
    return lines;
  }

  void go() const { orders_.signal(); }
  /// Lets it go on, to its end.
  int finish() {
    go();
    return wait();
  }
  int wait() { return child_.wait(); }
  /// Sends the signal alone; nothing to one whose end was waited for.
  void begin_to_kill() const {
    if (child_.pid() > 0) child_.kill(SIGKILL);
  }
  /// The same, and waits until nothing of it is left.
  void kill() {
    kill_the_process();
    await_end_of_sessions(sessions_of(pid_));
  }
  /// For one whose lock others have inherited.
  void kill_the_process() {
    begin_to_kill();
    if (child_.pid() > 0) wait();
  }

 private:
  static std::string sessions_of(pid_t pid) { return "worker " + std::to_string(pid); }

  Pipe news_;
  Pipe orders_;
  ChildProcess child_;  // ends before its pipes do
  pid_t pid_;
};

/// An event of a log, and what matters of it in a word or two.
struct Happening {
  std::int64_t position = 0;
  std::string type;
  boost::json::object payload;
  std::string words;
};

inline std::string words_of(const std::string& type, const boost::json::object& payload) {
  std::string words = type;
  for (const char* key : {"from", "to", "reason", "answer", "created_here"}) {
    const auto* value = payload.if_contains(key);
    if (value == nullptr) continue;
    if (value->is_bool()) {
      words += value->get_bool() ? " created" : " joined";
    } else if (value->is_string()) {
      words += " " + std::string(value->get_string());
    }
  }
  return words;
}

inline bool write_file(const char* path, std::string_view text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  const bool written =
      file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (file >= 0) ::close(file);
  return written;
}

/// Enters new namespaces, a user's among them where nothing else is permitted; the user and group
/// stay as they are. What stops it, or nothing.
inline std::string enter_namespace(int kind) {
  const auto itself = [](unsigned id) {
    return std::to_string(id) + " " + std::to_string(id) + " 1";
  };
  const std::string users = itself(::geteuid());
  const std::string groups = itself(::getegid());
  if ((kind & CLONE_NEWUSER) == 0 && ::unshare(kind) == 0) return "";
  if (::unshare(kind | CLONE_NEWUSER) != 0) {
    return std::string("no namespace can be made: ") + std::strerror(errno);
  }
  write_file("/proc/self/setgroups", "deny");
  const bool mapped =
      write_file("/proc/self/uid_map", users) && write_file("/proc/self/gid_map", groups);
  return mapped ? "" : "the user cannot be mapped";
}

/// For the children that are forked from now on.
inline std::string enter_pid_namespace() { return enter_namespace(CLONE_NEWPID); }

/// Runs cat(1) until `input` ends, with a descriptor that it inherits. Its pid.
inline pid_t spawn_with(int descriptor, const Pipe& input) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input.read_end(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, descriptor, 9);
  std::string program = "cat";
  std::array<char*, 2> arguments{program.data(), nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, "cat", &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("cat cannot be started");
  return pid;
}

/// Kills a process that is no child of this one, and returns once it has ended.
inline void end_program(pid_t pid) {
  pollfd ended{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)), POLLIN, 0};
  ::kill(pid, SIGKILL);
  ::poll(&ended, 1, -1);
  ::close(ended.fd);
}

class LeaseScene : public ::testing::Test {
 protected:
  LeaseScene() { ::signal(SIGPIPE, SIG_IGN); }
  ~LeaseScene() override { ::signal(SIGPIPE, SIG_DFL); }

  [[nodiscard]] Options options() const {
    return database_.options({.durability = Durability::relaxed});
  }

  static ClusterConfig config(const std::string& name = "one",
                              const std::string& host = "https://one.example") {
    return {{"cluster_name", name}, {"host", host}};
  }

  /// Databricks gives the same cluster for the same token, and so does this workspace.
  static std::string cluster_of(std::string_view idempotency_token) {
    return "c-" + std::string(idempotency_token);
  }

  using Create = std::function<std::string(Creation&)>;

  /// A lifecycle that tells of each `create`: its token, and the cluster started before, or "-".
  static ClusterLifecycle telling(const Actor& actor, Create create = {}) {
    return {.create = [&actor, create = std::move(create)](const ClusterConfig&,
                                                           Creation& creation) -> std::string {
      actor.tell("creates " + creation.idempotency_token() + " " +
                 creation.started_cluster_id().value_or("-"));
      if (create) return create(creation);
      return creation.started_cluster_id().value_or(cluster_of(creation.idempotency_token()));
    }};
  }
  static std::function<void(const Termination&)> telling_terminate(const Actor& actor) {
    return [&actor](const Termination& termination) {
      actor.tell("terminates " + termination.owed.subject);
    };
  }

  /// Tells for whom it waits, whenever that changes; and does not wait for ever.
  static AcquireOptions patient(const Actor& actor, AcquireOptions how = {}) {
    how.timeout = std::chrono::minutes{5};
    how.on_wait = [&actor, told = std::string()](const WaitProgress& progress) mutable {
      const std::string line =
          std::string("waits for ") +
          (progress.waits_for == WaitProgress::For::creator ? "creator " : "checker ") +
          std::to_string(progress.holder.pid);
      if (line != told) actor.tell(line);
      told = line;
    };
    return how;
  }

  static std::string granted(const ClusterLease& lease) {
    return "granted " + lease.cluster_id() + (lease.created_here() ? " created" : " joined");
  }

  /// Starts a process with this body: void(const Actor&, SharedClusters&).
  template <class Body>
  Worker& start(Body body) {
    return *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
      SharedClusters clusters(options());
      body(actor, clusters);
    }));
  }

  /// A process that is in the middle of its `create` when this returns, after `first`; told to go
  /// on it returns the token's cluster, and holds its lease until told again.
  Worker& start_creator(const ClusterConfig& what, const std::function<void(Creation&)>& first = {},
                        const AcquireOptions& how = {}) {
    Worker& creator = start([&](const Actor& actor, SharedClusters& clusters) {
      hold(
          actor, clusters, what, how, telling(actor, [&](Creation& creation) {
            if (first) first(creation);
            actor.tell_and_wait("blocked");
            return creation.started_cluster_id().value_or(cluster_of(creation.idempotency_token()));
          }));
    });
    token_ = token_in(creator.next_of("creates"));
    EXPECT_EQ(creator.next_of("blocked"), "blocked");
    return creator;
  }

  /// A process that acquires, tells, and holds until it is told to go on.
  Worker& start_holder(const ClusterConfig& what, const AcquireOptions& how = {}) {
    return start([&](const Actor& actor, SharedClusters& clusters) {
      hold(actor, clusters, what, how, telling(actor));
    });
  }
  /// The same, holding when this returns.
  Worker& start_holding(const ClusterConfig& what, const AcquireOptions& how = {}) {
    Worker& holder = start_holder(what, how);
    EXPECT_THAT(holder.next_of("granted"), ::testing::StartsWith("granted "));
    return holder;
  }

  static void hold(const Actor& actor, SharedClusters& clusters, const ClusterConfig& what,
                   const AcquireOptions& how, const ClusterLifecycle& lifecycle) {
    ClusterLease lease = clusters.acquire(what, lifecycle, patient(actor, how));
    actor.tell_and_wait(granted(lease));
    lease.release();
  }

  /// Processes that wait for a creator when this returns, and hold like `start_holder` later.
  std::vector<Worker*> start_waiters(int count, const ClusterConfig& what,
                                     const AcquireOptions& how = {}) {
    std::vector<Worker*> waiters;
    for (int i = 0; i < count; ++i) waiters.push_back(&start_holder(what, how));
    for (const Worker* waiter : waiters) {
      EXPECT_THAT(waiter->next_of("waits"), ::testing::StartsWith("waits for creator "));
    }
    return waiters;
  }

  static std::string token_in(const std::string& creates_line) {
    const auto first = creates_line.find(' ');
    return creates_line.substr(first + 1, creates_line.rfind(' ') - first - 1);
  }

  /// Lets them go on to their ends.
  static void finish(const std::vector<Worker*>& workers) {
    for (Worker* worker : workers) EXPECT_EQ(worker->finish(), 0);
  }

  /// What the log tells of leases (not of clusters' rows), from after a position on.
  [[nodiscard]] std::vector<Happening> happenings(const std::string& subject = "") const {
    std::vector<Happening> found;
    for (const RecordedEvent& event : CacheManager(options()).history({.subject = subject})) {
      if (event.type.starts_with("Cluster") || event.position <= seen_) continue;
      auto payload = boost::json::parse(event.payload).as_object();
      std::string words = words_of(event.type, payload);
      found.push_back({event.position, event.type, std::move(payload), std::move(words)});
    }
    return found;
  }
  [[nodiscard]] std::vector<std::string> log(const std::string& subject = "") const {
    std::vector<std::string> words;
    for (const Happening& one : happenings(subject)) words.push_back(one.words);
    return words;
  }
  /// How often each kind of happening that begins so stands in the log.
  [[nodiscard]] std::int64_t count_in_log(std::string_view beginning) const {
    const auto words = log();
    return std::count_if(words.begin(), words.end(),
                         [&](const std::string& one) { return one.starts_with(beginning); });
  }
  /// From here on, `log` leaves out what is there now.
  void forget_log() {
    const auto all = CacheManager(options()).history(
        {.limit = std::size_t{1}, .order = HistoryOrder::newest_first});
    seen_ = all.empty() ? 0 : all.front().position;
  }

  [[nodiscard]] std::vector<OwedTermination> owed() const {
    return SharedClusters(options()).owed();
  }
  /// Subject and reason of each.
  [[nodiscard]] std::vector<std::string> owed_words() const {
    std::vector<std::string> words;
    for (const auto& one : owed()) words.push_back(one.subject + " " + one.reason);
    return words;
  }
  /// Settles all that is owed, here; the subjects that `terminate` was called with.
  [[nodiscard]] std::vector<std::string> settle() const {
    std::vector<std::string> terminated;
    SharedClusters(options()).settle(
        [&](const Termination& termination) { terminated.push_back(termination.owed.subject); });
    return terminated;
  }

  void expect_sound() const { EXPECT_EQ(unsoundness_of(database_.options()), ""); }

  BareEnvironment environment_;
  ScopedVariable lease_{"DBCACHE_LEASE", std::nullopt};
  TestDatabase database_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::string token_;  ///< Of the creation that `start_creator` began.
  std::int64_t seen_ = 0;
};

}  // namespace dbcache::test
