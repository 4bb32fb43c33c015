#include <algorithm>
#include <fcntl.h>
#include <utility>

#include <boost/asio/post.hpp>

#include <dbcache/errors.hpp>

#include "store/postgres/session_parts.hpp"
#include "system/detached_thread.hpp"

// The thread that watches the session while nobody uses it.
namespace dbcache::store::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How often the thread looks whether the session is idle, and after how much idleness it watches
/// and closes it.
constexpr milliseconds look_every{1000};
constexpr milliseconds watch_after{200};
constexpr milliseconds close_after{3000};

/// While others wait with what this process holds, and after that.
constexpr milliseconds most_reconnect_pause{1000};
constexpr milliseconds most_late_pause{3000};

}  // namespace

void SessionKeeper::start_loop() {
  if (!loop_) {
    const system::BlockedSignals blocked;
    loop_ = std::make_unique<Loop>();
    loop_->thread = std::thread([&io = loop_->io] { io.run(); });
    ::pthread_setname_np(loop_->thread.native_handle(), "dbcache-session");
  }
  if (!loop_->is_ticking.exchange(true)) boost::asio::post(loop_->io, [this] { look_after(); });
}

void SessionKeeper::look_after() {
  loop_->is_called = false;
  milliseconds next = look_every;
  try {
    const system::ForkGate::Pass pass;
    const Loan loan(*this, std::try_to_lock);
    if (loan.is_mine()) {
      if (!look_after_idle()) {
        loop_->is_ticking = false;
        return;
      }
      loop_->reconnect_pause = Loop::first_reconnect_pause;
    }
  } catch (const StorageFailure&) {
    // It lets this process in no more. Each attempt may count against the user.
    const std::lock_guard lock(mutex_);
    give_up_if_late();
    next = next_reconnect_pause();
  } catch (const std::exception&) {
    // The server is not back yet.
    next = next_reconnect_pause();
  }
  loop_->timer.expires_after(next);
  loop_->timer.async_wait([this](const boost::system::error_code& error) {
    if (!error) look_after();
  });
}

milliseconds SessionKeeper::next_reconnect_pause() {
  const milliseconds most = is_late() ? most_late_pause : most_reconnect_pause;
  return std::exchange(loop_->reconnect_pause, std::min(2 * loop_->reconnect_pause, most));
}

/// Whether to look again.
bool SessionKeeper::look_after_idle() {
  bool is_waited_for = false;
  milliseconds idle{};
  {
    const std::lock_guard lock(mutex_);
    is_waited_for = !wakeups_.empty();
    idle = std::chrono::floor<milliseconds>(steady_clock::now() - last_used_);
  }
  if (connection_ && connection_->is_lost()) drop();
  if (!is_needed_now() && (!connection_ || idle >= close_after)) {
    close_copy();
    drop();
    return false;
  }
  if (!connection_) open(steady_clock::now(), 0);
  tidy();
  if (is_needed_now() && (is_waited_for || idle >= watch_after)) watch_socket();
  return true;
}

void SessionKeeper::watch_socket() {
  if (!connection_ || connection_->descriptor() < 0) return;
  if (loop_->is_watching && loop_->watched == sessions_) return;
  close_copy();
  const int copy = ::fcntl(connection_->descriptor(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (copy < 0) return;
  loop_->copy.emplace(copy);
  loop_->watched = sessions_;
  loop_->is_watching = true;
  boost::system::error_code ignored;
  loop_->socket.assign(copy, ignored);
  await_input();
}

void SessionKeeper::await_input() {
  loop_->socket.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                           [this, watch = loop_->watches](const boost::system::error_code& error) {
                             if (!error && watch == loop_->watches) on_readable();
                           });
}

void SessionKeeper::close_copy() {
  ++loop_->watches;
  loop_->is_watching = false;
  loop_->copy.reset();
  boost::system::error_code ignored;
  loop_->socket.close(ignored);
}

void SessionKeeper::on_readable() {
  bool is_lost = false;
  {
    const system::ForkGate::Pass pass;
    // A user that gives the session back after this asks for another watch.
    loop_->is_watching = false;
    const Loan loan(*this, std::try_to_lock);
    // Answers to somebody who uses the session are not watched: each would wake this thread.
    if (!loan.is_mine() || !connection_ || loop_->watched != sessions_) return close_copy();
    loop_->is_watching = true;
    try {
      hear();
    } catch (const std::exception&) {
      close_copy();
      drop();
      is_lost = true;
    }
  }
  if (is_lost) {
    look_after();
  } else {
    await_input();
  }
}

}  // namespace dbcache::store::postgres
