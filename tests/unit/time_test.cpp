// The forms in which times are read and written.

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>
#include <dbcache/time.hpp>

#include "text/civil_time.hpp"

namespace dbcache {
namespace {

using testing::HasSubstr;

struct Form {
  const char* name;
  const char* text;
  const char* stored;
};

class ATimeAsWritten : public testing::TestWithParam<Form> {};

TEST_P(ATimeAsWritten, IsReadAsAMomentInUtc) {
  EXPECT_EQ(format_timestamp(parse_timestamp(GetParam().text)), GetParam().stored);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, ATimeAsWritten,
    testing::Values(
        Form{"Date", "2026-01-15", "2026-01-15T00:00:00.000000"},
        Form{"Minutes", "2026-01-15T10:30", "2026-01-15T10:30:00.000000"},
        Form{"Seconds", "2026-01-15T10:30:05", "2026-01-15T10:30:05.000000"},
        Form{"Space", "2026-01-15 10:30:05", "2026-01-15T10:30:05.000000"},
        Form{"SmallT", "2026-01-15t10:30:05", "2026-01-15T10:30:05.000000"},
        Form{"Documented", "2025-06-09T13:37:23.420000", "2025-06-09T13:37:23.420000"},
        Form{"OneDecimal", "2026-01-15T10:30:05.5", "2026-01-15T10:30:05.500000"},
        Form{"LeadingZeros", "2026-01-15T10:30:05.000001", "2026-01-15T10:30:05.000001"},
        Form{"NinthDecimalCutOff", "2026-01-15T10:30:05.123456789", "2026-01-15T10:30:05.123456"},
        Form{"NinesCutOffNotRounded", "2026-01-15T10:30:59.9999999", "2026-01-15T10:30:59.999999"},
        Form{"Z", "2026-01-15T10:30:05Z", "2026-01-15T10:30:05.000000"},
        Form{"SmallZ", "2026-01-15T10:30:05z", "2026-01-15T10:30:05.000000"},
        Form{"FractionAndZ", "2026-01-15T10:30:05.25Z", "2026-01-15T10:30:05.250000"},
        Form{"East", "2026-01-15T10:30:05+02:00", "2026-01-15T08:30:05.000000"},
        Form{"EastWithoutColon", "2026-01-15T10:30:05+0200", "2026-01-15T08:30:05.000000"},
        Form{"EastHours", "2026-01-15T10:30:05+02", "2026-01-15T08:30:05.000000"},
        Form{"EastAfterMinutes", "2026-01-15T10:30+02:00", "2026-01-15T08:30:00.000000"},
        Form{"EastAfterSpace", "2026-01-15 10:30:05+02:00", "2026-01-15T08:30:05.000000"},
        Form{"West", "2026-01-15T10:30:05-08:00", "2026-01-15T18:30:05.000000"},
        Form{"HalfHours", "2026-01-15T10:30:05+05:45", "2026-01-15T04:45:05.000000"},
        Form{"ZeroWest", "2026-01-15T10:30:05-00:00", "2026-01-15T10:30:05.000000"},
        Form{"OffsetOverMidnight", "2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000000"},
        Form{"LargestOffset", "2026-01-15T10:30:00-23:59", "2026-01-16T10:29:00.000000"},
        Form{"LeapDay", "2024-02-29T23:59:59", "2024-02-29T23:59:59.000000"},
        Form{"LeapDayOfACentury", "2000-02-29", "2000-02-29T00:00:00.000000"},
        Form{"BeforeTheEpoch", "1969-12-31T23:59:59.999999", "1969-12-31T23:59:59.999999"},
        Form{"First", "0001-01-01T00:00:00", "0001-01-01T00:00:00.000000"},
        Form{"Last", "9999-12-31T23:59:59.999999", "9999-12-31T23:59:59.999999"}),
    [](const auto& each) { return std::string(each.param.name); });

struct Malformed {
  const char* name;
  std::string text;
};

class AMalformedTime : public testing::TestWithParam<Malformed> {};

TEST_P(AMalformedTime, IsRefused) {
  EXPECT_THROW(static_cast<void>(parse_timestamp(GetParam().text)), InvalidArgument);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, AMalformedTime,
    testing::Values(
        Malformed{"Empty", ""}, Malformed{"Word", "now"}, Malformed{"Number", "1768473000"},
        Malformed{"BlankBefore", " 2026-01-15"}, Malformed{"BlankAfter", "2026-01-15 "},
        Malformed{"NewlineAfter", "2026-01-15T10:30:00\n"},
        Malformed{"NulAfter", std::string("2026-01-15T10:30:00\0", 20)},
        Malformed{"YearOnly", "2026"}, Malformed{"MonthOnly", "2026-01"},
        Malformed{"Compact", "20260115"}, Malformed{"ShortYear", "26-01-15"},
        Malformed{"LongYear", "12026-01-15"}, Malformed{"SignedYear", "+2026-01-15"},
        Malformed{"NegativeYear", "-2026-01-15"}, Malformed{"YearZero", "0000-01-01"},
        Malformed{"ShortMonth", "2026-1-15"}, Malformed{"Slashes", "2026/01/15"},
        Malformed{"MonthZero", "2026-00-15"}, Malformed{"MonthThirteen", "2026-13-15"},
        Malformed{"DayZero", "2026-01-00"}, Malformed{"NoSuchDay", "2026-04-31"},
        Malformed{"NoLeapYear", "2026-02-29"}, Malformed{"NoLeapCentury", "1900-02-29"},
        Malformed{"TAlone", "2026-01-15T"}, Malformed{"HourOnly", "2026-01-15T10"},
        Malformed{"ColonAlone", "2026-01-15T10:"}, Malformed{"ShortHour", "2026-01-15T1:30"},
        Malformed{"ShortMinute", "2026-01-15T10:3"},
        Malformed{"HourTwentyFour", "2026-01-15T24:00"},
        Malformed{"MinuteSixty", "2026-01-15T10:60"},
        Malformed{"LeapSecond", "2026-01-15T10:30:60"},
        Malformed{"ColonWithoutSeconds", "2026-01-15T10:30:"},
        Malformed{"ShortSecond", "2026-01-15T10:30:5"},
        Malformed{"PointWithoutDigits", "2026-01-15T10:30:05."},
        Malformed{"PointBeforeZ", "2026-01-15T10:30:05.Z"},
        Malformed{"Comma", "2026-01-15T10:30:05,5"},
        Malformed{"FractionOfMinutes", "2026-01-15T10:30.5"},
        Malformed{"Underscore", "2026-01-15_10:30:05"},
        Malformed{"TwoBlanks", "2026-01-15  10:30:05"}, Malformed{"OffsetOfADate", "2026-01-15Z"},
        Malformed{"BlankBeforeOffset", "2026-01-15T10:30:05 +02:00"},
        Malformed{"SignAlone", "2026-01-15T10:30:05+"},
        Malformed{"ShortOffset", "2026-01-15T10:30:05+2"},
        Malformed{"ThreeDigitOffset", "2026-01-15T10:30:05+020"},
        Malformed{"OffsetColonAlone", "2026-01-15T10:30:05+02:"},
        Malformed{"OffsetWithSeconds", "2026-01-15T10:30:05+02:00:00"},
        Malformed{"OffsetHourTwentyFour", "2026-01-15T10:30:05+24:00"},
        Malformed{"OffsetMinuteSixty", "2026-01-15T10:30:05+02:60"},
        Malformed{"ZAndOffset", "2026-01-15T10:30:05Z+02:00"},
        Malformed{"ZoneName", "2026-01-15T10:30:05 UTC"},
        Malformed{"MinusSignOfTypographers", "2026-01-15T10:30:05\u221202:00"},
        Malformed{"FullWidthDigits", "\uff12026-01-15"},
        Malformed{"OffsetBeforeTheFirstYear", "0001-01-01T00:00:00+00:01"},
        Malformed{"OffsetPastTheLastYear", "9999-12-31T23:59:59-00:01"}),
    [](const auto& each) { return std::string(each.param.name); });

TEST(AMalformedTime, IsNamedInTheErrorWithAWayToWriteIt) {
  try {
    static_cast<void>(parse_timestamp("yesterday"));
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), HasSubstr("'yesterday'"));
    EXPECT_THAT(error.what(), HasSubstr("2026-01-15T10:30:00"));
  }
}

