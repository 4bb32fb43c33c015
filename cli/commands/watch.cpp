#include <csignal>
#include <exception>
#include <vector>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include <dbcache/async.hpp>
#include <dbcache/errors.hpp>
#include <dbcache/json.hpp>

#include "cli/commands/all.hpp"
#include "cli/print_event.hpp"

namespace dbcache::cli {
namespace {

/// Prints new events until it is stopped.
class Follower {
 public:
  Follower(Context& context, std::int64_t from)
      : context_(context), from_(from), log_(io_.get_executor(), context.options()) {}

  void run() {
    signals_.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      ended_ = true;
      waiting_.emit(boost::asio::cancellation_type::terminal);
    });
    next();
    io_.run();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void next() {
    log_.async_watch(from_, boost::asio::bind_cancellation_slot(
                                waiting_.slot(), [this](const std::exception_ptr& error,
                                                        const std::vector<RecordedEvent>& events) {
                                  if (!ended_ && !error) print(events);
                                  // A failed stream has no reader any more.
                                  if (ended_ || error || !context_.out()) return end(error);
                                  next();
                                }));
  }

  void print(const std::vector<RecordedEvent>& events) {
    for (const RecordedEvent& event : events) {
      if (context_.json()) {
        context_.print_json(to_json(event));
      } else {
        print_event(context_, event);
      }
      from_ = event.position + 1;
    }
    context_.out().flush();
  }

  void end(const std::exception_ptr& error) {
    if (!ended_) failure_ = error;
    signals_.cancel();
  }

  Context& context_;
  std::int64_t from_;
  bool ended_ = false;
  std::exception_ptr failure_;
  boost::asio::io_context io_{1};
  boost::asio::signal_set signals_{io_, SIGINT, SIGTERM};
  boost::asio::cancellation_signal waiting_;
  AsyncClusters log_;
};

class Watch final : public Command {
 public:
  [[nodiscard]] Description describe() const override {
    return {"watch", Group::log, "Follow the log: print each new event, until Ctrl-C",
            "dbcache watch --json --from 1"};
  }

  void declare(Arguments& arguments) override {
    arguments.optional("--from", "POSITION", from_,
                       "Start with this event of the log; default: with the next one");
  }

  ExitCode run(Context& context) override {
    if (from_ && *from_ < 1) throw InvalidArgument("--from must be at least 1");
    Follower(context, from_.value_or(context.manager().get_database_info().last_position + 1))
        .run();
    return ExitCode::done;
  }

 private:
  std::optional<std::int64_t> from_;
};

}  // namespace

CommandPointer make_watch() { return std::make_unique<Watch>(); }

}  // namespace dbcache::cli
