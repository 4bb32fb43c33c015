#include "support/statement_proxy.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <libpq-fe.h>
#include <poll.h>
#include <stdexcept>
#include <string_view>
#include <unistd.h>
#include <utility>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support/throw_errno.hpp"

namespace dbcache::test {
namespace {

using Kind = ClientUnit::Kind;

/// Whether a statement begins a transaction that may write.
bool begins_write(const std::string& statement) {
  return statement.starts_with("BEGIN") && statement.find("READ ONLY") == std::string::npos;
}

std::string shortened(const std::string& statement) {
  constexpr std::size_t most = 110;
  return statement.size() <= most ? statement : statement.substr(0, most) + "...";
}

constexpr std::string_view flush{"H\0\0\0\4", 5};
constexpr char no_encryption = 'N';

/// A value of a connection url.
std::string setting_of(const std::string& url, std::string_view name) {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> settings(
      PQconninfoParse(url.c_str(), nullptr), PQconninfoFree);
  for (const PQconninfoOption* one = settings.get(); one != nullptr && one->keyword != nullptr;
       ++one) {
    if (one->keyword == name && one->val != nullptr) return one->val;
  }
  throw std::runtime_error("the url of the server has no " + std::string(name) + ": " + url);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::runtime_error("too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int new_socket() {
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) throw_errno("socket");
  return socket;
}

/// False where the other side is gone, which reading shows too.
bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

/// What has come so far; nothing at the end.
std::optional<std::string> receive(int socket) {
  std::string bytes;
  char piece[16'384];
  for (;;) {
    const ssize_t got = ::recv(socket, piece, sizeof piece, MSG_DONTWAIT);
    if (got > 0) {
      bytes.append(piece, static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return bytes;
    return bytes.empty() ? std::nullopt : std::optional(bytes);
  }
}

}  // namespace

/// A connection of the client's, and the one to the server that belongs to it.
struct StatementProxy::Link {
  Link(int of_client, int of_server) : client(of_client), server(of_server) {}
  ~Link() {
    ::close(client);
    ::close(server);
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  int client;
  int server;
  ClientStream from_client{};
  ServerStream from_server{};
  std::int32_t session = 0;
  bool client_left = false;
  bool server_left = false;
  bool in_transaction = false;  ///< That began with BEGIN.
  bool is_loose = false;        ///< Statements without BEGIN ran: the Sync commits them.
  bool is_skipping = false;     ///< After an error, the server skips everything up to the Sync.

  /// Whether the server answers this unit.
  [[nodiscard]] bool answers(Kind kind) const {
    return kind == Kind::sync || kind == Kind::query || (kind == Kind::statement && !is_skipping);
  }
  /// Whether this message ends the answer to such a unit.
  bool follow(Kind kind, const ServerStream::Message& message);
};

bool StatementProxy::Link::follow(Kind kind, const ServerStream::Message& message) {
  switch (message.type) {
    case 'K':  // BackendKeyData
      session = read_number(message.body);
      return false;
    case 'Z':  // ReadyForQuery
      in_transaction = message.body != "I";
      is_loose = is_skipping = false;
      return kind == Kind::sync || kind == Kind::query;
    case 'E':  // ErrorResponse
      is_loose = false;
      is_skipping = kind == Kind::statement;
      return kind == Kind::statement;
    case 'C': {  // CommandComplete
      const std::string tag = message.words();
      const bool ends = tag == "COMMIT" || tag == "ROLLBACK";
      if (!in_transaction && tag != "BEGIN" && !ends) is_loose = true;
      if (tag == "BEGIN") in_transaction = true;
      if (ends) in_transaction = false;
      return kind == Kind::statement;
    }
    case 'I':  // EmptyQueryResponse
    case 's':  // PortalSuspended
      return kind == Kind::statement;
    default:
      return false;
  }
}

StatementProxy::StatementProxy(const std::string& server_url, Note note)
    : note_(std::move(note)),
      server_socket_(setting_of(server_url, "host") + "/.s.PGSQL." +
                     setting_of(server_url, "port")),
      url_("postgresql:///" + setting_of(server_url, "dbname") + "?host=" +
           directory_.path().string() + "&port=5432&user=" + setting_of(server_url, "user") +
           "&sslmode=disable&gssencmode=disable"),
      listener_(new_socket()),
      wakeup_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  const sockaddr_un address = address_of((directory_.path() / ".s.PGSQL.5432").string());
  if (wakeup_ < 0 ||
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 16) != 0) {
    throw_errno("listening for clients");
  }
  thread_ = std::thread([this] { serve(); });
}

StatementProxy::~StatementProxy() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
  ::close(listener_);
  ::close(wakeup_);
}

void StatementProxy::wake() const {
  const std::uint64_t one = 1;
  static_cast<void>(::write(wakeup_, &one, sizeof one));
}

// ---- What the scheduler asks

void StatementProxy::hold() {
  const std::lock_guard lock(mutex_);
  holds_ = true;
  in_transaction_ = is_committed_ = false;
  granted_ = passed_ = 0;
  end_is_told_ = is_ended_ = false;
}

void StatementProxy::let_go() {
  {
    const std::lock_guard lock(mutex_);
    holds_ = false;
  }
  wake();
}

void StatementProxy::end() {
  {
    const std::lock_guard lock(mutex_);
    end_is_told_ = true;
  }
  wake();  // what the client sent before this may not have been read yet
}

void StatementProxy::grant(int statements) {
  {
    const std::lock_guard lock(mutex_);
    granted_ = is_committed_ ? 0 : statements;
  }
  wake();
}

void StatementProxy::revoke() {
  const std::lock_guard lock(mutex_);
  granted_ = 0;
}

int StatementProxy::passed() const {
  const std::lock_guard lock(mutex_);
  return passed_;
}

int StatementProxy::messages() const {
  const std::lock_guard lock(mutex_);
  return messages_;
}

StatementProxy::Place StatementProxy::await_halt(std::chrono::milliseconds most) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, most, [&] { return place() != Place::on_its_way; });
  return place();
}

