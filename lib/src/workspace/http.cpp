#include "workspace/http.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <strings.h>
#include <unistd.h>
#include <utility>

#include <boost/algorithm/string/trim.hpp>
#include <fmt/format.h>

#include <dbcache/version.hpp>

#include "system/detached_thread.hpp"
#include "system/environment.hpp"
#include "workspace/libcurl.hpp"

namespace dbcache::workspace {

using SteadyClock = std::chrono::steady_clock;

namespace {

/// Waits until `done`, or until the bounds end the wait. The tick runs without the lock.
template <class Done>
bool wait_within(std::condition_variable_any& changed, std::unique_lock<std::mutex>& lock,
                 const Bounds& bounds, Done done) {
  constexpr std::chrono::seconds tick_every{1};
  while (!done()) {
    changed.wait_until(lock, bounds.stop,
                       std::min(bounds.deadline, SteadyClock::now() + tick_every), done);
    if (bounds.stop.stop_requested() || SteadyClock::now() >= bounds.deadline) return done();
    if (bounds.tick && !done()) {
      lock.unlock();
      bounds.tick();
      lock.lock();
    }
  }
  return true;
}

}  // namespace

void Bounds::require(const char* what) const {
  if (stop.stop_requested()) throw Cancelled(fmt::format("{} was cancelled", what));
  if (SteadyClock::now() >= deadline) throw Timeout(fmt::format("{} took too long", what));
}

Bounds Bounds::at_most(std::chrono::milliseconds within) const {
  Bounds bounds = *this;
  bounds.deadline = std::min(deadline, SteadyClock::now() + within);
  return bounds;
}

void pause(std::chrono::milliseconds duration, const Bounds& bounds, const char* what) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  const Bounds whole = bounds.at_most(duration);
  wait_within(changed, lock, whole, [] { return false; });
  if (whole.deadline == bounds.deadline || bounds.stop.stop_requested()) bounds.require(what);
}

bool is_loopback(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme != std::string_view::npos) url.remove_prefix(scheme + 3);
  const std::string_view address = url.substr(0, url.find_first_of("/?#"));
  // What looks like a name may be a user's: `localhost:1@elsewhere`.
  if (address.find_first_of("@\\") != std::string_view::npos) return false;
  if (address.starts_with("[::1]")) return true;
  const std::string_view name = address.substr(0, address.find(':'));
  if (name == "localhost") return true;
  return name.starts_with("127.") &&
         name.find_first_not_of("0123456789.") == std::string_view::npos;
}

/// A handle of libcurl with its connection.
class Http::Connection {
 public:
  Connection() : handle_(Libcurl::load().easy_init()) {
    if (handle_ == nullptr) throw std::bad_alloc();
  }
  ~Connection() {
    // That of a parent: to close it would end the parent's TLS session.
    if (made_by_ == ::getpid()) Libcurl::load().easy_cleanup(handle_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] bool is_of_this_process() const noexcept { return made_by_ == ::getpid(); }
  [[nodiscard]] CURL* handle() const noexcept { return handle_; }

 private:
  CURL* handle_;
  pid_t made_by_ = ::getpid();
};

class Http::Slot {
 public:
  ~Slot() { delete free_.load(); }
  std::unique_ptr<Connection> take() {
    std::unique_ptr<Connection> one(free_.exchange(nullptr));
    if (one == nullptr || !one->is_of_this_process()) one = std::make_unique<Connection>();
    return one;
  }
  void give_back(std::unique_ptr<Connection> one) { delete free_.exchange(one.release()); }

 private:
  std::atomic<Connection*> free_ = nullptr;
};

/// One request, which its own thread carries out. The caller may leave it.
class Http::Exchange {
 public:
  Exchange(HttpRequest request, Limits limits, std::shared_ptr<Slot> slot)
      : request_(std::move(request)), limits_(limits), slot_(std::move(slot)) {}

