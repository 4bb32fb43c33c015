#include <boost/json.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "workspace/clusters_api.hpp"
#include "workspace/refusal.hpp"

namespace dbcache::workspace {
namespace {

using namespace databricks;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

HttpResponse answer(int status, std::string body) {
  HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

Refusal refusal_of(int status, std::string body) {
  return read_refusal(answer(status, std::move(body)));
}

TEST(Refusal, EveryFormOfABodyGivesItsCodeAndMessage) {
  struct Case {
    const char* body;
    const char* code;
    const char* message;
  };
  for (const Case& one : {
           Case{R"({"error_code":"INVALID_STATE","message":"no"})", "INVALID_STATE", "no"},
           Case{R"({"error_code":403,"message":"no"})", "403", "no"},
           Case{R"({"error":"no such context"})", "", "no such context"},
           Case{R"({"error":"invalid_client","error_description":"no"})", "invalid_client", "no"},
           Case{"INVALID_STATE: no", "INVALID_STATE", "no"},
           Case{"<html><body><pre>no\nway</pre></body></html>", "", "no way"},
           Case{"<html><h1>Bad Gateway</h1></html>", "", "Bad Gateway"},
           Case{"no: this is a sentence", "", "no: this is a sentence"},
           Case{"", "", ""},
           Case{R"(["a list"])", "", R"(["a list"])"},
           Case{R"({"error_code":null,"message":{"deep":1}})", "", R"({"deep":1})"},
           Case{"\xff\xfe", "", "\xef\xbf\xbd\xef\xbf\xbd"},
       }) {
    const Refusal refusal = refusal_of(400, one.body);
    EXPECT_EQ(refusal.error_code, one.code) << one.body;
    EXPECT_EQ(refusal.message, one.message) << one.body;
  }
  EXPECT_LE(refusal_of(500, std::string(1 << 20, 'x')).message.size(), 1024U);
}

TEST(Refusal, OnlyWhatSaysSoIsGone) {
  EXPECT_TRUE(is_gone(refusal_of(404, R"({"error_code":"RESOURCE_DOES_NOT_EXIST"})")));
  EXPECT_TRUE(is_gone(refusal_of(
      400, R"({"error_code":"INVALID_PARAMETER_VALUE","message":"Cluster 1 does not exist"})")));
  EXPECT_TRUE(is_gone(refusal_of(
      400,
      R"({"error_code":"INVALID_STATE","message":"Cannot access cluster 1 that was terminated or unpinned more than 30 days ago."})")));
  EXPECT_FALSE(is_gone(refusal_of(404, "")));
  EXPECT_TRUE(is_bare_not_found(refusal_of(404, "<html>nginx</html>")));
  EXPECT_FALSE(is_gone(refusal_of(404, R"({"error_code":"ENDPOINT_NOT_FOUND"})")));
  for (const int status : {401, 403, 429, 500, 503}) {
    EXPECT_FALSE(is_gone(refusal_of(status, R"({"message":"Cluster 1 does not exist"})")));
  }
  EXPECT_FALSE(is_gone(
      refusal_of(400, R"({"error_code":"INVALID_STATE","message":"unexpected state Pending"})")));
}

TEST(Refusal, WhatMayWorkAnotherTimeIsTransient) {
  for (const int status : {429, 500, 502, 503, 504})
    EXPECT_TRUE(is_transient(refusal_of(status, "")));
  for (const int status : {302, 400, 401, 403, 404, 409, 501}) {
    EXPECT_FALSE(is_transient(refusal_of(status, ""))) << status;
  }
  EXPECT_TRUE(is_transient(
      refusal_of(400, R"({"error_code":"BAD_REQUEST","message":"Unknown worker environment 7"})")));
  EXPECT_TRUE(is_transient(refusal_of(400, "ClusterNotReadyException: wait")));
}

template <class Expected>
void expect_refused(int status, const std::string& body, Purpose purpose, bool may_help) {
  try {
    throw_refusal("it failed", refusal_of(status, body), purpose);
  } catch (const Expected& error) {
    EXPECT_EQ(error.refusal().http_status, status);
    EXPECT_EQ(error.may_succeed_again(), may_help) << error.what();
    EXPECT_THAT(error.what(), HasSubstr("it failed")) << error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << status << ' ' << body << ": " << error.what();
  }
}

TEST(Refusal, EachGetsTheErrorThatFits) {
  const std::string quota = R"({"error_code":"QUOTA_EXCEEDED","message":"too many cores"})";
  expect_refused<NotAuthenticated>(401, "", Purpose::creation, false);
  expect_refused<NotAuthenticated>(403, R"({"message":"Invalid access token."})", Purpose::other,
                                   false);
  expect_refused<PermissionDenied>(403, R"({"message":"not yours"})", Purpose::creation, false);
  expect_refused<QuotaExceeded>(400, quota, Purpose::creation, false);
  expect_refused<QuotaExceeded>(403, quota, Purpose::creation, false);
  expect_refused<InvalidClusterConfig>(400, R"({"error_code":"INVALID_PARAMETER_VALUE"})",
                                       Purpose::creation, false);
  expect_refused<WorkspaceUnavailable>(400, R"({"error_code":"INVALID_PARAMETER_VALUE"})",
                                       Purpose::other, true);
  expect_refused<WorkspaceUnavailable>(404, "", Purpose::creation, true);
  expect_refused<WorkspaceUnavailable>(302, "", Purpose::creation, false);
}

template <class Expected>
void expect_failed_start(const TerminationReason& reason) {
  Cluster cluster;
  cluster.cluster_id = "c-1";
  cluster.state = ClusterState::terminated;
  cluster.termination_reason = reason;
  try {
    throw_failed_start(cluster);
  } catch (const Expected& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("c-1"), HasSubstr(reason.code)));
  } catch (const std::exception& error) {
    ADD_FAILURE() << reason.code << ": " << error.what();
  }
}

TEST(Refusal, AFailedStartIsToldByCodeTypeAndParameters) {
  expect_failed_start<QuotaExceeded>({"AZURE_QUOTA_EXCEEDED_EXCEPTION", "CLIENT_ERROR", {}});
  expect_failed_start<QuotaExceeded>({"GCP_QUOTA_EXCEEDED", "CLOUD_FAILURE", {}});
  expect_failed_start<CapacityUnavailable>(
      {"AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE", "CLOUD_FAILURE", {}});
  expect_failed_start<CapacityUnavailable>(
      {"CLOUD_PROVIDER_RESOURCE_STOCKOUT", "CLOUD_FAILURE", {}});
  expect_failed_start<ClusterFailed>({"SELF_BOOTSTRAP_FAILURE", "", {}});
  EXPECT_EQ(describe({"INACTIVITY", "SUCCESS", {{"inactivity_duration_min", "10"}, {"z", "1"}}}),
            "INACTIVITY (SUCCESS): inactivity_duration_min: 10, z: 1");
  EXPECT_EQ(describe({}), "no reason given");
}

TEST(ClusterOfTheApi, IsReadWithoutTrustInItsForm) {
  const auto read = [](const char* text) {
    return read_cluster(boost::json::parse(text).as_object());
  };
  const Cluster cluster = read(R"({"cluster_id":"c-1","state":"PENDING","state_message":"Starting",
    "start_time":1700000000000,"terminated_time":0,"custom_tags":{"x_dbcache-token":"t"},
    "termination_reason":{"code":"X","parameters":{"a":"b"}}})");
  EXPECT_EQ(cluster.state, ClusterState::pending);
  EXPECT_EQ(cluster.state_message, "Starting");
  EXPECT_EQ(format_seconds(cluster.start_time.value()), "2023-11-14T22:13:20");
  EXPECT_FALSE(cluster.terminated_time.has_value());
  EXPECT_EQ(tag_of(cluster, token_tag), "t");
  EXPECT_EQ(tag_of(cluster, owner_tag), "");
  EXPECT_EQ(read(R"({"cluster_id":"c-1","state":"HIBERNATING"})").state, ClusterState::unknown);
  EXPECT_EQ(
      read(R"({"cluster_id":"c-1","state":"RUNNING","start_time":"x","custom_tags":7})").state,
      ClusterState::running);
  EXPECT_THROW(read(R"({"cluster_id":"c-1"})"), WorkspaceUnavailable);
  EXPECT_THROW(read(R"({"state":"RUNNING"})"), WorkspaceUnavailable);
}

}  // namespace
}  // namespace dbcache::workspace
