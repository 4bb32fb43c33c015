#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <dbcache/errors.hpp>

// HTTPS by libcurl, which is loaded at the first request.
namespace dbcache::workspace {

/// What ends a call early.
struct Bounds {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::stop_token stop{};
  /// Called about once a second during a wait. An exception from it ends the call, too.
  std::function<void()> tick{};
  /// How long a request that fails is repeated; empty: as long as usual.
  std::optional<std::chrono::milliseconds> patience{};

  /// Throws Cancelled or Timeout if the call is to end.
  void require(const char* what) const;
  /// The bounds with a deadline that is at most `within` from now.
  [[nodiscard]] Bounds at_most(std::chrono::milliseconds within) const;
};

/// Sleeps, and wakes as soon as the bounds end the call: then it throws as Bounds::require does.
void pause(std::chrono::milliseconds duration, const Bounds& bounds, const char* what);

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers{};  ///< Each is `Name: value`.
  std::string body{};
};

struct HttpResponse {
  int status = 0;
  std::string body{};
  std::optional<std::chrono::seconds> retry_after{};
  std::string redirect{};  ///< The address that a redirect names. It is not followed.
};

/// The request got no whole answer.
class NoAnswer : public Error {
 public:
  enum class Arrival { no, unknown };
  /// `may_help`: whether it is worth trying again.
  NoAnswer(const std::string& message, Arrival arrival, bool may_help)
      : Error(message), arrival_(arrival), may_help_(may_help) {}
  /// Whether the server may have carried the request out.
  [[nodiscard]] bool may_have_arrived() const noexcept { return arrival_ == Arrival::unknown; }
  [[nodiscard]] bool may_help() const noexcept { return may_help_; }

 private:
  Arrival arrival_;
  bool may_help_;
};

/// Sends requests, one after the other over one connection while the server keeps it open.
/// Certificates and names are verified against the system's authorities, or those of SSL_CERT_FILE
/// and SSL_CERT_DIR. The proxy variables apply (https_proxy, NO_PROXY: libcurl's manual, "proxy
/// environment variables"). http is refused except for this machine.
///
/// Thread-safe: requests at the same time take a connection each. A forked child leaves its
/// parent's connection alone.
class Http {
 public:
  /// How long a request may take.
  struct Limits {
    std::chrono::milliseconds connect{std::chrono::seconds{30}};
    /// Without a byte of the answer, or nearly so.
    std::chrono::seconds inactivity{60};
    std::chrono::milliseconds whole{std::chrono::minutes{2}};
    std::size_t answer_bytes = std::size_t{32} << 20;
  };

  Http() : Http(Limits{}) {}
  explicit Http(Limits limits);
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  /// Throws NoAnswer, and Cancelled or Timeout by the bounds within moments, even while a name is
  /// looked up: the request is then left to a thread of its own.
  HttpResponse send(const HttpRequest& request, const Bounds& bounds);

 private:
  class Connection;
  class Exchange;
  /// The connection that is free, if any. Atomic, and no mutex, so that a fork cannot find it
  /// locked.
  class Slot;

  const Limits limits_;
  std::shared_ptr<Slot> slot_;
};

/// Whether the address is of this machine (`localhost`, 127.0.0.0/8, ::1), where http does no harm.
bool is_loopback(std::string_view url);

}  // namespace dbcache::workspace
