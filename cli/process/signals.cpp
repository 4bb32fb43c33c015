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

/// Also throws where the children that will be started could not be watched: before anything is
/// begun that would be left unfinished.
Descriptor open_signals_before_start(const BlockedSignals& blocked) {
  static_cast<void>(open_process(::getpid()));
  return open_signal_descriptor(blocked);
}

}  // namespace

BlockedSignals::BlockedSignals() : children_were_ignored_(is_ignored(SIGCHLD)) {
  ::sigemptyset(&set_);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    if (!is_ignored(number)) ::sigaddset(&set_, number);
  }
  ::pthread_sigmask(SIG_BLOCK, &set_, &mask_before_);
  // With SIGCHLD ignored the kernel reaps children, and nobody learns their exit status.
  if (children_were_ignored_) set_disposition(SIGCHLD, SIG_DFL);
}

BlockedSignals::~BlockedSignals() {
  if (children_were_ignored_) set_disposition(SIGCHLD, SIG_IGN);
  ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

Descriptor open_signal_descriptor(const BlockedSignals& blocked) {
  return Descriptor(
      checked(::signalfd(-1, &blocked.set(), SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
}

Signal read_signal(const Descriptor& signals) {
  signalfd_siginfo info{};
  if (::read(signals.number(), &info, sizeof info) != sizeof info) return {};
  const auto number = static_cast<int>(info.ssi_signo);
  // The kernel sends a hang-up too, but to the session's leader alone (setsid(2), credentials(7)).
  return {.number = number,
          .from_terminal = info.ssi_code == SI_KERNEL && (number == SIGINT || number == SIGQUIT)};
}

SignalThread::SignalThread(const BlockedSignals& blocked, int hang_up)
    : mask_(blocked.mask_before()),
      signals_(open_signals_before_start(blocked)),
      signalled_(make_eventfd()),
      quit_(make_eventfd()),
      thread_([this, hang_up] { read_signals(hang_up); }) {}

SignalThread::~SignalThread() {
  raise_eventfd(quit_);
  thread_.join();
}

int SignalThread::first() const {
  const std::lock_guard lock(mutex_);
  return first_;
}

std::stop_token SignalThread::next_stop() {
  const std::lock_guard lock(mutex_);
  if (next_.stop_requested()) next_ = std::stop_source();
  return next_.get_token();
}

void SignalThread::read_signals(int hang_up) {
  // poll(2) reports POLLHUP, the socket's only interesting event, without being asked for it.
  std::array<pollfd, 3> watched{
      {{quit_.number(), POLLIN, 0}, {signals_.number(), POLLIN, 0}, {hang_up, 0, 0}}};
  for (;;) {
    wait_for(watched);
    // Read the signals before returning: one left pending would kill the process when the signals
    // are unblocked, after the work that it was meant to stop.
    while (const Signal signal = read_signal(signals_)) take(signal);
    if (watched[0].revents != 0) return;
    if (watched[2].revents != 0) {
      watched[2].fd = -1;
      source_.request_stop();
    }
  }
}

void SignalThread::take(Signal signal) {
  const auto kind = requests_.classify(signal.number, StopRequests::Clock::now());
  if (kind == StopRequests::Kind::repeated) return;
  std::stop_source next;
  {
    const std::lock_guard lock(mutex_);
    if (first_ == 0) first_ = signal.number;
    if (forwarder_ != nullptr) forwarder_->take(signal, kind);
    next = next_;
  }
  next.request_stop();
  raise_eventfd(signalled_);
  // After the forwarder has it: the stopped thread can tell then that the child has the signal.
  source_.request_stop();
}

SignalForwarder::SignalForwarder(SignalThread& thread) : thread_(thread) {
  const std::lock_guard lock(thread_.mutex_);
  thread_.forwarder_ = this;
}

SignalForwarder::~SignalForwarder() {
  const std::lock_guard lock(thread_.mutex_);
  thread_.forwarder_ = nullptr;
}

void SignalForwarder::forward_to(const ChildProcess& child) {
  const std::lock_guard lock(thread_.mutex_);
  child_ = &child;
  // Also a signal of the terminal: the child did not exist when it arrived.
  if (count_ > 0) child.signal(count_ > 1 ? SIGKILL : first_);
}

bool SignalForwarder::got_any() const {
  const std::lock_guard lock(thread_.mutex_);
  return count_ > 0;
}

void SignalForwarder::take(Signal signal, StopRequests::Kind kind) {
  if (count_ == 0 || kind == StopRequests::Kind::new_request) ++count_;
  if (count_ == 1) first_ = signal.number;
  if (child_ == nullptr) return;
  if (count_ > 1) {
    child_->signal(SIGKILL);
  } else if (!signal.from_terminal || child_->group() == ProcessGroup::own) {
    child_->signal(signal.number);
  }
}

}  // namespace dbcache::cli
