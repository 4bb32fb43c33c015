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

// ---- Hosts

struct Pasted {
  const char* name;
  const char* address;
  const char* host;
};

class APastedHost : public testing::TestWithParam<Pasted> {};

TEST_P(APastedHost, IsItsSchemeNameAndPort) {
  EXPECT_EQ(normalised_host(GetParam().address), GetParam().host);
}

INSTANTIATE_TEST_SUITE_P(
    Addresses, APastedHost,
    testing::Values(
        Pasted{"Bare", "adb-1.example", "https://adb-1.example"},
        Pasted{"Query", "https://adb-1.example?o=12", "https://adb-1.example"},
        Pasted{"Fragment", "https://adb-1.example#job/1", "https://adb-1.example"},
        Pasted{"Page", "https://adb-1.example/login.html?next_url=https://x/",
               "https://adb-1.example"},
        Pasted{"PageWithoutScheme", "adb-1.example/?next=https://x", "https://adb-1.example"},
        Pasted{"NoScheme", "//adb-1.example/", "https://adb-1.example"},
        Pasted{"DefaultPort", "https://adb-1.example:443/", "https://adb-1.example"},
        Pasted{"DefaultPortWithoutScheme", "adb-1.example:443", "https://adb-1.example"},
        Pasted{"DefaultPortOfHttp", "http://localhost:80/", "http://localhost"},
        Pasted{"PortOfTheOtherScheme", "http://localhost:443", "http://localhost:443"},
        Pasted{"OtherPort", "https://adb-1.example:8443/x", "https://adb-1.example:8443"},
        Pasted{"EmptyPort", "https://adb-1.example:/", "https://adb-1.example"},
        Pasted{"PortWithZeros", "https://adb-1.example:0443", "https://adb-1.example"},
        Pasted{"CompleteName", "https://adb-1.example./", "https://adb-1.example"},
        Pasted{"CompleteNameWithPort", "https://adb-1.example.:443", "https://adb-1.example"},
        Pasted{"User", "https://token:dapi@adb-1.example/", "https://adb-1.example"},
        Pasted{"UserWithoutScheme", "user@adb-1.example", "https://adb-1.example"},
        Pasted{"AtInTheQuery", "https://adb-1.example/?user=a@b", "https://adb-1.example"},
        Pasted{"Ipv6", "http://[::1]:8080/x", "http://[::1]:8080"},
        Pasted{"Ipv6WithDefaultPort", "https://[FE80::1]:443", "https://[fe80::1]"},
        Pasted{"Capitals", "HTTPS://ADB-1.Example", "https://adb-1.example"},
        Pasted{"Blank", " \n", ""}, Pasted{"SchemeAlone", "https://", ""}),
    [](const auto& each) { return std::string(each.param.name); });

// ---- Encodings

class AConfigurationOfAnotherEncoding : public testing::TestWithParam<std::string> {};

TEST_P(AConfigurationOfAnotherEncoding, IsRefusedWithTheEncodingToUse) {
  const std::string says = refusal_of([] { static_cast<void>(ClusterConfig::parse(GetParam())); });
  EXPECT_THAT(says, HasSubstr("is in UTF-"));
  EXPECT_THAT(says, HasSubstr("save it as UTF-8"));
}

INSTANTIATE_TEST_SUITE_P(Encodings, AConfigurationOfAnotherEncoding,
                         testing::Values(std::string("\xFF\xFE{\0}\0", 6),
                                         std::string("\xFE\xFF\0{\0}", 6),
                                         std::string("\xFF\xFE\0\0{\0\0\0}\0\0\0", 12),
                                         std::string("\0\0\xFE\xFF\0\0\0{\0\0\0}", 12),
                                         std::string("{\0}\0", 4), std::string("\0{\0}", 4)));

TEST(AConfigurationWithAByteOrderMark, IsReadLikeOneWithout) {
  EXPECT_EQ(ClusterConfig::parse("\xEF\xBB\xBF{\"a\": 1}").values().at("a"), 1);
}

}  // namespace
}  // namespace dbcache::input
