#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/postgres/libpq.hpp"
#include "system/descriptor.hpp"

namespace dbcache::store::postgres {

/// The session is gone, and with it the transaction, its locks and what it listened to.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What the server answered a statement with. The transaction is over but for its ROLLBACK.
class ServerError : public std::runtime_error {
 public:
  ServerError(std::string state, const std::string& message)
      : std::runtime_error(message), state_(std::move(state)) {}
  /// https://www.postgresql.org/docs/15/errcodes-appendix.html
  [[nodiscard]] const std::string& state() const noexcept { return state_; }

 private:
  std::string state_;
};

/// The rows that a statement gave.
class Result {
 public:
  explicit Result(PGresult* result);

  [[nodiscard]] int rows() const;
  [[nodiscard]] int columns() const;
  [[nodiscard]] std::string_view name(int column) const;
  [[nodiscard]] bool is_null(int row, int column) const;
  [[nodiscard]] std::string_view text(int row, int column) const;
  [[nodiscard]] std::int64_t integer(int row, int column) const;
  [[nodiscard]] bool is_true(int row, int column) const { return text(row, column) == "t"; }
  /// Of a bytea.
  [[nodiscard]] std::string bytes(int row, int column) const;
  [[nodiscard]] bool is_integer(int column) const;
  [[nodiscard]] bool is_boolean(int column) const;

 private:
  std::shared_ptr<PGresult> result_;
};

/// A statement's parameters, in order. Texts and bytes are not copied: they must live until the
/// statement is sent.
class Values {
 public:
  Values() = default;
  Values(const Values&) = delete;  // it points into itself
  Values& operator=(const Values&) = delete;

  Values& text(std::string_view value);
  Values& bytes(std::string_view value) { return text(value); }
  Values& integer(std::int64_t value);
  Values& null();

  /// A statement with these, to tell it from others.
  [[nodiscard]] std::string described(std::string_view sql) const;

 private:
  friend class Connection;
  static constexpr std::size_t most = 16;
  std::array<const char*, most> pointers_{};
  std::array<int, most> lengths_{};
  std::array<int, most> formats_{};
  std::array<std::array<char, 24>, most> digits_{};
  std::size_t count_ = 0;
};

/// Where to connect to, and as what.
struct Target {
  std::string url;
  std::string schema;
  std::chrono::milliseconds lock_timeout{};
};

/// One connection in pipeline mode: statements are queued, and sent together by the first that is
/// waited for (https://www.postgresql.org/docs/15/libpq-pipeline-mode.html). Not thread-safe; a
/// forked child's copy is nothing.
class Connection {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  /// How soon a dead server is noticed by an idle connection.
  enum class Watchfulness { ordinary, sharp };

  /// Not set up yet: `connect` gives one that is. `answers_within`: of when it is connected. Throws
  /// ConnectionLost where it may help to try again, else a typed error.
  Connection(const Target& target, Watchfulness watchfulness,
             std::chrono::milliseconds answers_within);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Runs with the next that is waited for; its rows are not looked at.
  void queue(std::string_view sql, const Values& values = {});
  /// The same, and its rows are among those that `run` gives.
  void want(std::string_view sql, const Values& values = {});
  /// Sends what is queued, and waits for it. Throws the first error.
  std::vector<Result> run();
  /// run(), and one more statement behind it as by post(), in the same message.
  std::vector<Result> run_and_post(std::string_view sql, const Values& values);
  /// want(), and the last of what run() gives.
  Result ask(std::string_view sql, const Values& values = {});
  /// Sends what is queued, and does not wait: errors are dropped. Never throws.
  void post() noexcept;

  /// Several statements without parameters, by themselves; what the last gave.
  Result execute_script(const std::string& sql);

  /// By when an answer that is waited for has to come: whoever waits finds the connection lost
  /// then. Gives what it was.
  Moment expect_answers_by(Moment until) { return std::exchange(answers_by_, until); }

  /// Whether a warning came since this was asked last.
  bool take_warning() { return std::exchange(warned_, false); }
  /// Reads what the server sent by itself; the number of notifications in it. Throws
  /// ConnectionLost.
  int take_notifications();

  /// -1 in a forked child.
  [[nodiscard]] int descriptor() const;
  [[nodiscard]] bool is_lost() const;

  struct Backend {
    std::int64_t pid = 0;
    std::string start;
  };
  [[nodiscard]] const Backend& backend() const { return backend_; }
  /// Whether something stands between this and the server, which gives it other sessions.
  [[nodiscard]] bool is_pooled() const { return pooled_; }

 private:
  struct Sent {
    enum class Kind { preparation, dropped, wanted, end, posted_end } kind = Kind::dropped;
    std::string_view statement{};  ///< Of a preparation.
  };

  friend std::unique_ptr<Connection> connect(const Target& target, Watchfulness watchfulness,
                                             std::chrono::milliseconds answers_within);
  void identify(const Target& target);
  [[nodiscard]] bool has_session_of_its_own(const Target& target);
  void set_up(const Target& target);
  void send(std::string_view sql, const Values& values, Sent::Kind kind);
  void end(Sent::Kind kind);
  std::vector<Result> receive();
  PGresult* next_result();
  [[noreturn]] void lose();
  static void on_notice(void* self, const PGresult* result);

  const Libpq& pq_;
  std::unique_ptr<PGconn, decltype(Libpq::finish)> handle_;
  std::optional<system::ForkClosed> socket_;
  std::unordered_map<std::string_view, std::string> prepared_;  ///< Names, by statements' texts.
  int names_ = 0;
  std::deque<Sent> sent_;
  Backend backend_;
  Moment answers_by_;
  bool lost_ = false;
  bool pooled_ = false;
  bool warned_ = false;
};

/// Connects, and looks whether a pooler that gives each transaction another session (PgBouncer's
/// transaction mode) stands in between: it breaks locks of sessions, and is refused.
std::unique_ptr<Connection> connect(const Target& target, Connection::Watchfulness watchfulness,
                                    std::chrono::milliseconds answers_within);

/// A name quoted for use in a statement.
std::string quoted(std::string_view name);

}  // namespace dbcache::store::postgres
