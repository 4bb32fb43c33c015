#include "store/sqlite/turn.hpp"

#include <algorithm>
#include <fcntl.h>
#include <random>
#include <thread>
#include <unistd.h>

#include "store/sqlite/files.hpp"
#include "store/sqlite/ofd_lock.hpp"
#include "system/futex.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

constexpr off_t turn_byte = 0;
constexpr off_t starving_byte = 1;

/// Who was woken once, and came too late.
constexpr int tries_without_starving = 2;

/// Who had the turn, or was woken for it, may have died or be stopped, and then wakes nobody.
constexpr microseconds look_now_and_then{5000};

/// Without being woken, one asks again after this long; everyone alike, so that none is favoured.
constexpr microseconds least_pause{50};
constexpr microseconds most_pause{250};

microseconds random_pause() {
  thread_local std::minstd_rand random{std::random_device{}()};
  return microseconds(std::uniform_int_distribution<microseconds::rep>(least_pause.count(),
                                                                       most_pause.count())(random));
}

}  // namespace

void Turn::Pause::sleep(steady_clock::duration most) const {
  if (!state_) {
    std::this_thread::sleep_for(std::min<steady_clock::duration>(random_pause(), most));
    return;
  }
  SharedState::Words& words = state_->words();
  words.waiting_for_turns.fetch_add(1);
  // Who gave way to one who is stopped is woken by nobody.
  const microseconds longest = gave_way_ ? most_pause : look_now_and_then;
  system::futex_wait(words.turns, seen_, std::min<steady_clock::duration>(longest, most));
  words.waiting_for_turns.fetch_sub(1);
}

bool Turn::open() {
  if (descriptor_ >= 0) return true;
  const int opened = open_side_file(database_, "-turn");
  if (is_not_ours(opened)) throw_not_ours(database_, "-turn");
  descriptor_ = opened < 0 ? -1 : opened;
  return descriptor_ >= 0;
}

bool Turn::try_take() {
  if (!open()) return true;
  // Before looking, so that a turn that is given up from now on is noticed.
  pause_.state_ = state_;
  if (state_) pause_.seen_ = state_->words().turns.load();
  // The count spares a system call; who was counted may have died.
  const bool some_starve = !state_ || state_->words().starving.load() > 0;
  const bool gives_way =
      tries_ == 0 && some_starve &&
      ofd_lock_held_by_others(descriptor_, F_WRLCK, starving_byte).value_or(false);
  pause_.gave_way_ = gives_way;
  if (!gives_way && set_ofd_lock(descriptor_, F_WRLCK, turn_byte)) {
    stop_waiting();
    taken_ = true;
    return true;
  }
  if (++tries_ == tries_without_starving) {
    set_ofd_lock(descriptor_, F_RDLCK, starving_byte);
    counted_in_ = state_;
    if (counted_in_) counted_in_->words().starving.fetch_add(1);
  }
  return false;
}

void Turn::stop_waiting() noexcept {
  if (tries_ >= tries_without_starving && descriptor_ >= 0) {
    set_ofd_lock(descriptor_, F_UNLCK, starving_byte);
  }
  if (counted_in_) counted_in_->words().starving.fetch_sub(1);
  counted_in_.reset();
  tries_ = 0;
}

void Turn::leave() noexcept {
  if (descriptor_ < 0) return;
  stop_waiting();
  if (!taken_) return;
  taken_ = false;
  set_ofd_lock(descriptor_, F_UNLCK, turn_byte);
  if (!state_) return;
  SharedState::Words& words = state_->words();
  words.turns.fetch_add(1);
  if (words.waiting_for_turns.load() > 0) system::futex_wake(words.turns, 1);
}

void Turn::close() noexcept {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
  stop_waiting();
  taken_ = false;
  state_.reset();
  pause_ = {};
}

}  // namespace dbcache::store::sqlite
