#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "system/published.hpp"
#include "workspace/auth_choice.hpp"
#include "workspace/credentials.hpp"

namespace dbcache::workspace {

/// OAuth tokens of a service principal, by its secret or by an OIDC token of CI (RFC 8693). They
/// are in memory only. Each process fetches its own, and a new one well before the old one ends.
class OAuthCredentials final : public Credentials {
 public:
  /// How much of a token's life is left when a new one is fetched. Tests have others.
  struct Rests {
    /// It is not used any more. Azure refuses tokens with half a minute left.
    std::chrono::seconds least{40};
    /// A new one is due, as for the official SDKs: at half its life, and at most so long before.
    std::chrono::seconds most{std::chrono::minutes{20}};
    int share = 2;
  };

  OAuthCredentials(About about, AuthValues values)
      : OAuthCredentials(std::move(about), std::move(values), Rests{}) {}
  OAuthCredentials(About about, AuthValues values, Rests rests)
      : Credentials(std::move(about)), values_(std::move(values)), rests_(rests) {}

  std::string authorization(Http& http, const Bounds& bounds) override;
  bool renew(const std::string& refused) override;

 private:
  struct Token {
    std::string authorization{};
    std::chrono::steady_clock::time_point
        renew_at{};  ///< When it may be used, but a new one is due.
    std::chrono::steady_clock::time_point ends_at{};  ///< When it may not be used any more.
  };

  [[nodiscard]] Token fetch(Http& http, const Bounds& bounds) const;
  /// One brief try; nothing if it fails.
  [[nodiscard]] std::optional<Token> try_fetch(Http& http, const Bounds& bounds) const;
  [[nodiscard]] std::string endpoint(Http& http, const Bounds& bounds) const;
  [[nodiscard]] std::string subject_token(Http& http, const std::string& endpoint,
                                          const Bounds& bounds) const;

  const AuthValues values_;
  const Rests rests_;
  system::Published<Token> token_;
};

}  // namespace dbcache::workspace
