#include "cli/process/shell_command.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>

#include <dbcache/errors.hpp>

#include "cli/process/system_call.hpp"

namespace dbcache::cli {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t tail_bytes = 4096;
constexpr std::size_t lines_of_failure = 5;
constexpr std::string_view blanks = " \t\r\n";
constexpr std::chrono::seconds grace{10};
/// What is read at most of an output whose program has ended: another may go on writing to it.
constexpr std::size_t most_left_over = std::size_t{1} << 20;

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return "";
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

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

/// A file in memory, which has no reader to wait for and raises no SIGPIPE.
Descriptor make_input(const std::string& text) {
  if (text.empty()) return Descriptor(checked(::open("/dev/null", O_RDONLY | O_CLOEXEC), "open"));
  Descriptor file(checked(::memfd_create("dbcache-input", MFD_CLOEXEC), "memfd_create"));
  for (std::string_view left = text; !left.empty();) {
    const ssize_t written = ::write(file.number(), left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    left.remove_prefix(static_cast<std::size_t>(checked(static_cast<int>(written), "write")));
  }
  checked(static_cast<int>(::lseek(file.number(), 0, SEEK_SET)), "lseek");
  return file;
}

/// One of a running command's outputs.
class Output {
 public:
  Output(Descriptor from, Tail& tail, std::ostream* copy)
      : from_(std::move(from)), tail_(tail), copy_(copy) {}

  [[nodiscard]] int number() const noexcept { return from_.number(); }
  [[nodiscard]] bool is_open() const noexcept { return from_.is_open(); }

  /// What is there, up to so many bytes.
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
  Tail& tail_;
  std::ostream* copy_;
};

/// A command while it runs: what it writes is read, and it is made to end when it must.
class ShellRun {
 public:
  ShellRun(const ShellCommand& command, SignalWatch& signals, std::ostream& err)
      : command_(command), receiver_(signals), stopped_(make_event()) {
    PipeEnds out = make_pipe();
    PipeEnds errors = make_pipe();
    const Descriptor input = make_input(command.input);
    program_.emplace(Launch{.path = "/bin/sh",
                            .words = {"sh", "-c", command.line},
                            .environment = command.environment,
                            .signal_mask = signals.mask_of_children(),
                            // A terminal's signals come by way of the receiver instead. So all that
                            // the shell started can be ended: what is left would hold the lock.
                            .group = ProcessGroup::own,
                            .redirected = {{input.number(), STDIN_FILENO},
                                           {out.write.number(), STDOUT_FILENO},
                                           {errors.write.number(), STDERR_FILENO}},
                            .inherited = {command.lock_descriptor}});
    receiver_->is(*program_);
    outputs_.emplace_back(std::move(out.read), outcome_.out, nullptr);
    outputs_.emplace_back(std::move(errors.read), outcome_.err, &err);
  }

  ShellOutcome run() {
    const std::stop_callback stop(command_.stop, [this] { raise_event(stopped_); });
    while (!is_over()) step();
    if (told_to_end_) program_->signal(SIGKILL);  // and what it left behind in its group
    for (Output& output : outputs_) output.read(most_left_over);
    // The signal may have ended it before it has become a request to stop.
    const bool asked = command_.stop.stop_possible() && receiver_->got_any();
    receiver_.reset();
    outcome_.ending = program_->reap();
    const bool failed = outcome_.ending.signal != 0 || outcome_.ending.code != 0;
    // One that came to its end in spite of it all has a result, which must not be lost.
    if (failed) throw_if_ended(asked);
    return outcome_;
  }

 private:
  enum class Why { cancelled, timed_out };

  /// A daemon that it left behind may keep the outputs open for ever. Not so one that is told to
  /// end as well.
  [[nodiscard]] bool is_over() const {
    if (!ended_) return false;
    const bool silent = std::none_of(outputs_.begin(), outputs_.end(),
                                     [](const Output& output) { return output.is_open(); });
    return silent || !told_to_end_ || steady_clock::now() >= kill_at_;
  }

  void step() {
    std::array<pollfd, 4> watched{{{ended_ ? -1 : program_->ended_descriptor(), POLLIN, 0},
                                   {told_to_end_ ? -1 : stopped_.number(), POLLIN, 0},
                                   {outputs_[0].number(), POLLIN, 0},
                                   {outputs_[1].number(), POLLIN, 0}}};
    wait_for(watched, wakes_at());
    if (watched[0].revents != 0) ended_ = true;
    for (std::size_t at = 0; at < outputs_.size(); ++at) {
      if (watched.at(2 + at).revents != 0) outputs_[at].read(most_left_over);
    }
    if (!told_to_end_ && watched[1].revents != 0) tell_to_end(Why::cancelled);
    if (!told_to_end_ && command_.deadline && steady_clock::now() >= *command_.deadline) {
      tell_to_end(Why::timed_out);
    }
    if (told_to_end_ && !killed_ && steady_clock::now() >= kill_at_) {
      program_->signal(SIGKILL);
      killed_ = true;
    }
  }

  [[nodiscard]] std::optional<steady_clock::time_point> wakes_at() const {
    if (killed_) return std::nullopt;
    if (told_to_end_) return kill_at_;
    return command_.deadline;
  }

  void tell_to_end(Why why) {
    told_to_end_ = why;
    kill_at_ = steady_clock::now() + grace;
    // The signal that is the reason may have been one that it can take differently.
    if (!receiver_->got_any()) program_->signal(SIGTERM);
  }

  void throw_if_ended(bool asked) const {
    if (told_to_end_ == Why::timed_out) {
      throw Timeout(fmt::format("the {} command '{}' was ended: it took longer than --timeout",
                                command_.role, command_.line));
    }
    if (asked || told_to_end_ == Why::cancelled || command_.stop.stop_requested()) {
      throw Cancelled(
          fmt::format("the {} command '{}' was ended on request", command_.role, command_.line));
    }
  }

  const ShellCommand& command_;
  std::optional<SignalReceiver> receiver_;
  Descriptor stopped_;
  ShellOutcome outcome_;
  std::optional<Program> program_;
  std::vector<Output> outputs_;
  bool ended_ = false;
  bool killed_ = false;
  std::optional<Why> told_to_end_;
  steady_clock::time_point kill_at_;
};

}  // namespace

void Tail::add(std::string_view bytes) {
  bytes_ += bytes;
  if (bytes_.size() <= tail_bytes) return;
  bytes_.erase(0, bytes_.size() - tail_bytes);
  cut_ = true;
}

/// What was cut may have been the beginning of a secret, which would not be known for one any more.
std::string_view Tail::whole_lines() const {
  std::string_view text = bytes_;
  if (cut_) text.remove_prefix(std::min(text.find('\n'), text.size()));
  return trimmed(text);
}

std::string Tail::last_line() const {
  const std::string_view text = whole_lines();
  return std::string(trimmed(text.substr(text.find_last_of('\n') + 1)));
}

std::string Tail::last_lines() const {
  std::string lines;
  std::string_view text = whole_lines();
  for (std::size_t count = 0; count < lines_of_failure && !text.empty(); ++count) {
    const auto before = text.find_last_of('\n') + 1;
    const std::string line(trimmed(text.substr(before)));
    lines.insert(0, lines.empty() ? line : fmt::format("{} | ", line));
    text = trimmed(text.substr(0, before));
  }
  return lines;
}

ShellOutcome run_shell(const ShellCommand& command, SignalWatch& signals, std::ostream& err) {
  if (command.stop.stop_requested()) {
    throw Cancelled(
        fmt::format("the {} command was not run: the call was ended first", command.role));
  }
  return ShellRun(command, signals, err).run();
}

std::string failure_text(const ShellCommand& command, const ShellOutcome& outcome) {
  const std::string said = (outcome.err.is_blank() ? outcome.out : outcome.err).last_lines();
  return fmt::format("the {} command '{}' ended with {}{}{}", command.role, command.line,
                     outcome.ending.text(), said.empty() ? "" : ": ", said);
}

}  // namespace dbcache::cli
