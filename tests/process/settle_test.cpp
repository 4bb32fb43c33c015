#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <dbcache/shared_clusters.hpp>

#include "support/scoped_variable.hpp"
#include "support/test_database.hpp"

namespace dbcache {
namespace {

using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// Clusters of three workspaces, one of them unnamed, that are owed since nobody could terminate
/// them when they were handed back.
class Settle : public ::testing::Test {
 protected:
  Settle() {
    for (const char* host : {"", "https://one.example", "https://two.example"}) {
      ClusterConfig config{{"cluster_name", "c"}};
      if (*host != '\0') config.values()["host"] = host;
      clusters_.acquire(
          config,
          {.create = [&](const ClusterConfig&, Creation&) { return std::string("on-") + host; }},
          {.policy = HandBackPolicy::hand_back});
    }
  }

  std::vector<std::string> settle(const std::optional<std::string>& host = std::nullopt) {
    return clusters_.settle([](const Termination&) {}, host).settled;
  }

  test::BareEnvironment environment_;
  test::TestDatabase database_;
  SharedClusters clusters_{database_.options()};
};

TEST_F(Settle, IsForEveryHostWhereNoneIsNamed) {
  EXPECT_THAT(settle(),
              UnorderedElementsAre("on-", "on-https://one.example", "on-https://two.example"));
  EXPECT_THAT(clusters_.owed(), IsEmpty());
}

TEST_F(Settle, IsForOneHostWhereItIsNamed) {
  EXPECT_THAT(settle("https://one.example"), UnorderedElementsAre("on-https://one.example"));
  EXPECT_THAT(clusters_.owed(), ::testing::SizeIs(2));
}

TEST_F(Settle, IsForDebtsThatNameNoHostWhereItIsEmpty) {
  EXPECT_THAT(settle(""), UnorderedElementsAre("on-"));
  EXPECT_THAT(clusters_.owed(), ::testing::SizeIs(2));
}

}  // namespace
}  // namespace dbcache
