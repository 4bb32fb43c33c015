#pragma once

#include <chrono>
#include <csignal>
#include <mutex>
#include <stop_token>
#include <string_view>
#include <thread>

#include "cli/process/descriptor.hpp"

namespace dbcache::cli {

class Program;

/// Holds back the signals that ask a program to end (SIGINT, SIGTERM, SIGHUP, SIGQUIT) from this
/// thread and from those that it starts meanwhile, so that a SignalWatch gets them: to be made
/// before the library starts a thread. Those that the caller set to be ignored (nohup, a script's
/// background job) stay ignored.
class HeldSignals {
 public:
  HeldSignals();
  ~HeldSignals();
  HeldSignals(const HeldSignals&) = delete;
  HeldSignals& operator=(const HeldSignals&) = delete;

  [[nodiscard]] const sigset_t& held() const noexcept { return held_; }
  /// The mask that child processes are to have.
  [[nodiscard]] const sigset_t& before() const noexcept { return before_; }

 private:
  sigset_t held_{};
  sigset_t before_{};
  bool children_were_ignored_;
};

/// A descriptor that the held signals are read from.
Descriptor open_signals(const HeldSignals& held);

struct Signal {
  int number = 0;              ///< 0: there was none.
  bool from_terminal = false;  ///< Of a key; its whole foreground group has got it.

  explicit operator bool() const noexcept { return number != 0; }
};

Signal read_signal(const Descriptor& signals);

/// Why nothing is held although it could be had: a `create` may end well with a signal there.
inline constexpr std::string_view signalled_text =
    "a signal came meanwhile: what was taken is released";

/// Tells a second request from a first that was sent twice: coreutils' timeout(1) signals its child
/// and then the child's group, and a shell that loses its terminal passes SIGHUP on just before the
/// kernel sends its own. And systemd sends SIGHUP beside SIGTERM (systemd.kill(5), SendSIGHUP=), of
/// which a process that takes both at once sees SIGHUP first (signalfd(2) gives the lowest).
class SignalRequests {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds same_within{1};

  enum class Kind {
    another,   ///< A request of its own.
    addition,  ///< Of the same request, which began with a hang-up: to be told all the same.
    same,
  };
  [[nodiscard]] Kind take(int number, Clock::time_point now) noexcept {
    const bool is_at_once = last_ != 0 && now - at_ < same_within;
    if (is_at_once && (number == last_ || number == SIGHUP)) return Kind::same;
    const bool is_addition = is_at_once && last_ == SIGHUP;
    last_ = number;
    if (is_addition) return Kind::addition;
    at_ = now;
    return Kind::another;
  }

 private:
  int last_ = 0;
  Clock::time_point at_{};
};

class SignalReceiver;

/// Takes the held signals, in a thread of its own: the first is a request to end what waits, and
/// each goes to the receiver, if there is one.
class SignalWatch {
 public:
  /// `hang_up`: a socket; once its other end is closed, that is a request to end, too.
  explicit SignalWatch(const HeldSignals& held, int hang_up = -1);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  /// Asked to stop by the first signal.
  [[nodiscard]] std::stop_token stop() const { return source_.get_token(); }
  /// Readable from the first signal on.
  [[nodiscard]] int signalled_descriptor() const noexcept { return signalled_.number(); }
  /// The first signal, or 0.
  [[nodiscard]] int first() const;

  [[nodiscard]] const sigset_t& mask_of_children() const noexcept { return mask_; }

 private:
  friend class SignalReceiver;
  void watch(int hang_up);
  void take(Signal signal);

  sigset_t mask_;
  Descriptor signals_;
  Descriptor signalled_ = Descriptor();
  Descriptor quit_ = Descriptor();
  std::stop_source source_;
  SignalRequests requests_;  ///< Of the thread.
  mutable std::mutex mutex_;
  int first_ = 0;
  SignalReceiver* receiver_ = nullptr;
  std::jthread thread_;
};

/// Has the signals that come from now on, and gives them to a program: the first as it is, unless
/// the terminal has sent it there already; the second kills. One at a time.
class SignalReceiver {
 public:
  explicit SignalReceiver(SignalWatch& watch);
  ~SignalReceiver();
  SignalReceiver(const SignalReceiver&) = delete;
  SignalReceiver& operator=(const SignalReceiver&) = delete;

  /// What came before the program was there is given to it now. The program must not be reaped
  /// before the receiver is gone.
  void is(const Program& program);

  [[nodiscard]] bool got_any() const;

 private:
  friend class SignalWatch;
  void take(Signal signal, SignalRequests::Kind kind);

  SignalWatch& watch_;
  const Program* program_ = nullptr;
  int kept_ = 0;
  int count_ = 0;
};

}  // namespace dbcache::cli
