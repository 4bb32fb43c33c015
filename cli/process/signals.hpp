#pragma once

#include <chrono>
#include <csignal>
#include <mutex>
#include <stop_token>
#include <string_view>
#include <thread>

#include "cli/process/descriptor.hpp"

namespace dbcache::cli {

class ChildProcess;

/// Blocks the signals that ask a program to stop (SIGINT, SIGTERM, SIGHUP, SIGQUIT), in this thread
/// and in those it starts later, so that a SignalThread can read them. Make it before the library
/// starts a thread. Signals that the caller ignores (nohup, a background job of a script) stay
/// ignored.
class BlockedSignals {
 public:
  BlockedSignals();
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  [[nodiscard]] const sigset_t& set() const noexcept { return set_; }
  /// The mask for child processes.
  [[nodiscard]] const sigset_t& mask_before() const noexcept { return mask_before_; }

 private:
  sigset_t set_{};
  sigset_t mask_before_{};
  bool children_were_ignored_;
};

/// A descriptor from which read_signal() reads the blocked signals.
Descriptor open_signal_descriptor(const BlockedSignals& blocked);

struct Signal {
  int number = 0;              ///< 0: no signal was pending.
  bool from_terminal = false;  ///< Sent by a key, to the whole foreground process group.

  explicit operator bool() const noexcept { return number != 0; }
};

Signal read_signal(const Descriptor& signals);

/// The error where a signal arrived during `create`, although `create` succeeded.
inline constexpr std::string_view signalled_text =
    "a signal stopped the command; it has released what it had acquired";

/// Decides whether a signal is a new request to stop, or repeats the last one. Some senders send
/// one request twice: timeout(1) signals its child and then the child's process group; a shell that
/// loses its terminal passes SIGHUP on just before the kernel sends its own; and systemd sends
/// SIGHUP beside SIGTERM (systemd.kill(5), SendSIGHUP=). A process that receives those two at once
/// reads SIGHUP first, because signalfd(2) returns the lowest number.
class StopRequests {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds same_within{1};

  enum class Kind {
    new_request,
    completed,  ///< Belongs to a request that began with SIGHUP; pass it on all the same.
    repeated,
  };
  [[nodiscard]] Kind classify(int number, Clock::time_point now) noexcept {
    const bool is_at_once = last_ != 0 && now - at_ < same_within;
    if (is_at_once && (number == last_ || number == SIGHUP)) return Kind::repeated;
    const bool completes_hang_up = is_at_once && last_ == SIGHUP;
    last_ = number;
    if (completes_hang_up) return Kind::completed;
    at_ = now;
    return Kind::new_request;
  }

 private:
  int last_ = 0;
  Clock::time_point at_{};
};

class SignalForwarder;

/// Reads the blocked signals in a thread of its own. The first signal requests a stop. Each signal
/// goes to the SignalForwarder, if there is one.
class SignalThread {
 public:
  /// Throws where this process cannot watch the children that it will start. Stops also when the
  /// other end of the socket `hang_up` is closed; -1: no such socket.
  explicit SignalThread(const BlockedSignals& blocked, int hang_up = -1);
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  /// The first signal requests this stop.
  [[nodiscard]] std::stop_token stop() const { return source_.get_token(); }
  /// The next signal requests this one, whatever came before.
  [[nodiscard]] std::stop_token next_stop();
  /// Readable after the first signal.
  [[nodiscard]] int signalled_descriptor() const noexcept { return signalled_.number(); }
  /// The number of the first signal, or 0.
  [[nodiscard]] int first() const;

  [[nodiscard]] const sigset_t& mask_of_children() const noexcept { return mask_; }

 private:
  friend class SignalForwarder;
  void read_signals(int hang_up);
  void take(Signal signal);

  sigset_t mask_;
  Descriptor signals_;
  Descriptor signalled_ = Descriptor();
  Descriptor quit_ = Descriptor();
  std::stop_source source_;
  StopRequests requests_;  ///< Used by the thread alone.
  mutable std::mutex mutex_;
  int first_ = 0;
  std::stop_source next_;
  SignalForwarder* forwarder_ = nullptr;
  std::jthread thread_;
};

/// Passes the signals that arrive during its lifetime to a child process. The first is passed on as
/// it is, unless the terminal has sent it to the child already; the second becomes SIGKILL. A
/// SignalThread has one forwarder at a time.
class SignalForwarder {
 public:
  explicit SignalForwarder(SignalThread& thread);
  ~SignalForwarder();
  SignalForwarder(const SignalForwarder&) = delete;
  SignalForwarder& operator=(const SignalForwarder&) = delete;

  /// Names the child, and passes on what arrived before. Destroy the forwarder before you reap the
  /// child.
  void forward_to(const ChildProcess& child);

  [[nodiscard]] bool got_any() const;

 private:
  friend class SignalThread;
  void take(Signal signal, StopRequests::Kind kind);

  SignalThread& thread_;
  const ChildProcess* child_ = nullptr;
  int first_ = 0;
  int count_ = 0;
};

}  // namespace dbcache::cli
