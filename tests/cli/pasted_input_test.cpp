#include <gmock/gmock.h>

#include "cli_test.hpp"

// What other programs and other machines' files bring along: marks, addresses, other encodings.
namespace dbcache::cli {
namespace {

using ::testing::HasSubstr;

class PastedInputTest : public CliTest {};

TEST_F(PastedInputTest, AConfigurationWithAByteOrderMarkIsTheSame) {
  const std::string config = R"({"cluster_name": "c"})";
  const std::string hash = must("hash", config);
  write_file("marked.json", "\xEF\xBB\xBF" + config);

  EXPECT_EQ(must("hash --config marked.json"), hash);
  EXPECT_EQ(must("hash", "\xEF\xBB\xBF" + config), hash);
  EXPECT_THAT(must("cache cluster-1 --config marked.json"), HasSubstr("cached cluster-1"));
}

TEST_F(PastedInputTest, TheAddressOfAWorkspaceIsStoredAsItsHost) {
  must("cache cluster-1 --config -", R"({"host": "https://user:word@ADB-1.example:443/?o=12"})");
  EXPECT_THAT(must("list"), HasSubstr("Host: https://adb-1.example\n"));
  EXPECT_THAT(must("history --json"), ::testing::Not(HasSubstr("word@")));
}

TEST_F(PastedInputTest, ALabelThatIsNotUtf8IsReadable) {
  const test::ScopedVariable label("DBCACHE_LABEL", "caf\xe9 job");
  must("cache cluster-1");
  EXPECT_THAT(must("history --json"), HasSubstr("caf\uFFFD job"));
}

TEST_F(PastedInputTest, ATestWhoseNameIsNotUtf8IsReadable) {
  const test::ScopedVariable label("PYTEST_CURRENT_TEST", "test_caf\xe9.py::test_1 (call)");
  must("cache cluster-1");
  EXPECT_THAT(must("history"), HasSubstr("test_caf\uFFFD.py::test_1"));
}

}  // namespace
}  // namespace dbcache::cli
