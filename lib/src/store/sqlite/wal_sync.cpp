#include "store/sqlite/wal_sync.hpp"

#include <algorithm>
#include <chrono>
#include <climits>
#include <thread>

#include <dbcache/errors.hpp>

#include "system/futex.hpp"

namespace dbcache::store::sqlite {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long to wait for another's sync. It may have died, or be stopped. Then each waiter syncs for
/// itself, which is always right.
constexpr milliseconds longest_wait{50};
constexpr milliseconds look_now_and_then{10};

/// Those that wait for a commit are woken by its bit.
std::uint32_t bit_of(WalSync::Ticket ticket) { return std::uint32_t{1} << (ticket % 32); }

/// Of the commits after one up to another.
std::uint32_t bits_of(WalSync::Ticket after, WalSync::Ticket last) {
  if (last < after || last - after >= 32) return system::every_bit;
  std::uint32_t bits = 0;
  for (WalSync::Ticket ticket = after + 1; ticket <= last; ++ticket) bits |= bit_of(ticket);
  return bits;
}

[[noreturn]] void throw_failed() {
  throw StorageFailure(
      "the change was made, but another thread or process could not sync it to disk: it is not "
      "known whether the change would survive a power loss; check the disk",
      StorageFailure::Outcome::unknown);
}

}  // namespace

void WalSync::begin_commit() { state_.words().unnumbered.store(1); }

WalSync::Ticket WalSync::number_commit(WalContent wal) {
  SharedState::Words& words = state_.words();
  const Ticket ticket = words.committed.fetch_add(1) + 1;
  words.unnumbered.store(0);
  // Only now: a reader of this word relies on the number.
  if (wal && *wal != 0) words.numbered_wal.store(*wal);
  return ticket;
}

WalSync::Ticket WalSync::last_commit(WalContent wal) {
  const SharedState::Words& words = state_.words();
  // An empty WAL's commits are in the database, and synced there.
  const bool is_numbered = wal && (*wal == 0 || *wal == words.numbered_wal.load());
  if (!is_numbered || words.unnumbered.load() != 0) return number_commit(wal);
  return words.committed.load();
}

std::uint32_t WalSync::failures() const { return state_.words().failed_syncs.load(); }

void WalSync::failed() { state_.words().failed_syncs.fetch_add(1); }

void WalSync::mended(std::uint32_t failures) {
  state_.words().failed_syncs.compare_exchange_strong(failures, 0);
}

void WalSync::wait(Ticket ticket, const std::function<void()>& sync) {
  SharedState::Words& words = state_.words();
  const auto give_up = steady_clock::now() + longest_wait;
  for (;;) {
    const std::uint32_t seen = words.syncs.load();
    if (words.synced.load() >= ticket) return;
    if (failures() != 0) throw_failed();
    const bool locked = state_.try_lock_sync();
    if (!locked && steady_clock::now() < give_up) {
      words.waiting_for_syncs.fetch_add(1);
      system::futex_wait(words.syncs, seen, look_now_and_then, bit_of(ticket));
      words.waiting_for_syncs.fetch_sub(1);
      continue;
    }
    struct Unlock {
      SharedState& state;
      bool locked = false;
      Ticket synced_before = state.words().synced.load();
      ~Unlock() {
        SharedState::Words& shared = state.words();
        if (locked) state.unlock_sync();
        shared.syncs.fetch_add(1);
        if (shared.waiting_for_syncs.load() == 0) return;
        const Ticket synced = shared.synced.load();
        const bool failed = shared.failed_syncs.load() != 0;
        system::futex_wake(shared.syncs, INT_MAX,
                           failed ? system::every_bit : bits_of(synced_before, synced));
        // One of the others must sync next.
        if (shared.committed.load() > synced) system::futex_wake(shared.syncs, 1);
      }
    } const unlock{state_, locked};
    // Let those that write just now go first: the sync then covers their commits too.
    if (words.waiting_for_turns.load() > 0) std::this_thread::yield();
    // Another may have synced before this thread got the lock.
    if (words.synced.load() < ticket) sync_for_all(ticket, sync);
    if (words.synced.load() >= ticket) return;
  }
}

void WalSync::sync_for_all(Ticket ticket, const std::function<void()>& sync) {
  SharedState::Words& words = state_.words();
  // Read before the sync begins: it may not cover a commit that is made while it runs.
  const std::uint64_t covered = words.committed.load();
  try {
    sync();
  } catch (...) {
    failed();
    throw;
  }
  // The kernel reports a lost page once to each descriptor, and never to one opened later. So the
  // success of this sync means nothing where another's has failed meanwhile.
  if (failures() != 0) throw_failed();
  // Two may sync at once, and the one that began later may end first.
  const Ticket synced = std::max<Ticket>(covered, ticket);
  std::uint64_t before = words.synced.load();
  while (before < synced && !words.synced.compare_exchange_weak(before, synced)) {
  }
}

}  // namespace dbcache::store::sqlite
