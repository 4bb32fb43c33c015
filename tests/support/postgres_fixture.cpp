#include "support/postgres_fixture.hpp"

#include <chrono>
#include <fstream>
#include <limits>
#include <random>
#include <stdexcept>
#include <stdlib.h>
#include <thread>

#include "support/postgres_connection.hpp"
#include "support/postgres_server.hpp"

namespace dbcache::test {
namespace {

/// 0 where there is none, or the process is gone.
pid_t parent_of(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string word; status >> word;) {
    pid_t parent = 0;
    if (word == "PPid:" && status >> parent) return parent;
    status.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

std::optional<PostgresFixture> read_postgres_fixture(const std::filesystem::path& file) {
  std::ifstream in(file);
  PostgresFixture fixture;
  std::string data;
  if (!std::getline(in, fixture.url) || !std::getline(in, data) || !(in >> fixture.keeper)) {
    return std::nullopt;
  }
  fixture.template_data = data;
  return fixture;
}

void write_postgres_fixture(const std::filesystem::path& file, const PostgresFixture& fixture) {
  const std::filesystem::path part = file.string() + ".part";
  std::ofstream(part) << fixture.url << '\n'
                      << fixture.template_data.string() << '\n'
                      << fixture.keeper << '\n';
  std::filesystem::rename(part, file);
}

std::optional<PostgresFixture> running_postgres_fixture() {
  const char* const directory = ::getenv(postgres_fixture_variable);
  if (directory == nullptr) return std::nullopt;
  for (pid_t ctest = ::getppid(); ctest > 0; ctest = parent_of(ctest)) {
    const auto file = std::filesystem::path(directory) / std::to_string(ctest);
    if (auto fixture = read_postgres_fixture(file)) return fixture;
  }
  return std::nullopt;
}

std::string shared_postgres_url() {
  if (const auto fixture = running_postgres_fixture()) return fixture->url;
  static const PostgresServer server;
  return server.url();
}

void await_end_of_postgres_sessions(const std::string& name) {
  PostgresConnection server(shared_postgres_url());
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes{1};
  while (!server
              .query("SELECT 1 FROM pg_stat_activity WHERE application_name = '" + name +
                     "' AND pid <> pg_backend_pid()")
              .empty()) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("the server still has sessions of '" + name + "'");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
}

PostgresSchema::PostgresSchema() {
  std::random_device random;
  name_ = "test_" + std::to_string(random()) + "_" + std::to_string(random());
}

PostgresSchema::~PostgresSchema() {
  if (::getpid() != owner_) return;
  try {
    PostgresConnection(url_).execute("DROP SCHEMA IF EXISTS " + name_ + " CASCADE");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "schema %s stays: %s\n", name_.c_str(), error.what());
  }
}

void PostgresSchema::execute(const std::string& sql) const {
  PostgresConnection(url_).execute("SET search_path = " + name_ + "; " + sql);
}

bool PostgresSchema::exists() const {
  return PostgresConnection(url_).query("SELECT 1 FROM pg_namespace WHERE nspname = '" + name_ +
                                        "'") == "1";
}

}  // namespace dbcache::test
