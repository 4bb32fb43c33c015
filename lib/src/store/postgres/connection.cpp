#include "store/postgres/connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <poll.h>
#include <unistd.h>
#include <vector>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/join.hpp>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "text/hex.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

constexpr unsigned boolean_type = 16;  // pg_type's, which never change
constexpr unsigned bigint_type = 20;

/// Failures to connect that another attempt does not mend. The client library tells them by text
/// alone.
bool is_lasting_for_a_host(std::string_view message) {
  constexpr std::array<std::string_view, 10> lasting{
      "authentication failed", "no password supplied",    "does not exist",
      "no pg_hba.conf entry",  "could not translate",     "invalid ",
      "permission denied",     "is not permitted to log", "certificate",
      "does not support SSL"};
  // A name server that is out of reach: the host was cut off, say.
  if (message.find("Temporary failure in name resolution") != std::string_view::npos) return false;
  return std::any_of(lasting.begin(), lasting.end(), [&](std::string_view one) {
    return message.find(one) != std::string_view::npos;
  });
}

/// The client library has a line for each host of the URL, and goes on in lines that begin with a
/// tab.
std::vector<std::string> told_of_hosts(const std::string& message) {
  std::vector<std::string> lines;
  boost::algorithm::split(lines, message, boost::algorithm::is_any_of("\n"));
  std::vector<std::string> hosts;
  for (const std::string& line : lines) {
    if (!hosts.empty() && line.starts_with('\t')) {
      hosts.back() += " " + boost::algorithm::trim_copy(line);
    } else {
      hosts.push_back(line);
    }
  }
  return hosts;
}

/// As the client library understands it; nothing where it does not. What it says then may hold
/// parts of the password.
using Parsed = std::unique_ptr<PQconninfoOption, decltype(Libpq::free_conninfo)>;
Parsed parse(const std::string& url) {
  const Libpq& pq = Libpq::load();
  char* error = nullptr;
  Parsed parsed(pq.parse_conninfo(url.c_str(), &error), pq.free_conninfo);
  if (error != nullptr) pq.free_memory(error);
  return parsed;
}

template <class Take>
void for_each_setting(const Parsed& parsed, Take take) {
  for (const PQconninfoOption* one = parsed.get(); one->keyword != nullptr; ++one) {
    if (one->val != nullptr && *one->val != '\0') take(*one);
  }
}

/// A password with characters that mean something in a URL makes parts of it another's.
void require_readable(const std::string& url, const Parsed& parsed) {
  bool readable = parsed != nullptr;
  if (readable) {
    for_each_setting(parsed, [&](const PQconninfoOption& setting) {
      const std::string_view name = setting.keyword;
      const std::string_view value = setting.val;
      if (name == "host") readable = readable && value.find('@') == std::string_view::npos;
      if (name == "port") {
        readable = readable && value.find_first_not_of("0123456789,") == std::string_view::npos;
      }
    });
  }
  if (readable) return;
  throw InvalidArgument(fmt::format(
      "the {}... URL cannot be read: a parameter is misspelt, or the user's name or the password "
      "has characters such as @ : / ? # % that are not written as %40 %3A %2F %3F %23 %25",
      url.substr(0, url.find("://") + 3)));
}

/// Without the passwords that were given.
std::string without_secrets(std::string text, const Parsed& parsed) {
  for_each_setting(parsed, [&](const PQconninfoOption& setting) {
    if (setting.dispchar[0] == '*') boost::algorithm::replace_all(text, setting.val, "***");
  });
  return text;
}

/// Without the line's end that the client library puts.
std::string cleaned(const char* message) {
  std::string text = message == nullptr ? "" : message;
  boost::algorithm::trim(text);
  return text;
}

}  // namespace

// ---- Rows

Result::Result(PGresult* result) : result_(result, Libpq::load().clear) {}

