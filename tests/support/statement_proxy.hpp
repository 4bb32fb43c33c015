#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "support/statement_stream.hpp"
#include "support/temporary_directory.hpp"

namespace dbcache::test {

/// Stands between one client and the PostgreSQL server, and lets the statements of a transaction
/// through one by one. A client that sends a whole transaction in one message would leave no place
/// between its statements where another client could come in. Behind each statement the proxy adds
/// a Flush, so that the server answers it at once; a Flush has no answer of its own, so the client
/// receives what it would have received without the proxy.
///
/// All connections through a proxy are one client's: their statements go in the order in which they
/// come. Messages without an effect of their own (the opening of a connection, the Sync inside a
/// transaction) are never held.
///
/// The functions may be called from any thread.
class StatementProxy {
 public:
  /// Takes a line for each statement that was held, and for its answer. It runs on the proxy's
  /// thread, and must not call the proxy.
  using Note = std::function<void(const std::string&)>;

  /// `server_url`: through a socket in the file system.
  StatementProxy(const std::string& server_url, Note note);
  ~StatementProxy();
  StatementProxy(const StatementProxy&) = delete;
  StatementProxy& operator=(const StatementProxy&) = delete;

  /// What the client connects to.
  [[nodiscard]] std::string url() const { return url_; }

  /// The client's work begins. From its next transaction that may write, all statements are held,
  /// until let_go().
  void hold();
  void let_go();
  /// The client's work is over: nothing more will be sent than what is on its way.
  void end();

  /// Lets so many statements through, though none behind the COMMIT.
  void grant(int statements);
  /// Takes back what was granted and not used.
  void revoke();
  /// How many statements were let through since hold().
  [[nodiscard]] int passed() const;

  /// How many messages the client has sent that the server answers as a whole, from the first on.
  [[nodiscard]] int messages() const;

  enum class Place {
    on_its_way,        ///< in code of its own, or in a statement that was let through
    before_statement,  ///< that is held
    after_commit,      ///< what follows is held
    at_end,            ///< its work is over, and all its statements are answered
  };
  /// Waits until the client comes no further, for so long at most.
  [[nodiscard]] Place await_halt(std::chrono::milliseconds most);

  /// The server's processes for this client.
  [[nodiscard]] std::vector<std::int32_t> sessions() const;

  /// For messages about a client that is stuck.
  [[nodiscard]] std::string describe() const;

 private:
  struct Link;
  struct Queued {
    Link* link = nullptr;
    ClientUnit unit;
  };

  void serve();
  void accept_client();
  void read_client(Link& link);
  void read_server(Link& link);
  void dispatch();
  void forward(Queued queued);
  void take_answer(const ServerStream::Message& message);
  void drop_closed();
  [[nodiscard]] bool must_wait(const Queued& queued) const;
  [[nodiscard]] Place place() const;
  void wake() const;

  TemporaryDirectory directory_;
  const Note note_;
  std::string server_socket_;
  std::string url_;
  int listener_ = -1;
  int wakeup_ = -1;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Link>> links_;
  std::deque<Queued> queue_;
  std::optional<Queued> in_flight_;  ///< Sent to the server, and not answered yet.
  bool holds_ = false;
  bool in_transaction_ = false;  ///< The one that may write has begun.
  bool is_committed_ = false;
  int granted_ = 0;
  int passed_ = 0;
  int messages_ = 0;
  bool end_is_told_ = false;
  bool is_ended_ = false;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace dbcache::test
