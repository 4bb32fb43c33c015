#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/program.hpp"

namespace dbcache::test {

struct PostgresSettings {
  /// Addresses to listen on by TCP, with trust in their whole network; none by default.
  std::string listen_addresses{};
  int port = 5432;
  /// Where its files are to be; in memory by default, where there is room. Name a disk to measure.
  std::filesystem::path storage{};
  /// Others, as postgresql.conf has them.
  std::vector<std::pair<std::string, std::string>> more{};
};

/// A PostgreSQL server of this process's own, with an empty cluster in a temporary directory and a
/// socket there. Its superuser is `postgres`, without a password. Commits are synced, as by
/// default. It ends with the thread that made it. Not for several threads at once.
class PostgresServer {
 public:
  /// Starts with a copy of these files.
  explicit PostgresServer(PostgresSettings settings = {},
                          const std::filesystem::path& files = template_data());
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  /// Returns once connections are accepted.
  void start();
  /// Ends sessions and the server, in order.
  void stop();
  /// Kills the server's first process as the kernel does when memory runs out, and waits for the
  /// others to notice: data on disk are as a crash leaves them.
  void kill();
  /// Starts it again, after `stop` or `kill`, or stops it first.
  void restart();

  /// Through the socket. Good for as long as this lives, over restarts too.
  [[nodiscard]] std::string url(const std::string& database = "postgres",
                                const std::string& user = "postgres") const;
  /// Through TCP, at one of the addresses that are listened on.
  [[nodiscard]] std::string tcp_url(const std::string& address,
                                    const std::string& database = "postgres") const;
  /// Where the socket is.
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }
  [[nodiscard]] int port() const { return settings_.port; }
  [[nodiscard]] pid_t pid() const { return program_ ? program_->pid() : -1; }
  /// What the server logged.
  [[nodiscard]] std::string log() const;

  /// The url of a new database.
  std::string new_database();
  /// Runs statements in the database `postgres`, in a session of their own.
  void execute(const std::string& sql) const;
  /// The first column of the first row, as text; empty where there is none.
  [[nodiscard]] std::string query(const std::string& sql) const;

  /// Another server that copies this one, read-only until it is promoted. From now on every commit
  /// here waits until it is on the standby's disk too.
  [[nodiscard]] std::unique_ptr<PostgresServer> make_standby(PostgresSettings settings = {});
  /// Makes a standby a server to write to. Returns once it is.
  void promote() const;

  /// The files of an empty cluster, to be copied: initdb takes ten times as long.
  static std::filesystem::path template_data();
  /// Makes those files anew.
  static void make_template(const std::filesystem::path& data, const std::filesystem::path& log);

 private:
  struct NoData {};
  PostgresServer(PostgresSettings settings, NoData)
      : settings_(std::move(settings)), directory_(settings_.storage) {}

  [[nodiscard]] std::filesystem::path data() const { return directory_.path() / "data"; }
  [[nodiscard]] std::filesystem::path log_file() const { return directory_.path() / "log"; }
  void remove_shared_memory() const;

  PostgresSettings settings_;
  ServerDirectory directory_;
  pid_t owner_ = ::getpid();
  std::unique_ptr<Program> program_;
  int databases_ = 0;
};

}  // namespace dbcache::test