  /// On the exchange's own thread. Never throws.
  void carry_out() noexcept {
    std::unique_ptr<Connection> connection;
    std::exception_ptr failed;
    try {
      connection = slot_->take();
      perform(*connection);
    } catch (...) {
      failed = std::current_exception();
    }
    // Whether a connection can be used again is libcurl's business.
    if (connection) slot_->give_back(std::move(connection));
    const std::scoped_lock guard(mutex_);
    failed_ = failed;
    done_ = true;
    changed_.notify_all();
  }

  HttpResponse await(const Bounds& bounds) {
    struct Leaving {
      Exchange& exchange;
      ~Leaving() { exchange.abandoned_ = true; }
    } const leaving{*this};
    // Where libcurl does not keep to its limit: a process that was forked amid another thread's
    // request may have inherited a lock of OpenSSL.
    constexpr std::chrono::seconds grace{5};
    const Bounds whole = bounds.at_most(limits_.whole + grace);
    std::unique_lock lock(mutex_);
    if (!wait_within(changed_, lock, whole, [this] { return done_; })) {
      lock.unlock();
      bounds.require("the request to the workspace");
      throw NoAnswer("the request did not end", NoAnswer::Arrival::unknown, true);
    }
    if (failed_) std::rethrow_exception(failed_);
    return std::move(response_);
  }

 private:
  static std::size_t take_body(const char* bytes, std::size_t, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    if (exchange.response_.body.size() + count > exchange.limits_.answer_bytes) {
      exchange.too_large_ = true;
      return 0;
    }
    exchange.response_.body.append(bytes, count);
    return count;
  }

  static std::size_t take_header(const char* bytes, std::size_t, std::size_t count, void* self) {
    constexpr std::string_view name = "retry-after:";
    const std::string_view line(bytes, count);
    if (line.size() > name.size() && ::strncasecmp(line.data(), name.data(), name.size()) == 0) {
      // The form with a date is not used by servers that limit rates.
      const std::string value = boost::algorithm::trim_copy(std::string(line.substr(name.size())));
      constexpr std::size_t most_digits = 6;
      if (!value.empty() && value.size() <= most_digits &&
          value.find_first_not_of("0123456789") == std::string::npos) {
        static_cast<Exchange*>(self)->response_.retry_after =
            std::chrono::seconds(std::stol(value));
      }
    }
    return count;
  }

  static int look_whether_abandoned(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Exchange*>(self)->abandoned_ ? 1 : 0;
  }

