#include "workspace/http.hpp"

#include <chrono>

#include <dbcache/errors.hpp>

#include "workspace_test.hpp"

// How long a request may take, whatever the server does.
namespace dbcache::workspace {
namespace {

using namespace std::chrono_literals;

class HttpTest : public test::WorkspaceTest {
 protected:
  static HttpRequest user() {
    HttpRequest request;
    request.url = fake().host() + "/api/2.0/preview/scim/v2/Me";
    request.headers = {"Authorization: Bearer " + fake().token()};
    return request;
  }
  static void expect_no_answer(const Http::Limits& limits, const char* kind) {
    fault({{"path", "/Me"}, {"kind", kind}, {"seconds", 60}});
    try {
      Http(limits).send(user(), {});
      ADD_FAILURE() << kind;
    } catch (const NoAnswer& error) {
      EXPECT_TRUE(error.may_have_arrived()) << kind;
      EXPECT_TRUE(error.may_help()) << kind;
    }
  }
};

TEST_F(HttpTest, AServerThatAnswersAByteASecondIsLeft) {
  Http::Limits limits;
  limits.inactivity = 1s;
  expect_no_answer(limits, "slow");
  limits = {};
  limits.whole = 1s;
  expect_no_answer(limits, "slow");
}

TEST_F(HttpTest, AServerThatDoesNotAnswerIsLeft) {
  Http::Limits limits;
  limits.inactivity = 1s;
  expect_no_answer(limits, "hang");
  limits = {};
  limits.whole = 300ms;
  expect_no_answer(limits, "hang");
}

TEST_F(HttpTest, AnAnswerThatIsTooLongIsNotRead) {
  Http::Limits limits;
  limits.answer_bytes = 1000;
  EXPECT_EQ(Http(limits).send(user(), {}).status, 200);
  fault({{"path", "/Me"}, {"status", 200}, {"body", std::string(2000, 'x')}});
  EXPECT_THROW(Http(limits).send(user(), {}), NoAnswer);
}

TEST_F(HttpTest, ABoundEndsARequestThatTheServerKeepsOpen) {
  for (const char* const kind : {"slow", "hang"}) {
    fault({{"path", "/Me"}, {"kind", kind}, {"seconds", 60}});
    EXPECT_THROW(Http().send(user(), Bounds{}.at_most(200ms)), Timeout) << kind;
  }
}

}  // namespace
}  // namespace dbcache::workspace
