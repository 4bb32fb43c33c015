#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "support/postgres_connection.hpp"
#include "support/statement_proxy.hpp"

namespace dbcache::test {

/// Runs the write transactions of two clients of a PostgreSQL server beside each other, statement
/// by statement, in an order that is given. Which of them waits for a lock of the other's, the
/// server says; no time decides.
class Interleaving {
 public:
  /// A client's work, which has one write transaction, perhaps repeated. What it does before and
  /// after, such as a sweep, runs in one piece.
  using Work = std::function<void()>;

  explicit Interleaving(const std::string& server_url);

  /// What a client connects to.
  [[nodiscard]] std::string url(std::size_t client) const {
    return clients_.at(client).proxy.url();
  }

  static constexpr int to_its_end = std::numeric_limits<int>::max();

  /// `first` runs so many statements of its transaction, then the other so many of its own; then
  /// `first` runs to its end, and the other too. A client that waits for a lock of the other's
  /// gives way until it has it.
  struct Schedule {
    std::size_t first = 0;
    int of_first = 0;
    int of_second = to_its_end;

    [[nodiscard]] std::string describe() const;
  };

  /// How far the two came in turn, before each went to its end.
  struct Course {
    bool first_was_over = false;  ///< Its transaction.
    /// How many statements the other can run at that place before it waits for `first`, if it was
    /// to run to its end.
    int for_second = 0;
  };

  /// Returns once both are at their end. Throws std::runtime_error, with the trace, if the work of
  /// one throws, if one gets stuck, or if they wait for each other.
  Course run(const Schedule& schedule, const std::array<Work, 2>& works);

  /// The statements of the last run's transactions, in order, with the server's answers.
  [[nodiscard]] std::string trace() const;

  /// Runs every schedule with one or two switches, whichever client is first. `stride`: takes only
  /// each so many-th of those with two switches. `check` runs after each. Returns how many ran.
  int run_all(const std::function<std::array<Work, 2>()>& prepare,
              const std::function<void(const Schedule&)>& check, int stride);

 private:
  struct Client {
    Client(Interleaving& of, std::string called, const std::string& server_url)
        : name(std::move(called)),
          proxy(server_url, [this, &of](const std::string& what) { of.note(name, what); }) {}

    std::string name;
    StatementProxy proxy;
    std::string error{};  ///< What its work threw.
  };
  /// Why a client comes no further.
  enum class Halt { at_statement, blocked, committed, ended };

  class Running;

  Halt await_halt(Client& client);
  bool advance(Client& client, int statements);
  Halt go_on(Client& client);
  void run_to_end(Client& client);
  Client& other_than(const Client& client);
  [[nodiscard]] bool is_blocked(const Client& client);
  void note(const std::string& name, const std::string& what);
  [[nodiscard]] std::string describe() const;

  PostgresConnection monitor_;
  mutable std::mutex mutex_;  // guards what follows
  std::string trace_;
  std::array<Client, 2> clients_;
};

}  // namespace dbcache::test
