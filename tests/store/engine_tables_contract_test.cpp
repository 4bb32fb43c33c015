#include "engine_contract.hpp"

namespace dbcache::store {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Timestamp now = parse_timestamp("2026-01-15T10:30:00");

CachedCluster cluster(std::int64_t id, std::string cluster_id) {
  CachedCluster row;
  row.id = id;
  row.cluster_id = std::move(cluster_id);
  row.created_at = row.last_accessed = now;
  row.expiry_time = now + std::chrono::hours{1};
  return row;
}

RegistryEntry entry(std::int64_t id, std::string config_hash) {
  RegistryEntry row;
  row.id = id;
  row.config_hash = std::move(config_hash);
  row.creation_time = now;
  return row;
}

rows::Holder holder() {
  rows::Holder holder;
  holder.lock_file = "0123456789abcdef0123456789abcdef";
  holder.lock = 4'611'686'018'427'387'000;
  holder.process = {4711, 123, "boot", "pid:[4026531836]"};
  holder.host = "ci-1";
  holder.label =
      "test_gr\xC3\xB6\xC3\x9F"
      "e \"q\"\n";
  holder.until = now;
  return holder;
}

/// Every column holding something.
rows::Share whole_share(std::string config_hash) {
  return {std::move(config_hash),
          rows::EntryOrigin::environment,
          "https://a.example",
          holder(),
          41,
          "token \xE2\x82\xAC",
          true,
          42,
          holder(),
          HandBackPolicy::hand_back,
          {"nightly", "a \"b\""},
          now,
          true};
}
rows::Lease whole_lease(std::int64_t id) {
  return {id, "h", "c", holder(), HandBackPolicy::hand_back, "nightly", now, true};
}
rows::PendingTermination whole_pending_termination(std::string subject) {
  return {std::move(subject), "c",     "token", "h", "https://a.example", "expired", now, 3, 43,
          holder(),           "403\n", now};
}
rows::Participant whole_participant(std::int64_t id) {
  return {id, "nightly", "worker", "gw0", holder(), now};
}

class EngineTables : public EngineContract {
 protected:
  std::unique_ptr<Engine> engine_ = open();

