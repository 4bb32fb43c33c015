#pragma once

#include <array>
#include <memory>
#include <string_view>

namespace dbcache::text {

using Digest = std::array<unsigned char, 32>;

/// The SHA-256 of `bytes`.
Digest sha256_of(std::string_view bytes);

/// SHA-256 of data that comes in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& update(std::string_view bytes);

  /// The digest of the data so far. More data may follow.
  [[nodiscard]] Digest digest() const;

  /// The digest of all data. Data after that begins a new digest.
  Digest finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace dbcache::text
