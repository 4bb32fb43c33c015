#include "text/utf8.hpp"

#include <gtest/gtest.h>

namespace dbcache::text {
namespace {

TEST(Utf8, RefusesOverlongFormsSurrogatesAndWhatIsPastTheLastCodePoint) {
  EXPECT_TRUE(is_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_utf8("\xC0\x80"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));
  EXPECT_FALSE(is_utf8("\xE2\x82"));
  EXPECT_FALSE(is_utf8("\x80"));
}

TEST(Utf8, TakesTheFirstAndLastCodePointOfEachSize) {
  EXPECT_TRUE(is_utf8(std::string("\0\x7F", 2)));
  EXPECT_TRUE(is_utf8("\xC2\x80\xDF\xBF"));
  EXPECT_TRUE(is_utf8("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"));
  EXPECT_TRUE(is_utf8("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"));
}

TEST(Utf8, RefusesOverlongFormsOfEverySize) {
  EXPECT_FALSE(is_utf8("\xC1\xBF"));
  EXPECT_FALSE(is_utf8("\xE0\x9F\xBF"));
  EXPECT_FALSE(is_utf8("\xF0\x8F\xBF\xBF"));
}

TEST(Utf8, HoldsNothingToo) { EXPECT_TRUE(is_utf8("")); }

TEST(Utf8, LeavesValidTextAsItIs) { EXPECT_EQ(to_valid_utf8("a\xE2\x82\xAC"), "a\xE2\x82\xAC"); }

TEST(Utf8, ReplacesEachIllFormedByte) {
  EXPECT_EQ(to_valid_utf8("a\xFF\xE2\x82z"), "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz");
}

TEST(Utf8, CutsBetweenCodePoints) {
  EXPECT_EQ(cut_utf8("a\xE2\x82\xAC", 3), "a");
  EXPECT_EQ(cut_utf8("a\xE2\x82\xAC", 4), "a\xE2\x82\xAC");
}

TEST(Utf8, CutsToNothingWhereNoCodePointFits) { EXPECT_EQ(cut_utf8("\xE2\x82\xAC", 2), ""); }

}  // namespace
}  // namespace dbcache::text
