#pragma once

#include <array>
#include <memory>
#include <string_view>

namespace dbcache::text {

using Digest = std::array<unsigned char, 32>;

/// The SHA-256 of one piece.
Digest sha256_of(std::string_view bytes);

/// SHA-256, fed in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::string_view bytes);

  /// The digest of all that was fed so far; more may be fed afterwards.
  [[nodiscard]] Digest digest() const;

  /// The digest of all that was fed; what is fed afterwards begins anew.
  Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace dbcache::text
