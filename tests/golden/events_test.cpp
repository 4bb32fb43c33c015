// The stored form of every event: what is written once must be readable for good. To record a new
// event's file, run with DBCACHE_UPDATE_GOLDEN=1. When a type's schema is raised, its file is first
// renamed to <Type>.<old schema>.json, and kept.

#include <filesystem>
#include <map>

#include <boost/json/array.hpp>
#include <boost/mp11/algorithm.hpp>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "events/event.hpp"
#include "golden_file.hpp"

namespace dbcache::events {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

Timestamp at(const std::string& time_of_day) {
  return parse_timestamp("2026-01-15T" + time_of_day);
}

CachedCluster cluster() {
  CachedCluster row;
  row.id = 99;  // never in a payload: it is the event's position
  row.cluster_id = "0115-103000-gr\u00f6\u00dfe";
  row.cluster_name = "test_name \"\U0001F600\"";
  row.host = "https://workspace.cloud.databricks.com";
  row.num_workers = 1;
  row.created_at = at("10:30:00.42");
  row.expiry_time = at("11:30");
  row.last_accessed = at("10:30");
  row.is_shared = true;
  return row;
}

RegistryEntry entry() {
  RegistryEntry row;
  row.id = 99;
  row.config_hash = "config_hash_123";
  row.cluster_id = "cluster-456";
  row.status = RegistryStatus::ready;
  row.worker_pid = 4711;
  row.creation_time = at("10:30");
  row.usage_count = 2;
  return row;
}

Holder process_holder() {
  Holder holder;
  holder.lock_file = "0123456789abcdef0123456789abcdef";
  holder.lock = 4'611'686'018'427'387'000;
  holder.process = {4711, 123456, "0b1e6a3c-3f0e-4d5a-9c53-1f2a3b4c5d6e", "pid:[4026531836]"};
  holder.host = "ci-1";
  holder.label = "tests/test_gr\u00f6\u00dfe.py::test \"\u03c0\"";
  return holder;
}

/// Of what outlives its process.
Holder deadline_holder() {
  Holder holder;
  holder.process.pid = 4711;
  holder.host = "ci-1";
  holder.until = at("12:30:00.000001");
  return holder;
}

/// One of each type, every column holding something somewhere, and nothing somewhere.
std::vector<Event> samples() {
  return {
      ClusterCached{cluster(),
                    {{"node_type_id", "m5.large"},
                     {"spark_version", "13.3.x-scala2.12"},
                     {"num_workers", 1},
                     {"autotermination_minutes", 120},
                     {"spark_env_vars", {{"DATABRICKS_TOKEN", "[redacted]"}}},
                     {"custom", json::array{1.5, 1e30, -7, true, nullptr, "\n", json::object{}}}}},
      ClusterImported{cluster(),
                      {{"id", 12},
                       {"cluster_id", "0115-103000-gr\u00f6\u00dfe"},
                       {"created_at", "2026-01-15T11:30:00.42"},
                       {"access_count", -1},
                       {"cluster_name", {{"blob", "00ff"}}}},
                      {"access_count of the row 12 was -1: taken as none", "and another"}},
      ClusterDeactivated{"cluster-123", "cluster-456"},
      ClusterAccessed{"cluster-123", at("10:45:00.000001"), 3},
      ClusterExpired{"cluster-123", at("11:30")},
      ClusterRemoved{"cluster-123", ClusterRemovalReason::terminated},
      CreationRegistered{
          "config_hash_123",
          at("10:30"),
          {4711, 123456, "0b1e6a3c-3f0e-4d5a-9c53-1f2a3b4c5d6e", "pid:[4026531836]"}},
      EntryImported{entry(), {{"id", 7}, {"status", "ready"}, {"error_message", nullptr}}, {}},
      RegistryStatusChanged{"config_hash_123", RegistryStatus::creating, RegistryStatus::failed,
                            std::nullopt, "no quota in eu-central-1\n", true},
      UsageIncremented{"config_hash_123", 2},
      UsageDecremented{"config_hash_123", 1},
      RegistryEntryRemoved{"config_hash_123", EntryRemovalReason::cleaned_up},
      CreationStarted{"config_hash_123", process_holder(),
                      "dbcache-00112233445566778899aabbccddeeff", "cluster-123",
                      "https://workspace.cloud.databricks.com", at("10:30"), 1},
      LeaseGranted{"config_hash_123", "cluster-123", process_holder(), HandBackPolicy::hand_back,
                   "nightly gr\u00f6\u00dfe", at("10:34"), true, std::nullopt, 41, 2},
      LeaseReleased{"config_hash_123", 42, "cluster-123", HandBackPolicy::keep, 1,
                    at("10:36:00.000001")},
      LeaseLost{"config_hash_123", 41, std::nullopt, std::nullopt, LeaseLossReason::died, 0},
      LeaseRenewed{"config_hash_123", 42, at("12:30:00.000001"),
                   rows::Deadline{at("10:30:00.000001"), "e3f0a1b2-boot", 7'200'000'000'001}},
      ClusterUsed{"cluster-123", 42, "tests/test_table.py::test_gr\u00f6\u00dfe[1]"},
      CheckStarted{"config_hash_123", "cluster-123", deadline_holder()},
      CheckAnswered{"config_hash_123", "cluster-123", 43, CheckAnswer::failed, "no route\n",
                    at("10:37:00.000001")},
      TerminationOwed{"dbcache-00112233445566778899aabbccddeeff", std::nullopt,
                      "dbcache-00112233445566778899aabbccddeeff", "config_hash_123",
                      "https://workspace.cloud.databricks.com", OwedReason::creator_died,
                      at("10:40")},
      TerminationStarted{"cluster-123", "config_hash_123", process_holder()},
      TerminationDone{"cluster-123", 44},
      TerminationFailed{"cluster-123", 44, "403 \u2013 not allowed", at("10:41:00.000001")},
      TerminationCancelled{"cluster-123", CancelReason::taken_over},
      RunJoined{"nightly gr\u00f6\u00dfe", "worker", "gw0", process_holder(), at("10:20")},
      RunLeft{"nightly gr\u00f6\u00dfe", 40, RunLeftReason::died},
  };
}

std::string file_of(std::string_view type) { return "events/" + std::string(type) + ".json"; }

/// The payload in a golden file, which ends with a line break that is not the payload's.
std::string golden_payload(std::string_view type) {
  std::string content = test::read_golden(file_of(type));
  if (!content.ends_with('\n')) throw std::runtime_error(file_of(type) + " has no last line break");
  content.pop_back();
  return content;
}

std::vector<std::string> all_types() {
  std::vector<std::string> types;
  boost::mp11::mp_for_each<boost::mp11::mp_transform<boost::mp11::mp_identity, Event>>(
      [&](auto identity) { types.emplace_back(decltype(identity)::type::type); });
  return types;
}

std::vector<std::string> types_of(const std::vector<Event>& events) {
  std::vector<std::string> types;
  for (const Event& event : events) types.emplace_back(type_of(event));
  return types;
}

TEST(EveryEventType, HasOneSampleHere) {
  EXPECT_THAT(types_of(samples()), testing::UnorderedElementsAreArray(all_types()));
}

/// The type of each golden file, of older schemas too.
std::multimap<std::string, std::string> golden_files_by_type() {
  std::multimap<std::string, std::string> files;
  for (const auto& file : std::filesystem::directory_iterator(test::golden_path("events"))) {
    const std::string name = file.path().filename().string();
    files.emplace(name.substr(0, name.find('.')), "events/" + name);
  }
  return files;
}

TEST(EveryEventType, HasAGoldenFile) {
  const auto files = golden_files_by_type();
  for (const std::string& type : all_types()) EXPECT_TRUE(files.contains(type)) << type;
}

TEST(EveryGoldenFile, IsReadWhateverItsSchema) {
  for (const auto& [type, file] : golden_files_by_type()) {
    EXPECT_NO_THROW(parse_event(type, test::read_golden(file))) << file;
  }
}

struct Sample {
  Event event;
};

void PrintTo(const Sample& sample, std::ostream* out) { *out << payload_of(sample.event); }

std::vector<Sample> each_sample() {
  std::vector<Sample> all;
  for (const Event& event : samples()) all.push_back({event});
  return all;
}

class AnEvent : public testing::TestWithParam<Sample> {
 protected:
  [[nodiscard]] static const Event& event() { return GetParam().event; }
  [[nodiscard]] static std::string type() { return std::string(type_of(event())); }
};

TEST_P(AnEvent, IsWrittenByteForByteAsItsGoldenFile) {
  if (test::updates_golden_files()) {
    test::write_golden(file_of(type()), payload_of(event()) + "\n");
  }
  EXPECT_EQ(payload_of(event()), golden_payload(type()));
}

TEST_P(AnEvent, IsReadBackFromItsGoldenFile) {
  const std::string stored = golden_payload(type());
  EXPECT_EQ(payload_of(parse_event(type(), stored)), stored);
}

TEST_P(AnEvent, IsReadBackAsTheTypeAndInTheStreamThatItWasWrittenIn) {
  const Event read = parse_event(type(), golden_payload(type()));
  EXPECT_EQ(type_of(read), type());
  EXPECT_EQ(stream_of(read), stream_of(event()));
}

TEST_P(AnEvent, NeverHoldsTheIdOfARow) {
  EXPECT_FALSE(text::parse_json(golden_payload(type()), "it").as_object().contains("id"));
}

TEST_P(AnEvent, OfANewerSchemaIsRefusedAsNewer) {
  json::object payload = text::parse_json(golden_payload(type()), "it").as_object();
  payload["schema"] = payload.at("schema").as_int64() + 1;
  EXPECT_THROW(parse_event(type(), text::json_text(payload)), NewerSchema);
}

TEST_P(AnEvent, ThatLacksAnyOfItsKeysIsRefusedAsDamaged) {
  const json::object payload = text::parse_json(golden_payload(type()), "it").as_object();
  for (const auto& [key, value] : payload) {
    json::object damaged = payload;
    damaged.erase(key);
    EXPECT_THROW(parse_event(type(), text::json_text(damaged)), CorruptDatabase) << key;
  }
}

TEST_P(AnEvent, WithAnyKeyOfTheWrongKindIsRefusedAsDamaged) {
  const json::object payload = text::parse_json(golden_payload(type()), "it").as_object();
  for (const auto& [key, value] : payload) {
    json::object damaged = payload;
    damaged[key] = json::array(1, json::array());  // braces are a copy to some compilers (CWG 2137)
    EXPECT_THROW(parse_event(type(), text::json_text(damaged)), CorruptDatabase) << key;
  }
}

TEST_P(AnEvent, ReadsTheSameWithKeysThatItDoesNotKnow) {
  json::object payload = text::parse_json(golden_payload(type()), "it").as_object();
  payload["unknown"] = 1;
  EXPECT_EQ(payload_of(parse_event(type(), text::json_text(payload))), golden_payload(type()));
}

INSTANTIATE_TEST_SUITE_P(Golden, AnEvent, testing::ValuesIn(each_sample()),
                         [](const auto& each) { return std::string(type_of(each.param.event)); });

class ADamagedPayload : public testing::TestWithParam<const char*> {};

TEST_P(ADamagedPayload, IsRefused) {
  EXPECT_THROW(parse_event("UsageIncremented", GetParam()), CorruptDatabase);
}

INSTANTIATE_TEST_SUITE_P(Texts, ADamagedPayload,
                         testing::Values("", "{", "[]", "null", "{}", R"({"schema":1})",
                                         R"({"config_hash":"h","usage_count":1})",
                                         R"({"schema":"1","config_hash":"h","usage_count":1})",
                                         R"({"schema":1.5,"config_hash":"h","usage_count":1})",
                                         R"({"schema":1,"config_hash":null,"usage_count":1})",
                                         R"({"schema":1,"config_hash":"h","usage_count":1.5})",
                                         R"({"schema":1,"config_hash":"h","usage_count":1} {})"));

TEST(ADamagedPayload, WithAWordThatIsNoReasonIsRefused) {
  EXPECT_THROW(parse_event("ClusterRemoved", R"({"schema":1,"cluster_id":"c-1","reason":"bored"})"),
               CorruptDatabase);
}

/// The words of an enumeration, as they stand in logs.
template <class Enum>
std::vector<std::string> words() {
  std::vector<std::string> all;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<Enum>>(
      [&](auto enumerator) { all.emplace_back(enumerator.name); });
  return all;
}

TEST(TheWordsInEvents, AreThoseOfTheDocument) {
  using testing::ElementsAre;
  EXPECT_THAT(words<ClusterRemovalReason>(),
              ElementsAre("cleared", "terminated", "lost", "handed_back"));
  EXPECT_THAT(words<EntryRemovalReason>(),
              ElementsAre("cleaned_up", "lost", "handed_back", "expired", "cleared", "terminated",
                          "released"));
  EXPECT_THAT(words<LeaseLossReason>(), ElementsAre("died", "deadline", "cluster_lost", "forced"));
  EXPECT_THAT(words<CheckAnswer>(), ElementsAre("alive", "dead", "failed", "died"));
  EXPECT_THAT(words<OwedReason>(),
              ElementsAre("handed_back", "expired", "cleared", "cleaned_up", "creation_failed",
                          "creator_died", "superseded", "reported_dead"));
  EXPECT_THAT(words<CancelReason>(), ElementsAre("taken_over", "in_use", "terminated"));
  EXPECT_THAT(words<RunLeftReason>(), ElementsAre("left", "died"));
  EXPECT_THAT(words<HandBackPolicy>(), ElementsAre("keep", "hand_back"));
  EXPECT_THAT(words<rows::EntryOrigin>(), ElementsAre("documented", "acquired", "environment"));
}

TEST(ADamagedPayload, WithAMalformedTimeIsRefused) {
  EXPECT_THROW(
      parse_event("ClusterExpired", R"({"schema":1,"cluster_id":"c-1","expiry_time":"never"})"),
      CorruptDatabase);
}

TEST(AnUnknownEventType, IsRefusedByItsName) {
  try {
    parse_event("ClusterPainted", "{}");
    FAIL() << "nothing was thrown";
  } catch (const CorruptDatabase& error) {
    EXPECT_THAT(error.what(), HasSubstr("ClusterPainted"));
  }
}

TEST(AnUnknownEventType, IsNoKnownOne) {
  EXPECT_FALSE(is_known_type("ClusterPainted"));
  EXPECT_FALSE(is_known_type(""));
  EXPECT_TRUE(is_known_type("ClusterCached"));
}

TEST(ANewerSchema, NamesTheEventAndBothSchemas) {
  try {
    parse_event("UsageIncremented", R"({"schema":7,"config_hash":"h","usage_count":1})");
    FAIL() << "nothing was thrown";
  } catch (const NewerSchema& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("UsageIncremented"), HasSubstr("schema 7"),
                                             HasSubstr("up to 1")));
  }
}

TEST(AConfigurationInAnEvent, IsReadBackHoweverDeepUsersMayGiveIt) {
  json::object configuration{{"a", json::object{}}};
  for (int level = 2; level < text::max_json_depth; ++level) {
    configuration = json::object{{"a", std::move(configuration)}};
  }
  const Event event = ClusterCached{cluster(), configuration};
  EXPECT_EQ(payload_of(parse_event(type_of(event), payload_of(event))), payload_of(event));
}

}  // namespace
}  // namespace dbcache::events