StatementProxy::Place StatementProxy::place() const {
  if (in_flight_) return Place::on_its_way;
  if (is_ended_ && queue_.empty()) return Place::at_end;
  if (holds_ && is_committed_) return Place::after_commit;
  const bool is_held = granted_ == 0 && !queue_.empty() && must_wait(queue_.front());
  return is_held ? Place::before_statement : Place::on_its_way;
}

std::vector<std::int32_t> StatementProxy::sessions() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::int32_t> sessions;
  for (const auto& link : links_) sessions.push_back(link->session);
  return sessions;
}

std::string StatementProxy::describe() const {
  const std::lock_guard lock(mutex_);
  if (in_flight_) return "waits for the server's answer to: " + in_flight_->unit.sql;
  if (!queue_.empty()) return "is held before: " + queue_.front().unit.sql;
  return is_ended_ ? "has ended" : "is in code of its own";
}

// ---- The proxy's thread

void StatementProxy::serve() {
  for (;;) {
    std::vector<pollfd> sockets{{listener_, POLLIN, 0}, {wakeup_, POLLIN, 0}};
    for (const auto& link : links_) {
      sockets.push_back({link->client_left ? -1 : link->client, POLLIN, 0});
      sockets.push_back({link->server, POLLIN, 0});
    }
    ::poll(sockets.data(), sockets.size(), -1);
    std::uint64_t ignored = 0;
    static_cast<void>(::read(wakeup_, &ignored, sizeof ignored));

    const std::lock_guard lock(mutex_);
    if (stopping_) {
      links_.clear();
      return;
    }
    const bool end_is_told = end_is_told_;
    if ((sockets.front().revents & POLLIN) != 0) accept_client();
    // Every one, the older first: a client that goes on over another connection has sent the rest
    // over this one before.
    for (const auto& link : links_) read_client(*link);
    for (const auto& link : links_) read_server(*link);
    if (end_is_told) is_ended_ = true;
    dispatch();
    drop_closed();
    changed_.notify_all();
  }
}