int Result::rows() const { return Libpq::load().rows(result_.get()); }
int Result::columns() const { return Libpq::load().columns(result_.get()); }
std::string_view Result::name(int column) const {
  return Libpq::load().column_name(result_.get(), column);
}
bool Result::is_null(int row, int column) const {
  return Libpq::load().is_null(result_.get(), row, column) != 0;
}
std::string_view Result::text(int row, int column) const {
  const Libpq& pq = Libpq::load();
  return {pq.value(result_.get(), row, column),
          static_cast<std::size_t>(pq.length(result_.get(), row, column))};
}
std::int64_t Result::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    throw CorruptDatabase(
        fmt::format("the server gave '{}' where a whole number was to come", digits));
  }
  return number;
}
std::string Result::bytes(int row, int column) const {
  // bytea_output is hex: \x and the digits.
  return text::from_hex(text(row, column).substr(2));
}
bool Result::is_integer(int column) const {
  return Libpq::load().column_type(result_.get(), column) == bigint_type;
}
bool Result::is_boolean(int column) const {
  return Libpq::load().column_type(result_.get(), column) == boolean_type;
}

// ---- Parameters

Values& Values::text(std::string_view value) {
  pointers_.at(count_) = value.data() == nullptr ? "" : value.data();
  lengths_[count_] = static_cast<int>(value.size());
  formats_[count_] = 1;  // as bytes, whose length is told: a text is the same in both forms
  ++count_;
  return *this;
}

Values& Values::integer(std::int64_t value) {
  auto& digits = digits_.at(count_);
  *std::to_chars(digits.data(), digits.data() + digits.size() - 1, value).ptr = '\0';
  pointers_.at(count_) = digits.data();
  formats_[count_] = 0;
  ++count_;
  return *this;
}

Values& Values::null() {
  pointers_.at(count_++) = nullptr;
  return *this;
}

std::string Values::described(std::string_view sql) const {
  std::string all(sql);
  for (std::size_t at = 0; at < count_; ++at) {
    const char* const value = pointers_[at];
    // Texts with their lengths; numbers as they are.
    all += value == nullptr ? "|"
           : formats_[at] == 1
               ? fmt::format("|{}:{}", lengths_[at],
                             std::string_view(value, static_cast<std::size_t>(lengths_[at])))
               : fmt::format("|{}", value);
  }
  return all;
}

// ---- The connection

Connection::Connection(const Target& target, Watchfulness watchfulness,
                       std::chrono::milliseconds answers_within)
    : pq_(Libpq::load()), handle_(nullptr, pq_.finish) {
  const Parsed parsed = parse(target.url);
  require_readable(target.url, parsed);
  const bool sharp = watchfulness == Watchfulness::sharp;
  // What stands before the URL gives way to what it says. Not so what leases rest on: by when a
  // session that was cut off is known to be lost, and how long a silent host of several is tried.
  std::vector<const char*> names;
  std::vector<const char*> values;
  const auto give = [&](const char* name, const char* value) {
    names.push_back(name);
    values.push_back(value);
  };
  give("fallback_application_name", "dbcache");
  give("target_session_attrs", "read-write");
  if (!sharp) {
    give("connect_timeout", "5");
    give("keepalives_idle", "10");
    give("keepalives_interval", "5");
    give("keepalives_count", "3");
    give("tcp_user_timeout", "25000");
  }
  give("dbname", target.url.c_str());
  give("client_encoding", "UTF8");
  if (sharp) {
    give("connect_timeout", "2");
    give("keepalives", "1");
    give("keepalives_idle", "2");
    give("keepalives_interval", "1");
    give("keepalives_count", "3");
    give("tcp_user_timeout", "5000");
  }
  give(nullptr, nullptr);
  handle_.reset(pq_.connect(names.data(), values.data(), 1));
  if (!handle_ || pq_.status(handle_.get()) != CONNECTION_OK) {
    const auto hosts = told_of_hosts(
        without_secrets(cleaned(handle_ ? pq_.error_message(handle_.get()) : "no memory"), parsed));
    const std::string reason = boost::algorithm::join(hosts, "; ");
    if (std::all_of(hosts.begin(), hosts.end(), is_lasting_for_a_host)) {
      throw StorageFailure(fmt::format("the database {} cannot be reached: {}",
                                       text::redacted_url(target.url), reason));
    }
    throw ConnectionLost(reason);
  }
  // Of several hosts the first may have been silent: that takes nothing away from the other.
  answers_by_ = Moment::clock::now() + answers_within;
  socket_.emplace(pq_.socket(handle_.get()));
  pq_.set_notice_receiver(handle_.get(), on_notice, this);
}

