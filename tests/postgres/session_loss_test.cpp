#include <chrono>
#include <csignal>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/cache_manager.hpp>
#include <dbcache/shared_clusters.hpp>

#include "process/lease_scene.hpp"
#include "store/engine.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"
#include "support/scoped_variable.hpp"

// Sessions end while their processes live on.
namespace dbcache::test {
namespace {

using std::chrono::seconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

/// The sessions with an exclusive lock, which shows other processes that the holder lives.
constexpr const char* holding_sessions =
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
    "AND mode = 'ExclusiveLock'";

class PostgresSessionLoss : public ::testing::Test {
 protected:
  PostgresSessionLoss() { ::signal(SIGPIPE, SIG_IGN); }
  ~PostgresSessionLoss() override { ::signal(SIGPIPE, SIG_DFL); }

  [[nodiscard]] Options options() const { return {.database = server_.url()}; }

  static ClusterLifecycle lifecycle() {
    return {.create = [](const ClusterConfig&, Creation& creation) {
      return "c-" + creation.idempotency_token();
    }};
  }

  /// A process that holds a lease, and answers each `go` with whether it is lost.
  Worker& start_holder() {
    return *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
      SharedClusters clusters(options());
      const ClusterLease lease = clusters.acquire({{"cluster_name", "one"}}, lifecycle());
      for (actor.tell("granted");;) {
        actor.wait_for_go();
        actor.tell(lease.lost() ? "lost" : "held");
      }
    }));
  }
  static std::string ask(const Worker& holder) {
    holder.go();
    return holder.next();
  }

  [[nodiscard]] std::string holding_session() const { return server_.query(holding_sessions); }
  void terminate(const std::string& session) const {
    server_.execute("SELECT pg_terminate_backend(" + session + ")");
  }
  /// Waits until the lock is held in another session.
  void await_proof(const std::string& but) const {
    poll_until(
        [&] {
          const std::string session = holding_session();
          return !session.empty() && session != but;
        },
        "the holder's new session");
  }

  [[nodiscard]] std::string leases() const {
    std::string words;
    for (const LeaseInfo& lease : SharedClusters(options()).leases().leases) {
      words += lease.holder.alive ? "alive " : "dead ";
    }
    return words;
  }
  /// Lets some process note the holders that seem dead.
  void let_somebody_look() const { static_cast<void>(SharedClusters(options()).owed()); }
  void end_grace() const {
    server_.execute("UPDATE dbcache.suspects SET since = since - interval '1 hour'");
  }
  [[nodiscard]] std::string lost_in_log() const {
    return server_.query("SELECT count(*) FROM dbcache.events WHERE type = 'LeaseLost'");
  }

  BareEnvironment environment_;
  PostgresServer server_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

TEST_F(PostgresSessionLoss, AHolderLocksAgainAndIsNotReaped) {
  Worker& holder = start_holder();
  ASSERT_EQ(holder.next(), "granted");
  const std::string session = holding_session();

  terminate(session);
  await_proof(session);

  let_somebody_look();
  EXPECT_EQ(leases(), "alive ");
  EXPECT_EQ(ask(holder), "held");
  EXPECT_EQ(lost_in_log(), "0");
}

TEST_F(PostgresSessionLoss, ASuspectLocksAgainAndIsNotReaped) {
  Worker& holder = start_holder();
  ASSERT_EQ(holder.next(), "granted");
  const std::string session = holding_session();
  ::kill(holder.pid(), SIGSTOP);
  terminate(session);
  poll_until([&] { return holding_session().empty(); }, "the session's end");

  let_somebody_look();
  let_somebody_look();
  EXPECT_EQ(leases(), "alive ");
  poll_until([&] { return server_.query("SELECT count(*) FROM dbcache.suspects") == "1"; },
             "the suspicion");
  ::kill(holder.pid(), SIGCONT);
  await_proof(session);

  EXPECT_EQ(ask(holder), "held");
  poll_until([&] { return server_.query("SELECT count(*) FROM dbcache.suspects") == "0"; },
             "the end of the suspicion");
  let_somebody_look();
  EXPECT_EQ(leases(), "alive ");
  EXPECT_EQ(lost_in_log(), "0");
}