void StatementProxy::accept_client() {
  const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = new_socket();
  const sockaddr_un address = address_of(server_socket_);
  auto link = std::make_unique<Link>(client, server);
  // A client whose server is gone sees its connection end.
  if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    links_.push_back(std::move(link));
  }
}

void StatementProxy::read_client(Link& link) {
  if (link.client_left) return;
  const auto bytes = receive(link.client);
  link.client_left = !bytes;
  if (!bytes) return;
  for (ClientUnit& unit : link.from_client.take(*bytes)) queue_.push_back({&link, std::move(unit)});
  if (link.from_client.take_encryption_request()) send_all(link.client, {&no_encryption, 1});
}

void StatementProxy::read_server(Link& link) {
  if (link.server_left) return;
  const auto bytes = receive(link.server);
  link.server_left = !bytes;
  if (!bytes) return;
  send_all(link.client, *bytes);
  for (const auto& message : link.from_server.take(*bytes)) {
    const bool is_asked = in_flight_ && in_flight_->link == &link;
    const bool is_whole =
        link.follow(is_asked ? in_flight_->unit.kind : Kind::other, message) && is_asked;
    if (is_asked) take_answer(message);
    if (is_whole) in_flight_.reset();
  }
}

void StatementProxy::take_answer(const ServerStream::Message& message) {
  if (!in_transaction_ || (message.type != 'C' && message.type != 'E')) return;
  const std::string words = message.words();
  note_("    " + words);
  if (words != "COMMIT") return;
  is_committed_ = true;
  granted_ = 0;
}

bool StatementProxy::must_wait(const Queued& queued) const {
  const Kind kind = queued.unit.kind;
  const bool has_effect = (kind == Kind::statement && !queued.link->is_skipping) ||
                          kind == Kind::query || (kind == Kind::sync && queued.link->is_loose);
  return holds_ && has_effect && (in_transaction_ || begins_write(queued.unit.sql));
}

void StatementProxy::dispatch() {
  while (!in_flight_ && !queue_.empty()) {
    if (must_wait(queue_.front())) {
      if (granted_ == 0) return;
      --granted_;
      ++passed_;
      in_transaction_ = true;
      note_(shortened(queue_.front().unit.sql));
    }
    Queued next = std::move(queue_.front());
    queue_.pop_front();
    forward(std::move(next));
  }
}

void StatementProxy::forward(Queued queued) {
  Link& link = *queued.link;
  if (queued.unit.kind == Kind::sync || queued.unit.kind == Kind::query) ++messages_;
  if (queued.unit.kind == Kind::statement) queued.unit.bytes += flush;
  send_all(link.server, queued.unit.bytes);
  if (link.answers(queued.unit.kind)) in_flight_ = std::move(queued);
}

/// Once one side is gone, and for the client's what it sent is through.
void StatementProxy::drop_closed() {
  const auto is_over = [&](const std::unique_ptr<Link>& link) {
    const bool has_queued = std::any_of(queue_.begin(), queue_.end(), [&](const Queued& queued) {
      return queued.link == link.get();
    });
    const bool is_asked = in_flight_ && in_flight_->link == link.get();
    return link->server_left || (link->client_left && !has_queued && !is_asked);
  };
  for (const auto& link : links_) {
    if (!is_over(link)) continue;
    std::erase_if(queue_, [&](const Queued& queued) { return queued.link == link.get(); });
    if (in_flight_ && in_flight_->link == link.get()) in_flight_.reset();
  }
  std::erase_if(links_, is_over);
}

}  // namespace dbcache::test