TEST(AStoredTime, OrdersAsTextLikeTheMomentsThemselves) {
  const auto earlier = parse_timestamp("2026-01-15T09:59:59.999999");
  EXPECT_LT(format_timestamp(earlier), format_timestamp(earlier + std::chrono::microseconds{1}));
}

TEST(ATimeForPeople, HasItsFractionCutOff) {
  EXPECT_EQ(format_seconds(parse_timestamp("2026-01-15T10:30:59.999999")), "2026-01-15T10:30:59");
}

TEST(ATimeForPeople, IsCutOffTowardsThePastBeforeTheEpochToo) {
  EXPECT_EQ(format_seconds(parse_timestamp("1969-12-31T23:59:59.5")), "1969-12-31T23:59:59");
}

TEST(WritingATime, RefusesAMomentPastTheYear9999) {
  const auto last = parse_timestamp("9999-12-31T23:59:59.999999");
  EXPECT_THROW(static_cast<void>(format_timestamp(last + std::chrono::microseconds{1})),
               InvalidArgument);
}

TEST(WritingATime, RefusesAMomentBeforeTheYear1) {
  const auto first = parse_timestamp("0001-01-01T00:00:00");
  EXPECT_THROW(static_cast<void>(format_seconds(first - std::chrono::microseconds{1})),
               InvalidArgument);
}

TEST(WritingATime, RefusesTheFarthestMomentsThereAre) {
  EXPECT_THROW(static_cast<void>(format_timestamp(Timestamp::max())), InvalidArgument);
  EXPECT_THROW(static_cast<void>(format_timestamp(Timestamp::min())), InvalidArgument);
}

// ---- A civil time: as written, before its zone is known

TEST(ACivilTime, HasNoOffsetWhereNoneIsWritten) {
  EXPECT_EQ(text::read_civil_time("2026-01-15T10:30:00")->offset, std::nullopt);
}

TEST(ACivilTime, TellsAnOffsetOfZeroFromNone) {
  EXPECT_EQ(text::read_civil_time("2026-01-15T10:30:00Z")->offset, std::chrono::minutes(0));
}

TEST(ACivilTime, KeepsWhatTheClockShowedBesideItsOffset) {
  const auto civil = text::read_civil_time("2026-01-15T10:30:00-03:30");
  EXPECT_EQ(civil->offset, -std::chrono::minutes(210));
  EXPECT_EQ(civil->local.time_since_epoch(),
            parse_timestamp("2026-01-15T10:30:00").time_since_epoch());
}

TEST(ACivilTime, TellsATFromASpace) {
  EXPECT_TRUE(text::read_civil_time("2026-01-15T10:30")->has_t);
  EXPECT_FALSE(text::read_civil_time("2026-01-15 10:30")->has_t);
}

TEST(ACivilTime, HasNoTWhereItIsADate) { EXPECT_FALSE(text::read_civil_time("2026-01-15")->has_t); }

TEST(ACivilTime, IsNothingForATextThatIsNone) {
  EXPECT_FALSE(text::read_civil_time("2026-01-15T25:00").has_value());
}

}  // namespace
}  // namespace dbcache
