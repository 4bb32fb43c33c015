#include "store/sqlite/turn.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <random>
#include <thread>
#include <unistd.h>
#include <utility>

#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "store/sqlite/side_rights.hpp"
#include "system/futex.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr off_t turn_byte = 0;

/// How long a waiter sleeps before it looks. The holder of the turn or the first in line may have
/// died or be stopped, and then wakes nobody.
constexpr microseconds longest_trust{5000};

/// Without a line waiters ask again after this long, all alike, so that none is favoured.
constexpr microseconds least_pause{50};
constexpr microseconds most_pause{250};

microseconds random_pause() {
  thread_local std::minstd_rand random{std::random_device{}()};
  return microseconds(std::uniform_int_distribution<microseconds::rep>(least_pause.count(),
                                                                       most_pause.count())(random));
}

/// A waiter in line is woken by its bit.
std::uint32_t bit_of(std::uint32_t ticket) { return std::uint32_t{1} << (ticket % 32); }

/// Also right when the numbers begin again at 0.
bool is_before(std::uint32_t ticket, std::uint32_t other) {
  return static_cast<std::int32_t>(ticket - other) < 0;
}

/// False where another has moved the line meanwhile.
bool move_line(SharedState& state, std::uint32_t first, std::uint32_t next) {
  return state.words().first_in_line.compare_exchange_strong(first, next);
}

/// Whether anybody was woken. A waiter that is just going to sleep looks again instead.
bool call_first(SharedState& state) {
  SharedState::Words& words = state.words();
  words.turns.fetch_add(1);
  if (words.waiting_for_turns.load() == 0) return false;
  return system::futex_wake(words.turns, INT_MAX, bit_of(words.first_in_line.load())) > 0;
}

}  // namespace

void Turn::Pause::sleep(steady_clock::duration most) const {
  if (!state_) {
    std::this_thread::sleep_for(std::min<steady_clock::duration>(random_pause(), most));
    return;
  }
  SharedState::Words& words = state_->words();
  words.waiting_for_turns.fetch_add(1);
  system::futex_wait(words.turns, seen_, std::min<steady_clock::duration>(longest_trust, most),
                     bit_of(ticket_));
  words.waiting_for_turns.fetch_sub(1);
}

bool Turn::open() {
  if (descriptor_ >= 0) return true;
  const int opened = open_side_file(database_, turn_suffix);
  if (is_not_ours(opened)) throw_not_ours(database_, turn_suffix);
  if (opened == -EPERM) throw_not_shareable(database_);
  descriptor_ = opened < 0 ? -1 : opened;
  return descriptor_ >= 0;
}

bool Turn::try_take() {
  if (!open()) return true;
  if (line_ != state_) leave_line();  // that of a file which was replaced
  // Read before the try, so that the pause notices a turn that becomes free from now on.
  pause_ = {};
  pause_.state_ = state_;
  if (state_) pause_.seen_ = state_->words().turns.load();
  if (may_try()) {
    switch (lock()) {
      case Lock::taken:
        taken_ = true;
        if (state_ && !line_) pass_by();
        return true;
      case Lock::impossible:
        return true;
      case Lock::held_by_another:
        break;
    }
  }
  if (state_ && line_) return pass_over() == Lock::impossible;
  if (state_) stand_in_line();
  return false;
}

Turn::Lock Turn::lock() const {
  if (set_ofd_lock(descriptor_, F_WRLCK, turn_byte)) return Lock::taken;
  // Where the file cannot be locked at all, nobody would ever get the turn.
  return errno == EAGAIN || errno == EACCES ? Lock::held_by_another : Lock::impossible;
}

/// With a ticket: once the line has come to it. Without one: where nobody has passed by yet.
bool Turn::may_try() const {
  if (!state_) return true;
  const SharedState::Words& words = state_->words();
  const std::uint32_t first = words.first_in_line.load();
  return line_ ? !is_before(first, ticket_) : words.passed.load() != first + 1;
}

void Turn::pass_by() {
  SharedState::Words& words = state_->words();
  const std::uint32_t first = words.first_in_line.load();
  if (first != words.tickets.load()) words.passed.store(first + 1);
}

void Turn::stand_in_line() {
  SharedState::Words& words = state_->words();
  ticket_ = pause_.ticket_ = words.tickets.fetch_add(1);
  line_ = state_;
  first_seen_ = words.first_in_line.load();
  first_since_ = steady_clock::now();
}

/// Moves the line where the turn is free and the first in line does not take it.
Turn::Lock Turn::pass_over() {
  pause_.ticket_ = ticket_;
  const auto now = steady_clock::now();
  const std::uint32_t first = state_->words().first_in_line.load();
  if (first != first_seen_) {
    first_seen_ = first;
    first_since_ = now;
  }
  if (now - first_since_ < longest_trust) return Lock::held_by_another;
  // Where another holds the turn, it is just slow.
  if (const Lock tried = lock(); tried != Lock::taken) return tried;
  set_ofd_lock(descriptor_, F_UNLCK, turn_byte);
  if (!move_line(*state_, first, first + 1) || call_first(*state_)) return Lock::held_by_another;
  // The next in line was not woken either. Nobody knows how many more were killed in line, or
  // whether the numbers are sound. Any living waiter before this one may try whenever it looks.
  move_line(*state_, first + 1, ticket_);
  return Lock::held_by_another;
}

void Turn::leave_line() noexcept {
  if (!line_) return;
  const bool was_first = move_line(*line_, ticket_, ticket_ + 1);
  if (was_first && !taken_) call_first(*line_);
  line_.reset();
}

void Turn::leave() noexcept {
  if (descriptor_ < 0) return;
  leave_line();
  if (!std::exchange(taken_, false)) return;
  set_ofd_lock(descriptor_, F_UNLCK, turn_byte);
  if (state_) call_first(*state_);
}

void Turn::close() noexcept {
  leave();
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  state_.reset();
  pause_ = {};
}

}  // namespace dbcache::store::sqlite
