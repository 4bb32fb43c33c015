#include "cli/process/shell_command.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <vector>

#include <fmt/format.h>

#include <dbcache/errors.hpp>

#include "cli/process/system_call.hpp"

namespace dbcache::cli {
namespace {

using std::chrono::steady_clock;

/// How long the CMD may run on after SIGTERM.
constexpr std::chrono::seconds grace{10};
/// The most that is read at once: another process may go on writing after the CMD has exited.
constexpr std::size_t most_read = std::size_t{1} << 20;

struct PipeEnds {
  Descriptor read;
  Descriptor write;
};

PipeEnds make_pipe() {
  std::array<int, 2> ends{};
  checked(::pipe2(ends.data(), O_CLOEXEC), "pipe2");
  checked(::fcntl(ends[0], F_SETFL, O_NONBLOCK), "fcntl");
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

/// A file: unlike a pipe, it makes the writer neither wait nor receive SIGPIPE.
Descriptor make_input(const std::string& text) {
  if (text.empty()) return Descriptor(checked(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open"));
  Descriptor file = make_unnamed_file();
  for (std::string_view left = text; !left.empty();) {
    const ssize_t written = ::write(file.number(), left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    left.remove_prefix(static_cast<std::size_t>(checked(static_cast<int>(written), "write")));
  }
  checked(static_cast<int>(::lseek(file.number(), 0, SEEK_SET)), "lseek");
  return file;
}

/// The stdout or stderr of a running CMD.
class Output {
 public:
  Output(Descriptor from, OutputTail& tail, std::ostream* copy)
      : from_(std::move(from)), tail_(tail), copy_(copy) {}

  [[nodiscard]] int number() const noexcept { return from_.number(); }
  [[nodiscard]] bool is_open() const noexcept { return from_.is_open(); }

  /// Reads what is available, at most `most` bytes.
  void read(std::size_t most) {
    std::array<char, 16384> buffer{};
    while (is_open() && most > 0) {
      const ssize_t got = ::read(number(), buffer.data(), std::min(buffer.size(), most));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        from_.close();
        return;
      }
      const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
      tail_.add(bytes);
      if (copy_ != nullptr) *copy_ << bytes << std::flush;
      most -= bytes.size();
    }
  }

 private:
  Descriptor from_;
  OutputTail& tail_;
  std::ostream* copy_;
};

/// A running CMD: reads its outputs, and ends it when it must.
class ShellRun {
 public:
  ShellRun(const ShellCommand& command, SignalThread& signals, std::ostream& err)
      : command_(command), forwarder_(signals), stopped_(make_eventfd()) {
    PipeEnds out = make_pipe();
    PipeEnds errors = make_pipe();
    const Descriptor input = make_input(command.input);
    child_.emplace(Launch{.path = "/bin/sh",
                          .arguments = {"sh", "-c", command.line},
                          .environment = command.environment,
                          .signal_mask = signals.mask_of_children(),
                          // Its own group, so that all its processes can be ended: a survivor would
                          // hold the lock. A terminal's signals reach it through the forwarder.
                          .group = ProcessGroup::own,
                          .redirected = {{input.number(), STDIN_FILENO},
                                         {out.write.number(), STDOUT_FILENO},
                                         {errors.write.number(), STDERR_FILENO}},
                          .inherited = {command.lock_descriptor}});
    forwarder_->forward_to(*child_);
    outputs_.emplace_back(std::move(out.read), outcome_.out, nullptr);
    outputs_.emplace_back(std::move(errors.read), outcome_.err, &err);
  }

  ShellOutcome run() {
    const std::stop_callback stop(command_.stop, [this] { raise_eventfd(stopped_); });
    while (!is_over()) step();
    if (stop_reason_) child_->signal(SIGKILL);  // also its descendants
    for (Output& output : outputs_) output.read(most_read);
    // A signal may have ended the CMD before it became a stop request.
    const bool got_signal = command_.stop.stop_possible() && forwarder_->got_any();
    forwarder_.reset();
    outcome_.status = child_->reap();
    const bool failed = outcome_.status.signal != 0 || outcome_.status.code != 0;
    // A CMD that succeeded in spite of the stop has a result, which must not be lost.
    if (failed) throw_if_stopped(got_signal);
    return outcome_;
  }

 private:
  enum class StopReason { cancelled, timed_out };

  /// Does not wait for the outputs to close: a daemon that the CMD left behind may keep them open.
  /// After a stop it does, for `grace` at most: SIGTERM has gone to that daemon too.
  [[nodiscard]] bool is_over() const {
    if (!exited_) return false;
    const bool silent = std::none_of(outputs_.begin(), outputs_.end(),
                                     [](const Output& output) { return output.is_open(); });
    return silent || !stop_reason_ || steady_clock::now() >= kill_at_;
  }

  void step() {
    std::array<pollfd, 4> watched{{{exited_ ? -1 : child_->exit_descriptor(), POLLIN, 0},
                                   {stop_reason_ ? -1 : stopped_.number(), POLLIN, 0},
                                   {outputs_[0].number(), POLLIN, 0},
                                   {outputs_[1].number(), POLLIN, 0}}};
    wait_for(watched, wakes_at());
    if (watched[0].revents != 0) exited_ = true;
    for (std::size_t at = 0; at < outputs_.size(); ++at) {
      if (watched.at(2 + at).revents != 0) outputs_[at].read(most_read);
    }
    if (!stop_reason_ && watched[1].revents != 0) request_end(StopReason::cancelled);
    if (!stop_reason_ && command_.deadline && steady_clock::now() >= *command_.deadline) {
      request_end(StopReason::timed_out);
    }
    if (stop_reason_ && !killed_ && steady_clock::now() >= kill_at_) {
      child_->signal(SIGKILL);
      killed_ = true;
    }
  }

  [[nodiscard]] std::optional<steady_clock::time_point> wakes_at() const {
    if (killed_) return std::nullopt;
    if (stop_reason_) return kill_at_;
    return command_.deadline;
  }

  void request_end(StopReason reason) {
    stop_reason_ = reason;
    kill_at_ = steady_clock::now() + grace;
    // A forwarded signal is request enough: the CMD may handle it in its own way.
    if (!forwarder_->got_any()) child_->signal(SIGTERM);
  }

  void throw_if_stopped(bool got_signal) const {
    if (stop_reason_ == StopReason::timed_out) {
      throw Timeout(fmt::format("the {} command '{}' was stopped: it took longer than --timeout",
                                command_.role, command_.line));
    }
    if (got_signal || stop_reason_ == StopReason::cancelled || command_.stop.stop_requested()) {
      throw Cancelled(
          fmt::format("the {} command '{}' was stopped on request", command_.role, command_.line));
    }
  }

  const ShellCommand& command_;
  std::optional<SignalForwarder> forwarder_;
  Descriptor stopped_;
  ShellOutcome outcome_;
  std::optional<ChildProcess> child_;
  std::vector<Output> outputs_;
  bool exited_ = false;
  bool killed_ = false;
  std::optional<StopReason> stop_reason_;
  steady_clock::time_point kill_at_;
};

}  // namespace

ShellOutcome run_shell(const ShellCommand& command, SignalThread& signals, std::ostream& err) {
  if (command.stop.stop_requested()) {
    throw Cancelled(
        fmt::format("the {} command was not run: a stop was requested first", command.role));
  }
  return ShellRun(command, signals, err).run();
}

std::string failure_text(const ShellCommand& command, const ShellOutcome& outcome) {
  const std::string said = (outcome.err.is_blank() ? outcome.out : outcome.err).last_lines();
  return fmt::format("the {} command '{}' ended with {}{}{}", command.role, command.line,
                     outcome.status.text(), said.empty() ? "" : ": ", said);
}

}  // namespace dbcache::cli
