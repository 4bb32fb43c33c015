// How the rows that the documented Python system left become events.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "commands/adopt.hpp"
#include "given.hpp"
#include "support/scoped_variable.hpp"
#include "text/json_text.hpp"

namespace dbcache::commands {
namespace {

namespace json = boost::json;
using events::ClusterImported;
using events::EntryImported;
using test::at;
using test::given::now;
using test::given::token;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A row of `clusters` as the Python system writes it: isoformat() has a `T`, SQLite's
/// CURRENT_TIMESTAMP a space.
json::object python_cluster() {
  return {{"id", 12},
          {"cluster_id", "c-1"},
          {"cluster_name", "test_name"},
          {"host", "https://workspace.cloud.databricks.com"},
          {"num_workers", 1},
          {"status", "RUNNING"},
          {"created_at", "2026-01-15T10:00:00.420000"},
          {"expiry_time", "2026-01-15T11:00:00.420000"},
          {"last_accessed", "2026-01-15 09:30:00"},
          {"access_count", 3},
          {"is_active", 1},
          {"is_shared", 0}};
}

json::object python_entry() {
  return {{"id", 7},           {"config_hash", "hash"},   {"cluster_id", "c-1"},
          {"status", "ready"}, {"worker_pid", 4711},      {"creation_time", "2026-01-15 09:00:00"},
          {"usage_count", 2},  {"error_message", nullptr}};
}

json::object with(json::object row, const char* column, json::value value) {
  row[column] = std::move(value);
  return row;
}

json::object with(json::object row, const char* column, const std::string& text) {
  return with(std::move(row), column, json::value(json::string(text)));
}

events::Adoption adopt_in(const std::string& zone, const rows::DocumentedRows& rows,
                          const std::string& databricks_token = "") {
  return adopt(rows, Zone(zone), input::Redactor(databricks_token), now);
}

ClusterImported adopt_cluster(const json::object& row, const std::string& zone = "+00:00",
                              const std::string& databricks_token = "") {
  return std::get<ClusterImported>(adopt_in(zone, {{row}, {}}, databricks_token).events.at(0));
}

EntryImported adopt_entry(const json::object& row, const std::string& databricks_token = "") {
  return std::get<EntryImported>(adopt_in("+00:00", {{}, {row}}, databricks_token).events.at(0));
}

// ---- Whole rows

TEST(AdoptingACluster, TakesEveryColumn) {
  CachedCluster expected;
  expected.cluster_id = "c-1";
  expected.cluster_name = "test_name";
  expected.host = "https://workspace.cloud.databricks.com";
  expected.num_workers = 1;
  expected.created_at = at("10:00:00.42");
  expected.expiry_time = at("11:00:00.42");
  expected.last_accessed = at("09:30");
  expected.access_count = 3;
  EXPECT_EQ(adopt_cluster(python_cluster()).cluster, expected);
}

TEST(AdoptingACluster, KeepsTheRowAsItWasWithItsOldId) {
  EXPECT_EQ(text::json_text(adopt_cluster(python_cluster()).original),
            text::json_text(python_cluster()));
}

TEST(AdoptingACluster, HasNothingToNoteOfAGoodRow) {
  EXPECT_THAT(adopt_cluster(python_cluster()).notes, IsEmpty());
}

TEST(AdoptingACluster, TakesNullsWhereTheColumnMayHoldThem) {
  json::object row = python_cluster();
  row["cluster_name"] = row["host"] = row["num_workers"] = nullptr;
  const ClusterImported event = adopt_cluster(row);
  EXPECT_EQ(event.cluster.cluster_name, std::nullopt);
  EXPECT_EQ(event.cluster.host, std::nullopt);
  EXPECT_EQ(event.cluster.num_workers, std::nullopt);
  EXPECT_THAT(event.notes, IsEmpty());
}

TEST(AdoptingACluster, TakesFlagsAsNumbers) {
  const CachedCluster cluster =
      adopt_cluster(
          with(with(python_cluster(), "is_active", json::value(0)), "is_shared", json::value(1)))
          .cluster;
  EXPECT_FALSE(cluster.is_active);
  EXPECT_TRUE(cluster.is_shared);
}

TEST(AdoptingAnEntry, TakesEveryColumn) {
  RegistryEntry expected;
  expected.config_hash = "hash";
  expected.cluster_id = "c-1";
  expected.status = RegistryStatus::ready;
  expected.worker_pid = 4711;
  expected.creation_time = at("09:00");
  expected.usage_count = 2;
  EXPECT_EQ(adopt_entry(python_entry()).entry, expected);
}

TEST(AdoptingAnEntry, KeepsTheRowAsItWasWithItsOldId) {
  EXPECT_EQ(text::json_text(adopt_entry(python_entry()).original), text::json_text(python_entry()));
}

TEST(AdoptingRows, GivesAnEventForEachInTheirOrderClustersFirst) {
  const events::Adoption adoption = adopt_in(
      "+00:00", {{python_cluster(), with(python_cluster(), "cluster_id", json::value("c-2"))},
                 {python_entry()}});
  std::vector<std::string> streams;
  for (const events::Event& event : adoption.events) streams.push_back(events::stream_of(event));
  EXPECT_THAT(streams, ElementsAre("cluster-c-1", "cluster-c-2", "registry-hash"));
}

TEST(AdoptingRows, ReportsHowManyThereWereAndTheirZone) {
  const events::Adoption adoption =
      adopt_in("Europe/Berlin", {{python_cluster()}, {python_entry()}});
  EXPECT_EQ(adoption.report.clusters, 1);
  EXPECT_EQ(adoption.report.registry_entries, 1);
  EXPECT_EQ(adoption.report.timezone, "Europe/Berlin");
}

TEST(AdoptingRows, ReportsNotesWithTheirTable) {
  const events::Adoption adoption =
      adopt_in("+00:00", {{with(python_cluster(), "expiry_time", json::value("never"))}, {}});
  EXPECT_THAT(adoption.report.notes,
              ElementsAre(AllOf(HasSubstr("clusters: "), HasSubstr("expiry_time"),
                                HasSubstr("row 12"), HasSubstr("\"never\""))));
}

TEST(AdoptingNoRows, GivesNoEvents) { EXPECT_THAT(adopt_in("", {}).events, IsEmpty()); }

// ---- Times

struct Written {
  const char* name;
  const char* zone;
  const char* text;
  const char* stored;
};

class AnAdoptedTime : public testing::TestWithParam<Written> {};

TEST_P(AnAdoptedTime, IsBroughtToUtc) {
  const ClusterImported event = adopt_cluster(
      with(python_cluster(), "created_at", json::value(GetParam().text)), GetParam().zone);
  EXPECT_EQ(format_timestamp(event.cluster.created_at), GetParam().stored);
  EXPECT_THAT(event.notes, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Forms, AnAdoptedTime,
    testing::Values(
        Written{"ASpaceIsUtc", "Europe/Berlin", "2026-01-15 10:00:00",
                "2026-01-15T10:00:00.000000"},
        Written{"ATIsTheZonesInWinter", "Europe/Berlin", "2026-01-15T10:00:00",
                "2026-01-15T09:00:00.000000"},
        Written{"ATIsTheZonesInSummer", "Europe/Berlin", "2026-07-15T10:00:00",
                "2026-07-15T08:00:00.000000"},
        Written{"FractionsAreKept", "Europe/Berlin", "2026-01-15T10:00:00.123456",
                "2026-01-15T09:00:00.123456"},
        Written{"ADateIsUtc", "Europe/Berlin", "2026-01-15", "2026-01-15T00:00:00.000000"},
        Written{"AnOffsetWinsOverTheZone", "Europe/Berlin", "2026-01-15T10:00:00-05:00",
                "2026-01-15T15:00:00.000000"},
        Written{"AnOffsetWinsOverTheSpace", "Europe/Berlin", "2026-01-15 10:00:00+05:30",
                "2026-01-15T04:30:00.000000"},
        Written{"ZIsUtc", "Europe/Berlin", "2026-01-15T10:00:00Z", "2026-01-15T10:00:00.000000"},
        Written{"AZoneOfAnOffset", "+05:45", "2026-01-15T10:00:00", "2026-01-15T04:15:00.000000"},
        Written{"BeforeTheGap", "Europe/Berlin", "2026-03-29T01:59:59.999999",
                "2026-03-29T00:59:59.999999"},
        // 02:00 to 03:00 did not exist that day: the moment at which the clocks were put forward.
        Written{"InTheGap", "Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00.000000"},
        Written{"AfterTheGap", "Europe/Berlin", "2026-03-29T03:00:00",
                "2026-03-29T01:00:00.000000"},
        // 02:00 to 03:00 came twice that day: the first of the two.
        Written{"InTheOverlap", "Europe/Berlin", "2026-10-25T02:30:00",
                "2026-10-25T00:30:00.000000"},
        Written{"AfterTheOverlap", "Europe/Berlin", "2026-10-25T03:00:00",
                "2026-10-25T02:00:00.000000"},
        Written{"FirstAsUtc", "Europe/Berlin", "0001-01-01 00:00:00", "0001-01-01T00:00:00.000000"},
        Written{"LastAsUtc", "Europe/Berlin", "9999-12-31 23:59:59.999999",
                "9999-12-31T23:59:59.999999"},
        Written{"LastEastOfGreenwich", "+02:00", "9999-12-31T23:59:59.999999",
                "9999-12-31T21:59:59.999999"}),
    [](const auto& each) { return std::string(each.param.name); });

struct Unreadable {
  const char* name;
  const char* zone;
  json::value value;
};

class AnUnreadableTime : public testing::TestWithParam<Unreadable> {};

TEST_P(AnUnreadableTime, IsTakenAsThePresentAndNoted) {
  const ClusterImported event =
      adopt_cluster(with(python_cluster(), "expiry_time", GetParam().value), GetParam().zone);
  EXPECT_EQ(event.cluster.expiry_time, now);
  EXPECT_THAT(event.notes, ElementsAre(AllOf(HasSubstr("expiry_time of the row 12"),
                                             HasSubstr("taken as the time of adoption"))));
}

INSTANTIATE_TEST_SUITE_P(
    Values, AnUnreadableTime,
    testing::Values(
        Unreadable{"Null", "", nullptr}, Unreadable{"Word", "", "never"},
        Unreadable{"Empty", "", ""}, Unreadable{"Number", "", 1736937000},
        Unreadable{"Real", "", 2460690.9375}, Unreadable{"NoSuchDay", "", "2026-02-30T10:00:00"},
        Unreadable{"Blob", "", json::object{{"blob", "00"}}},
        Unreadable{"FirstOfPythonEastOfGreenwich", "+01:00", "0001-01-01T00:00:00"},
        Unreadable{"LastOfPythonWestOfGreenwich", "-08:00", "9999-12-31T23:59:59.999999"},
        Unreadable{"LastOfPythonInAZone", "America/New_York", "9999-12-31T23:59:59.999999"},
        Unreadable{"MovedOutByItsOffset", "", "9999-12-31T23:59:59-00:01"}),
    [](const auto& each) { return std::string(each.param.name); });

// ---- Columns that hold what they cannot

struct Odd {
  const char* name;
  const char* column;
  json::value value;
};

class AnOddColumnOfACluster : public testing::TestWithParam<Odd> {};

TEST_P(AnOddColumnOfACluster, IsNotedWithItsValue) {
  const ClusterImported event =
      adopt_cluster(with(python_cluster(), GetParam().column, GetParam().value));
  EXPECT_THAT(event.notes, ElementsAre(AllOf(HasSubstr(GetParam().column),
                                             HasSubstr(text::json_text(GetParam().value)))));
}

TEST_P(AnOddColumnOfACluster, IsKeptAsItWas) {
  const ClusterImported event =
      adopt_cluster(with(python_cluster(), GetParam().column, GetParam().value));
  EXPECT_EQ(event.original.at(GetParam().column), GetParam().value);
}

INSTANTIATE_TEST_SUITE_P(
    Columns, AnOddColumnOfACluster,
    testing::Values(
        Odd{"NameOfBytes", "cluster_name", json::object{{"blob", "00ff"}}},
        Odd{"NameNotUtf8", "cluster_name", json::object{{"text", "ff"}}},
        Odd{"HostOfANumber", "host", 5}, Odd{"StatusOfANumber", "status", 5},
        Odd{"NegativeWorkers", "num_workers", -1}, Odd{"WorkersAsText", "num_workers", "two"},
        Odd{"RealWorkers", "num_workers", 1.5}, Odd{"NegativeCount", "access_count", -3},
        Odd{"InfiniteCount", "access_count", json::object{{"real", "inf"}}},
        Odd{"ActiveAsText", "is_active", "true"}, Odd{"SharedAsReal", "is_shared", 0.5}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(AnOddColumn, IsReplacedByWhatIsSafe) {
  json::object row = python_cluster();
  row["cluster_name"] = row["host"] = row["status"] = 5;
  row["num_workers"] = row["access_count"] = -1;
  row["is_active"] = row["is_shared"] = "yes";
  const CachedCluster cluster = adopt_cluster(row).cluster;
  EXPECT_EQ(cluster.cluster_name, std::nullopt);
  EXPECT_EQ(cluster.host, std::nullopt);
  EXPECT_EQ(cluster.status, "RUNNING");
  EXPECT_EQ(cluster.num_workers, std::nullopt);
  EXPECT_EQ(cluster.access_count, 0);
  EXPECT_FALSE(cluster.is_active);
  EXPECT_FALSE(cluster.is_shared);
}

class AnEntryThatNobodyCanJoin : public testing::TestWithParam<json::value> {};

TEST_P(AnEntryThatNobodyCanJoin, IsTakenAsFailedAndNoted) {
  const EntryImported event = adopt_entry(with(python_entry(), "status", GetParam()));
  EXPECT_EQ(event.entry.status, RegistryStatus::failed);
  EXPECT_THAT(event.notes, testing::Contains(HasSubstr("taken as failed, which nobody joins")));
}

INSTANTIATE_TEST_SUITE_P(Statuses, AnEntryThatNobodyCanJoin,
                         testing::Values("terminated", "READY", "", nullptr, 1));

TEST(AReadyEntryWithoutACluster, IsTakenAsFailedAndNoted) {
  const EntryImported event = adopt_entry(with(python_entry(), "cluster_id", json::value()));
  EXPECT_EQ(event.entry.status, RegistryStatus::failed);
  EXPECT_THAT(event.notes, ElementsAre(HasSubstr("without a cluster id")));
}

class AClusterIdThatCannotBe : public testing::TestWithParam<std::string> {};

TEST_P(AClusterIdThatCannotBe, IsTakenAsNoneInAnEntryAndNoted) {
  const EntryImported event = adopt_entry(
      with(with(python_entry(), "status", json::value("creating")), "cluster_id", GetParam()));
  EXPECT_EQ(event.entry.cluster_id, std::nullopt);
  EXPECT_THAT(event.notes, ElementsAre(HasSubstr("cluster_id of the row 7")));
}

TEST_P(AClusterIdThatCannotBe, MakesNoEntryReady) {
  EXPECT_EQ(adopt_entry(with(python_entry(), "cluster_id", GetParam())).entry.status,
            RegistryStatus::failed);
}

INSTANTIATE_TEST_SUITE_P(Ids, AClusterIdThatCannotBe,
                         testing::Values("", std::string(256, 'x'), std::string("a\0b", 3)));

TEST(AnOddColumnOfAnEntry, IsReplacedByWhatIsSafe) {
  json::object row = python_entry();
  row["worker_pid"] = 0;
  row["usage_count"] = -2;
  row["error_message"] = 5;
  row["creation_time"] = "long ago";
  const EntryImported event = adopt_entry(row);
  EXPECT_EQ(event.entry.worker_pid, std::nullopt);
  EXPECT_EQ(event.entry.usage_count, 0);
  EXPECT_EQ(event.entry.error_message, std::nullopt);
  EXPECT_EQ(event.entry.creation_time, now);
  EXPECT_EQ(event.notes.size(), 4u);
}

// ---- Ids that cannot name a stream

class AnIdThatCannotBeTaken : public testing::TestWithParam<json::value> {};

TEST_P(AnIdThatCannotBeTaken, RefusesTheDatabaseOfItsCluster) {
  EXPECT_THROW(adopt_cluster(with(python_cluster(), "cluster_id", GetParam())), CorruptDatabase);
}

TEST_P(AnIdThatCannotBeTaken, RefusesTheDatabaseOfItsEntry) {
  EXPECT_THROW(adopt_entry(with(python_entry(), "config_hash", GetParam())), CorruptDatabase);
}

INSTANTIATE_TEST_SUITE_P(Ids, AnIdThatCannotBeTaken,
                         testing::Values("", json::string(256, 'x'), json::string("a\0b", 3),
                                         nullptr, 5, json::object{{"text", "ff"}},
                                         json::object{{"blob", "00"}}));

TEST(AnIdThatCannotBeTaken, IsNamedWithItsRowAndTheRemedy) {
  try {
    adopt_cluster(with(python_cluster(), "cluster_id", json::value("")));
    FAIL() << "nothing was thrown";
  } catch (const CorruptDatabase& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("row 12 of clusters"), HasSubstr("by hand")));
  }
}

// ---- Secrets

TEST(AdoptingSecrets, TakesTheTokenOutOfTextsAndTheRowAsItWas) {
  const ClusterImported event =
      adopt_cluster(with(python_cluster(), "cluster_name", "for " + token), "", token);
  EXPECT_EQ(event.cluster.cluster_name, "for [redacted]");
  EXPECT_EQ(event.original.at("cluster_name"), "for [redacted]");
}

TEST(AdoptingSecrets, TakesTheTokenOutOfAnErrorMessage) {
  const EntryImported event =
      adopt_entry(with(python_entry(), "error_message", "403: " + token), token);
  EXPECT_EQ(event.entry.error_message, "403: [redacted]");
  EXPECT_EQ(event.original.at("error_message"), "403: [redacted]");
}

TEST(AdoptingSecrets, TakesTheTokenOutOfNotes) {
  const ClusterImported event =
      adopt_cluster(with(python_cluster(), "expiry_time", token), "", token);
  EXPECT_THAT(event.notes, ElementsAre(HasSubstr("\"[redacted]\"")));
}

TEST(AdoptingSecrets, NeverTouchesAnId) {
  const EntryImported event = adopt_entry(
      with(with(python_entry(), "config_hash", "h-" + token), "cluster_id", "c-" + token), token);
  EXPECT_EQ(event.entry.config_hash, "h-" + token);
  EXPECT_EQ(event.entry.cluster_id, "c-" + token);
  EXPECT_EQ(event.original.at("config_hash").get_string(), "h-" + token);
  EXPECT_EQ(event.original.at("cluster_id").get_string(), "c-" + token);
}

// ---- Zones

TEST(AZone, ThatIsUnknownIsRefusedWithAWayToGiveOne) {
  try {
    const Zone zone("Mars/Olympus_Mons");
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'Mars/Olympus_Mons'"), HasSubstr("+02:00")));
  }
}

class AZoneOfAnOffset : public testing::TestWithParam<const char*> {};

TEST_P(AZoneOfAnOffset, MayBeWrittenAsInATime) {
  const ClusterImported event = adopt_cluster(python_cluster(), GetParam());
  EXPECT_EQ(event.cluster.created_at, at("08:00:00.42"));
}

INSTANTIATE_TEST_SUITE_P(Forms, AZoneOfAnOffset, testing::Values("+02:00", "+0200", "+02"));

TEST(AZoneThatIsNotStated, IsThisMachines) {
  const test::ScopedVariable zone("TZ", "Europe/Berlin");
  EXPECT_EQ(adopt_cluster(python_cluster(), "").cluster.created_at, at("09:00:00.42"));
}

TEST(AMachineWithoutAZone, AdoptsTimesInUtc) {
  const test::ScopedVariable zone("TZ", "Mars/Olympus_Mons");
  auto row = python_cluster();
  for (const char* column : {"created_at", "expiry_time", "last_accessed"}) {
    row = with(row, column, json::value("2026-01-15 10:00:00"));
  }
  EXPECT_THAT(adopt_cluster(row, "").notes, IsEmpty());
}

}  // namespace
}  // namespace dbcache::commands
