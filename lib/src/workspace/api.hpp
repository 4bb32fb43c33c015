#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include <dbcache/databricks.hpp>

#include "workspace/credentials.hpp"
#include "workspace/http.hpp"
#include "workspace/refusal.hpp"

namespace dbcache::workspace {

/// How long a call waits between its tries, and altogether. Tests use shorter times.
struct Pace {
  std::chrono::milliseconds first{std::chrono::seconds{1}};
  std::chrono::milliseconds longest{std::chrono::seconds{10}};
  std::chrono::milliseconds jitter{750};  ///< At most this is added, so that workers spread.
  /// How long a request that fails is repeated (the official SDKs: 5 minutes).
  std::chrono::milliseconds patience{std::chrono::minutes{5}};
  /// How long clusters/list may lag behind a creation whose outcome is unknown.
  std::chrono::milliseconds list_lag{std::chrono::seconds{10}};
  /// How long a new cluster may be unknown to clusters/get.
  std::chrono::milliseconds get_lag{std::chrono::minutes{1}};
  /// For how long after the last request to create a cluster one may still appear.
  std::chrono::milliseconds late_cluster{std::chrono::minutes{2}};
};

/// The pauses between tries: each is twice the one before, up to the longest.
class Pauses {
 public:
  explicit Pauses(const Pace& pace) : pace_(pace), next_(pace.first) {}
  /// The next pause: at least what the server asked for.
  std::chrono::milliseconds next(std::optional<std::chrono::seconds> retry_after = std::nullopt);

 private:
  const Pace& pace_;
  std::chrono::milliseconds next_;
};

/// One try of a request.
struct Attempt {
  enum class Outcome {
    done,     ///< `body` is the answer.
    refused,  ///< For good, with `refusal`.
    failed,   ///< It may work another time.
  };
  Outcome outcome = Outcome::done;
  boost::json::object body{};
  databricks::Refusal refusal{};
  std::string failure{};  ///< Of a failed try, in words.
  std::optional<std::chrono::seconds> retry_after{};
  bool may_be_done = false;  ///< Of a failed try: the server may have carried it out all the same.
  bool may_help = true;      ///< Of a failed try: another may succeed.
};

/// The requests of one workspace's API. Thread-safe.
class Api {
 public:
  Api(std::shared_ptr<Credentials> credentials, Pace pace);

  [[nodiscard]] const Credentials& credentials() const noexcept { return *credentials_; }
  [[nodiscard]] const std::string& host() const noexcept { return credentials_->host(); }
  [[nodiscard]] const Pace& pace() const noexcept { return pace_; }

  /// One try. `path` begins with /api/. Throws where another try is useless (NotAuthenticated,
  /// a certificate that is refused), and by the bounds.
  Attempt try_once(std::string_view method, std::string_view path, const boost::json::object* body,
                   const Bounds& bounds) const;

  /// Repeats what may be repeated. The attempt is done or refused; throws WorkspaceUnavailable
  /// where it is neither until the patience ends.
  Attempt call(std::string_view method, std::string_view path, const boost::json::object* body,
               const Bounds& bounds) const;

  /// As `call`, for a request whose refusal is an error: `what` begins its text.
  boost::json::object get(std::string_view path, const Bounds& bounds, const char* what) const;
  boost::json::object post(std::string_view path, const boost::json::object& body,
                           const Bounds& bounds, const char* what) const;

 private:
  [[nodiscard]] HttpRequest request(std::string_view method, std::string_view path,
                                    const boost::json::object* body,
                                    const std::string& authorization) const;

  std::shared_ptr<Credentials> credentials_;
  Pace pace_;
  std::shared_ptr<Http> http_ = std::make_shared<Http>();
};

/// The error for a request that failed until the patience ended.
[[noreturn]] void throw_failed(const Api& api, const Attempt& attempt);

}  // namespace dbcache::workspace
