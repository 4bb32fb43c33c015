// What users paste and programs print, where an id, a host or a configuration belongs.

#include <gmock/gmock.h>

#include <dbcache/cluster.hpp>
#include <dbcache/errors.hpp>

#include "input/input.hpp"

namespace dbcache::input {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// What an InvalidArgument says; empty, and a failure, where none is thrown.
template <class Call>
std::string refusal_of(Call call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

// ---- Ids of clusters

class AGoodClusterId : public testing::TestWithParam<const char*> {};

TEST_P(AGoodClusterId, IsTakenAsItIs) { EXPECT_EQ(require_cluster_id(GetParam()), GetParam()); }

INSTANTIATE_TEST_SUITE_P(Ids, AGoodClusterId,
                         testing::Values("0123-456789-abcdefgh", "cluster_1", "a/b:c.d+e@f,g#h%i=j",
                                         "gr\u00f6\u00dfe-\U0001F600", "nullable", "x"));

struct BadId {
  const char* name;
  std::string id;
  const char* says;
};

class ABadClusterId : public testing::TestWithParam<BadId> {};

TEST_P(ABadClusterId, IsRefusedByWhatItHas) {
  const std::string says = refusal_of([] { require_cluster_id(GetParam().id); });
  EXPECT_THAT(says, StartsWith("the cluster id "));
  EXPECT_THAT(says, HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    OutputOfCommands, ABadClusterId,
    testing::Values(
        BadId{"Empty", "", "is empty"}, BadId{"NotUtf8", "a\xFF", "UTF-8"},
        BadId{"Long", std::string(256, 'x'), "has 256 bytes"},
        BadId{"Sentence", "Created cluster 0123.", "\"Created cluster 0123.\" has a blank"},
        BadId{"Json", R"({"cluster_id":"0123"})", "has a {"}, BadId{"EndOfJson", "}", "has a }"},
        BadId{"List", "[0123]", "has a ["}, BadId{"EndOfList", "]", "has a ]"},
        BadId{"Call", "id(0123)", "has a ("}, BadId{"Page", "</html>", "has a <"},
        BadId{"Quotes", "\"0123\"", "has a \""}, BadId{"Apostrophes", "'0123'", "has a '"},
        BadId{"Backticks", "`0123`", "has a `"},
        BadId{"TypographicQuotes", "\u201c0123\u201d", "U+201C"},
        BadId{"Table", "0123\tRUNNING", "U+0009"}, BadId{"Lines", "{\n}", "has a {"},
        BadId{"LineBreak", "0123\n", "has a line break"},
        BadId{"LongJson", "{" + std::string(1000, 'x'), "has a {"},
        BadId{"Colours", "\x1B[32m0123\x1B[0m", "U+001B"},
        BadId{"Utf16", std::string("0\0001\000", 4), "U+0000"},
        BadId{"Delete", "0123\x7F", "U+007F"}, BadId{"NoBreakSpace", "0123\u00a0", "U+00A0"},
        BadId{"ByteOrderMark", "\uFEFF0123", "U+FEFF"},
        BadId{"WithoutWidth", "01\u200b23", "U+200B"}, BadId{"NullOfJq", "null", "is 'null'"},
        BadId{"NoneOfPython", "None", "is 'None'"}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace dbcache::input
