// JSON as it is read, written, and brought to the canonical form of RFC 8785.

#include "text/json_text.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

namespace dbcache::text {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

std::string nested_arrays(int levels) {
  return std::string(static_cast<std::size_t>(levels), '[') +
         std::string(static_cast<std::size_t>(levels), ']');
}

json::value nested_value(int levels) {
  json::value value = json::array{};
  for (int level = 1; level < levels; ++level) {
    json::array outer;
    outer.push_back(std::move(value));
    value = std::move(outer);
  }
  return value;
}

// ---- The examples of RFC 8785

TEST(Rfc8785, SerializesItsSampleOfPrimitiveTypes) {  // section 3.2.2 and, sorted, 3.2.3
  const json::value sample = parse_json(R"({
    "numbers": [333333333.33333329, 1E30, 4.50,
                2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
  })",
                                        "the sample");
  EXPECT_EQ(canonical_json(sample),
            "{\"literals\":[null,true,false],"
            "\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
            "\"string\":\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

TEST(Rfc8785, SortsKeysByTheirUtf16CodeUnits) {  // section 3.2.3
  const json::value sample = parse_json(R"({
    "\u20ac": "Euro Sign",
    "\r": "Carriage Return",
    "\ufb33": "Hebrew Letter Dalet With Dagesh",
    "1": "One",
    "\ud83d\ude00": "Emoji: Grinning Face",
    "\u0080": "Control",
    "\u00f6": "Latin Small Letter O With Diaeresis"
  })",
                                        "the sample");
  EXPECT_EQ(canonical_json(sample),
            "{\"\\r\":\"Carriage Return\","
            "\"1\":\"One\","
            "\"\u0080\":\"Control\","
            "\"\u00f6\":\"Latin Small Letter O With Diaeresis\","
            "\"\u20ac\":\"Euro Sign\","
            "\"\U0001F600\":\"Emoji: Grinning Face\","
            "\"\uFB33\":\"Hebrew Letter Dalet With Dagesh\"}");
}

TEST(CanonicalJson, PutsAKeyBeforeTheOnesThatItBegins) {
  EXPECT_EQ(canonical_json(json::object{{"aa", 1}, {"a", 2}, {"", 3}, {"ab", 4}}),
            R"({"":3,"a":2,"aa":1,"ab":4})");
}

TEST(CanonicalJson, SortsEveryLevel) {
  EXPECT_EQ(canonical_json(json::object{{"b", json::array{json::object{{"d", 1}, {"c", 2}}}},
                                        {"a", json::object{{"f", 3}, {"e", 4}}}}),
            R"({"a":{"e":4,"f":3},"b":[{"c":2,"d":1}]})");
}

TEST(CanonicalJson, KeepsTheOrderOfAnArray) {
  EXPECT_EQ(canonical_json(json::array{3, 1, 2}), "[3,1,2]");
}

TEST(CanonicalJson, WritesADoubleThatIsWholeLikeAnInteger) {
  EXPECT_EQ(canonical_json(json::array{1.0, -0.0, 1e2}), "[1,0,100]");
}

TEST(CanonicalJson, TellsNullFromAMissingKey) {
  EXPECT_NE(canonical_json(json::object{{"a", nullptr}}), canonical_json(json::object{}));
}

// ---- Writing

TEST(JsonText, KeepsTheOrderOfKeys) {
  EXPECT_EQ(json_text(json::object{{"b", 1}, {"a", 2}}), R"({"b":1,"a":2})");
}

TEST(JsonText, WritesEmptyContainersWithoutBlanks) {
  EXPECT_EQ(json_text(json::object{{"a", json::array{}}, {"b", json::object{}}}),
            R"({"a":[],"b":{}})");
}

TEST(JsonText, EscapesEveryControlAsTheRfcHasIt) {
  const char* const escaped[32] = {
      "\\u0000", "\\u0001", "\\u0002", "\\u0003", "\\u0004", "\\u0005", "\\u0006", "\\u0007",
      "\\b",     "\\t",     "\\n",     "\\u000b", "\\f",     "\\r",     "\\u000e", "\\u000f",
      "\\u0010", "\\u0011", "\\u0012", "\\u0013", "\\u0014", "\\u0015", "\\u0016", "\\u0017",
      "\\u0018", "\\u0019", "\\u001a", "\\u001b", "\\u001c", "\\u001d", "\\u001e", "\\u001f"};
  for (char control = 0; control < 32; ++control) {
    EXPECT_EQ(json_text(json::string(1, control)),
              std::string("\"") + escaped[static_cast<std::size_t>(control)] + '"');
  }
}