TEST_F(PostgresSessionLoss, AHolderThatLockedAgainIsNotSuspected) {
  Worker& holder = start_holder();
  ASSERT_EQ(holder.next(), "granted");
  ::kill(holder.pid(), SIGSTOP);
  terminate(holding_session());
  poll_until([&] { return holding_session().empty(); }, "the session's end");

  // A transaction finds the lock gone, and lasts until it is held again.
  const auto engine = store::open_engine(options(), {});
  engine->read(Timestamp{}, [&](const store::ReadSession& session) {
    const auto leases = session.tables.leases();
    EXPECT_EQ(session.liveness.probe(leases.front().holder), rows::Liveness::Verdict::alive);
    ::kill(holder.pid(), SIGCONT);
    poll_until(
        [&] {
          return server_
              .query("SELECT query FROM pg_stat_activity WHERE state = 'idle' AND pid IN (" +
                     std::string(holding_sessions) + ")")
              .starts_with("SELECT pg_catalog.set_config");
        },
        "the holder's way out of suspicion");
  });
  static_cast<void>(engine->now());  // its suspicion is written by now

  EXPECT_EQ(server_.query("SELECT count(*) FROM dbcache.suspects"), "0");
}

TEST_F(PostgresSessionLoss, ALongOutageGivesBackWhatNobodyTook) {
  Worker& holder = start_holder();
  ASSERT_EQ(holder.next(), "granted");
  Worker& late = start_holder();
  ASSERT_EQ(late.next(), "granted");

  const auto stopped = std::chrono::steady_clock::now();
  server_.stop();
  EXPECT_EQ(ask(holder), "held");
  poll_until([&] { return ask(holder) == "lost" && ask(late) == "lost"; }, "the holders' patience");
  const auto lost_after = std::chrono::steady_clock::now() - stopped;
  EXPECT_GE(lost_after, seconds{8});
  ::kill(late.pid(), SIGSTOP);

  server_.start();
  let_somebody_look();
  EXPECT_EQ(leases(), "alive alive ");  // others wait longer than a holder does
  poll_until([&] { return ask(holder) == "held"; }, "the way back");
  poll_until([&] { return server_.query("SELECT count(*) FROM dbcache.suspects") == "1"; },
             "the suspicion of the other");
  end_grace();
  let_somebody_look();
  EXPECT_EQ(leases(), "alive ");
  EXPECT_EQ(lost_in_log(), "1");
  EXPECT_EQ(ask(holder), "held");

  ::kill(late.pid(), SIGCONT);
  poll_until(
      [&] {
        return server_.query(
                   "SELECT count(*) FROM pg_stat_activity WHERE query LIKE "
                   "'SELECT pg_catalog.set_config%' AND pid NOT IN (" +
                   std::string(holding_sessions) + ")") == "1";
      },
      "the return of the other");
  EXPECT_EQ(ask(late), "lost");
  EXPECT_EQ(server_.query("SELECT count(*) FROM (" + std::string(holding_sessions) + ") AS held"),
            "1");
}

