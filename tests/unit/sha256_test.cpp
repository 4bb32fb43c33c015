// SHA-256 against its published vectors, and hex.

#include "text/sha256.hpp"

#include <gtest/gtest.h>

#include "text/hex.hpp"

namespace dbcache::text {
namespace {

std::string sha256(std::string_view bytes) { return to_hex(Sha256().update(bytes).digest()); }

TEST(Sha256, OfNothing) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, OfOneBlock) {  // FIPS 180-2, B.1
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, OfTwoBlocks) {  // FIPS 180-2, B.2
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, OfAMillionBytesFedInPieces) {  // FIPS 180-2, B.3
  Sha256 hash;
  for (int piece = 0; piece < 1000; ++piece) hash.update(std::string(1000, 'a'));
  EXPECT_EQ(to_hex(hash.digest()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, IsTheSameOfOnePiece) {
  EXPECT_EQ(to_hex(sha256_of("abc")), sha256("abc"));
  EXPECT_EQ(to_hex(sha256_of("")), sha256(""));
}

TEST(Sha256, BeginsAnewAfterItWasFinished) {
  Sha256 hash;
  EXPECT_EQ(to_hex(hash.update("a").update("bc").finish()), sha256("abc"));
  EXPECT_EQ(to_hex(hash.finish()), sha256(""));
  EXPECT_EQ(to_hex(hash.update("abc").finish()), sha256("abc"));
}

TEST(Sha256, CanBeFedOnAfterADigest) {
  Sha256 hash;
  hash.update("a");
  static_cast<void>(hash.digest());
  EXPECT_EQ(to_hex(hash.update("bc").digest()), sha256("abc"));
}

TEST(Hex, IsInLowerCaseWithTwoDigitsAByte) {
  EXPECT_EQ(to_hex(std::string_view("\x00\x0f\xAB\xff", 4)), "000fabff");
}

}  // namespace
}  // namespace dbcache::text
