#pragma once

#include <chrono>
#include <string>

#include "system/published.hpp"
#include "workspace/auth_choice.hpp"
#include "workspace/credentials.hpp"

namespace dbcache::workspace {

/// OAuth tokens of a service principal, by its secret or by an OIDC token of CI (RFC 8693). They
/// are in memory only. Each process fetches its own, and a new one well before the old one ends.
class OAuthCredentials final : public Credentials {
 public:
  OAuthCredentials(About about, AuthValues values)
      : Credentials(std::move(about)), values_(std::move(values)) {}

  std::string authorization(Http& http, const Bounds& bounds) override;
  bool renew(const std::string& refused) override;

 private:
  struct Token {
    std::string authorization{};
    std::chrono::steady_clock::time_point renew_at{};
  };

  [[nodiscard]] Token fetch(Http& http, const Bounds& bounds) const;
  [[nodiscard]] std::string endpoint(Http& http, const Bounds& bounds) const;
  [[nodiscard]] std::string subject_token(Http& http, const std::string& endpoint,
                                          const Bounds& bounds) const;

  const AuthValues values_;
  system::Published<Token> token_;
};

}  // namespace dbcache::workspace