TEST_F(PostgresSessionLoss, ALockThatWasGivenUpGetsNoLease) {
  const Worker& holder = start_holder();
  ASSERT_EQ(holder.next(), "granted");
  const ClusterConfig config{{"cluster_name", "two"}};
  const Worker& creator = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    SharedClusters clusters(options());
    const ClusterLease lease =
        clusters.acquire(config, {.create = [&](const ClusterConfig&, Creation&) {
                           actor.tell_and_wait("creates");
                           return "c-2";
                         }});
    actor.tell_and_wait("granted");
  }));
  ASSERT_EQ(creator.next(), "creates");
  const Worker& waiter = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    SharedClusters clusters(options());
    bool told = false;
    const ClusterLease lease =
        clusters.acquire(config, lifecycle(), {.on_wait = [&](const WaitProgress&) {
                           if (!std::exchange(told, true)) actor.tell("waits");
                         }});
    actor.tell_and_wait("granted " + lease.cluster_id());
    actor.tell(lease.lost() ? "lost" : "held");
    actor.wait_for_go();
  }));
  ASSERT_EQ(waiter.next(), "waits");

  server_.stop();
  poll_until([&] { return ask(holder) == "lost"; }, "everybody's patience");
  server_.start();
  creator.go();

  EXPECT_EQ(creator.next(), "granted");
  EXPECT_EQ(waiter.next(), "granted c-2");
  poll_until([&] { return ask(holder) == "held"; }, "the holder's return");
  let_somebody_look();
  end_grace();
  let_somebody_look();
  EXPECT_EQ(leases(), "alive alive alive ");  // the holder's too
  waiter.go();
  EXPECT_EQ(waiter.next(), "held");
}

TEST_F(PostgresSessionLoss, AForkDoesNotWaitForALostSession) {
  CacheManager(options()).cache_new_cluster("c-1");
  server_.execute(
      "CREATE ROLE narrow LOGIN CONNECTION LIMIT 1; GRANT USAGE ON SCHEMA dbcache TO narrow; "
      "GRANT ALL ON ALL TABLES IN SCHEMA dbcache TO narrow; "
      "GRANT ALL ON ALL SEQUENCES IN SCHEMA dbcache TO narrow");
  PostgresConnection other(server_.url("postgres", "narrow"));
  Worker& forker = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    SharedClusters clusters(Options{.database = server_.url("postgres", "narrow")});
    std::thread waiting([&] {
      static_cast<void>(clusters.acquire({{"cluster_name", "one"}}, lifecycle()));
    });
    actor.tell_and_wait("waits");
    actor.tell(in_child([&] {
                 return error_of([&] { return CacheManager(options()).get_all_clusters(); });
               }) +
               "forked");
    waiting.join();
  }));
  ASSERT_EQ(forker.next(), "waits");
  poll_until(
      [&] { return server_.log().find("too many connections for role") != std::string::npos; },
      "the wait for a connection");

  forker.go();

  EXPECT_EQ(forker.next(), "forked");
  server_.execute("ALTER ROLE narrow CONNECTION LIMIT -1");
  EXPECT_EQ(forker.wait(), 0);
}

TEST_F(PostgresSessionLoss, AHangingSessionEndsAWaitInTime) {
  const ClusterConfig config{{"cluster_name", "one"}};
  const Worker& creator = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    SharedClusters clusters(options());
    static_cast<void>(clusters.acquire(config, {.create = [&](const ClusterConfig&, Creation&) {
                                         actor.tell_and_wait("creates");
                                         return "c-1";
                                       }}));
  }));
  ASSERT_EQ(creator.next(), "creates");
  const std::string first = holding_session();
  const Worker& waiter = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    Options impatient = options();
    impatient.busy_timeout = seconds{1};
    SharedClusters clusters(impatient);
    bool told = false;
    static_cast<void>(clusters.acquire(
        config, lifecycle(), {.timeout = seconds{10}, .on_wait = [&](const WaitProgress&) {
                                if (!std::exchange(told, true)) actor.tell("waits");
                              }}));
  }));
  ASSERT_EQ(waiter.next(), "waits");
  const int session =
      std::stoi(server_.query(std::string(holding_sessions) + " AND pid <> " + first + " LIMIT 1"));

  ::kill(session, SIGSTOP);
  EXPECT_THAT(waiter.next(), ::testing::StartsWith("threw StorageFailure"));
  ::kill(session, SIGCONT);

  creator.go();
}

