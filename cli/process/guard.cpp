#include "cli/process/guard.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <poll.h>
#include <sstream>
#include <string_view>
#include <system_error>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <dbcache/errors.hpp>

#include "cli/print_adoption.hpp"
#include "cli/process/system_call.hpp"

namespace json = boost::json;

namespace dbcache::cli {
namespace {

/// How often a guard checks whether `dbcache release` has ended what it holds.
constexpr std::chrono::seconds between_looks{5};

/// When a process started, in ticks since boot; nothing if /proc does not tell.
std::optional<std::uint64_t> start_time(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The name may hold any character, so count from its end: field 3 follows, the time is field 22.
  const auto name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int number = 3; number < 22; ++number) fields >> field;
  std::uint64_t ticks = 0;
  if (!(fields >> ticks)) return std::nullopt;
  return ticks;
}

bool is_ready(int descriptor, std::chrono::milliseconds within) {
  std::array<pollfd, 1> watched{{{descriptor, POLLIN, 0}}};
  wait_for(watched, std::chrono::steady_clock::now() + within);
  return watched[0].revents != 0;
}

// ---- The guard's side

/// A guard lives long. A lock or a pipe of its caller must not stay open because of it.
void close_all_but(int first, int second) {
  const auto [low, high] = std::minmax(first, second);
  close_descriptors(STDERR_FILENO + 1, low - 1);
  close_descriptors(low + 1, high - 1);
  close_descriptors(high + 1, std::numeric_limits<int>::max());
}

void close_standard_streams() {
  const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The caller may wait for the end of its pipe.
    if (!null.is_open() || ::dup2(null.number(), stream) < 0) ::close(stream);
  }
}