TEST(JsonText, LeavesEverythingElseAsItIs) {
  const char* const text = "/\x7F\u0080\u2028\u2029<>&'\U0001F600";
  EXPECT_EQ(json_text(json::string(text)), std::string("\"") + text + '"');
}

TEST(JsonText, EscapesKeysToo) {
  EXPECT_EQ(json_text(json::object{{"a\"\n", 1}}), R"({"a\"\n":1})");
}

TEST(JsonText, RefusesAStringThatIsNotUtf8) {
  EXPECT_THROW(json_text(json::string("\xFF")), InvalidArgument);
}

TEST(JsonText, RefusesAKeyThatIsNotUtf8) {
  EXPECT_THROW(json_text(json::object{{"\xC0\x80", 1}}), InvalidArgument);
}

TEST(CanonicalJson, RefusesKeysThatAreNotUtf8BeforeItComparesThem) {
  EXPECT_THROW(canonical_json(json::object{{"\xFF", 1}, {"\xFE", 2}}), InvalidArgument);
}

TEST(JsonText, GoesTwiceAsDeepAsIsRead) {
  EXPECT_EQ(json_text(nested_value(2 * max_json_depth)), nested_arrays(2 * max_json_depth));
}

TEST(JsonText, RefusesWhatNestsDeeper) {
  EXPECT_THROW(json_text(nested_value(2 * max_json_depth + 1)), InvalidArgument);
}

// ---- Reading

TEST(ParseJson, TakesThirtyTwoLevels) {
  EXPECT_EQ(json_text(parse_json(nested_arrays(32), "it")), nested_arrays(32));
}

TEST(ParseJson, RefusesThirtyThreeLevels) {
  EXPECT_THROW(parse_json(nested_arrays(33), "it"), InvalidArgument);
}

TEST(ParseJson, RefusesAHundredThousandLevelsWithoutEndingTheStack) {
  EXPECT_THROW(parse_json(std::string(100'000, '['), "it"), InvalidArgument);
}

TEST(ParseJson, TakesTheLastOfDuplicateKeys) {
  EXPECT_EQ(json_text(parse_json(R"({"a":1,"b":2,"a":3})", "it")), R"({"a":3,"b":2})");
}

TEST(ParseJson, TakesBlanksAroundTheDocument) {
  EXPECT_EQ(json_text(parse_json(" \t\r\n{ } \n", "it")), "{}");
}

TEST(ParseJson, ReadsEscapesOfEveryKind) {
  EXPECT_EQ(parse_json(R"("\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00")", "it").get_string(),
            "\"\\/\b\f\n\r\t\u00e9\U0001F600");
}

TEST(ParseJson, KeepsANulThatIsEscaped) {
  EXPECT_EQ(parse_json(R"("a\u0000b")", "it").get_string(), json::string_view("a\0b", 3));
}

TEST(ParseJson, ReadsNumbersStringsAndLiteralsAlone) {
  EXPECT_TRUE(parse_json("null", "it").is_null());
  EXPECT_EQ(parse_json("true", "it"), true);
  EXPECT_EQ(parse_json("-7", "it"), -7);
  EXPECT_EQ(parse_json("\"\"", "it"), "");
}

class MalformedJson : public testing::TestWithParam<std::string> {};

TEST_P(MalformedJson, IsRefused) { EXPECT_THROW(parse_json(GetParam(), "it"), InvalidArgument); }

INSTANTIATE_TEST_SUITE_P(Texts, MalformedJson,
                         testing::Values("", " ", "{", "}", "[1", "[1,]", "[,1]", "{\"a\":1,}",
                                         "{\"a\"}", "{a:1}", "{'a':1}", "{\"a\":}", "{\"a\" 1}",
                                         "{} {}", "{}x", "1 2", "nul", "True", "\"", "\"\n\"",
                                         "\"\t\"", "\"\\x\"", "\"\\u12\"", "\"\\ud83d\"",
                                         "\"\\ude00\"", "\"\xFF\"", "\"\xC0\x80\"",
                                         "\"\xED\xA0\x80\"", "\xEF\xBB\xBF{}", "// no\n{}",
                                         "/* no */{}", std::string("{}\0", 3)));

TEST(ParseJson, NamesWhatItReadAndWhereItWentWrong) {
  try {
    parse_json(R"({"a":1} trailing)", "the configuration");
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), HasSubstr("the configuration"));
    EXPECT_THAT(error.what(), HasSubstr("at byte 8"));
  }
}

}  // namespace
}  // namespace dbcache::text
