#pragma once

#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <thread>
#include <vector>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/process/descriptor.hpp"
#include "cli_test.hpp"
#include "support/child_process.hpp"
#include "support/files.hpp"

namespace dbcache::cli {

/// A pipe of which the processes that are started hold the one end, so that the other tells when
/// the last of them has ended.
class Lifeline {
 public:
  Lifeline() {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
    reader_ = Descriptor(ends[0]);
    theirs_ = Descriptor(ends[1]);
  }
  /// No process that is started from now on holds it.
  void cut() { theirs_.close(); }
  void wait() {
    cut();
    char byte = 0;
    while (::read(reader_.number(), &byte, 1) > 0) {
    }
  }

 private:
  Descriptor reader_ = Descriptor();
  Descriptor theirs_ = Descriptor();
};

/// Runs the program itself, as shells do, over a database of the test's own. Processes wait for one
/// another by fifos.
class LeaseTest : public CliTest {
 protected:
  LeaseTest() {
    ::setenv("dbcache", DBCACHE_COMMAND, 1);
    write_file("cluster.json", R"({"cluster_name": "test-cluster", "num_workers": 1})");
  }

  /// A shell line in which $dbcache is the program.
  static Result shell(const std::string& line) {
    const int status = std::system(("{ " + line + "\n} >out.txt 2>err.txt </dev/null").c_str());
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return {code, test::read_bytes("out.txt"), test::read_bytes("err.txt")};
  }
  static Result dbcache(const std::string& arguments) { return shell("\"$dbcache\" " + arguments); }

  /// Leases the cluster cluster-1.
  static Result acquire(const std::string& rest) {
    return dbcache("acquire --config cluster.json --create 'echo cluster-1' " + rest);
  }
  /// The name that it prints, without its end of line.
  static std::string name_in(const Result& result) {
    EXPECT_EQ(result.code, 0) << result.err;
    return result.out.substr(0, result.out.size() - 1);
  }

  /// The same in the background; the line is replaced by its last command. Its own process is the
  /// one that signals are sent to.
  static test::ChildProcess start(const std::string& line) {
    return test::ChildProcess([&] {
      exec(line);
      return test::ChildProcess::threw;
    });
  }
  [[noreturn]] static void exec(const std::string& line) {
    const std::string whole = "exec " + line;
    ::execl("/bin/sh", "sh", "-c", whole.c_str(), nullptr);
    ::_exit(test::ChildProcess::threw);
  }

  static void make_fifo(const std::string& name) {
    if (::mkfifo(name.c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed");
  }
  /// Until somebody wrote to a fifo and closed it.
  static void wait_on(const std::string& fifo) {
    const int descriptor = ::open(fifo.c_str(), O_RDONLY);
    char byte = 0;
    while (::read(descriptor, &byte, 1) > 0) {
    }
    ::close(descriptor);
  }
  /// Sends a signal to a dbcache, and returns once its thread for signals has taken it: what the
  /// command does next, it does with the request to stop.
  static void send_and_see_taken(const test::ChildProcess& process, int signal) {
    process.kill(signal);
    const std::string status = "/proc/" + std::to_string(process.pid()) + "/status";
    const auto is_pending = [&] {
      const std::string text = test::read_bytes(status);
      const auto at = text.find("ShdPnd:");
      if (at == std::string::npos) return false;  // it has ended
      return ((std::stoull(text.substr(at + 7), nullptr, 16) >> (signal - 1)) & 1U) != 0;
    };
    while (is_pending()) std::this_thread::yield();
  }
  /// Lets somebody go who reads from a fifo.
  static void let_go(const std::string& fifo) { ::close(::open(fifo.c_str(), O_WRONLY)); }

  // ---- What the database says

  static boost::json::value json(const std::string& arguments) {
    const Result result = dbcache(arguments + " --json");
    return boost::json::parse(result.out);
  }
  static std::string leases() { return dbcache("leases").out; }
  static std::string owed() { return dbcache("owed").out; }
  static constexpr const char* no_leases = "\n=== Leases ===\n  None\n";
  static constexpr const char* nothing_owed = "\n=== Pending Terminations ===\n  None\n";

  /// The types of the events, in their order.
  static std::vector<std::string> log() {
    std::vector<std::string> types;
    const boost::json::value events = json("history");
    for (const auto& event : events.as_array()) {
      types.emplace_back(event.at("type").as_string());
    }
    return types;
  }
};

}  // namespace dbcache::cli
