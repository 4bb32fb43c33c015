#include "cli/process/guard.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <fcntl.h>
#include <fstream>
#include <iterator>
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

/// How often a guard looks whether what it holds was ended by `dbcache release`.
constexpr std::chrono::seconds between_looks{5};

/// When a process began, in ticks since the machine did; nothing where /proc does not tell.
std::optional<std::uint64_t> start_time(std::int64_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  // The name before it may hold anything. What follows begins with field 3; the time is field 22.
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

/// A guard lives long: it must not keep open what its caller waits to see closed (a lock, a pipe).
void close_all_but(int first, int second) {
  const auto close_between = [](int from, int to) {
    if (from <= to) ::close_range(static_cast<unsigned>(from), static_cast<unsigned>(to), 0);
  };
  const auto [low, high] = std::minmax(first, second);
  close_between(STDERR_FILENO + 1, low - 1);
  close_between(low + 1, high - 1);
  ::close_range(static_cast<unsigned>(high) + 1, ~0U, 0);
}

void close_standard_streams() {
  const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::dup2(null.number(), stream);
  }
}

/// False when the caller is gone.
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

void wait_for_the_end(Holding& holding, const Descriptor& process, const SignalWatch& signals) {
  for (;;) {
    std::array<pollfd, 2> watched{
        {{process.number(), POLLIN, 0}, {signals.signalled_descriptor(), POLLIN, 0}}};
    wait_for(watched, std::chrono::steady_clock::now() + between_looks);
    if (watched[0].revents != 0 || watched[1].revents != 0) return;
    try {
      if (holding.has_ended()) return;
    } catch (const std::exception&) {
      // The database cannot be asked just now; that says nothing of what is held.
      continue;
    }
  }
}

json::object failure(ExitCode code, const char* message) {
  return {{"code", static_cast<int>(code)}, {"error", message}};
}

ExitCode code_of(ExitCode code, const SignalWatch& signals) {
  return signals.first() != 0 ? exit_code_of_signal(signals.first()) : code;
}

/// The taking, what became of it as an answer, and the holding if it came to one.
std::unique_ptr<Holding> taken(Context& context, SignalWatch& signals, const Take& take,
                               json::object& answer) {
  try {
    std::unique_ptr<Holding> holding = take(context, signals);
    report_adoption(context);
    answer = {{"code", 0}, {"report", holding->report()}};
    return holding;
  } catch (const InvalidArgument& error) {
    answer = failure(ExitCode::usage, error.what());
  } catch (const NotFound& error) {
    answer = failure(ExitCode::no, error.what());
  } catch (const std::exception& error) {
    answer = failure(code_of(ExitCode::failed, signals), error.what());
  }
  return nullptr;
}

void guard(Context& context, const HeldSignals& held, const Descriptor& process,
           const Descriptor& caller, const Take& take) {
  // Of no terminal any more: neither its Ctrl-C nor its end is for the guard.
  ::setsid();
  close_all_but(process.number(), caller.number());
  SignalWatch signals(held, caller.number());
  json::object answer;
  const std::unique_ptr<Holding> holding = taken(context, signals, take, answer);
  const bool told = send(caller, answer);
  if (holding == nullptr) return;
  if (told) {
    // The watch still waits for it, which alone would keep it open.
    ::shutdown(caller.number(), SHUT_RDWR);
    close_standard_streams();
    wait_for_the_end(*holding, process, signals);
  }
  holding->let_go(signals.stop());
}

[[noreturn]] void run_guard(Context& context, const HeldSignals& held, const Descriptor& process,
                            const Descriptor& caller, const Take& take) {
  try {
    guard(context, held, process, caller, take);
  } catch (const std::exception& error) {
    // Nobody listens: what is held ends with this process, and others note it.
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
    return {ExitCode::failed, "the guard was killed before it held anything", {}};
  }
  const json::object& answer = parsed.get_object();
  const auto code = static_cast<ExitCode>(answer.at("code").as_int64());
  if (const json::value* const message = answer.if_contains("error")) {
    return {code, std::string(message->as_string()), {}};
  }
  return {code, "", answer.at("report").as_object()};
}

/// Waits for either: true for the guard's. Signals go on to the guard, which has no terminal to get
/// them from.
bool wait_or_pass_on(int guards, const Descriptor& signals, pid_t guard, int& passed_on) {
  std::array<pollfd, 2> watched{{{guards, POLLIN, 0}, {signals.number(), POLLIN, 0}}};
  wait_for(watched);
  if (watched[1].revents != 0) {
    if (const int number = read_signal(signals).number) {
      passed_on = number;
      ::kill(guard, number);
    }
  }
  return watched[0].revents != 0;
}

GuardAnswer await_answer(const HeldSignals& held, const Descriptor& guard, pid_t pid) {
  const Descriptor signals = open_signals(held);
  int passed_on = 0;
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    if (!wait_or_pass_on(guard.number(), signals, pid, passed_on)) continue;
    const ssize_t got = ::recv(guard.number(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  GuardAnswer answer = parse_answer(text);
  // It ends what it holds for a signal, however late that came.
  if (answer.code == ExitCode::done && passed_on != 0) {
    answer = {exit_code_of_signal(passed_on), std::string(signalled_text), {}};
  }
  if (answer.code != ExitCode::done) {
    const Descriptor process = open_process(pid);
    while (!wait_or_pass_on(process.number(), signals, pid, passed_on)) {
    }
    ::waitpid(pid, nullptr, 0);
  }
  return answer;
}

}  // namespace

Descriptor open_named_process(std::int64_t pid) {
  const auto refuse = [pid](const char* why) {
    throw InvalidArgument(fmt::format("--while-pid {}: {}", pid, why));
  };
  if (pid < 1 || pid > std::numeric_limits<pid_t>::max()) refuse("no process has such a number");
  Descriptor process;
  try {
    process = open_process(static_cast<int>(pid));
  } catch (const std::system_error& error) {
    refuse(error.code() == std::errc::no_such_process ? "there is no such process"
                                                      : error.code().message().c_str());
  }
  // The number stood on the command line before this process began, so a younger one has got it
  // since from one that is gone.
  const auto began = start_time(pid);
  const auto here = start_time(::getpid());
  if (began && here && *began > *here) {
    refuse("that process is younger than this command: the one that was meant has ended");
  }
  if (is_ready(process.number(), std::chrono::milliseconds{0})) refuse("that process has ended");
  return process;
}

GuardAnswer hold_in_guard(Context& context, Descriptor process, const Take& take) {
  std::array<int, 2> ends{};
  checked(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), "socketpair");
  Descriptor ours(ends[0]);
  Descriptor guards(ends[1]);
  // Before the fork, so that the guard never runs without.
  const HeldSignals held;
  context.terminal().out.flush();
  context.terminal().err.flush();
  const pid_t pid = checked(::fork(), "fork");
  if (pid == 0) {
    ours.close();
    run_guard(context, held, process, guards, take);
  }
  guards.close();
  return await_answer(held, ours, pid);
}

}  // namespace dbcache::cli
