#include "store/postgres/handshake.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <clocale>
#include <map>
#include <optional>
#include <poll.h>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/algorithm/string/classification.hpp>
#include <boost/algorithm/string/join.hpp>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/split.hpp>
#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>
#include <sys/socket.h>

#include <dbcache/errors.hpp>

#include "system/descriptor.hpp"
#include "text/redacted_url.hpp"
#include "text/utf8.hpp"

namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

/// libpq has no codes for its own errors, and writes them in the language of the thread.
class LibpqInEnglish {
 public:
  LibpqInEnglish() : before_(::uselocale(english())) {}
  ~LibpqInEnglish() { ::uselocale(before_); }
  LibpqInEnglish(const LibpqInEnglish&) = delete;
  LibpqInEnglish& operator=(const LibpqInEnglish&) = delete;

 private:
  static locale_t english() {
    static const locale_t locale = ::newlocale(LC_ALL_MASK, "C", nullptr);
    return locale;
  }
  const locale_t before_;
};

// ---- The URL

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

// ---- What libpq connects with

/// Settings by name, the later ones before the earlier ones.
class Settings {
 public:
  Settings(const Target& target, const Parsed& parsed, std::optional<seconds> host_timeout,
           Wanted wanted) {
    // The URL overrides what stands before it. It cannot override what leases depend on: how soon
    // the loss of a session is noticed, and how long each of several hosts is tried while locks
    // wait to be taken again.
    constexpr seconds timeout_while_locks_wait{2};
    const std::string timeout =
        std::to_string(host_timeout.value_or(timeout_while_locks_wait).count());
    give("fallback_application_name", "dbcache");
    give("target_session_attrs", "primary");
    if (host_timeout) give("connect_timeout", timeout);
    give("dbname", target.url);
    give("client_encoding", "UTF8");
    if (!host_timeout) give("connect_timeout", timeout);
    // A role may be read-only by default, and its session is told otherwise later.
    if (wanted == Wanted::takes_writes || asks_for_writes(parsed)) {
      give("target_session_attrs", wanted == Wanted::takes_writes ? "read-write" : "primary");
    }
    give("keepalives", "1");
    give("keepalives_idle", "2");
    give("keepalives_interval", "1");
    give("keepalives_count", "3");
    give("tcp_user_timeout", "5000");
  }

  void give(const char* name, std::string value) { given_.emplace_back(name, std::move(value)); }

  [[nodiscard]] PGconn* begin_to_connect() const {
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (const auto& [name, value] : given_) {
      names.push_back(name);
      values.push_back(value.c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    constexpr int expand_url = 1;
    system::reserve_standard_descriptors();  // libpq takes any number for its socket
    return Libpq::load().connect_start(names.data(), values.data(), expand_url);
  }

 private:
  static bool asks_for_writes(const Parsed& parsed) {
    bool asks = false;
    for_each_setting(parsed, [&](const PQconninfoOption& setting) {
      asks = asks || (std::string_view(setting.keyword) == "target_session_attrs" &&
                      std::string_view(setting.val) == "read-write");
    });
    return asks;
  }

  std::vector<std::pair<const char*, std::string>> given_;
};

// ---- Why it failed

/// Why a host has refused.
struct Reason {
  std::string text;
  std::string state;  ///< The server's code (SQLSTATE); empty if libpq itself has failed.
};

/// Puts the code behind the message: "FATAL:  28P01: no" becomes "FATAL:  no (28P01)". The server
/// may translate the word before it.
Reason with_code(std::string line) {
  constexpr std::size_t digits = 5;
  constexpr std::string_view before = ":  ";
  constexpr std::string_view after = ": ";
  for (auto at = line.find(before); at != std::string::npos; at = line.find(before, at + 1)) {
    const auto begin = at + before.size();
    const std::string state = line.substr(begin, digits);
    if (state.size() < digits || line.substr(begin + digits, after.size()) != after ||
        state.find_first_not_of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos) {
      continue;
    }
    line.erase(begin, digits + after.size());
    return {fmt::format("{} ({})", line, state), state};
  }
  return {std::move(line), ""};
}

/// libpq begins a line for each host of the URL. More lines of a server's message follow, or lines
/// that begin with a tab.
std::vector<Reason> reasons_by_host(const std::string& message) {
  std::vector<std::string> lines;
  boost::algorithm::split(lines, message, boost::algorithm::is_any_of("\n"));
  std::vector<Reason> hosts;
  for (const std::string& line : lines) {
    if (line.starts_with("LOCATION:  ")) continue;  // of the server's source
    const bool is_of_server = !hosts.empty() && !hosts.back().state.empty();
    const bool begins = line.starts_with("connection to server ") || line.starts_with("could not ");
    if (!hosts.empty() && (line.starts_with('\t') || (is_of_server && !begins))) {
      hosts.back().text += " " + boost::algorithm::trim_copy(line);
    } else {
      hosts.push_back(with_code(line));
    }
  }
  return hosts;
}

bool has_any_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view one) {
    return text.find(one) != std::string_view::npos;
  });
}

