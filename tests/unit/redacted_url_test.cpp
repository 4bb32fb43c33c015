#include "text/redacted_url.hpp"

#include <gtest/gtest.h>

namespace dbcache::text {
namespace {

struct Url {
  std::string name;
  std::string given;
  std::string shown;

  friend std::ostream& operator<<(std::ostream& out, const Url& url) { return out << url.name; }
};

class RedactedUrl : public ::testing::TestWithParam<Url> {};

INSTANTIATE_TEST_SUITE_P(
    Urls, RedactedUrl,
    ::testing::Values(
        Url{"Path", "/var/cache/a:b@c.db", "/var/cache/a:b@c.db"},
        Url{"PathThatIsNotUtf8", "/a\xFF", "/a\xEF\xBF\xBD"},
        Url{"WithoutUser", "postgresql://host:5432/db", "postgresql://host:5432/db"},
        Url{"WithoutPassword", "postgres://user@host/db", "postgres://user@host/db"},
        Url{"Password", "postgresql://user:s3cret@host:5432/db",
            "postgresql://user:***@host:5432/db"},
        Url{"EmptyPassword", "postgresql://user:@host/db", "postgresql://user:***@host/db"},
        Url{"PasswordWithoutUser", "postgresql://:s3cret@host/db", "postgresql://:***@host/db"},
        Url{"SeveralHosts", "postgresql://user:s3cret@a:1,b:2/db?target_session_attrs=any",
            "postgresql://user:***@a:1,b:2/db?target_session_attrs=any"},
        Url{"PasswordWithAnAt", "postgresql://user:s3@cret@host/db",
            "postgresql://user:***@host/db"},
        Url{"PasswordWithASlash", "postgresql://user:s3/cret@host/db",
            "postgresql://user:***@host/db"},
        Url{"PasswordWithAQuestionMark", "postgresql://user:s3?cret@host/db",
            "postgresql://user:***@host/db"},
        Url{"PasswordInTheQuery", "postgresql:///db?host=/run&password=s3cret&user=u",
            "postgresql:///db?host=/run&password=***&user=u"},
        Url{"OtherPasswords", "postgresql://h/db?sslpassword=s3cret&oauth_client_secret=s3cret",
            "postgresql://h/db?sslpassword=***&oauth_client_secret=***"},
        Url{"NamesWithEscapes", "postgresql://h/db?pass%77ord=s3cret",
            "postgresql://h/db?pass%77ord=***"},
        Url{"AtInTheQuery", "postgresql://host:5432/db?user=me@there",
            "postgresql://host:5432/db?user=me@there"},
        Url{"NothingButAScheme", "postgresql://", "postgresql://"}),
    [](const auto& parameter) { return parameter.param.name; });

TEST_P(RedactedUrl, ShowsNoPassword) {
  EXPECT_EQ(redacted_url(GetParam().given), GetParam().shown);
}

}  // namespace
}  // namespace dbcache::text