TEST_F(PostgresSessionLoss, ALentSessionEndsWithTheLastLockThatItWasLentFor) {
  CacheManager(options()).cache_new_cluster("c-1");
  const auto engine = store::open_engine(options(), {});
  auto one = engine->take_lock();
  auto two = engine->take_lock();
  const auto kept = engine->take_lock();
  ASSERT_GE(one->descriptor(), 0);
  ASSERT_GE(two->descriptor(), 0);
  const auto session = [&] {
    return server_.query("SELECT DISTINCT pid FROM (" + std::string(holding_sessions) +
                         ") AS all_of_them");
  };
  const std::string lent = session();

  one.reset();
  EXPECT_EQ(session(), lent);
  two.reset();
  EXPECT_NE(session(), lent);
  EXPECT_NE(session(), "");
  EXPECT_FALSE(kept->lost());
}

TEST_F(PostgresSessionLoss, AHangingServerEndsCallsInTime) {
  Options impatient = options();
  impatient.busy_timeout = seconds{1};
  CacheManager(options()).cache_new_cluster("c-1");  // creates the tables with the usual patience
  CacheManager manager(impatient);
  manager.update_cluster_access("c-1");

  const auto backends = PostgresConnection(server_.url())
                            .query_column(
                                "SELECT pid FROM pg_stat_activity WHERE pid <> "
                                "pg_backend_pid() AND application_name = 'dbcache'");
  ::kill(server_.pid(), SIGSTOP);
  for (const std::string& backend : backends) ::kill(std::stoi(backend), SIGSTOP);
  EXPECT_THROW(manager.cache_new_cluster("c-2"), StorageFailure);
  for (const std::string& backend : backends) ::kill(std::stoi(backend), SIGCONT);
  ::kill(server_.pid(), SIGCONT);

  poll_until([&] { return error_of([&] { manager.cache_new_cluster("c-3"); }).empty(); },
             "the way back");
}

TEST_F(PostgresSessionLoss, EachCallHappensOnceThoughSessionsEnd) {
  constexpr int calls = 300;
  CacheManager(options()).register_shared_cluster_creation("hash", 1);
  Worker& counter = *workers_.emplace_back(std::make_unique<Worker>([&](const Actor& actor) {
    CacheManager manager(options());
    for (int call = 0; call < calls; ++call) {
      actor.tell(std::to_string(manager.increment_shared_cluster_usage("hash")));
    }
  }));

  // The sessions end at any statement.
  for (int call = 0; call < calls; ++call) {
    EXPECT_EQ(counter.next(), std::to_string(call + 2));
    if (call % 3 == 0) {
      server_.execute(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE "
          "'worker %'");
    }
  }

  EXPECT_EQ(counter.wait(), 0);
  CacheManager manager(options());
  EXPECT_EQ(manager.get_shared_cluster_info("hash")->usage_count, calls + 1);
  EXPECT_THAT(manager.history({.types = {"UsageIncremented"}}), SizeIs(calls));
  EXPECT_THAT(manager.verify().problems, IsEmpty());
  EXPECT_THAT(manager.replay({.mode = ReplayMode::check}).differences, IsEmpty());
}

TEST(PostgresStandby, AStandbyIsNotReadInPlaceOfThePrimary) {
  PostgresServer primary;
  CacheManager(Options{.database = primary.url()}).cache_new_cluster("c-1");
  const auto standby = primary.make_standby();
  const CacheManager manager(Options{.database = standby->url() + "&target_session_attrs=any",
                                     .busy_timeout = std::chrono::milliseconds{100}});

  EXPECT_THAT(error_of([&] { return manager.get_all_clusters(); }),
              ::testing::HasSubstr("the server is a standby"));
}

// ---- A standby that commits wait for