/// Whether another attempt to connect will fail too.
bool is_lasting(const Reason& reason, bool holds_locks) {
  const std::string_view state = reason.state;
  if (state.empty()) {
    // The name server is out of reach, for example because the host was cut off.
    if (has_any_of(reason.text, {"Temporary failure in name resolution"})) return false;
    // While a server is replaced its name may be unknown. It was known when the locks were taken.
    if (holds_locks && has_any_of(reason.text, {"could not translate"})) return false;
    return has_any_of(reason.text, {"no password supplied", "authentication failed",
                                    "does not exist", "could not translate", "invalid ",
                                    "permission denied", "certificate", "does not support SSL"});
  }
  // PgBouncer has this one code for all its errors, and writes them in English.
  if (state == "08P01") {
    return has_any_of(reason.text, {"authentication failed", "no such database", "no such user",
                                    "does not exist", "unsupported startup parameter"});
  }
  // Wrong user or password, no such database, no privilege on it, and settings of the URL that the
  // server does not know.
  return state.starts_with("28") || state.starts_with("22") || state.starts_with("42") ||
         state == "3D000" || state == "0A000";
}

// ---- The attempt

/// The hosts of the URL, of variables and of a service file, and how long to try each.
struct Hosts {
  explicit Hosts(PGconn* connection) {
    const Libpq& pq = Libpq::load();
    const Parsed settings(pq.conninfo(connection), pq.free_conninfo);
    if (!settings) return;
    for_each_setting(settings, [&](const PQconninfoOption& setting) {
      const std::string_view name = setting.keyword;
      const std::string value = setting.val;
      if (lists.contains(name)) {
        boost::algorithm::split(lists.find(name)->second, value, boost::algorithm::is_any_of(","));
      }
      if (name != "connect_timeout") return;
      constexpr int least = 2;  // libpq's
      int given = 0;
      std::from_chars(value.data(), value.data() + value.size(), given);
      if (given > 0) timeout = seconds{std::max(given, least)};
    });
  }

  /// Has `settings` name only the hosts behind the one that the connection was about to reach.
  /// False if there is none.
  bool go_on_behind(PGconn* connection, Settings& settings) const {
    const Libpq& pq = Libpq::load();
    const auto& names = lists.at("hostaddr").empty() ? lists.at("host") : lists.at("hostaddr");
    const std::string current_name =
        lists.at("hostaddr").empty() ? pq.host(connection) : pq.host_address(connection);
    const auto& ports = lists.at("port");
    for (std::size_t at = 0; at + 1 < names.size(); ++at) {
      const std::string& port = ports.size() > 1 ? ports[at] : pq.port(connection);
      if (names[at] != current_name || port != pq.port(connection)) continue;
      for (const auto& [name, list] : lists) {
        if (list.size() <= at + 1) continue;  // one port for all
        settings.give(
            name.c_str(),
            boost::algorithm::join(
                std::vector(list.begin() + static_cast<std::ptrdiff_t>(at) + 1, list.end()), ","));
      }
      return true;
    }
    return false;
  }

  std::map<std::string, std::vector<std::string>, std::less<>> lists{
      {"host", {}}, {"hostaddr", {}}, {"port", {}}};
  std::optional<seconds> timeout;
};

