#include "coordination/waiter.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <poll.h>
#include <random>
#include <unistd.h>
#include <utility>

#include <sys/eventfd.h>

#include "system/descriptor.hpp"

namespace dbcache::coordination {
namespace {

using std::chrono::milliseconds;

/// The longest sleeps: if every signal arrives, if a holder has no lock to watch, and if commits
/// cannot be watched.
constexpr milliseconds look_now_and_then{5000};
constexpr milliseconds look_for_a_process{1000};
constexpr milliseconds look_for_commits{100};

/// After a holder ends, its lock may stay taken for a moment: a server notices that a client is
/// gone later than the process that watched the client.
constexpr milliseconds look_again_first{10};

/// Every commit wakes a waiter, and each look costs a transaction. So commits may make a waiter
/// look this many times in a row, then only once per pause. The pause is long if a lock reports
/// what matters, and short if only commits do.
constexpr int looks_in_a_row = 10;
constexpr milliseconds look_beside_a_lock{2000};
constexpr milliseconds look_for_a_commit{100};

/// The sleeps without a session grow from one to the other, so that a crowd does not keep the
/// server busy with opening sessions.
constexpr milliseconds look_apart_soon{1000};
constexpr milliseconds look_apart_first{4000};
constexpr milliseconds look_apart_later{8000};

int descriptor_of(const std::unique_ptr<store::Wakeup>& wakeup) {
  return wakeup ? wakeup->descriptor() : -1;
}

}  // namespace

/// A stop token as something to poll for.
class Waiter::Stop {
 public:
  explicit Stop(std::stop_token token) : callback_(std::move(token), Raise{event_.descriptor}) {}

  [[nodiscard]] int descriptor() const { return event_.descriptor; }

 private:
  struct Event {
    Event() : descriptor(system::above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) {}
    ~Event() {
      if (descriptor >= 0) ::close(descriptor);
    }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    int descriptor;
  };
  struct Raise {
    int event;
    void operator()() const {
      constexpr std::uint64_t one = 1;
      static_cast<void>(!::write(event, &one, sizeof one));
    }
  };
  Event event_;  // outlives the callback, which may run until that is gone
  std::stop_callback<Raise> callback_;
};

Waiter::Waiter(store::Engine& engine, std::optional<std::string> config_hash, std::stop_token stop)
    : engine_(engine), config_hash_(std::move(config_hash)) {
  if (stop.stop_possible()) stop_ = std::make_unique<Stop>(std::move(stop));
}

Waiter::~Waiter() = default;

void Waiter::await(const rows::Holder& holder) {
  if (holder_ == holder) return;
  holder_ = holder;
  look_for_holder_ = look_for_a_process;
  freed_ = engine_.watch_holder(holder);
}

void Waiter::sleep(Moment until) {
  if (!commits_) {
    commits_ = engine_.watch_commits(config_hash_);
    return;
  }
  std::array<pollfd, 3> polled{{{-1, POLLIN, 0},
                                {descriptor_of(freed_), POLLIN, 0},
                                {stop_ ? stop_->descriptor() : -1, POLLIN, 0}}};
  const bool has_lock = polled[1].fd >= 0;
  const bool has_signal = commits_->descriptor() >= 0;
  milliseconds most = look_now_and_then;
  if (holder_ && !has_lock) {
    most = look_for_holder_;
    look_for_holder_ = std::min(2 * look_for_holder_, look_for_a_process);
  }
  if (!has_signal) most = look_for_commits;
  milliseconds pause = has_lock ? look_beside_a_lock : look_for_a_commit;
  if (!holder_) pause = milliseconds{0};  // the caller waits for commits themselves
  auto now = std::chrono::steady_clock::now();
  const Moment end = std::min(until, now + most);
  for (;; now = std::chrono::steady_clock::now()) {
    const Moment listens_from = looks_paid_until_ - (looks_in_a_row - 1) * pause;
    const bool listens = !has_signal || now >= listens_from;
    polled[0].fd = listens ? commits_->descriptor() : -1;
    const auto left =
        std::chrono::ceil<milliseconds>((listens ? end : std::min(end, listens_from)) - now);
    const int ready = ::poll(polled.data(), polled.size(),
                             static_cast<int>(std::clamp(left, milliseconds{0}, most).count()));
    if (ready != 0 || listens || end <= listens_from) break;
  }
  if ((polled[0].revents & POLLIN) != 0) {
    looks_paid_until_ = std::max(looks_paid_until_, std::chrono::steady_clock::now()) + pause;
  }
  commits_->clear();
  // By now the database may exist, or an inotify instance may be free.
  if (!has_signal) commits_ = engine_.watch_commits(config_hash_);
  // The holder let its lock go, so it is done or dead. If the rows still show it, poll it from now
  // on.
  if ((polled[1].revents & POLLIN) != 0) {
    freed_.reset();
    look_for_holder_ = look_again_first;
  }
}

bool Waiter::should_sleep_apart() const { return !commits_ && engine_.is_crowded(); }

std::optional<Waiter::Moment> Waiter::stand_aside(bool is_short) {
  if (!engine_.close_idle()) return std::nullopt;
  // Not all at once: they would meet again and again.
  look_apart_ =
      std::clamp(2 * look_apart_, is_short ? look_apart_soon : look_apart_first, look_apart_later);
  std::uniform_int_distribution<milliseconds::rep> some(look_apart_.count() / 2,
                                                        look_apart_.count());
  return std::chrono::steady_clock::now() + milliseconds{some(random_)};
}

bool Waiter::pause(Moment until) const {
  pollfd stop{stop_ ? stop_->descriptor() : -1, POLLIN, 0};
  for (auto now = std::chrono::steady_clock::now(); now < until;
       now = std::chrono::steady_clock::now()) {
    const auto left = std::chrono::ceil<milliseconds>(until - now);
    if (::poll(&stop, 1, static_cast<int>(left.count())) > 0) return false;
  }
  return true;
}

}  // namespace dbcache::coordination
