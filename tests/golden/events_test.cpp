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
                            std::nullopt, "no quota in eu-central-1\n"},
      UsageIncremented{"config_hash_123", 2},
      UsageDecremented{"config_hash_123", 1},
      RegistryEntryRemoved{"config_hash_123", EntryRemovalReason::cleaned_up},
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
    damaged[key] = json::array{json::array{}};
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
