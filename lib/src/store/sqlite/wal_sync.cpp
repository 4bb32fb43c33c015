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

/// How long another is trusted to sync. It may have died, or be stopped: then everyone syncs for
/// himself, which is always right.
constexpr milliseconds longest_wait{50};
constexpr milliseconds look_now_and_then{10};

/// By which those who wait for a commit are woken.
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
      "the change was made, but another could not force it to disk; whether it would survive a "
      "power loss is not known: check the disk",
      StorageFailure::Outcome::unknown);
}

}  // namespace

void WalSync::begin_commit() { state_.words().unnumbered.store(1); }

WalSync::Ticket WalSync::number_commit() {
  const Ticket ticket = state_.words().committed.fetch_add(1) + 1;
  state_.words().unnumbered.store(0);
  return ticket;
}

WalSync::Ticket WalSync::last_commit() {
  // Where nothing is shared, others' commits have no numbers here: a new one needs a new sync.
  if (state_.words().unnumbered.load() != 0 || !state_.is_shared()) return number_commit();
  return state_.words().committed.load();
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
        // One of the others is to sync next.
        if (shared.committed.load() > synced) system::futex_wake(shared.syncs, 1);
      }
    } const unlock{state_, locked};
    // Those who write just now are let go first: the sync is theirs too.
    if (words.waiting_for_turns.load() > 0) std::this_thread::yield();
    // Another may have done it before the lock was had.
    if (words.synced.load() < ticket) sync_for_all(ticket, sync);
    if (words.synced.load() >= ticket) return;
  }
}

void WalSync::sync_for_all(Ticket ticket, const std::function<void()>& sync) {
  SharedState::Words& words = state_.words();
  // Read before the sync begins: what is committed while it runs may not be covered by it.
  const std::uint64_t covered = words.committed.load();
  try {
    sync();
  } catch (...) {
    failed();
    throw;
  }
  // The kernel tells each descriptor of a lost page once, and a younger one never: where another's
  // sync has failed meanwhile, the success of this one says nothing.
  if (failures() != 0) throw_failed();
  // Two may sync at once, and the later begun end first.
  const Ticket synced = std::max<Ticket>(covered, ticket);
  std::uint64_t before = words.synced.load();
  while (before < synced && !words.synced.compare_exchange_weak(before, synced)) {
  }
}

}  // namespace dbcache::store::sqlite
