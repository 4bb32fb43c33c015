// The hash chain against vectors that hash_vectors.py computed.

#include <boost/json/object.hpp>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "golden_file.hpp"
#include "store/chain.hpp"
#include "text/hex.hpp"

namespace dbcache::store {
namespace {

namespace json = boost::json;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (std::size_t at = 0; at < hex.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

struct Vector {
  std::string says;
  EventRecord event;
  std::string previous_hash;
};

void PrintTo(const Vector& vector, std::ostream* out) { *out << vector.says; }

std::vector<Vector> vectors() {
  std::vector<Vector> all;
  for (const json::value& value : test::read_vectors("hash_vectors.json")) {
    const json::object& object = value.as_object();
    const auto text = [&](const char* key) { return std::string(object.at(key).as_string()); };
    const auto integer = [&](const char* key) { return object.at(key).as_int64(); };
    all.push_back({text("says"),
                   {integer("position"), text("stream"), integer("version"), text("type"),
                    text("payload"), text("metadata"), integer("recorded_at"),
                    from_hex(text("command_id")), from_hex(text("hash"))},
                   from_hex(text("previous_hash"))});
  }
  return all;
}

class AHashVector : public testing::TestWithParam<Vector> {};

TEST_P(AHashVector, HasTheHashThatWasComputedWithoutTheLibrary) {
  EXPECT_EQ(text::to_hex(chain_hash(GetParam().event, GetParam().previous_hash)),
            text::to_hex(GetParam().event.hash));
}

INSTANTIATE_TEST_SUITE_P(Golden, AHashVector, testing::ValuesIn(vectors()),
                         [](const auto& each) { return test::test_name(each.param.says); });

}  // namespace
}  // namespace dbcache::store