Connection::~Connection() {
  // A child's copy of the socket is closed already; to finish would end the parent's session.
  if (!socket_ || !socket_->is_open()) {
    static_cast<void>(handle_.release());
    return;
  }
  try {
    // What was posted is done: closing before the answers came would break it off.
    if (!sent_.empty() && !is_lost()) run();
  } catch (const std::exception&) {
    // Nobody wants to know.
  }
  socket_.reset();
}

/// Leaves nothing behind in a session that may be a pooler's, for others.
void Connection::identify(const Target& target) {
  const Result session = execute_script(
      "SELECT pg_backend_pid(), current_setting('server_encoding'), (SELECT backend_start::text "
      "FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()), pg_is_in_recovery()");
  backend_ = {session.integer(0, 0), std::string(session.text(0, 2))};
  pooled_ = backend_.pid != pq_.backend_pid(handle_.get());
  if (session.text(0, 1) != "UTF8") {
    throw StorageFailure(fmt::format("the database {} has the encoding {}; create one with UTF8",
                                     text::redacted_url(target.url), session.text(0, 1)));
  }
  // What is there may be behind, and positions are drawn, and locks held, elsewhere.
  if (session.is_true(0, 3)) {
    throw ConnectionLost(
        "the server is a standby; name the primary, or leave target_session_attrs out of the URL");
  }
}

/// Whether a pooler gives it the same session for as long as it lasts.
bool Connection::has_session_of_its_own(const Target& target) {
  const std::string ask_backend = "SELECT pg_backend_pid()";
  constexpr std::chrono::milliseconds soon{1000};
  constexpr std::chrono::milliseconds late{2000};
  // While another's transaction lasts, this one must have its own session, and the same as before.
  Connection other(target, Watchfulness::ordinary, soon);
  std::optional<std::int64_t> others;
  try {
    others = other.execute_script("BEGIN; " + ask_backend).integer(0, 0);
  } catch (const ConnectionLost&) {
    // It stands in line: there is no session but those that somebody has. If this one had to stand
    // there for each transaction, it would now come after it.
  }
  const Moment before = expect_answers_by(std::min(answers_by_, Moment::clock::now() + late));
  try {
    const std::int64_t ours = execute_script(ask_backend).integer(0, 0);
    expect_answers_by(before);
    if (others) {
      other.expect_answers_by(before);
      other.execute_script(
          "ROLLBACK");  // a session that is left in the midst of one is thrown away
    }
    return ours == backend_.pid && ours != others;
  } catch (const ConnectionLost&) {
    throw ConnectionLost(
        "its pooler has no session left for this one; use pool_mode = session, and a pool as large "
        "as all who use it together need");
  }
}

void Connection::set_up(const Target& target) {
  // tcp_*: by when the server gives up a host that was cut off; a client's own settings do not tell
  // it. A transaction that only waits for its client holds its locks for five seconds: work that it
  // ends is done again. Both are short because sessions of such a host stand in line for locks, and
  // each whose turn comes before it is given up holds off all others for that long. Every
  // statement has one good plan; the server would make a new one each time for some, and that takes
  // longer than what they do.
  execute_script(fmt::format(
      "SET search_path = {}; SET client_min_messages = warning; SET bytea_output = hex; "
      "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; "
      "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 5000; SET jit = off; "
      "SET plan_cache_mode = force_generic_plan; "
      "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
      "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000; "
      "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) "
      "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
      quoted(target.schema),
      std::clamp<std::int64_t>(target.lock_timeout.count(), 1,
                               std::numeric_limits<std::int32_t>::max())));
}