  void put(const std::vector<CachedCluster>& rows) const {
    write(*engine_, [&](WriteSession& session) {
      for (const CachedCluster& row : rows) session.tables.put(row);
    });
  }
  void put(const std::vector<RegistryEntry>& rows) const {
    write(*engine_, [&](WriteSession& session) {
      for (const RegistryEntry& row : rows) session.tables.put(row);
    });
  }
  template <class Row>
  void put_each(const std::vector<Row>& rows) const {
    write(*engine_, [&](WriteSession& session) {
      for (const Row& row : rows) session.tables.put(row);
    });
  }
  template <class Query>
  auto ask(Query query) const {
    decltype(query(std::declval<const rows::TableReader&>())) result{};
    engine_->read(std::nullopt,
                  [&](const ReadSession& session) { result = query(session.tables); });
    return result;
  }
  [[nodiscard]] std::vector<std::string> cluster_ids(
      const ClusterFilter& filter = {}, std::optional<std::size_t> limit = std::nullopt) const {
    return ask([&](const rows::TableReader& tables) {
      std::vector<std::string> ids;
      for (const CachedCluster& row : tables.clusters(filter, now, limit)) {
        ids.push_back(row.cluster_id);
      }
      return ids;
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineTables, engines(), engine_name);

TEST_P(EngineTables, ARowOfClustersReadsAsItWasPut) {
  CachedCluster row = cluster(7, "c \xE2\x82\xAC 'q'");
  row.cluster_name = "";
  row.host = "https://a.example";
  row.num_workers = 9'000'000'000'000'000'000;
  row.status = "PENDING";
  row.created_at = parse_timestamp("0001-01-01T00:00:00.000001");
  row.expiry_time = parse_timestamp("9999-12-31T23:59:59.999999");
  row.last_accessed = parse_timestamp("2026-01-15T10:30:00.000010");
  row.access_count = 0;
  row.is_active = false;
  row.is_shared = true;

  put({row});

  EXPECT_EQ(ask([&](const auto& tables) { return tables.cluster(row.cluster_id); }), row);
}

TEST_P(EngineTables, ARowOfClustersWithoutTheOptionalColumnsReadsAsItWasPut) {
  const CachedCluster row = cluster(1, "c");

  put({row});

  EXPECT_EQ(ask([&](const auto& tables) { return tables.cluster("c"); }), row);
}

TEST_P(EngineTables, ARowOfTheRegistryReadsAsItWasPut) {
  RegistryEntry row = entry(9, "h");
  row.cluster_id = "no such cluster";
  row.status = RegistryStatus::failed;
  row.worker_pid = 4711;
  row.usage_count = 12;
  row.error_message = "no\nquota";

  put({row});

  EXPECT_EQ(ask([&](const auto& tables) { return tables.entry("h"); }), row);
}

TEST_P(EngineTables, PuttingAgainReplacesTheRowWithItsId) {
  put({cluster(1, "c"), cluster(2, "d")});
  CachedCluster again = cluster(3, "c");
  again.host = "elsewhere";

  put({again});

  EXPECT_THAT(cluster_ids(), ElementsAre("c", "d"));
  EXPECT_EQ(ask([&](const auto& tables) { return tables.cluster("c"); }), again);
}

TEST_P(EngineTables, PuttingAnEntryAgainReplacesIt) {
  put({entry(1, "h"), entry(2, "i")});
  RegistryEntry again = entry(3, "h");
  again.usage_count = 5;

  put({again});

  EXPECT_THAT(ask([](const auto& tables) { return tables.entries(); }),
              ElementsAre(again, entry(2, "i")));
}

TEST_P(EngineTables, ChangingAClusterSetsTheColumnsThatChangeAndNoOthers) {
  CachedCluster expected = cluster(1, "c");
  put({expected, cluster(2, "d")});

  write(*engine_, [](WriteSession& session) {
    session.tables.change_cluster("c", [](CachedCluster& row) { row.host = "https://a.example"; });
    session.tables.change_cluster("c", [](CachedCluster& row) {
      row.cluster_name = "one";
      row.last_accessed += std::chrono::seconds{1};
      row.access_count = 7;
      row.is_active = false;
    });
    session.tables.change_cluster("c", [](CachedCluster& row) { row.cluster_name.reset(); });
    session.tables.change_cluster("c", [](CachedCluster&) {});
    session.tables.change_cluster("nowhere", [](CachedCluster& row) { row.access_count = 9; });
  });

  expected.host = "https://a.example";
  expected.last_accessed += std::chrono::seconds{1};
  expected.access_count = 7;
  expected.is_active = false;
  EXPECT_THAT(ask([](const auto& tables) { return tables.clusters({}, now, std::nullopt); }),
              ElementsAre(cluster(2, "d"), expected));
}

TEST_P(EngineTables, ChangingAnEntrySetsTheColumnsThatChangeAndNoOthers) {
  RegistryEntry expected = entry(1, "h");
  put({expected, entry(2, "i")});

  write(*engine_, [](WriteSession& session) {
    session.tables.change_entry("h", [](RegistryEntry& row) {
      row.cluster_id = "c";
      row.status = RegistryStatus::ready;
    });
    session.tables.change_entry("h", [](RegistryEntry& row) { ++row.usage_count; });
    session.tables.change_entry("h", [](RegistryEntry& row) { row.error_message = "no quota"; });
    session.tables.change_entry("nowhere", [](RegistryEntry& row) { row.usage_count = 9; });
  });

  expected.cluster_id = "c";
  expected.status = RegistryStatus::ready;
  ++expected.usage_count;
  expected.error_message = "no quota";
  EXPECT_THAT(ask([](const auto& tables) { return tables.entries(); }),
              ElementsAre(entry(2, "i"), expected));
}

TEST_P(EngineTables, AnIdOfAClusterMayDifferInCaseOnly) {
  put({cluster(1, "c"), cluster(2, "C")});

  EXPECT_THAT(cluster_ids(), ElementsAre("C", "c"));
}

TEST_P(EngineTables, ErasingTakesOneRowOutAndNoneWhereItIsMissing) {
  put({cluster(1, "c"), cluster(2, "d")});
  put({entry(3, "h"), entry(4, "i")});

  write(*engine_, [](WriteSession& session) {
    session.tables.erase_cluster("c");
    session.tables.erase_cluster("nowhere");
    session.tables.erase_entry("h");
    session.tables.erase_entry("nowhere");
  });

  EXPECT_THAT(cluster_ids(), ElementsAre("d"));
  EXPECT_THAT(ask([](const auto& tables) { return tables.entries(); }), ElementsAre(entry(4, "i")));
}

TEST_P(EngineTables, ClearingEmptiesBothTables) {
  put({cluster(1, "c")});
  put({entry(2, "h")});

  write(*engine_, [](WriteSession& session) { session.tables.clear(); });

  EXPECT_THAT(cluster_ids(), IsEmpty());
  EXPECT_THAT(ask([](const auto& tables) { return tables.entries(); }), IsEmpty());
}

TEST_P(EngineTables, ListsNewestFirstAndNoMoreThanWanted) {
  put({cluster(2, "b"), cluster(10, "a"), cluster(9, "c")});

  EXPECT_THAT(cluster_ids(), ElementsAre("a", "c", "b"));
  EXPECT_THAT(cluster_ids({}, 2), ElementsAre("a", "c"));
  EXPECT_THAT(cluster_ids({}, 0), IsEmpty());
}

TEST_P(EngineTables, FiltersByEachFieldThatIsSet) {
  CachedCluster idle = cluster(1, "idle");
  idle.is_active = false;
  CachedCluster shared = cluster(2, "shared");
  shared.is_shared = true;
  CachedCluster expired = cluster(3, "expired");
  expired.expiry_time = now;
  put({idle, shared, expired});

  EXPECT_THAT(cluster_ids({.is_active = true}), ElementsAre("expired", "shared"));
  EXPECT_THAT(cluster_ids({.is_active = false}), ElementsAre("idle"));
  EXPECT_THAT(cluster_ids({.is_shared = true}), ElementsAre("shared"));
  EXPECT_THAT(cluster_ids({.is_expired = true}), ElementsAre("expired"));
  EXPECT_THAT(cluster_ids({.is_active = true, .is_shared = false, .is_expired = false}), IsEmpty());
}

TEST_P(EngineTables, CountsTheStatistics) {
  CachedCluster idle = cluster(1, "idle");
  idle.is_active = false;
  idle.access_count = 5;
  CachedCluster shared = cluster(2, "shared");
  shared.is_shared = true;
  CachedCluster expired = cluster(3, "expired");
  expired.expiry_time = now;
  put({idle, shared, expired});

  const CacheStatistics statistics = ask([](const auto& tables) { return tables.statistics(now); });

  EXPECT_EQ(statistics, (CacheStatistics{.total_clusters = 3,
                                         .active_clusters = 2,
                                         .expired_clusters = 1,
                                         .total_accesses = 7,
                                         .shared_clusters = 1,
                                         .cache_file_size = 0}));
}

TEST_P(EngineTables, CountsNothingInEmptyTables) {
  write(*engine_, [](WriteSession&) {});

  EXPECT_EQ(ask([](const auto& tables) { return tables.statistics(now); }), CacheStatistics{});
}

// ---- The tables of leases

TEST_P(EngineTables, ARowOfSharesReadsAsItWasPut) {
  const rows::Share whole = whole_share("b");
  rows::Share bare;
  bare.config_hash = "a";

  put_each<rows::Share>({whole, bare});

  EXPECT_EQ(ask([](const auto& tables) { return tables.share("b"); }), whole);
  EXPECT_EQ(ask([](const auto& tables) { return tables.share("a"); }), bare);
  EXPECT_EQ(ask([](const auto& tables) { return tables.share("c"); }), std::nullopt);
  EXPECT_THAT(ask([](const auto& tables) { return tables.shares(); }), ElementsAre(bare, whole));
}

TEST_P(EngineTables, ARowOfLeasesReadsAsItWasPut) {
  const rows::Lease whole = whole_lease(10);
  rows::Lease bare;
  bare.id = 9;

  put_each<rows::Lease>({whole, bare});

  EXPECT_EQ(ask([](const auto& tables) { return tables.lease(10); }), whole);
  EXPECT_EQ(ask([](const auto& tables) { return tables.lease(9); }), bare);
  EXPECT_EQ(ask([](const auto& tables) { return tables.lease(8); }), std::nullopt);
  EXPECT_THAT(ask([](const auto& tables) { return tables.leases(); }), ElementsAre(bare, whole));
}

TEST_P(EngineTables, ARowOfTerminationsReadsAsItWasPut) {
  const rows::PendingTermination whole = whole_pending_termination("b");
  rows::PendingTermination bare;
  bare.subject = "a";

  put_each<rows::PendingTermination>({whole, bare});

  EXPECT_EQ(ask([](const auto& tables) { return tables.pending_termination("b"); }), whole);
  EXPECT_EQ(ask([](const auto& tables) { return tables.pending_termination("a"); }), bare);
  EXPECT_EQ(ask([](const auto& tables) { return tables.pending_termination("c"); }), std::nullopt);
  EXPECT_THAT(ask([](const auto& tables) { return tables.pending_terminations(); }),
              ElementsAre(bare, whole));
}

TEST_P(EngineTables, ARowOfParticipantsReadsAsItWasPut) {
  const rows::Participant whole = whole_participant(10);
  rows::Participant bare;
  bare.id = 9;

  put_each<rows::Participant>({whole, bare});

  EXPECT_THAT(ask([](const auto& tables) { return tables.participants(); }),
              ElementsAre(bare, whole));
}

TEST_P(EngineTables, PuttingARowOfTheTablesOfLeasesAgainReplacesIt) {
  rows::Share share = whole_share("h");
  rows::Lease lease = whole_lease(1);
  rows::PendingTermination pending = whole_pending_termination("c");
  rows::Participant participant = whole_participant(2);
  put_each<rows::Share>({share});
  put_each<rows::Lease>({lease});
  put_each<rows::PendingTermination>({pending});
  put_each<rows::Participant>({participant});
  share.runs.clear();
  lease.run.reset();
  pending.terminator.reset();
  participant.name.reset();

  put_each<rows::Share>({share});
  put_each<rows::Lease>({lease});
  put_each<rows::PendingTermination>({pending});
  put_each<rows::Participant>({participant});

  EXPECT_THAT(ask([](const auto& tables) { return tables.shares(); }), ElementsAre(share));
  EXPECT_THAT(ask([](const auto& tables) { return tables.leases(); }), ElementsAre(lease));
  EXPECT_THAT(ask([](const auto& tables) { return tables.pending_terminations(); }),
              ElementsAre(pending));
  EXPECT_THAT(ask([](const auto& tables) { return tables.participants(); }),
              ElementsAre(participant));
}

TEST_P(EngineTables, ErasingAndClearingTakeRowsOutOfTheTablesOfLeases) {
  const auto fill = [&] {
    put_each<rows::Share>({whole_share("a"), whole_share("b")});
    put_each<rows::Lease>({whole_lease(1), whole_lease(2)});
    put_each<rows::PendingTermination>(
        {whole_pending_termination("a"), whole_pending_termination("b")});
    put_each<rows::Participant>({whole_participant(1), whole_participant(2)});
  };
  const auto counts = [&] {
    return ask([](const rows::TableReader& tables) {
      return std::vector<std::size_t>{tables.shares().size(), tables.leases().size(),
                                      tables.pending_terminations().size(),
                                      tables.participants().size()};
    });
  };
  fill();

  write(*engine_, [](WriteSession& session) {
    session.tables.erase_share("a");
    session.tables.erase_lease(1);
    session.tables.erase_pending_termination("a");
    session.tables.erase_participant(1);
    session.tables.erase_share("nowhere");
    session.tables.erase_lease(77);
    session.tables.erase_pending_termination("nowhere");
    session.tables.erase_participant(77);
  });

  EXPECT_THAT(counts(), ElementsAre(1U, 1U, 1U, 1U));
  EXPECT_EQ(ask([](const auto& tables) { return tables.share("a"); }), std::nullopt);
  EXPECT_EQ(ask([](const auto& tables) { return tables.lease(1); }), std::nullopt);
  EXPECT_EQ(ask([](const auto& tables) { return tables.pending_termination("a"); }), std::nullopt);
  write(*engine_, [](WriteSession& session) { session.tables.clear(); });
  EXPECT_THAT(counts(), ElementsAre(0U, 0U, 0U, 0U));
}

TEST_P(EngineTables, GivesTheRowsOfTheTablesOfLeasesAsStored) {
  put_each<rows::Share>({whole_share("a")});
  put_each<rows::Lease>({whole_lease(9), whole_lease(10)});
  put_each<rows::PendingTermination>({whole_pending_termination("a")});
  put_each<rows::Participant>({whole_participant(9)});
  const auto stored = [&](std::string_view table) {
    return ask([&](const auto& tables) { return tables.raw_rows(table); });
  };

  EXPECT_EQ(stored("shares").at(0).columns, rows::stored_columns(whole_share("a")));
  EXPECT_EQ(stored("leases").at(0).key, "10");  // in order of their keys as texts
  EXPECT_EQ(stored("leases").at(1).columns, rows::stored_columns(whole_lease(9)));
  EXPECT_EQ(stored("terminations").at(0).columns,
            rows::stored_columns(whole_pending_termination("a")));
  EXPECT_EQ(stored("participants").at(0).columns, rows::stored_columns(whole_participant(9)));
}

TEST_P(EngineTables, GivesRowsAsStoredInOrderOfTheirKeys) {
  put({cluster(1, "b"), cluster(2, "a")});

  const auto raw = ask([](const auto& tables) { return tables.raw_rows(rows::clusters_table); });

  ASSERT_EQ(raw.size(), 2U);
  EXPECT_EQ(raw[0].key, "a");
  EXPECT_EQ(raw[0].columns, rows::stored_columns(cluster(2, "a")));
  EXPECT_EQ(raw[1].key, "b");
}

}  // namespace
}  // namespace dbcache::store
