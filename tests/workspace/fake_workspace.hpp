#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "support/child_process.hpp"
#include "support/scoped_variable.hpp"
#include "support/temporary_directory.hpp"
#include "workspace/http.hpp"

namespace dbcache::test {

/// None of the variables by which the library finds a workspace, its credentials and a proxy, and a
/// home without files. What a test sets besides, it sets after this.
class WorkspaceEnvironment {
 public:
  /// Where `~` is.
  [[nodiscard]] const std::filesystem::path& home() const { return home_.path(); }

 private:
  TemporaryDirectory home_;
  BareEnvironment bare_;
  ScopedVariable home_variable_{"HOME", home_.path().string()};
  ScopedVariable http_proxy_{"http_proxy", std::nullopt};
  ScopedVariable https_proxy_{"https_proxy", std::nullopt};
  ScopedVariable https_proxy_capitals_{"HTTPS_PROXY", std::nullopt};
  ScopedVariable all_proxy_{"all_proxy", std::nullopt};
  ScopedVariable all_proxy_capitals_{"ALL_PROXY", std::nullopt};
  ScopedVariable no_proxy_{"no_proxy", std::nullopt};
  ScopedVariable no_proxy_capitals_{"NO_PROXY", std::nullopt};
};

/// The fake workspace of tests/workspace/fake, as a child process that dies with this one. Not
/// beside other threads.
class FakeWorkspace {
 public:
  /// `options` are for its command line. Its directory is a temporary one, unless one is named that
  /// is to stay.
  explicit FakeWorkspace(std::vector<std::string> options = {},
                         std::filesystem::path directory = {});
  ~FakeWorkspace();
  FakeWorkspace(const FakeWorkspace&) = delete;
  FakeWorkspace& operator=(const FakeWorkspace&) = delete;

  /// What it says of itself when it starts: a field of its first line. Throws if there is none.
  [[nodiscard]] std::string about(std::string_view field) const;
  /// `https://localhost:PORT`.
  [[nodiscard]] std::string host() const { return about("host"); }
  [[nodiscard]] std::string token() const { return about("token"); }

  /// Lets SSL_CERT_FILE name its certificate authority.
  void trust() const;

  /// Asks its control address, and throws unless the answer is a success.
  boost::json::value ask(std::string_view method, std::string_view path,
                         const std::optional<boost::json::value>& body = std::nullopt);

  /// Kills it, as a machine does that fails.
  void kill();
  /// Starts it again, with what it wrote to its directory, at the same addresses.
  void start();

 private:
  std::optional<TemporaryDirectory> temporary_;
  std::filesystem::path directory_;
  std::vector<std::string> options_;
  pid_t pid_ = -1;
  pid_t owner_ = ::getpid();
  std::optional<Pipe> life_;  ///< Its standard input: it ends once this is closed.
  boost::json::object about_;
  workspace::Http http_;
};

}  // namespace dbcache::test
