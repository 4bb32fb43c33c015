// Numbers become text as ECMAScript has it, and text becomes the nearest number.

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include <dbcache/errors.hpp>

#include "text/json_text.hpp"

namespace dbcache::text {
namespace {

namespace json = boost::json;

struct Sample {
  std::uint64_t bits;
  const char* text;
};

// RFC 8785, appendix B.
const Sample rfc_8785_appendix_b[] = {
    {0x0000000000000000, "0"},
    {0x8000000000000000, "0"},
    {0x0000000000000001, "5e-324"},
    {0x8000000000000001, "-5e-324"},
    {0x7fefffffffffffff, "1.7976931348623157e+308"},
    {0xffefffffffffffff, "-1.7976931348623157e+308"},
    {0x4340000000000000, "9007199254740992"},
    {0xc340000000000000, "-9007199254740992"},
    {0x4430000000000000, "295147905179352830000"},
    {0x44b52d02c7e14af5, "9.999999999999997e+22"},
    {0x44b52d02c7e14af6, "1e+23"},
    {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
    {0x444b1ae4d6e2ef4e, "999999999999999700000"},
    {0x444b1ae4d6e2ef4f, "999999999999999900000"},
    {0x444b1ae4d6e2ef50, "1e+21"},
    {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
    {0x3eb0c6f7a0b5ed8d, "0.000001"},
    {0x41b3de4355555553, "333333333.3333332"},
    {0x41b3de4355555554, "333333333.33333325"},
    {0x41b3de4355555555, "333333333.3333333"},
    {0x41b3de4355555556, "333333333.3333334"},
    {0x41b3de4355555557, "333333333.33333343"},
    {0xbecbf647612f3696, "-0.0000033333333333333333"},
    {0x43143ff3c1cb0959, "1424953923781206.2"},
};

class ANumberOfRfc8785 : public testing::TestWithParam<Sample> {};

TEST_P(ANumberOfRfc8785, IsWrittenAsTheRfcHasIt) {
  EXPECT_EQ(ecmascript_number(std::bit_cast<double>(GetParam().bits)), GetParam().text);
}

TEST_P(ANumberOfRfc8785, IsReadBackAsTheSameDouble) {
  const json::value value = parse_json(GetParam().text, "the number");
  EXPECT_EQ(value.to_number<double>(), std::bit_cast<double>(GetParam().bits));
}

INSTANTIATE_TEST_SUITE_P(AppendixB, ANumberOfRfc8785, testing::ValuesIn(rfc_8785_appendix_b));

class ANumberThatIsNotFinite : public testing::TestWithParam<double> {};

TEST_P(ANumberThatIsNotFinite, HasNoJson) {
  EXPECT_THROW(json_text(GetParam()), InvalidArgument);
  EXPECT_THROW(canonical_json(GetParam()), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(AppendixB, ANumberThatIsNotFinite,
                         testing::Values(std::numeric_limits<double>::quiet_NaN(),
                                         std::numeric_limits<double>::infinity(),
                                         -std::numeric_limits<double>::infinity()));

TEST(WritingANumber, ChangesItsFormWhereEcmaScriptDoes) {
  EXPECT_EQ(ecmascript_number(1e20), "100000000000000000000");
  EXPECT_EQ(ecmascript_number(1e21), "1e+21");
  EXPECT_EQ(ecmascript_number(1e-6), "0.000001");
  EXPECT_EQ(ecmascript_number(1e-7), "1e-7");
  EXPECT_EQ(ecmascript_number(1.5e-7), "1.5e-7");
  EXPECT_EQ(ecmascript_number(123e18), "123000000000000000000");
  EXPECT_EQ(ecmascript_number(-0.5), "-0.5");
}

TEST(RandomDoubles, ReadBackFromTheirTextBitForBit) {
  constexpr std::uint64_t seed = 8785;
  std::mt19937_64 random{seed};
  for (int count = 0; count < 200'000; ++count) {
    const double number = std::bit_cast<double>(random());
    if (!std::isfinite(number) || number == 0) continue;
    const std::string text = ecmascript_number(number);
    const json::value read = parse_json(text, "the number");
    ASSERT_EQ(std::bit_cast<std::uint64_t>(read.to_number<double>()),
              std::bit_cast<std::uint64_t>(number))
        << text << " after " << count << " numbers of seed " << seed;
  }
}

TEST(RandomDecimals, ReadBackFromTheirTextBitForBit) {
  constexpr std::uint64_t seed = 17;
  std::mt19937_64 random{seed};
  std::uniform_int_distribution<std::int64_t> digits(-99'999'999'999'999'999,
                                                     99'999'999'999'999'999);
  std::uniform_int_distribution<int> exponent(-30, 30);
  for (int count = 0; count < 50'000; ++count) {
    const double number = static_cast<double>(digits(random)) * std::pow(10.0, exponent(random));
    const std::string text = ecmascript_number(number);
    ASSERT_EQ(parse_json(text, "the number").to_number<double>(), number)
        << text << " after " << count << " numbers of seed " << seed;
  }
}

// ---- Reading

class ADoubleOfManyDigits : public testing::TestWithParam<const char*> {};

TEST_P(ADoubleOfManyDigits, IsReadAsTheNearestOne) {
  const json::value value = parse_json(GetParam(), "the number");
  EXPECT_EQ(value.get_double(), std::strtod(GetParam(), nullptr));
}

INSTANTIATE_TEST_SUITE_P(
    Texts, ADoubleOfManyDigits,
    testing::Values("333333333.33333329", "0.1234567890123456789", "1.7976931348623157e308",
                    "2.2250738585072014e-308", "2.2250738585072011e-308", "4.9406564584124654e-324",
                    "123456789012345678901234567890", "-9007199254740993.0", "9007199254740993e0",
                    "0.30000000000000004", "6.02214076e23", "6.62607015e-34", "1E5", "1e+5",
                    "1.0e-5", "100000000000000000000000000000000000000000000000000e-50"));

TEST(ReadingANumber, KeepsIntegersWhole) {
  EXPECT_EQ(parse_json("9007199254740993", "it").get_int64(), 9007199254740993);
  EXPECT_EQ(parse_json("-9223372036854775808", "it").get_int64(),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_json("18446744073709551615", "it").get_uint64(),
            std::numeric_limits<std::uint64_t>::max());
}

TEST(ReadingANumber, TakesWhatIsTooSmallAsZero) {
  EXPECT_EQ(parse_json("1e-400", "it").get_double(), 0.0);
  EXPECT_EQ(parse_json("-1E-400", "it").get_double(), 0.0);
}

TEST(ReadingANumber, TakesWhatIsTooSmallAsZeroWithoutAnExponentToo) {
  EXPECT_EQ(parse_json("0." + std::string(400, '0') + "1", "it").get_double(), 0.0);
}

class ANumberTooLarge : public testing::TestWithParam<std::string> {};

TEST_P(ANumberTooLarge, IsRefused) { EXPECT_THROW(parse_json(GetParam(), "it"), InvalidArgument); }

INSTANTIATE_TEST_SUITE_P(Texts, ANumberTooLarge,
                         testing::Values("1e400", "-1E400", "1.8e308", "1e99999999999",
                                         std::string(400, '9'), std::string(400, '9') + ".5",
                                         std::string(400, '9') + "e-1"));

class ANumberThatJsonDoesNotKnow : public testing::TestWithParam<const char*> {};

TEST_P(ANumberThatJsonDoesNotKnow, IsRefused) {
  EXPECT_THROW(parse_json(GetParam(), "it"), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(Texts, ANumberThatJsonDoesNotKnow,
                         testing::Values("01", "+1", ".5", "1.", "1e", "1e+", "-", "--1", "0x10",
                                         "NaN", "Infinity", "-Infinity", "1_000", "1,5"));

TEST(CanonicalJson, RefusesIntegersThatADoubleWouldRound) {
  EXPECT_EQ(canonical_json(std::int64_t{9007199254740992}), "9007199254740992");
  EXPECT_EQ(canonical_json(std::int64_t{-9007199254740992}), "-9007199254740992");
  EXPECT_THROW(canonical_json(std::int64_t{9007199254740993}), InvalidArgument);
  EXPECT_THROW(canonical_json(std::int64_t{-9007199254740993}), InvalidArgument);
  EXPECT_THROW(canonical_json(std::numeric_limits<std::uint64_t>::max()), InvalidArgument);
}

TEST(JsonText, WritesLargeIntegersInFull) {
  EXPECT_EQ(json_text(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
  EXPECT_EQ(json_text(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
}

}  // namespace
}  // namespace dbcache::text
