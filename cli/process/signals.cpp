#include "cli/process/signals.hpp"

#include <array>
#include <poll.h>

#include <sys/signalfd.h>

#include "cli/process/child_process.hpp"
#include "cli/process/system_call.hpp"

namespace dbcache::cli {
namespace {

bool is_ignored(int number) {
  struct sigaction action {};
  ::sigaction(number, nullptr, &action);
  return action.sa_handler == SIG_IGN;
}

void set_disposition(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(number, &action, nullptr);
}

}  // namespace

HeldSignals::HeldSignals() : children_were_ignored_(is_ignored(SIGCHLD)) {
  ::sigemptyset(&held_);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    if (!is_ignored(number)) ::sigaddset(&held_, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &held_, &before_);
  // Else the kernel reaps children, and nobody learns how they ended.
  if (children_were_ignored_) set_disposition(SIGCHLD, SIG_DFL);
}

HeldSignals::~HeldSignals() {
  if (children_were_ignored_) set_disposition(SIGCHLD, SIG_IGN);
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

Descriptor open_signals(const HeldSignals& held) {
  return Descriptor(checked(::signalfd(-1, &held.held(), SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
}

Signal read_signal(const Descriptor& signals) {
  signalfd_siginfo info{};
  if (::read(signals.number(), &info, sizeof info) != sizeof info) return {};
  const auto number = static_cast<int>(info.ssi_signo);
  // A hang-up is the kernel's too, but goes to the session's leader alone (setsid(2),
  // credentials(7)).
  return {.number = number,
          .from_terminal = info.ssi_code == SI_KERNEL && (number == SIGINT || number == SIGQUIT)};
}

SignalWatch::SignalWatch(const HeldSignals& held, int hang_up)
    : mask_(held.before()),
      signals_(open_signals(held)),
      signalled_(make_event()),
      quit_(make_event()),
      thread_([this, hang_up] { watch(hang_up); }) {}

SignalWatch::~SignalWatch() {
  raise_event(quit_);
  thread_.join();
}

int SignalWatch::first() const {
  const std::lock_guard lock(mutex_);
  return first_;
}

void SignalWatch::watch(int hang_up) {
  // Of the socket, POLLHUP alone is of interest, which need not be asked for.
  std::array<pollfd, 3> watched{
      {{quit_.number(), POLLIN, 0}, {signals_.number(), POLLIN, 0}, {hang_up, 0, 0}}};
  for (;;) {
    wait_for(watched);
    // Before the end is looked at: a signal that nobody took would kill the process as soon as it
    // is held no more, after the work that it was to end.
    while (const Signal signal = read_signal(signals_)) take(signal);
    if (watched[0].revents != 0) return;
    if (watched[2].revents != 0) {
      watched[2].fd = -1;
      source_.request_stop();
    }
  }
}

void SignalWatch::take(Signal signal) {
  const auto kind = requests_.take(signal.number, SignalRequests::Clock::now());
  if (kind == SignalRequests::Kind::same) return;
  {
    const std::lock_guard lock(mutex_);
    if (first_ == 0) first_ = signal.number;
    if (receiver_ != nullptr) receiver_->take(signal, kind);
  }
  raise_event(signalled_);
  // After the receiver has it: who is stopped can tell then that the program was told.
  source_.request_stop();
}

SignalReceiver::SignalReceiver(SignalWatch& watch) : watch_(watch) {
  const std::lock_guard lock(watch_.mutex_);
  watch_.receiver_ = this;
}

SignalReceiver::~SignalReceiver() {
  const std::lock_guard lock(watch_.mutex_);
  watch_.receiver_ = nullptr;
}

void SignalReceiver::is(const Program& program) {
  const std::lock_guard lock(watch_.mutex_);
  program_ = &program;
  // A terminal's, too: the program was not there when it came.
  if (count_ > 0) program.signal(count_ > 1 ? SIGKILL : kept_);
}

bool SignalReceiver::got_any() const {
  const std::lock_guard lock(watch_.mutex_);
  return count_ > 0;
}

void SignalReceiver::take(Signal signal, SignalRequests::Kind kind) {
  if (count_ == 0 || kind == SignalRequests::Kind::another) ++count_;
  if (count_ == 1) kept_ = signal.number;
  if (program_ == nullptr) return;
  if (count_ > 1) {
    program_->signal(SIGKILL);
  } else if (!signal.from_terminal || program_->group() == ProcessGroup::own) {
    program_->signal(signal.number);
  }
}

}  // namespace dbcache::cli