/// The address that libpq is about to reach.
std::string address_of(PGconn* connection) {
  const Libpq& pq = Libpq::load();
  return fmt::format("{} {} {}", trimmed_message(pq.host(connection)),
                     trimmed_message(pq.host_address(connection)),
                     trimmed_message(pq.port(connection)));
}

enum class End { over, silent };

/// Connects with one host after the other, as PQconnectdb does, which gives a server's error no
/// code. `silent`: the host has accepted the connection and does not answer; libpq cannot be told
/// to leave it.
End connect_in_time(PGconn* connection, std::optional<seconds> host_timeout, bool& was_late) {
  const Libpq& pq = Libpq::load();
  std::string address;
  steady_clock::time_point until;
  for (PostgresPollingStatusType next = PGRES_POLLING_WRITING;
       next == PGRES_POLLING_READING || next == PGRES_POLLING_WRITING;
       next = pq.connect_poll(connection)) {
    if (std::string now_at = address_of(connection); now_at != address) {
      address = std::move(now_at);
      until = steady_clock::now() + host_timeout.value_or(std::chrono::hours{1});
    }
    pollfd socket{pq.socket(connection),
                  static_cast<short>(next == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    int ready = 0;
    do {
      const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
      ready = ::poll(&socket, 1, static_cast<int>(std::max(left, milliseconds{0}).count()));
    } while (ready < 0 && errno == EINTR);
    if (ready != 0) continue;
    if (pq.status(connection) != CONNECTION_STARTED) return End::silent;
    // Ends the wait for the address, so that libpq goes on to the next.
    was_late = true;
    ::shutdown(socket.fd, SHUT_RDWR);
  }
  return End::over;
}

}  // namespace

Connection::Handle shake_hands(const Target& target, std::optional<seconds> host_timeout,
                               Wanted wanted) {
  const Libpq& pq = Libpq::load();
  const Parsed parsed = parse(target.url);
  require_readable(target.url, parsed);
  Settings settings(target, parsed, host_timeout, wanted);
  const LibpqInEnglish english;
  std::vector<std::string> messages;
  for (bool is_over = false; !is_over;) {
    Connection::Handle handle(settings.begin_to_connect(), pq.finish);
    if (!handle) throw ConnectionLost("no memory");
    // A role or the server may warn at once (of another version of the locale, say), and libpq
    // would print that.
    pq.set_notice_receiver(
        handle.get(), [](void*, const PGresult*) {}, nullptr);
    // So that messages contain codes.
    pq.set_error_verbosity(handle.get(), PQERRORS_VERBOSE);
    const Hosts hosts(handle.get());
    bool was_late = false;
    const End end = pq.status(handle.get()) == CONNECTION_BAD
                        ? End::over
                        : connect_in_time(handle.get(), hosts.timeout, was_late);
    if (end == End::over && pq.status(handle.get()) == CONNECTION_OK) {
      pq.set_error_verbosity(handle.get(), PQERRORS_DEFAULT);
      return handle;
    }
    std::string message = trimmed_message(pq.error_message(handle.get()));
    constexpr std::string_view no_answer = "timeout expired";
    if (was_late) {
      boost::algorithm::replace_all(message, "Connection reset by peer", no_answer);
    }
    // libpq has begun the line of this host.
    if (end == End::silent) message += fmt::format(" {}", no_answer);
    messages.push_back(std::move(message));
    is_over = end == End::over || !hosts.go_on_behind(handle.get(), settings);
  }
  const auto hosts = reasons_by_host(
      text::to_valid_utf8(without_secrets(boost::algorithm::join(messages, "\n"), parsed)));
  std::vector<std::string> texts;
  texts.reserve(hosts.size());
  for (const Reason& host : hosts) texts.push_back(host.text);
  const std::string reason = boost::algorithm::join(texts, "; ");
  if (std::all_of(hosts.begin(), hosts.end(), [&](const Reason& host) {
        return is_lasting(host, /*holds_locks=*/!host_timeout);
      })) {
    throw StorageFailure(fmt::format(
        "no connection to the database {} is possible: {}; check the URL and the server's settings",
        text::redacted_url(target.url), reason));
  }
  throw ConnectionLost(reason);
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

}  // namespace dbcache::store::postgres
