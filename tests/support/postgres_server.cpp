#include "support/postgres_server.hpp"

#include <fstream>
#include <sstream>
#include <stdexcept>

#include <sys/shm.h>

#include "support/files.hpp"
#include "support/postgres_connection.hpp"
#include "support/postgres_fixture.hpp"

namespace dbcache::test {
namespace {

const std::string standby_name = "standby";

std::string binary(const std::string& name) { return DBCACHE_POSTGRES_BIN "/" + name; }

/// The lines of postmaster.pid.
constexpr std::size_t line_of_pid = 0;
constexpr std::size_t line_of_shared_memory = 6;
constexpr std::size_t line_of_status = 7;
constexpr std::size_t lines_when_started = 8;

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

}  // namespace

PostgresServer::PostgresServer(PostgresSettings settings, const std::filesystem::path& files)
    : PostgresServer(std::move(settings), NoData{}) {
  run({"cp", "-a", files.string(), data().string()}, log_file());
  start();
}

PostgresServer::~PostgresServer() {
  if (::getpid() != owner_) return;
  try {
    if (program_) {
      program_->kill(SIGQUIT);  // at once: nothing of it is needed any more
      program_->wait();
    } else {
      remove_shared_memory();
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "a PostgreSQL server did not end well: %s\n", error.what());
  }
}

void PostgresServer::start() {
  std::vector<std::string> command{binary("postgres"), "-D", data().string()};
  const auto set = [&command](const std::string& name, const std::string& value) {
    command.insert(command.end(), {"-c", name + "=" + value});
  };
  set("unix_socket_directories", directory().string());
  set("listen_addresses", settings_.listen_addresses);
  set("port", std::to_string(settings_.port));
  set("max_connections", "200");
  set("log_line_prefix", "%m [%p] %a ");
  set("max_wal_size", "256MB");
  // Containers may have little of /dev/shm.
  set("dynamic_shared_memory_type", "mmap");
  // After a kill a disk would sync a thousand files one by one.
  set("recovery_init_sync_method", "syncfs");
  // A standby that finds no more to copy, while it starts, would wait for seconds.
  set("wal_retrieve_retry_interval", "10ms");
  for (const auto& [name, value] : settings_.more) set(name, value);

  program_ = std::make_unique<Program>(command, log_file(), "QUIT");
  poll_until(
      [this] {
        if (!program_->is_running()) throw std::runtime_error("PostgreSQL ended: " + log());
        // A killed server's file stays; asking the server itself would fill its log.
        const auto lines = lines_of(data() / "postmaster.pid");
        return lines.size() >= lines_when_started &&
               lines[line_of_pid] == std::to_string(program_->pid()) &&
               lines[line_of_status].starts_with("ready");
      },
      "the start of PostgreSQL");
}

void PostgresServer::stop() {
  if (!program_) return;
  program_->kill(SIGINT);
  program_->wait();
  program_.reset();
}

void PostgresServer::kill() {
  if (!program_) return;
  program_->kill(SIGKILL);
  program_->wait();
  program_.reset();
}

void PostgresServer::restart() {
  stop();
  start();
}

std::string PostgresServer::url(const std::string& database, const std::string& user) const {
  return "postgresql:///" + database + "?host=" + directory().string() +
         "&port=" + std::to_string(settings_.port) + "&user=" + user;
}

std::string PostgresServer::tcp_url(const std::string& address, const std::string& database) const {
  return "postgresql://postgres@" + address + ":" + std::to_string(settings_.port) + "/" + database;
}

std::string PostgresServer::log() const { return read_bytes(log_file()); }

std::string PostgresServer::new_database() {
  const std::string name = "test_" + std::to_string(++databases_);
  execute("CREATE DATABASE " + name);
  return url(name);
}

void PostgresServer::execute(const std::string& sql) const {
  PostgresConnection(url()).execute(sql);
}

std::string PostgresServer::query(const std::string& sql) const {
  return PostgresConnection(url()).query(sql);
}

std::unique_ptr<PostgresServer> PostgresServer::make_standby(PostgresSettings settings) {
  std::unique_ptr<PostgresServer> standby(new PostgresServer(std::move(settings), NoData{}));
  run({binary("pg_basebackup"), "--pgdata", standby->data().string(), "--dbname",
       url() + "&application_name=" + standby_name, "--checkpoint=fast", "--wal-method=stream",
       "--no-sync", "--write-recovery-conf"},
      standby->log_file());
  standby->start();
  execute("ALTER SYSTEM SET synchronous_standby_names = '" + standby_name + "'");
  execute("SELECT pg_reload_conf()");
  poll_until(
      [this] {
        return query("SELECT sync_state FROM pg_stat_replication WHERE application_name = '" +
                     standby_name + "'") == "sync";
      },
      "the standby's way to synchronous replication");
  return standby;
}

void PostgresServer::promote() const {
  if (query("SELECT pg_promote(true, 60)") != "t") {
    throw std::runtime_error("the standby was not promoted: " + log());
  }
}

/// What a killed server leaves, and only its successor would remove.
void PostgresServer::remove_shared_memory() const {
  const auto lines = lines_of(data() / "postmaster.pid");
  if (lines.size() <= line_of_shared_memory) return;
  std::istringstream key_and_id(lines[line_of_shared_memory]);
  long key = 0;
  int id = 0;
  if (key_and_id >> key >> id) ::shmctl(id, IPC_RMID, nullptr);
}

std::filesystem::path PostgresServer::template_data() {
  if (const auto fixture = running_postgres_fixture()) return fixture->template_data;
  static const ServerDirectory directory;
  static const std::filesystem::path data = [] {
    std::filesystem::path made = directory.path() / "data";
    make_template(made, directory.path() / "log");
    return made;
  }();
  return data;
}

void PostgresServer::make_template(const std::filesystem::path& data,
                                   const std::filesystem::path& log) {
  run({binary("initdb"), "--pgdata", data.string(), "--username=postgres", "--auth=trust",
       "--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"},
      log);
  std::ofstream(data / "pg_hba.conf", std::ios::app) << "host all all samenet trust\n";
}

}  // namespace dbcache::test