  void set_options(CURL* handle, curl_slist* headers, char* error) {
    const Libcurl& curl = Libcurl::load();
    const auto set = [&](CURLoption option, auto value) {
      if (curl.easy_setopt(handle, option, value) != CURLE_OK) {
        throw Error(fmt::format("libcurl refuses its option {}", static_cast<int>(option)));
      }
    };
    curl.easy_reset(handle);
    set(CURLOPT_ERRORBUFFER, error);
    set(CURLOPT_URL, request_.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, is_loopback(request_.url) ? "http,https" : "https");
    // A proxy would read what goes to this machine in the clear.
    if (request_.url.starts_with("http://")) set(CURLOPT_PROXY, "");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    // libcurl itself does not read these; curl(1) and OpenSSL's own programs do.
    if (const auto file = system::environment_variable("SSL_CERT_FILE"); !file.empty()) {
      set(CURLOPT_CAINFO, file.c_str());
    }
    if (const auto folder = system::environment_variable("SSL_CERT_DIR"); !folder.empty()) {
      set(CURLOPT_CAPATH, folder.c_str());
    }
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits_.connect.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(limits_.whole.count()));
    set(CURLOPT_LOW_SPEED_LIMIT, least_bytes_per_second);
    set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(limits_.inactivity.count()));
    set(CURLOPT_HTTPHEADER, headers);
    set(CURLOPT_USERAGENT, user_agent);
    set(CURLOPT_WRITEFUNCTION, &take_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_HEADERFUNCTION, &take_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_XFERINFOFUNCTION, &look_whether_abandoned);
    set(CURLOPT_XFERINFODATA, static_cast<void*>(this));
    set(CURLOPT_NOPROGRESS, 0L);
    if (request_.method != "GET") {
      // On a connection that was used before, libcurl sends a request again that got no answer,
      // although the server may have carried it out.
      set(CURLOPT_FRESH_CONNECT, 1L);
      set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
      set(CURLOPT_POSTFIELDS, request_.body.c_str());
    }
  }

  void perform(Connection& connection) {
    const Libcurl& curl = Libcurl::load();
    CURL* const handle = connection.handle();
    std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(nullptr, curl.slist_free_all);
    const auto add = [&](const char* header) {
      curl_slist* const longer = curl.slist_append(headers.get(), header);
      if (longer == nullptr) throw std::bad_alloc();
      static_cast<void>(headers.release());
      headers.reset(longer);
    };
    add("Expect:");
    for (const std::string& header : request_.headers) add(header.c_str());
    std::string error(CURL_ERROR_SIZE, '\0');
    set_options(handle, headers.get(), error.data());
    const CURLcode code = curl.easy_perform(handle);
    if (code != CURLE_OK) {
      const std::string_view text = error.c_str();
      refuse(code, text.empty() ? curl.easy_strerror(code) : std::string(text));
    }
    long status = 0;
    curl.easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    const char* redirect = nullptr;
    curl.easy_getinfo(handle, CURLINFO_REDIRECT_URL, &redirect);
    if (redirect != nullptr) response_.redirect = redirect;
  }

  [[noreturn]] void refuse(CURLcode code, std::string text) const {
    using Arrival = NoAnswer::Arrival;
    if (too_large_) {
      throw NoAnswer(fmt::format("the answer has more than {} bytes", limits_.answer_bytes),
                     Arrival::unknown, false);
    }
    switch (code) {
      case CURLE_PEER_FAILED_VERIFICATION:
      case CURLE_SSL_CACERT_BADFILE:
      case CURLE_SSL_ISSUER_ERROR:
        text +=
            "; if the workspace or a proxy has a certificate authority of its own, name its file "
            "in SSL_CERT_FILE";
        throw NoAnswer(text, Arrival::no, false);
      case CURLE_UNSUPPORTED_PROTOCOL:
      case CURLE_URL_MALFORMAT:
        throw NoAnswer(text, Arrival::no, false);
      case CURLE_COULDNT_RESOLVE_PROXY:
      case CURLE_COULDNT_RESOLVE_HOST:
      case CURLE_COULDNT_CONNECT:
      case CURLE_PROXY:
      case CURLE_SSL_CONNECT_ERROR:
        throw NoAnswer(text, Arrival::no, true);
      default:
        throw NoAnswer(text, Arrival::unknown, true);
    }
  }

  static constexpr long least_bytes_per_second = 10;
  static constexpr const char* user_agent = "dbcache/" DBCACHE_VERSION;

  const HttpRequest request_;
  const Limits limits_;
  const std::shared_ptr<Slot> slot_;
  HttpResponse response_;
  bool too_large_ = false;
  std::atomic<bool> abandoned_ = false;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool done_ = false;
  std::exception_ptr failed_;
};

Http::Http(Limits limits) : limits_(limits), slot_(std::make_shared<Slot>()) {}
Http::~Http() = default;

HttpResponse Http::send(const HttpRequest& request, const Bounds& bounds) {
  bounds.require("the request to the workspace");
  const auto exchange = std::make_shared<Exchange>(request, limits_, slot_);
  if (!system::start_detached("dbcache-http", [exchange] { exchange->carry_out(); })) {
    throw NoAnswer("no thread can be started for the request", NoAnswer::Arrival::no, true);
  }
  return exchange->await(bounds);
}

}  // namespace dbcache::workspace
