#pragma once

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
#include "store/postgres/result.hpp"
#include "store/postgres/server_error.hpp"
#include "store/postgres/values.hpp"
#include "system/descriptor.hpp"

namespace dbcache::store::postgres {

/// The session is gone, with its transaction, its locks and its LISTEN.
class ConnectionLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// One connection in pipeline mode: statements are queued, and the first one whose answer is waited
/// for sends them all (https://www.postgresql.org/docs/15/libpq-pipeline-mode.html). Not
/// thread-safe. A forked child cannot use it.
class Connection {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  using Handle = std::unique_ptr<PGconn, decltype(Libpq::finish)>;

  /// Takes over what libpq has connected; `connect` (connect.hpp) makes one that is ready for use.
  Connection(Handle handle, std::chrono::milliseconds answers_within);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool has_prepared(std::string_view sql) const { return prepared_.contains(sql); }

  /// Queues a statement whose rows nobody reads.
  void queue(std::string_view sql, const Values& values = {});
  /// Queues a statement whose rows `run` returns.
  void want(std::string_view sql, const Values& values = {});
  /// Sends what is queued, and waits for it. Throws the first error.
  std::vector<Result> run();
  /// run(), and one more statement behind it as by post(), in the same message.
  std::vector<Result> run_and_post(std::string_view sql, const Values& values);
  /// want(), and the last result of run().
  Result ask(std::string_view sql, const Values& values = {});
  /// Sends what is queued, and does not wait: errors are dropped. Never throws.
  void post() noexcept;

  /// Sends several statements without parameters at once. Returns the last one's result.
  Result execute_script(const std::string& sql);

  /// Until when to wait for answers: a wait that lasts longer throws ConnectionLost. Returns the
  /// value before.
  Moment expect_answers_by(Moment until) { return std::exchange(answers_by_, until); }
  [[nodiscard]] Moment answers_by() const { return answers_by_; }

  /// Whether the server sent a warning since the last call.
  bool take_warning() { return std::exchange(warned_, false); }
  /// Reads what the server sent unasked, and the answers to what was posted. Returns the channels
  /// of the notifications. Throws ConnectionLost.
  std::vector<std::string> take_notifications();

  /// When this process last knew that it runs and has the session: a call of `wake`, an answer, or
  /// a second of waiting for one. One that was stopped may learn much later that the session ended.
  [[nodiscard]] Moment last_awake() const { return last_awake_; }
  void wake() { last_awake_ = Moment::clock::now(); }

  /// -1 in a forked child.
  [[nodiscard]] int descriptor() const;
  [[nodiscard]] bool is_lost() const;

  /// The server's process for this session. A process id alone may be used again.
  struct Backend {
    std::int64_t pid = 0;
    std::string start;
  };
  [[nodiscard]] const Backend& backend() const { return backend_; }
  void set_backend(Backend backend) { backend_ = std::move(backend); }
  /// The process id that the server, or a pooler in its place, told when connecting.
  [[nodiscard]] std::int64_t announced_pid() const { return pq_.backend_pid(handle_.get()); }

 private:
  struct Sent {
    enum class Kind { preparation, dropped, wanted, end, posted_end } kind = Kind::dropped;
    std::string_view statement{};  ///< Of a preparation.
  };

  void send(std::string_view sql, const Values& values, Sent::Kind kind);
  void end(Sent::Kind kind);
  std::vector<Result> receive();
  std::optional<Result> take_answer(bool is_dropped, std::optional<ServerError>& failed);
  PGresult* next_result();
  [[noreturn]] void lose();
  static void on_notice(void* self, const PGresult* result);

  const Libpq& pq_;
  Handle handle_;
  std::optional<system::ForkClosed> socket_;
  std::unordered_map<std::string_view, std::string> prepared_;  ///< Names, by statements' texts.
  int names_ = 0;
  std::deque<Sent> sent_;
  Backend backend_;
  Moment answers_by_;
  Moment last_awake_ = Moment::clock::now();
  bool lost_ = false;
  bool warned_ = false;
};

}  // namespace dbcache::store::postgres
