#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "store/postgres/session_keeper.hpp"
#include "system/descriptor.hpp"

namespace dbcache::store::postgres {

/// The thread that watches the session.
struct SessionKeeper::Loop {
  static constexpr std::chrono::milliseconds first_reconnect_pause{20};

  boost::asio::io_context io{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work =
      boost::asio::make_work_guard(io);
  /// Of a copy, because closing it ends the wait.
  boost::asio::posix::stream_descriptor socket{io};
  std::optional<system::ForkClosed> copy;
  boost::asio::steady_timer timer{io};
  std::chrono::milliseconds reconnect_pause = first_reconnect_pause;
  std::atomic<bool> is_ticking = false;  ///< Looks every second.
  std::atomic<bool> is_called = false;   ///< To look now.
  std::atomic<bool> is_watching = false;
  std::uint64_t watched = 0;  ///< The session's number.
  std::uint64_t watches = 0;  ///< An earlier watch may have its answer on the way.
  std::thread thread;
};

/// A waiter for commits.
class SessionKeeper::CommitWakeup final : public Wakeup {
 public:
  CommitWakeup(std::shared_ptr<SessionKeeper> keeper, std::string channel);
  ~CommitWakeup() override;

  [[nodiscard]] const std::string& channel() const { return channel_; }
  [[nodiscard]] int descriptor() const override { return event_.get(); }
  void clear() override;
  void raise() const;

 private:
  const std::shared_ptr<SessionKeeper> keeper_;
  const std::string channel_;
  system::Descriptor event_;
};

}  // namespace dbcache::store::postgres