class PostgresStandbyCommit : public ::testing::Test {
 protected:
  PostgresStandbyCommit() { ::signal(SIGPIPE, SIG_IGN); }
  ~PostgresStandbyCommit() override { ::signal(SIGPIPE, SIG_DFL); }

  void SetUp() override {
    primary_ = std::make_unique<PostgresServer>();
    standby_ = primary_->make_standby();
    CacheManager(options()).register_shared_cluster_creation("hash", 1);
    CacheManager(options()).register_shared_cluster_creation("other hash", 1);
    standby_->stop();
    counter_ = std::make_unique<Worker>([&](const Actor& actor) {
      CacheManager manager(options());
      actor.tell("counts");
      actor.tell(std::to_string(manager.increment_shared_cluster_usage("hash")));
    });
    ASSERT_EQ(counter_->next(), "counts");
  }

  [[nodiscard]] Options options() const {
    return {.database = "postgresql:///postgres?host=" + primary_->directory().string() + "," +
                        standby_->directory().string() +
                        "&port=" + std::to_string(primary_->port()) + "&user=postgres"};
  }

  /// The session whose commit waits for the standby; not the same one twice.
  std::string waiting_session() {
    std::string waiting;
    poll_until(
        [&] {
          for (const std::string& session :
               PostgresConnection(primary_->url())
                   .query_column("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")) {
            if (!seen_.insert(session).second) continue;
            waiting = session;
            return true;
          }
          return false;
        },
        "the commit's way to its wait");
    return waiting;
  }

  void expect_counted_once() const {
    CacheManager manager(options());
    EXPECT_EQ(manager.get_shared_cluster_info("hash")->usage_count, 2);
    EXPECT_THAT(manager.history({.types = {"UsageIncremented"}}), SizeIs(1));
    EXPECT_THAT(manager.verify().problems, IsEmpty());
  }

  BareEnvironment environment_;
  std::unique_ptr<PostgresServer> primary_;
  std::unique_ptr<PostgresServer> standby_;
  std::unique_ptr<Worker> counter_;
  std::set<std::string> seen_;
};

TEST_F(PostgresStandbyCommit, ACommitWhoseWaitWasCancelledDoesNotCountAsDone) {
  for (const char* const how : {"pg_cancel_backend", "pg_terminate_backend", "pg_cancel_backend"}) {
    primary_->execute(std::string("SELECT ") + how + "(" + waiting_session() + ")");
  }
  static_cast<void>(waiting_session());
  EXPECT_FALSE(counter_->has_news());

  standby_->start();

  EXPECT_EQ(counter_->next(), "2");
  EXPECT_EQ(counter_->wait(), 0);
  expect_counted_once();
}

TEST_F(PostgresStandbyCommit, TheOutcomeIsUnknownIfNoStandbyConfirmsInTime) {
  static_cast<void>(waiting_session());  // of the other process
  Worker impatient([&](const Actor&) {
    Options in_a_hurry = options();
    in_a_hurry.busy_timeout = seconds{1};
    CacheManager(in_a_hurry).increment_shared_cluster_usage("other hash");
  });

  // The query for the outcome then waits for the other process's transaction.
  primary_->execute("SELECT pg_cancel_backend(" + waiting_session() + ")");

  EXPECT_THAT(impatient.next(), ::testing::StartsWith("threw StorageFailure (unknown)"));
  impatient.wait();
  standby_->start();
  EXPECT_EQ(counter_->next(), "2");
}

TEST_F(PostgresStandbyCommit, ACommitThatTheNewPrimaryLacksIsRepeated) {
  static_cast<void>(waiting_session());
  primary_->kill();
  standby_->start();
  EXPECT_EQ(standby_->query("SELECT count(*) FROM dbcache.events WHERE type = 'UsageIncremented'"),
            "0");

  standby_->promote();

  EXPECT_EQ(counter_->next(), "2");
  EXPECT_EQ(counter_->wait(), 0);
  expect_counted_once();
}

}  // namespace
}  // namespace dbcache::test
