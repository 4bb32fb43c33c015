#include "support/pgbouncer.hpp"

#include <fstream>
#include <libpq-fe.h>
#include <stdexcept>

#include "support/files.hpp"

namespace dbcache::test {
namespace {

std::string mode_of(PgBouncer::Pooling pooling) {
  switch (pooling) {
    case PgBouncer::Pooling::transaction:
      return "transaction";
    case PgBouncer::Pooling::statement:
      return "statement";
    default:
      return "session";
  }
}

}  // namespace

PgBouncer::PgBouncer(const PostgresServer& server, Pooling pooling, int pool_size) {
  const std::string directory = directory_.path().string();
  std::ofstream(directory + "/users") << R"("postgres" "")";
  std::ofstream(directory + "/config")
      << "[databases]\n"
      << "* = host=" << server.directory().string() << " port=" << server.port() << "\n"
      << "[pgbouncer]\n"
      << "unix_socket_dir = " << directory << "\n"
      << "auth_type = trust\n"
      << "auth_file = " << directory << "/users\n"
      << "pool_mode = " << mode_of(pooling) << "\n"
      << (pooling == Pooling::session_without_reset ? "server_reset_query =\n" : "")
      << "default_pool_size = " << pool_size << "\n";
  // Debian has it where only root looks by default.
  program_ = std::make_unique<Program>(
      std::vector<std::string>{"env", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/bin", "pgbouncer",
                               directory + "/config"},
      directory + "/log");
  poll_until(
      [&] {
        if (!program_->is_running()) {
          throw std::runtime_error("PgBouncer ended: " + read_bytes(directory + "/log"));
        }
        return PQping(url().c_str()) == PQPING_OK;
      },
      "the start of PgBouncer");
}

std::string PgBouncer::url(const std::string& database) const {
  return "postgresql:///" + database + "?host=" + directory_.path().string() +
         "&port=6432&user=postgres";
}

}  // namespace dbcache::test
