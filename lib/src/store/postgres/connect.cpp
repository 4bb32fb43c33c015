#include "store/postgres/connect.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <vector>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/join.hpp>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "system/descriptor.hpp"
#include "text/redacted_url.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;

/// Whether another attempt to connect will fail too. libpq reports the reason as text only.
bool is_lasting_for_a_host(std::string_view message) {
  constexpr std::array<std::string_view, 10> lasting{
      "authentication failed", "no password supplied",    "does not exist",
      "no pg_hba.conf entry",  "could not translate",     "invalid ",
      "permission denied",     "is not permitted to log", "certificate",
      "does not support SSL"};
  // The name server is out of reach, for example because the host was cut off.
  if (message.find("Temporary failure in name resolution") != std::string_view::npos) return false;
  return std::any_of(lasting.begin(), lasting.end(), [&](std::string_view one) {
    return message.find(one) != std::string_view::npos;
  });
}

/// libpq writes a line for each host of the URL, and continues a line with lines that begin with a
/// tab.
std::vector<std::string> reasons_by_host(const std::string& message) {
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

/// The URL as libpq reads it, or null if it cannot. Its error message may contain parts of the
/// password, so that is dropped.
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

/// If a password contains characters with a meaning in URLs, parts of it end up in the host or
/// port.
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
      "the {}... URL is not valid; check the spelling of its parameters, and write the characters "
      "@ : / ? # % in the user name and password as %40 %3A %2F %3F %23 %25",
      url.substr(0, url.find("://") + 3)));
}

/// The text with the passwords of the URL replaced.
std::string without_secrets(std::string text, const Parsed& parsed) {
  for_each_setting(parsed, [&](const PQconninfoOption& setting) {
    if (setting.dispchar[0] == '*') boost::algorithm::replace_all(text, setting.val, "***");
  });
  return text;
}

/// What libpq connects with: settings by name.
class Settings {
 public:
  Settings(const Target& target, std::optional<std::chrono::seconds> host_timeout)
      : timeout_(std::to_string(host_timeout.value_or(timeout_while_locks_wait).count())) {
    // The URL overrides what stands before it. It cannot override what leases depend on: how soon
    // the loss of a session is noticed, and how long each of several hosts is tried while locks
    // wait to be taken again.
    give("fallback_application_name", "dbcache");
    give("target_session_attrs", "read-write");
    if (host_timeout) give("connect_timeout", timeout_.c_str());
    give("dbname", target.url.c_str());
    give("client_encoding", "UTF8");
    if (!host_timeout) give("connect_timeout", timeout_.c_str());
    give("keepalives", "1");
    give("keepalives_idle", "2");
    give("keepalives_interval", "1");
    give("keepalives_count", "3");
    give("tcp_user_timeout", "5000");
    give(nullptr, nullptr);
  }
  Settings(const Settings&) = delete;  // it points into itself
  Settings& operator=(const Settings&) = delete;

  [[nodiscard]] const char* const* names() const { return names_.data(); }
  [[nodiscard]] const char* const* values() const { return values_.data(); }

 private:
  void give(const char* name, const char* value) {
    names_.push_back(name);
    values_.push_back(value);
  }

  static constexpr std::chrono::seconds timeout_while_locks_wait{2};

  const std::string timeout_;
  std::vector<const char*> names_;
  std::vector<const char*> values_;
};

/// Throws ConnectionLost if another attempt may succeed, else a typed error.
Connection::Handle open_handle(const Target& target,
                               std::optional<std::chrono::seconds> host_timeout) {
  const Libpq& pq = Libpq::load();
  const Parsed parsed = parse(target.url);
  require_readable(target.url, parsed);
  const Settings settings(target, host_timeout);
  system::reserve_standard_descriptors();  // libpq takes any number for its socket
  Connection::Handle handle(pq.connect(settings.names(), settings.values(), 1), pq.finish);
  if (handle && pq.status(handle.get()) == CONNECTION_OK) return handle;
  const auto hosts = reasons_by_host(without_secrets(
      trimmed_message(handle ? pq.error_message(handle.get()) : "no memory"), parsed));
  const std::string reason = boost::algorithm::join(hosts, "; ");
  if (std::all_of(hosts.begin(), hosts.end(), is_lasting_for_a_host)) {
    throw StorageFailure(fmt::format(
        "no connection to the database {} is possible: {}; check the URL and the server's settings",
        text::redacted_url(target.url), reason));
  }
  throw ConnectionLost(reason);
}