void Connection::queue(std::string_view sql, const Values& values) {
  send(sql, values, Sent::Kind::dropped);
}

void Connection::want(std::string_view sql, const Values& values) {
  send(sql, values, Sent::Kind::wanted);
}

void Connection::send(std::string_view sql, const Values& values, Sent::Kind kind) {
  if (is_lost()) lose();
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    found = prepared_.emplace(sql, fmt::format("dbcache_{}", ++names_)).first;
    sent_.push_back({Sent::Kind::preparation, sql});
    if (pq_.send_prepare(handle_.get(), found->second.c_str(), std::string(sql).c_str(), 0,
                         nullptr) != 1) {
      lose();
    }
  }
  sent_.push_back({kind});
  if (pq_.send_query_prepared(handle_.get(), found->second.c_str(), static_cast<int>(values.count_),
                              values.pointers_.data(), values.lengths_.data(),
                              values.formats_.data(), 0) != 1) {
    lose();
  }
}

void Connection::end(Sent::Kind kind) {
  sent_.push_back({kind});
  if (is_lost() || pq_.pipeline_sync(handle_.get()) != 1) lose();
}

std::vector<Result> Connection::run() {
  end(Sent::Kind::end);
  return receive();
}

std::vector<Result> Connection::run_and_post(std::string_view sql, const Values& values) {
  end(Sent::Kind::end);
  queue(sql, values);
  end(Sent::Kind::posted_end);
  return receive();
}

/// What belongs to the first end that was not posted.
std::vector<Result> Connection::receive() {
  const auto waited_for = std::find_if(
      sent_.begin(), sent_.end(), [](const Sent& sent) { return sent.kind == Sent::Kind::end; });
  auto posted = std::count_if(sent_.begin(), waited_for,
                              [](const Sent& sent) { return sent.kind == Sent::Kind::posted_end; });
  std::vector<Result> wanted;
  std::optional<ServerError> failed;
  for (bool over = false; !over;) {
    const Sent sent = sent_.front();
    sent_.pop_front();
    const bool ours = posted == 0;  // of what was posted before, nobody wants to know
    std::unique_ptr<PGresult, decltype(Libpq::clear)> result(next_result(), pq_.clear);
    if (!result) lose();
    const ExecStatusType status = pq_.result_status(result.get());
    if (sent.kind == Sent::Kind::end || sent.kind == Sent::Kind::posted_end) {
      if (status != PGRES_PIPELINE_SYNC) lose();
      over = ours;
      if (!ours) --posted;
      continue;
    }
    if (status == PGRES_FATAL_ERROR || status == PGRES_PIPELINE_ABORTED) {
      if (sent.kind == Sent::Kind::preparation) prepared_.erase(sent.statement);
      if (status == PGRES_FATAL_ERROR) {
        const auto field = [&](int which) {
          return cleaned(pq_.result_error_field(result.get(), which));
        };
        const std::string severity = field(PG_DIAG_SEVERITY_NONLOCALIZED);
        if (severity == "FATAL" || severity == "PANIC" || field(PG_DIAG_SQLSTATE).empty()) lose();
        if (ours && !failed) {
          failed.emplace(field(PG_DIAG_SQLSTATE), field(PG_DIAG_MESSAGE_PRIMARY));
        }
      }
    } else if (ours && sent.kind == Sent::Kind::wanted) {
      wanted.emplace_back(result.release());
    }
    // The end of one statement's results.
    if (PGresult* const more = next_result()) {
      pq_.clear(more);
      lose();
    }
  }
  if (failed) throw ServerError(*failed);
  return wanted;
}

Result Connection::ask(std::string_view sql, const Values& values) {
  want(sql, values);
  return run().back();
}

void Connection::post() noexcept {
  try {
    end(Sent::Kind::posted_end);
  } catch (const std::exception&) {
    // Whoever uses it next finds it lost.
  }
}