/// False if the caller is gone.
bool send(const Descriptor& caller, const json::object& answer) {
  const std::string text = json::serialize(answer);
  for (std::string_view left = text; !left.empty();) {
    const ssize_t sent = ::send(caller.number(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    left.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void wait_for_end(GuardedResource& resource, const Descriptor& process,
                  const SignalThread& signals) {
  for (;;) {
    std::array<pollfd, 2> watched{
        {{process.number(), POLLIN, 0}, {signals.signalled_descriptor(), POLLIN, 0}}};
    wait_for(watched, std::chrono::steady_clock::now() + between_looks);
    if (watched[0].revents != 0 || watched[1].revents != 0) return;
    try {
      if (resource.was_ended_elsewhere()) return;
    } catch (const std::exception&) {
      // The database cannot answer just now: keep the resource.
      continue;
    }
  }
}

json::object failure(ExitCode code, const char* message) {
  return {{"code", static_cast<int>(code)}, {"error", message}};
}

/// Sets `answer`; returns the resource, or null after a failure.
std::unique_ptr<GuardedResource> take_resource(Context& context, SignalThread& signals,
                                               const TakeResource& take, json::object& answer) {
  try {
    std::unique_ptr<GuardedResource> resource = take(context, signals);
    report_adoption(context);
    answer = {{"code", 0}, {"report", resource->report()}};
    return resource;
  } catch (const InvalidArgument& error) {
    answer = failure(ExitCode::usage, error.what());
  } catch (const NotFound& error) {
    answer = failure(ExitCode::no, error.what());
  } catch (const std::exception& error) {
    const int signal = signals.first();
    const ExitCode code = signal != 0 ? exit_code_of_signal(signal) : ExitCode::failed;
    answer = failure(code, error.what());
  }
  return nullptr;
}

void guard(Context& context, const BlockedSignals& blocked, const Descriptor& process,
           const Descriptor& caller, const TakeResource& take) {
  // Leave the terminal: neither its Ctrl-C nor its hang-up must reach the guard.
  ::setsid();
  close_all_but(process.number(), caller.number());
  SignalThread signals(blocked, caller.number());
  json::object answer;
  const std::unique_ptr<GuardedResource> resource = take_resource(context, signals, take, answer);
  const bool sent = send(caller, answer);
  if (resource == nullptr) return;
  if (sent) {
    // Close the connection for the caller, although the signal thread still polls the descriptor.
    ::shutdown(caller.number(), SHUT_RDWR);
    close_standard_streams();
    wait_for_end(*resource, process, signals);
  }
  resource->release(signals.stop());
}

[[noreturn]] void run_guard(Context& context, const BlockedSignals& blocked,
                            const Descriptor& process, const Descriptor& caller,
                            const TakeResource& take) {
  try {
    guard(context, blocked, process, caller, take);
  } catch (const std::exception& error) {
    // No caller listens. What the guard holds ends with this process, as after a crash.
    context.terminal().err << "dbcache: " << error.what() << '\n' << std::flush;
  }
  context.terminal().err.flush();
  ::_exit(0);
}

// ---- The caller's side

GuardAnswer parse_answer(const std::string& text) {
  json::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) {
    return {ExitCode::failed,
            "the guard process was killed before it acquired anything; try again",
            {}};
  }
  const json::object& answer = parsed.get_object();
  const auto code = static_cast<ExitCode>(answer.at("code").as_int64());
  if (const json::value* const message = answer.if_contains("error")) {
    return {code, std::string(message->as_string()), {}};
  }
  return {code, "", answer.at("report").as_object()};
}

/// Passes the caller's signals on to the guard, which has no terminal to receive them from.
class GuardSignals {
 public:
  GuardSignals(const BlockedSignals& blocked, pid_t guard)
      : signals_(open_signal_descriptor(blocked)), guard_(guard) {}

  /// Returns when `descriptor` is readable.
  void pass_on_until_readable(const Descriptor& descriptor) {
    for (;;) {
      std::array<pollfd, 2> watched{
          {{descriptor.number(), POLLIN, 0}, {signals_.number(), POLLIN, 0}}};
      wait_for(watched);
      if (watched[1].revents != 0) pass_on();
      if (watched[0].revents != 0) return;
    }
  }

  /// The last signal that was passed on, or 0.
  [[nodiscard]] int passed_on() const noexcept { return passed_on_; }

 private:
  void pass_on() {
    const int number = read_signal(signals_).number;
    if (number == 0) return;
    passed_on_ = number;
    ::kill(guard_, number);
  }

  Descriptor signals_;
  pid_t guard_;
  int passed_on_ = 0;
};

/// All that the guard sends.
std::string receive(const Descriptor& guard, GuardSignals& signals) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    signals.pass_on_until_readable(guard);
    const ssize_t got = ::recv(guard.number(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

GuardAnswer await_answer(const BlockedSignals& blocked, const Descriptor& guard, pid_t pid) {
  GuardSignals signals(blocked, pid);
  GuardAnswer answer = parse_answer(receive(guard, signals));
  // A guard releases what it holds after a signal, however late the signal arrives.
  if (answer.code == ExitCode::done && signals.passed_on() != 0) {
    answer = {exit_code_of_signal(signals.passed_on()), std::string(signalled_text), {}};
  }
  if (answer.code != ExitCode::done) {
    signals.pass_on_until_readable(open_process(pid));
    ::waitpid(pid, nullptr, 0);
  }
  return answer;
}

}  // namespace

Descriptor open_while_pid(std::int64_t pid) {
  const auto refuse = [pid](const char* why) {
    throw InvalidArgument(
        fmt::format("--while-pid {}: {}; give the id of a running process", pid, why));
  };
  if (pid < 1 || pid > std::numeric_limits<pid_t>::max()) refuse("no process can have this id");
  Descriptor process;
  try {
    process = open_process(static_cast<int>(pid));
  } catch (const std::system_error& error) {
    refuse(error.code() == std::errc::no_such_process ? "there is no such process"
                                                      : error.code().message().c_str());
  }
  // The caller wrote the number before this command started. A younger process with that number is
  // another one.
  const auto started = start_time(pid);
  const auto own_start = start_time(::getpid());
  if (started && own_start && *started > *own_start) {
    refuse("this process is younger than this command, so the intended one has ended");
  }
  if (is_ready(process.number(), std::chrono::milliseconds{0})) refuse("this process has ended");
  return process;
}

GuardAnswer start_guard(Context& context, Descriptor process, const TakeResource& take) {
  std::array<int, 2> ends{};
  checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  Descriptor ours(ends[0]);
  Descriptor guards(ends[1]);
  // Before the fork, so that no signal kills the guard.
  const BlockedSignals blocked;
  context.terminal().out.flush();
  context.terminal().err.flush();
  const pid_t pid = checked(::fork(), "fork");
  if (pid == 0) {
    ours.close();
    run_guard(context, blocked, process, guards, take);
  }
  guards.close();
  return await_answer(blocked, ours, pid);
}

}  // namespace dbcache::cli
