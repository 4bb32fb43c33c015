// The machine's zone, as TZ gives it.

#include "commands/zone.hpp"

#include <gmock/gmock.h>

#include <dbcache/errors.hpp>

#include "support/scoped_variable.hpp"
#include "text/civil_time.hpp"

namespace dbcache::commands {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string in_utc(const std::string& local) {
  return format_timestamp(Zone("").to_utc(text::read_civil_time(local).value().local));
}

struct MachinesZone {
  const char* name;
  const char* variable;
  const char* text;
  const char* stored;
};

class TheMachinesZone : public testing::TestWithParam<MachinesZone> {};

TEST_P(TheMachinesZone, IsReadAsTheCLibraryReadsIt) {
  const test::ScopedVariable zone("TZ", GetParam().variable);
  EXPECT_EQ(in_utc(GetParam().text), GetParam().stored);
}

constexpr const char* central_europe = "CET-1CEST,M3.5.0,M10.5.0/3";

INSTANTIATE_TEST_SUITE_P(
    Variables, TheMachinesZone,
    testing::Values(
        MachinesZone{"RuleInWinter", central_europe, "2026-01-15T10:00:00.42",
                     "2026-01-15T09:00:00.420000"},
        MachinesZone{"RuleInSummer", central_europe, "2026-07-15T10:00:00",
                     "2026-07-15T08:00:00.000000"},
        MachinesZone{"RuleInTheOverlap", central_europe, "2026-10-25T02:30:00",
                     "2026-10-25T00:30:00.000000"},
        MachinesZone{"RuleAfterTheOverlap", central_europe, "2026-10-25T03:00:00",
                     "2026-10-25T02:00:00.000000"},
        MachinesZone{"RuleBehindAColon", ":CET-1CEST,M3.5.0,M10.5.0/3", "2026-07-15T10:00:00",
                     "2026-07-15T08:00:00.000000"},
        MachinesZone{"RuleWithoutSummer", "<+0545>-5:45", "2026-07-15T10:00:00",
                     "2026-07-15T04:15:00.000000"},
        MachinesZone{"RuleOfTheSouth", "AEST-10AEDT,M10.1.0,M4.1.0/3", "2026-01-15T10:00:00",
                     "2026-01-14T23:00:00.000000"},
        MachinesZone{"RuleOfUtc", "UTC0", "2026-07-15T10:00:00", "2026-07-15T10:00:00.000000"},
        MachinesZone{"NameBehindAColon", ":Europe/Berlin", "2026-07-15T10:00:00",
                     "2026-07-15T08:00:00.000000"},
        MachinesZone{"File", "/usr/share/zoneinfo/Europe/Berlin", "2026-07-15T10:00:00",
                     "2026-07-15T08:00:00.000000"},
        MachinesZone{"FileBehindAColon", ":/usr/share/zoneinfo/Europe/Berlin",
                     "2026-07-15T10:00:00", "2026-07-15T08:00:00.000000"},
        MachinesZone{"Empty", "", "2026-07-15T10:00:00", "2026-07-15T10:00:00.000000"},
        MachinesZone{"Utc", "Etc/UTC", "2026-07-15T10:00:00", "2026-07-15T10:00:00.000000"}),
    [](const auto& each) { return std::string(each.param.name); });

class AnUnknownZoneOfTheMachine : public testing::TestWithParam<const char*> {};

TEST_P(AnUnknownZoneOfTheMachine, IsRefusedWithTheOptionToGiveOne) {
  const test::ScopedVariable zone("TZ", GetParam());
  try {
    in_utc("2026-01-15T10:00:00");
    FAIL() << "nothing was thrown";
  } catch (const InvalidArgument& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("TZ is '"), HasSubstr("--adopt-timezone")));
  }
}

INSTANTIATE_TEST_SUITE_P(Variables, AnUnknownZoneOfTheMachine,
                         testing::Values("Mars/Olympus_Mons", ":Mars/Olympus_Mons", "NOWHERE",
                                         "/no/such/file", "/etc/passwd", "+02:00", "CET-1CEST,M3",
                                         "CET-1CEST,M13.5.0,M10.5.0", "\xff"));

TEST(AMachineWithoutFilesOfZones, KnowsUtcAlone) {
  const test::ScopedVariable files("TZDIR", "/no/such/directory");
  {
    const test::ScopedVariable zone("TZ", "Africa/Lagos");
    EXPECT_THROW(in_utc("2026-01-15T10:00:00"), InvalidArgument);
  }
  const test::ScopedVariable zone("TZ", "Zulu");
  EXPECT_EQ(in_utc("2026-01-15T10:00:00"), "2026-01-15T10:00:00.000000");
}

struct Rule {
  const char* text;
  bool is_one;
};

class ARuleOfPosix : public testing::TestWithParam<Rule> {};

TEST_P(ARuleOfPosix, IsKnownByItsForm) {
  EXPECT_EQ(is_posix_rule(GetParam().text), GetParam().is_one) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Texts, ARuleOfPosix,
    testing::Values(Rule{"UTC0", true}, Rule{"EST5EDT", true}, Rule{"EST+5", true},
                    Rule{"NZST-12:00:00NZDT-13:00:00,M10.1.0,M3.3.0", true},
                    Rule{"<-03>3<-02>,M3.5.0/-2,M10.5.0/-1", true},
                    Rule{"XXX3YYY,J60/2:30,J300", true}, Rule{"XXX3YYY2,0,365/167", true},
                    Rule{"", false}, Rule{"UTC", false}, Rule{"Europe/Berlin", false},
                    Rule{"AB5", false}, Rule{"EST25", false}, Rule{"EST5EDT,M3.2.0", false},
                    Rule{"EST5EDT,M3.2.0,M11.1.7", false}, Rule{"EST5EDT,J0,J365", false},
                    Rule{"EST5EDT,M3.2.0,M11.1.0,", false}, Rule{"<+03-3", false},
                    Rule{"EST5:60", false}));

}  // namespace
}  // namespace dbcache::commands