Result Connection::execute_script(const std::string& sql) {
  if (!sent_.empty()) run();
  if (pq_.exit_pipeline(handle_.get()) != 1) lose();
  if (pq_.send_query(handle_.get(), sql.c_str()) != 1) lose();
  std::unique_ptr<PGresult, decltype(Libpq::clear)> last(next_result(), pq_.clear);
  while (PGresult* const more = next_result()) last.reset(more);
  if (!last) lose();
  PGresult* const result = last.get();
  Result answer(last.release());
  const ExecStatusType status = pq_.result_status(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    const std::string state = cleaned(pq_.result_error_field(result, PG_DIAG_SQLSTATE));
    if (is_lost() || state.empty()) lose();
    const ServerError error(state,
                            cleaned(pq_.result_error_field(result, PG_DIAG_MESSAGE_PRIMARY)));
    if (pq_.enter_pipeline(handle_.get()) != 1) lose();
    throw ServerError(error);
  }
  if (pq_.enter_pipeline(handle_.get()) != 1) lose();
  return answer;
}

PGresult* Connection::next_result() {
  while (pq_.is_busy(handle_.get()) != 0) {
    pollfd waiting{pq_.socket(handle_.get()), POLLIN, 0};
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(answers_by_ - Moment::clock::now());
    constexpr std::chrono::milliseconds longest = std::chrono::hours{1};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::clamp(left, {}, longest).count()));
    if (ready < 0 && errno != EINTR) lose();
    if (ready == 0 && left <= longest) {
      lost_ = true;
      throw ConnectionLost("the server does not answer");
    }
    if (pq_.consume_input(handle_.get()) != 1) lose();
  }
  return pq_.get_result(handle_.get());
}

int Connection::take_notifications() {
  if (is_lost() || pq_.consume_input(handle_.get()) != 1) lose();
  int count = 0;
  while (PGnotify* const notification = pq_.notifies(handle_.get())) {
    pq_.free_memory(notification);
    ++count;
  }
  // What ended the session comes as a message too, of which nothing tells but the status.
  if (pq_.status(handle_.get()) != CONNECTION_OK) lose();
  return count;
}

int Connection::descriptor() const {
  return socket_ && socket_->is_open() && !lost_ ? pq_.socket(handle_.get()) : -1;
}

bool Connection::is_lost() const {
  return lost_ || !socket_ || !socket_->is_open() || pq_.status(handle_.get()) != CONNECTION_OK;
}

void Connection::lose() {
  lost_ = true;
  const bool here = !socket_ || socket_->is_open();
  const std::string reason = here ? cleaned(pq_.error_message(handle_.get())) : "";
  throw ConnectionLost(reason.empty() ? "the connection was closed" : reason);
}

void Connection::on_notice(void* self, const PGresult* result) {
  auto& connection = *static_cast<Connection*>(self);
  const Libpq& pq = connection.pq_;
  const std::string severity =
      cleaned(pq.result_error_field(result, PG_DIAG_SEVERITY_NONLOCALIZED));
  if (severity == "WARNING") connection.warned_ = true;
}

std::unique_ptr<Connection> connect(const Target& target, Connection::Watchfulness watchfulness,
                                    std::chrono::milliseconds answers_within) {
  auto connection = std::make_unique<Connection>(target, watchfulness, answers_within);
  connection->identify(target);
  if (connection->is_pooled() && !connection->has_session_of_its_own(target)) {
    throw StorageFailure(fmt::format(
        "{} leads to a pooler that gives each transaction another session (PgBouncer's "
        "pool_mode = transaction), which breaks the locks that leases rest on; use pool_mode = "
        "session, or connect to the server itself",
        text::redacted_url(target.url)));
  }
  connection->set_up(target);
  return connection;
}

std::string quoted(std::string_view name) {
  std::string text = "\"";
  for (const char letter : name) {
    if (letter == '"') text += '"';
    text += letter;
  }
  return text + '"';
}

}  // namespace dbcache::store::postgres