/// Asks which session this is. Leaves nothing behind in it: it may be a pooler's, for others. The
/// function, not the view over it: to plan that takes a new session 6 ms.
Connection::Backend identify(Connection& connection, const Target& target) {
  const Result session = connection.execute_script(
      "SELECT pg_backend_pid(), current_setting('server_encoding'), (SELECT backend_start::text "
      "FROM pg_catalog.pg_stat_get_activity(pg_backend_pid())), pg_is_in_recovery()");
  if (session.text(0, 1) != "UTF8") {
    throw StorageFailure(fmt::format("the database {} has the encoding {}; create one with UTF8",
                                     text::redacted_url(target.url), session.text(0, 1)));
  }
  // A standby's rows may be old, and positions and locks are given out by the primary.
  if (session.is_true(0, 3)) {
    throw ConnectionLost(
        "the server is a standby; name the primary, or leave target_session_attrs out of the URL");
  }
  return {session.integer(0, 0), std::string(session.text(0, 2))};
}

/// Whether a pooler gives the connection the same session for as long as it lasts.
bool has_session_of_its_own(Connection& connection, const Target& target) {
  const std::string ask_backend = "SELECT pg_backend_pid()";
  constexpr milliseconds soon{1000};
  constexpr milliseconds late{2000};
  constexpr std::chrono::seconds host_timeout{5};
  // During another connection's transaction, this one must have its own session, and the same as
  // before.
  Connection other(open_handle(target, host_timeout), soon);
  std::optional<std::int64_t> others;
  try {
    others = other.execute_script("BEGIN; " + ask_backend).integer(0, 0);
  } catch (const ConnectionLost&) {
    // It is queued, because each session of the pool belongs to some client. If this connection had
    // to queue for each transaction, it would now come after the other.
  }
  const auto before = connection.answers_by();
  connection.expect_answers_by(std::min(before, Connection::Moment::clock::now() + late));
  try {
    const std::int64_t ours = connection.execute_script(ask_backend).integer(0, 0);
    connection.expect_answers_by(before);
    if (others) {
      other.expect_answers_by(before);
      other.execute_script("ROLLBACK");  // a pooler closes a session that is left in a transaction
    }
    return ours == connection.backend().pid && ours != others;
  } catch (const ConnectionLost&) {
    throw ConnectionLost(
        "the pooler has no free session; use pool_mode = session, and a pool that is large enough "
        "for all its clients together");
  }
}

void set_up(Connection& connection, const Target& target) {
  // tcp_*: when the server gives up a host that was cut off. The client's own settings do not apply
  // there. A transaction that only waits for its client keeps its locks for five seconds; work that
  // this ends is done again. Both times are short because sessions of a host that was cut off also
  // queue for locks: each that gets one holds off all other sessions until the server gives it up.
  // Generic plans: each statement has one good plan, and for some of them planning anew each time
  // takes longer than running them.
  connection.execute_script(fmt::format(
      "SET search_path = {}; SET client_min_messages = warning; SET bytea_output = hex; "
      "SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; "
      "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 5000; SET jit = off; "
      "SET plan_cache_mode = force_generic_plan; "
      "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; "
      "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 10000; "
      "SELECT pg_catalog.set_config('synchronous_commit', 'on', false) "
      "WHERE pg_catalog.current_setting('synchronous_commit') = 'off'",
      quoted_identifier(target.schema), lock_timeout_of(target).count()));
}

}  // namespace

milliseconds lock_timeout_of(const Target& target) {
  constexpr milliseconds most{std::numeric_limits<std::int32_t>::max()};
  return std::clamp(target.lock_timeout, milliseconds{1}, most);
}

std::unique_ptr<Connection> connect(const Target& target,
                                    std::optional<std::chrono::seconds> host_timeout,
                                    milliseconds answers_within) {
  auto connection = std::make_unique<Connection>(open_handle(target, host_timeout), answers_within);
  connection->set_backend(identify(*connection, target));
  // A pooler tells its clients a process id of its own.
  const bool is_pooled = connection->backend().pid != connection->announced_pid();
  if (is_pooled && !has_session_of_its_own(*connection, target)) {
    throw StorageFailure(fmt::format(
        "{} names a pooler that runs each transaction in another session (PgBouncer's pool_mode = "
        "transaction), which breaks the locks that leases depend on; use pool_mode = session, or "
        "connect to the server directly",
        text::redacted_url(target.url)));
  }
  set_up(*connection, target);
  return connection;
}

bool names_one_host(const Target& target) {
  const Parsed parsed = parse(target.url);
  bool is_named = false;
  bool may_be_several = false;
  if (!parsed) return false;
  for_each_setting(parsed, [&](const PQconninfoOption& setting) {
    const std::string_view name = setting.keyword;
    if (name == "service") may_be_several = true;
    if (name != "host" && name != "hostaddr") return;
    is_named = true;
    if (std::string_view(setting.val).find(',') != std::string_view::npos) may_be_several = true;
  });
  return is_named && !may_be_several;
}

std::string quoted_identifier(std::string_view name) {
  std::string text = "\"";
  for (const char letter : name) {
    if (letter == '"') text += '"';
    text += letter;
  }
  return text + '"';
}

}  // namespace dbcache::store::postgres
