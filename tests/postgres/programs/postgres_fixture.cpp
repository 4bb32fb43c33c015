// Starts and stops the PostgreSQL server of one run of ctest (support/postgres_fixture.hpp):
//   postgres_fixture start|stop DIRECTORY
#include "support/postgres_fixture.hpp"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fcntl.h>
#include <poll.h>
#include <stdexcept>
#include <unistd.h>

#include <sys/signalfd.h>
#include <sys/syscall.h>

#include "support/files.hpp"
#include "support/postgres_server.hpp"

namespace {

using namespace dbcache::test;

/// A descriptor that can be read once the process has ended. It is good for this run: nothing
/// closes it.
int watch(pid_t process) {
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, process, 0));
  if (descriptor < 0) throw std::runtime_error("no process " + std::to_string(process));
  return descriptor;
}

/// A descriptor that can be read once somebody asks this process to end.
int watch_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, signal);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  return ::signalfd(-1, &signals, SFD_CLOEXEC);
}

/// ctest waits until nobody has its pipes.
void leave_ctest(const std::filesystem::path& log) {
  ::setsid();
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const int nothing = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::dup2(nothing, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
}

/// Keeps a server until ctest ends or `stop` asks.
void keep_server(int ctest, const std::filesystem::path& file, const Pipe& started) {
  pollfd ends[] = {{ctest, POLLIN, 0}, {watch_signals(), POLLIN, 0}};
  const ServerDirectory directory;
  const std::filesystem::path data = directory.path() / "data";
  PostgresServer::make_template(data, directory.path() / "log");
  const PostgresServer server({}, data);
  write_postgres_fixture(file, {server.url(), data, ::getpid()});
  started.signal();
  while (::poll(ends, std::size(ends), -1) < 0 && errno == EINTR) {
  }
  std::filesystem::remove(file);
}

int start(const std::filesystem::path& directory, const std::filesystem::path& file) {
  std::filesystem::create_directories(directory);
  const int ctest = watch(::getppid());
  const std::filesystem::path log = directory / "log";
  Pipe started;
  if (::fork() == 0) {
    started.close_read();
    leave_ctest(log);
    try {
      keep_server(ctest, file, started);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    return 0;
  }
  started.close_write();
  if (started.wait()) return 0;
  std::fprintf(stderr, "postgres_fixture: no server: %s\n", read_bytes(log).c_str());
  return 1;
}

int stop(const std::filesystem::path& file) {
  const auto fixture = read_postgres_fixture(file);
  if (!fixture) return 0;
  pollfd end{watch(fixture->keeper), POLLIN, 0};
  ::kill(fixture->keeper, SIGTERM);
  return ::poll(&end, 1, 60'000) == 1 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count != 3) throw std::runtime_error("usage: postgres_fixture start|stop DIRECTORY");
  const std::filesystem::path directory = arguments[2];
  const std::filesystem::path file = directory / std::to_string(::getppid());
  return std::strcmp(arguments[1], "start") == 0 ? start(directory, file) : stop(file);
} catch (const std::exception& error) {
  std::fprintf(stderr, "postgres_fixture: %s\n", error.what());
  return 1;
}
